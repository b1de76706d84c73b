//! Which own addresses of a node are not where they should be in the device of another.
//!
//! An address is missed only where somebody else has it, or where another peer has it instead.

use std::net::IpAddr;

use evidence::{FactKey, NodeRef, Outcome, PublicKey, SteeredPrefix};

use super::{Judged, METHOD, Pair, Trouble, seen};
use crate::{
    mesh::{Member, Mesh},
    pair::{Answer, Words},
    prefix::Prefix,
    timing,
};

/// An address that is not among the allowed IPs where it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Whose device lacks it.
    pub(crate) holder: NodeRef,
    /// Whose address it is.
    pub(crate) owner: NodeRef,
    pub(crate) address: IpAddr,
    /// Whether it is the owner's `KubeSpan` address: without it the tunnel itself carries nothing.
    pub(crate) of_tunnel: bool,
    /// The peer that has it in that device instead.
    pub(crate) held_for: Option<NodeRef>,
    /// Another node whose device has it where it should be.
    pub(crate) witness: Option<NodeRef>,
    /// Whether Talos on the holder wants it there; none if it does not say.
    pub(crate) wanted: Option<bool>,
}

/// Addresses of a node before and after a change that a device has not learned of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outdated {
    /// Whose addresses they are.
    pub(crate) owner: NodeRef,
    /// The one that the device has.
    pub(crate) before: IpAddr,
    /// The one that the node has.
    pub(crate) after: IpAddr,
}

impl<W: Words> Pair<'_, '_, W> {
    /// Whether the device of `holder` has only such addresses of `owner` as that has no more: its addresses changed, and this was
    /// not told or not taken. Without a change that the agent there saw, they may be what somebody configured.
    pub(super) fn outdated(&self, holder: &Member<'_>, owner: &Member<'_>) -> Option<Judged<W>> {
        let key = owner.key?;
        let own = &owner.identity()?.addresses;
        let changed = owner.host()?.address_changes.last?;
        let told = holder.steered(&key)?;
        let known = self.mesh.reached(changed.plus(timing::ADDRESS_TOLD));
        if !known || !self.has_settled(told.since) {
            return None;
        }
        let mut hosts = told.prefixes.iter().filter_map(|told| host(&told.prefix));
        let before = hosts.find(|address| !own.contains(address))?;
        let mut present = own
            .iter()
            .filter(|address| address.is_ipv4() == before.is_ipv4());
        let after = *present.clone().next()?;
        if present.any(|address| holder.holder(*address) == Some(key)) {
            return None;
        }
        let answer = Answer::new(Outcome::Fail, METHOD, || {
            let text = format!(
                "has {before} among the allowed IPs of {}, which has {after} instead",
                owner.node
            );
            let at = seen(holder).unwrap_or(told.since);
            let moved = "its addresses changed".to_owned();
            vec![
                self.mesh.cite(holder, FactKey::Steered(key), at, text),
                self.mesh.cite(owner, FactKey::Host, changed, moved),
            ]
        });
        Some(Judged::fail(
            answer,
            Trouble::Outdated(Outdated {
                owner: owner.node.clone(),
                before,
                after,
            }),
        ))
    }

    /// Without B's `KubeSpan` address no echo goes, nor is one taken.
    pub(super) fn tunnel_address(&self) -> Option<Judged<W>> {
        let address = IpAddr::V6(self.b.identity()?.kubespan_address?);
        let missing = self.missing(self.a, self.b, address)?;
        Some(self.lacks(missing))
    }

    /// None if nobody steers this address.
    pub(super) fn address(&self, address: IpAddr) -> Option<Judged<W>> {
        if self.a.holder(address) == Some(self.b_key) {
            return Some(self.held(address));
        }
        let missing = self.missing(self.a, self.b, address)?;
        if holds_any(self.a, self.b, address) && !self.stood_long(&missing) {
            let text = || {
                format!(
                    "has no {address} for {}, and other addresses of it",
                    self.b.node
                )
            };
            return Some(self.answer(Outcome::Warn, self.steered_fact(), text).into());
        }
        Some(self.lacks(missing))
    }

