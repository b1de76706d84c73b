//! Who belongs to the mesh, and what each says, from a view.

use std::{collections::BTreeSet, rc::Rc};

use evidence::{Fact, FactKey, Identity, Moment, NodeName, NodeRef, PublicKey, SourceId};

use super::{Member, Memo, Own, Speaks, Trace};
use crate::{NodeView, Stream, View, health, pair::Ground, timing};

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
pub(super) fn members<'a>(
    view: &'a View,
    memo: &'a Memo,
    trace: &Rc<Trace>,
    now: Moment,
) -> Members<'a> {
    let mut members: Vec<Member<'_>> = view
        .nodes
        .iter()
        .map(|(name, node)| reporter(name, node, memo, now))
        .collect();
    add_declared(view, memo, &mut members);
    add_unclaimed_peers(memo, &mut members);
    drop_forgotten(view, memo, &mut members);
    members.sort_unstable_by(|a, b| a.node.cmp(&b.node));
    for (index, member) in members.iter_mut().enumerate() {
        member.index = index;
        member.trace = Rc::clone(trace);
        hear(member, memo);
    }
    Members(members)
}

/// Whether a node's agent has spoken lately.
pub(super) fn is_fresh(node: &NodeView, now: Moment) -> bool {
    now.since(node.last_report) <= timing::REPORT_FRESH
}

fn reporter<'a>(name: &NodeName, node: &'a NodeView, memo: &'a Memo, now: Moment) -> Member<'a> {
    let speaks = match (is_fresh(node, now), node.stream) {
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
            memo,
        )
    }
}

pub(super) fn identity(view: &NodeView) -> Option<&Identity> {
    match view.facts.get(&FactKey::Identity) {
        Some(Fact::Identity(identity)) => Some(identity),
        _ => None,
    }
}

fn add_declared<'a>(view: &View, memo: &'a Memo, members: &mut Vec<Member<'a>>) {
    let declared: BTreeSet<&NodeName> = view.expectation.names.iter().collect();
    let absent = declared.into_iter();
    let absent = absent.filter(|name| !view.nodes.contains_key(*name));
    members.extend(absent.map(|name| silent(NodeRef::named(name), None, memo)));
}

/// A key in somebody's device that nobody claims is a node whose agent has not reported.
fn add_unclaimed_peers<'a>(memo: &'a Memo, members: &mut Vec<Member<'a>>) {
    let mut claimed = vec![false; memo.keys.len()];
    for place in members
        .iter()
        .filter_map(|member| memo.keys.of(&member.key?))
    {
        if let Some(here) = claimed.get_mut(place) {
            *here = true;
        }
    }
    let unclaimed = memo.listed().zip(claimed).filter(|(_, claimed)| !claimed);
    let unclaimed = unclaimed.filter_map(|(key, _)| key);
    members.extend(unclaimed.map(|key| silent(NodeRef::Unnamed { key }, Some(key), memo)));
}

/// A node that no longer speaks, is in nobody's device and was not declared has been taken out of the mesh. One whose
/// key was never known cannot be looked up in a device: it stays missed.
fn drop_forgotten(view: &View, memo: &Memo, members: &mut Vec<Member<'_>>) {
    let anybody_fresh = members.iter().any(|member| member.fresh().is_some());
    members.retain(|member| {
        let unlisted = member.key.is_some_and(|key| !memo.is_listed(&key));
        if member.speaks != Speaks::Stopped || !anybody_fresh || !unlisted {
            return true;
        }
        matches!(&member.node, NodeRef::Named { name } if view.expectation.names.contains(name))
    });
}

fn silent(node: NodeRef, key: Option<PublicKey>, memo: &Memo) -> Member<'_> {
    Member {
        node,
        index: 0,
        view: None,
        key,
        speaks: Speaks::Never,
        site: None,
        heard: None,
        memo,
        own: Own::default(),
        ground: None,
        trace: Rc::default(),
    }
}

impl<'a> Own<'a> {
    fn take(&mut self, fact: &'a Fact) {
        match fact {
            Fact::Source(id, state) => {
                let place = SourceId::ALL.iter().position(|known| known == id);
                if let Some(here) = place.and_then(|place| self.sources.get_mut(place)) {
                    *here = Some(state);
                }
            }
            Fact::Steering(steering) => self.steering = Some(steering),
            Fact::Host(host) => self.host = Some(host),
            Fact::Health(health) => self.health = Some(health),
            Fact::Arrivals(arrivals) => self.arrivals = arrivals,
            Fact::Device(device) => self.device = Some(device),
            Fact::Clock(clock) => self.clock = Some(clock),
            Fact::Ntp(ntp) => self.ntp = Some(ntp),
            Fact::Vxlan(vxlan) => self.vxlan = Some(vxlan),
            Fact::Talos(talos) => self.talos = Some(talos),
            Fact::Discovery(discovery) => self.discovery = Some(discovery),
            // Who it is, is known of a node that does not speak, too; what it says of keys is in the memo.
            Fact::Identity(_)
            | Fact::Peer(..)
            | Fact::EchoSent(..)
            | Fact::EchoHeard(..)
            | Fact::Inert(..)
            | Fact::Initiated(..)
            | Fact::Sizes(..)
            | Fact::Steered(..)
            | Fact::TalosPeer(..)
            | Fact::DataSeen(..)
            | Fact::NodeEcho(..) => {}
        }
    }
}

/// Takes in what a node says, if it speaks.
fn hear<'a>(member: &mut Member<'a>, memo: &'a Memo) {
    let Some(view) = member.fresh() else {
        return;
    };
    if let NodeRef::Named { name } = &member.node {
        member.heard = memo.heard(name);
    }
    for fact in view.facts.own() {
        member.own.take(fact);
    }
    let well = member.health().and_then(health::trouble);
    let steady = well.map_or(view.steady_since, |trouble| {
        trouble.until.max(view.steady_since)
    });
    member.own.steady_since = Some(steady);
    let place = member.key.and_then(|key| memo.keys.of(&key));
    member.ground = place.and_then(|place| Ground::of(member, place, &memo.reader));
}
