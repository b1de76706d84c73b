//! Who belongs to the mesh, and what each says, from a view.

use std::{collections::BTreeSet, rc::Rc};

use evidence::{
    Fact, FactKey, Facts, Identity, Moment, NodeName, NodeRef, OfPeer, PublicKey, SourceId,
};

use super::{Member, Own, Places, Speaks};
use crate::{
    NodeView, Stream, View, health,
    prefix::{Holdings, Reader, Register},
    timing,
};

/// The nodes of a mesh in their order.
pub(crate) struct Members<'a>(Vec<Member<'a>>);

impl<'a> Members<'a> {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn values(&self) -> std::slice::Iter<'_, Member<'a>> {
        self.0.iter()
    }

    pub(super) fn values_mut(&mut self) -> std::slice::IterMut<'_, Member<'a>> {
        self.0.iter_mut()
    }

    pub(crate) fn get(&self, node: &NodeRef) -> Option<&Member<'a>> {
        let found = self.0.binary_search_by(|member| member.node.cmp(node));
        self.0.get(found.ok()?)
    }

    /// The member with this place.
    pub(crate) fn at(&self, index: usize) -> Option<&Member<'a>> {
        self.0.get(index)
    }
}

/// All nodes that must be there.
pub(super) fn members(view: &View, now: Moment) -> Members<'_> {
    let mut members: Vec<Member<'_>> = view
        .nodes
        .iter()
        .map(|(name, node)| reporter(name, node, now))
        .collect();
    let listed: BTreeSet<PublicKey> = listed(&members);
    add_declared(view, &mut members);
    add_unclaimed_peers(&listed, &mut members);
    drop_forgotten(view, &listed, &mut members);
    members.sort_unstable_by(|a, b| a.node.cmp(&b.node));
    hear(&mut members, listed);
    Members(members)
}

fn reporter<'a>(name: &NodeName, node: &'a NodeView, now: Moment) -> Member<'a> {
    let speaks = match (
        now.since(node.last_report) <= timing::REPORT_FRESH,
        node.stream,
    ) {
        (true, _) => Speaks::Freshly,
        (false, Stream::Open) => Speaks::Stale,
        (false, Stream::Closed(_)) => Speaks::Stopped,
    };
    let identity = identity(node);
    Member {
        view: Some(node),
        speaks,
        own: Own {
            identity,
            ..Own::default()
        },
        ..silent(
            NodeRef::named(name),
            identity.and_then(|identity| identity.public_key),
        )
    }
}

fn identity(view: &NodeView) -> Option<&Identity> {
    match view.facts.get(&FactKey::Identity) {
        Some(Fact::Identity(identity)) => Some(identity),
        _ => None,
    }
}

/// All keys that are in the device of a node that speaks.
fn listed(members: &[Member<'_>]) -> BTreeSet<PublicKey> {
    let mut listed = Places::default();
    for view in members.iter().filter_map(Member::fresh) {
        for (key, of_peer) in view.facts.of_peers() {
            if of_peer.peer().is_some() {
                listed.give(*key);
            }
        }
    }
    listed.iter().copied().collect()
}

fn add_declared(view: &View, members: &mut Vec<Member<'_>>) {
    for name in &view.expectation.names {
        let node = NodeRef::named(name);
        if members.iter().all(|member| member.node != node) {
            members.push(silent(node, None));
        }
    }
}

/// A key in somebody's device that nobody claims is a node whose agent has not reported.
fn add_unclaimed_peers(listed: &BTreeSet<PublicKey>, members: &mut Vec<Member<'_>>) {
    let claimed: BTreeSet<PublicKey> = members.iter().filter_map(|member| member.key).collect();
    let unclaimed = listed.difference(&claimed);
    members.extend(unclaimed.map(|key| silent(NodeRef::Unnamed { key: *key }, Some(*key))));
}

/// A node that no longer speaks, is in nobody's device and was not declared has been taken out of the mesh. One whose
/// key was never known cannot be looked up in a device: it stays missed.
fn drop_forgotten(view: &View, listed: &BTreeSet<PublicKey>, members: &mut Vec<Member<'_>>) {
    let anybody_fresh = members.iter().any(|member| member.fresh().is_some());
    members.retain(|member| {
        let declared = matches!(&member.node, NodeRef::Named { name } if view.expectation.names.contains(name));
        let unlisted = member.key.is_some_and(|key| !listed.contains(&key));
        let removed = member.speaks == Speaks::Stopped && anybody_fresh && unlisted && !declared;
        !removed
    });
}

fn silent<'a>(node: NodeRef, key: Option<PublicKey>) -> Member<'a> {
    Member {
        node,
        index: 0,
        view: None,
        key,
        speaks: Speaks::Never,
        site: None,
        holdings: Holdings::default(),
        said: Vec::new(),
        register: Rc::default(),
        own: Own::default(),
    }
}

/// Takes in what each node says that speaks.
fn hear(members: &mut [Member<'_>], mut known: BTreeSet<PublicKey>) {
    known.extend(members.iter().filter_map(|member| member.key));
    let keys: Places<PublicKey> = known.into_iter().collect();
    let mut reader = Reader::default();
    for (index, member) in members.iter_mut().enumerate() {
        member.index = index;
        let Some(view) = member.fresh() else {
            continue;
        };
        member.said = row(&view.facts, &keys);
        let peers = member.said.iter().enumerate();
        let peers = peers.filter_map(|(place, said)| {
            Some((place, keys.at(place)?, &(*said)?.peer()?.allowed_ips[..]))
        });
        member.holdings = reader.read(peers);
        member.own.sources = SourceId::ALL.map(|id| match view.facts.get(&FactKey::Source(id)) {
            Some(Fact::Source(_, state)) => Some(state),
            _ => None,
        });
        member.own.steering = match view.facts.get(&FactKey::Steering) {
            Some(Fact::Steering(steering)) => Some(steering),
            _ => None,
        };
        let well = member.health().and_then(health::trouble);
        let steady = well.map_or(view.steady_since, |trouble| {
            trouble.until.max(view.steady_since)
        });
        member.own.steady_since = Some(steady);
    }
    let register = Rc::new(Register {
        keys,
        addresses: reader.addresses(),
    });
    for member in members {
        member.holdings.set_register(&register);
        member.register = Rc::clone(&register);
    }
}

/// What a node says of each key, by the places of the keys.
fn row<'a>(facts: &'a Facts, keys: &Places<PublicKey>) -> Vec<Option<&'a OfPeer>> {
    let mut row = vec![None; keys.len()];
    // Both are in the order of keys: mostly the next one is meant.
    let mut next = 0;
    for (key, said) in facts.of_peers() {
        let place = (next..)
            .take(2)
            .find(|place| keys.at(*place).as_ref() == Some(key));
        let Some(place) = place.or_else(|| keys.of(key)) else {
            continue;
        };
        if let Some(here) = row.get_mut(place) {
            *here = Some(&**said);
        }
        next = place + 1;
    }
    row
}