    /// B drops what comes from a source that is not A's in its own device.
    pub(super) fn refused(&self, prefix: &SteeredPrefix) -> Option<Judged<W>> {
        let source = prefix.source?;
        let own = self
            .a
            .identity()
            .is_some_and(|identity| identity.addresses.contains(&source));
        let missing = own
            .then(|| self.missing(self.b, self.a, source))
            .flatten()?;
        let warned = holds_any(self.b, self.a, source) && !self.stood_long(&missing);
        (!warned).then(|| self.lacks(missing))
    }

    /// What is missing is the word of the node that lacks it, and must have stood for a moment there.
    fn lacks(&self, missing: Missing) -> Judged<W> {
        let (holder, owner) = if missing.holder == self.a.node {
            (self.a, self.b)
        } else {
            (self.b, self.a)
        };
        let told = owner
            .key
            .and_then(|key| Some((key, holder.steered(&key)?.since)));
        let Some((key, since)) = told.filter(|(_, since)| self.has_settled(*since)) else {
            let why = || format!("the peers of {} have just changed", holder.node);
            return Answer::undecided(why).into();
        };
        let answer = Answer::new(Outcome::Fail, METHOD, || {
            let text = match &missing.held_for {
                Some(other) => format!(
                    "has {} of {} among the allowed IPs of {other}",
                    missing.address, missing.owner
                ),
                None => format!(
                    "has no {} among the allowed IPs of {}",
                    missing.address, missing.owner
                ),
            };
            let text = match missing.wanted {
                Some(true) => format!("{text}; Talos there wants it"),
                Some(false) => format!("{text}; Talos there does not want it"),
                None => text,
            };
            let at = seen(holder).unwrap_or(since);
            let fact = if missing.of_tunnel {
                FactKey::Peer(key)
            } else {
                FactKey::Steered(key)
            };
            vec![self.mesh.cite(holder, fact, at, text)]
        });
        Judged::fail(answer, Trouble::Missing(missing))
    }

    /// Whether an own address of `owner` should be in the device of `holder` and is not: somebody else has it there.
    fn missing(&self, holder: &Member<'_>, owner: &Member<'_>, address: IpAddr) -> Option<Missing> {
        let key = owner.key?;
        holder.peer(&key)?;
        let holds = holder.holder(address);
        if holds == Some(key) {
            return None;
        }
        let witness = self.mesh.witness(holder, owner, address);
        let wanted = wanted(self.mesh, holder, &key, address);
        let is_kubespan = owner
            .identity()
            .is_some_and(|identity| identity.kubespan_address.map(IpAddr::V6) == Some(address));
        let missed = witness.is_some() || holds.is_some() || is_kubespan || wanted == Some(true);
        missed.then(|| Missing {
            holder: holder.node.clone(),
            owner: owner.node.clone(),
            address,
            of_tunnel: is_kubespan,
            held_for: holds.map(|key| self.mesh.named(&key)),
            witness,
            wanted,
        })
    }

    /// Whether a witness has had the address, and the holder has been without it, longer than any address takes to move
    /// from node to node.
    fn stood_long(&self, missing: &Missing) -> bool {
        // What a third node says is not followed.
        self.mesh.trace().never_holds();
        let long = |member: Option<&Member<'_>>| {
            let owner = self.mesh.members.get(&missing.owner)?.key?;
            let since = member?.steered(&owner)?.since;
            Some(self.mesh.now.since(since) >= timing::ADDRESS_MOVES)
        };
        let member = |node: &NodeRef| self.mesh.members.get(node);
        let witness = missing.witness.as_ref().and_then(member);
        long(witness) == Some(true) && long(member(&missing.holder)) == Some(true)
    }
}

/// The address of a prefix that is a single one.
fn host(prefix: &str) -> Option<IpAddr> {
    let (address, length) = prefix.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { "32" } else { "128" };
    (length == whole).then_some(address)
}

/// Whether Talos on the holder wants the address among the allowed IPs of this peer, and has wanted the same for a moment.
fn wanted(
    mesh: &Mesh<'_>,
    holder: &Member<'_>,
    owner: &PublicKey,
    address: IpAddr,
) -> Option<bool> {
    let peer = holder.talos_peer(owner)?;
    let settled = mesh.reached(peer.since.plus(timing::STEERING_SETTLES));
    let mut prefixes = peer.allowed_ips.iter();
    settled.then(|| {
        prefixes.any(|text| Prefix::parse(text).is_some_and(|prefix| prefix.contains(address)))
    })
}

/// Whether the device of `holder` has another own address of `owner` of the same family where it should be.
fn holds_any(holder: &Member<'_>, owner: &Member<'_>, than: IpAddr) -> bool {
    let addresses = owner
        .identity()
        .map_or(&[][..], |identity| &identity.addresses);
    addresses
        .iter()
        .filter(|address| address.is_ipv4() == than.is_ipv4() && **address != than)
        .any(|address| owner.key.is_some() && holder.holder(*address) == owner.key)
}

/// Who has which node's own address where it should be: two, by their places, so that there is another beside any one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Witnesses {
    /// Where those of each node begin.
    begins: Vec<usize>,
    found: Vec<[Option<usize>; 2]>,
}

impl Witnesses {
    /// Those of an own address of a node, by its place among these.
    fn of(&self, owner: &Member<'_>, address: usize) -> Option<[Option<usize>; 2]> {
        let begins = self.begins.get(owner.index)?;
        self.found.get(begins + address).copied()
    }
}

impl Member<'_> {
    /// All addresses of its own, the one in the tunnel last.
    fn own_addresses(&self) -> impl Iterator<Item = IpAddr> {
        let identity = self.identity().into_iter();
        identity.flat_map(|identity| {
            let of_tunnel = identity.kubespan_address.map(IpAddr::V6);
            identity.addresses.iter().copied().chain(of_tunnel)
        })
    }
}

impl Mesh<'_> {
    /// Looks once for each own address of each node: for each pair it would be too often.
    pub(crate) fn find_witnesses(&mut self) {
        let mut witnesses = Witnesses::default();
        for owner in self.members.values() {
            witnesses.begins.push(witnesses.found.len());
            let Some(key) = owner.key else {
                continue;
            };
            for address in owner.own_addresses() {
                let mut has = self
                    .members
                    .values()
                    .filter(|member| self.has_where_it_should_be(member, &key, address));
                let found = [has.next(), has.next()].map(|member| Some(member?.index));
                witnesses.found.push(found);
            }
        }
        self.witnesses = witnesses;
    }

    /// Whether the device of a node has the address for its owner, and not just since now.
    fn has_where_it_should_be(
        &self,
        member: &Member<'_>,
        owner: &PublicKey,
        address: IpAddr,
    ) -> bool {
        let settled = || {
            member
                .steered(owner)
                .is_some_and(|steered| self.reached(steered.since.plus(timing::STEERING_SETTLES)))
        };
        member.holder(address) == Some(*owner) && settled()
    }

    fn witness(&self, holder: &Member<'_>, owner: &Member<'_>, address: IpAddr) -> Option<NodeRef> {
        let at = owner.own_addresses().position(|own| own == address)?;
        let all = self.witnesses.of(owner, at)?.into_iter().flatten();
        let other = all.filter_map(|index| self.members.at(index));
        let mut other = other.filter(|member| member.node != holder.node);
        other.next().map(|member| member.node.clone())
    }

    fn named(&self, key: &PublicKey) -> NodeRef {
        let member = self
            .members
            .values()
            .find(|member| member.key == Some(*key));
        member.map_or(NodeRef::Unnamed { key: *key }, |member| member.node.clone())
    }
}
