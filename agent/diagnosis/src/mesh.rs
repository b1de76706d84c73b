//! The view, digested: who belongs to the mesh, who speaks freshly, who sits behind which public address.

mod gather;
mod places;

use std::{collections::BTreeMap, net::IpAddr, rc::Rc, time::Duration};

use evidence::{
    Arrival, Citation, Clock, DataSeen, Device, Discovery, EchoHeard, EchoSent, Fact, FactKey,
    Health, Host, Identity, Inert, Initiated, Layer, Moment, NodeRef, Ntp, OfPeer, Peer, PublicKey,
    Reporter, Sizes, SourceId, SourceState, Steered, Steering, Talos, TalosPeer, Vxlan,
};

use crate::{
    NodeView, View,
    health::{self, Trouble},
    prefix::{Holdings, Register},
    timing,
};

pub(crate) use gather::Members;
pub(crate) use places::Places;

/// The mesh at one moment.
pub(crate) struct Mesh<'a> {
    pub(crate) now: Moment,
    pub(crate) view: &'a View,
    /// All nodes that must be there.
    pub(crate) members: Members<'a>,
    /// How old an echo may be and still prove something; grows with the mesh, as the pace of the echo slows.
    pub(crate) echo_fresh: Duration,
    /// How old a full-size packet may be.
    pub(crate) size_fresh: Duration,
    /// Who has which node's own address where it should be: two, so that there is another beside any one.
    pub(crate) witnesses: BTreeMap<(PublicKey, IpAddr), Vec<NodeRef>>,
    /// Whether anybody has any part of what steers.
    pub(crate) steers: bool,
}

/// One node of the mesh.
pub(crate) struct Member<'a> {
    pub(crate) node: NodeRef,
    /// Its place among the members.
    pub(crate) index: usize,
    pub(crate) view: Option<&'a NodeView>,
    pub(crate) key: Option<PublicKey>,
    pub(crate) speaks: Speaks,
    /// The public address that others use for it, if that is not its own: it sits behind a NAT.
    pub(crate) site: Option<IpAddr>,
    /// Which peer of its device has which address.
    pub(crate) holdings: Holdings,
    /// What it says of each key, if it speaks freshly.
    said: Vec<Option<&'a OfPeer>>,
    /// Where to find a key there.
    register: Rc<Register>,
    own: Own<'a>,
}

/// What a node says of itself and each of its pairs is judged by.
#[derive(Clone, Debug, Default)]
struct Own<'a> {
    identity: Option<&'a Identity>,
    sources: [Option<&'a SourceState>; SourceId::ALL.len()],
    steering: Option<&'a Steering>,
    steady_since: Option<Moment>,
}

/// Whether a node's agent speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Freshly,
    /// The stream is open and nothing comes.
    Stale,
    /// The stream ended.
    Stopped,
    /// Nothing since the collector started.
    Never,
}

impl<'a> Mesh<'a> {
    pub(crate) fn new(view: &'a View, now: Moment) -> Self {
        let members = gather::members(view, now);
        let echo_fresh = timing::echo_fresh(members.len());
        let size_fresh = timing::size_fresh(members.len());
        let mut steering = members.values().filter_map(Member::steering);
        let steers = steering.any(Steering::is_any);
        let mut mesh = Self {
            now,
            view,
            members,
            echo_fresh,
            size_fresh,
            witnesses: BTreeMap::new(),
            steers,
        };
        mesh.find_sites();
        mesh.find_witnesses();
        mesh
    }

    pub(crate) fn fresh_reporters(&self) -> usize {
        self.members
            .values()
            .filter(|member| member.fresh().is_some())
            .count()
    }

    /// Whether the collector has listened so long that who did not come is missed.
    pub(crate) fn started_long_ago(&self) -> bool {
        self.now.since(self.view.started) >= timing::SETTLE
    }

    /// Whether `at` is at most `bound` ago. What claims to be of the future proves nothing.
    pub(crate) fn recent(&self, at: Moment, bound: Duration) -> bool {
        at <= self.now.plus(timing::AHEAD) && self.now.since(at) <= bound
    }

    /// Whether one of the two has been here too short for the other to know of it.
    pub(crate) fn settling(&self, a: &Member<'_>, b: &Member<'_>) -> bool {
        self.has_just_come(a) || self.has_just_come(b)
    }

    /// Whether a node's reports began a short while ago.
    pub(crate) fn has_just_come(&self, member: &Member<'_>) -> bool {
        let since = member.view.map_or(self.view.started, |view| view.since);
        self.now.since(since) < timing::SETTLE
    }

    /// Since when both have reported without a pause and were well, if both speak: what was lost before says nothing about the path.
    pub(crate) fn both_steady_since(a: &Member<'_>, b: &Member<'_>) -> Option<Moment> {
        Some(a.steady_since()?.max(b.steady_since()?))
    }

    /// What a node that speaks is in trouble with, or was a moment ago.
    pub(crate) fn trouble(&self, member: &Member<'_>) -> Option<Trouble> {
        member
            .health()
            .and_then(health::trouble)
            .filter(|trouble| self.recent(trouble.until, timing::TROUBLE))
    }

    /// A citation of a fact of `member` that was seen at `at`.
    pub(crate) fn cite(
        &self,
        member: &Member<'_>,
        fact: FactKey,
        at: Moment,
        text: String,
    ) -> Citation {
        let reporter = match &member.node {
            NodeRef::Named { name } => Reporter::Node(name.clone()),
            NodeRef::Unnamed { .. } => Reporter::Collector,
        };
        Citation {
            reporter,
            fact: fact.to_string(),
            age_ms: millis(self.now.since(at)),
            text,
        }
    }

    /// A citation of what the collector itself saw.
    pub(crate) fn observed(&self, at: Moment, fact: &str, text: String) -> Citation {
        Citation {
            reporter: Reporter::Collector,
            fact: fact.to_owned(),
            age_ms: millis(self.now.since(at)),
            text,
        }
    }

    /// A node sits behind a NAT if others send to an address that it does not have itself.
    fn find_sites(&mut self) {
        let site = |to: &Member<'_>| {
            let (identity, key) = (to.identity()?, to.key?);
            let others = self.members.values().rev();
            others
                .filter(|from| from.index != to.index)
                .find_map(|from| {
                    let endpoint = from.peer(&key)?.endpoint?.ip();
                    (!identity.addresses.contains(&endpoint)).then_some(endpoint)
                })
        };
        let sites: Vec<Option<IpAddr>> = self.members.values().map(site).collect();
        for (member, site) in self.members.values_mut().zip(sites) {
            member.site = site;
        }
    }
}

impl<'a> Member<'a> {
    /// The node's facts, if its agent speaks freshly. What a silent agent said once proves nothing now.
    pub(crate) fn fresh(&self) -> Option<&'a NodeView> {
        self.view.filter(|_| self.speaks == Speaks::Freshly)
    }

    /// When its last report came.
    pub(crate) fn last_report(&self) -> Option<Moment> {
        self.view.map(|view| view.last_report)
    }

    /// Since when a source that works would have seen what another node sent then: before, nobody looked, or the node
    /// was away.
    pub(crate) fn watching_since(&self, id: SourceId) -> Option<Moment> {
        let steady = self.steady_since()?;
        self.working(id)
            .map(|source| source.since.max(steady).plus(timing::SKEW))
    }

    /// The same of what counts only from a peer: what a stranger sends is seen and not counted.
    pub(crate) fn counting_since(&self, id: SourceId, from: &Member<'_>) -> Option<Moment> {
        let known = self.peer(&from.key?)?.since.plus(timing::SKEW);
        Some(self.watching_since(id)?.max(known))
    }

    /// Up to when what passed the node's interface is known: a tap that lags says so, and a report may be younger.
    pub(crate) fn tap_read_at(&self) -> Option<Moment> {
        let read_at = self.working(SourceId::Tap)?.read_at;
        Some(read_at.min(self.last_report()?))
    }

    /// Since when the node has reported without a pause and was not in trouble itself.
    pub(crate) fn steady_since(&self) -> Option<Moment> {
        self.own.steady_since
    }

    pub(crate) fn health(&self) -> Option<&'a Health> {
        match self.fact(FactKey::Health) {
            Some(Fact::Health(health)) => Some(health),
            _ => None,
        }
    }

    fn fact(&self, key: FactKey) -> Option<&'a Fact> {
        self.fresh().and_then(|view| view.facts.get(&key))
    }

    pub(crate) fn identity(&self) -> Option<&'a Identity> {
        self.own.identity
    }

    /// What it says of a key, if it speaks freshly.
    fn said(&self, key: &PublicKey) -> Option<&'a OfPeer> {
        match self.register.keys.of(key) {
            Some(place) => self.said.get(place).copied().flatten(),
            // Of one that is nobody's and in no device.
            None => self.fresh()?.facts.of_peer(key).map(|said| &**said),
        }
    }

    pub(crate) fn peer(&self, key: &PublicKey) -> Option<&'a Peer> {
        self.said(key)?.peer()
    }

    pub(crate) fn echo_sent(&self, to: &PublicKey) -> Option<&'a EchoSent> {
        self.said(to)?.echo_sent()
    }

    pub(crate) fn echo_heard(&self, from: &PublicKey) -> Option<&'a EchoHeard> {
        self.said(from)?.echo_heard()
    }

    pub(crate) fn inert(&self, with: &PublicKey) -> Option<&'a Inert> {
        self.said(with)?.inert()
    }

    pub(crate) fn sizes(&self, to: &PublicKey, layer: Layer) -> Option<&'a Sizes> {
        self.said(to)?.sizes(layer)
    }

    pub(crate) fn data_seen(&self, of: &PublicKey) -> Option<&'a DataSeen> {
        self.said(of)?.data_seen()
    }

    pub(crate) fn initiated(&self, to: &PublicKey) -> &'a [Initiated] {
        self.said(to).map_or(&[], OfPeer::initiated)
    }

    pub(crate) fn arrivals(&self) -> &'a [Arrival] {
        match self.fact(FactKey::Arrivals) {
            Some(Fact::Arrivals(list)) => list,
            _ => &[],
        }
    }

    pub(crate) fn steering(&self) -> Option<&'a Steering> {
        self.own.steering
    }

    pub(crate) fn steered(&self, to: &PublicKey) -> Option<&'a Steered> {
        self.said(to)?.steered()
    }

    pub(crate) fn device(&self) -> Option<&'a Device> {
        match self.fact(FactKey::Device) {
            Some(Fact::Device(device)) => Some(device),
            _ => None,
        }
    }

    pub(crate) fn clock(&self) -> Option<&'a Clock> {
        match self.fact(FactKey::Clock) {
            Some(Fact::Clock(clock)) => Some(clock),
            _ => None,
        }
    }

    pub(crate) fn ntp(&self) -> Option<&'a Ntp> {
        match self.fact(FactKey::Ntp) {
            Some(Fact::Ntp(ntp)) => Some(ntp),
            _ => None,
        }
    }

    pub(crate) fn host(&self) -> Option<&'a Host> {
        match self.fact(FactKey::Host) {
            Some(Fact::Host(host)) => Some(host),
            _ => None,
        }
    }

    pub(crate) fn vxlan(&self) -> Option<&'a Vxlan> {
        match self.fact(FactKey::Vxlan) {
            Some(Fact::Vxlan(vxlan)) => Some(vxlan),
            _ => None,
        }
    }

    /// The node as Talos sees it.
    pub(crate) fn talos(&self) -> Option<&'a Talos> {
        match self.fact(FactKey::Talos) {
            Some(Fact::Talos(talos)) => Some(talos),
            _ => None,
        }
    }

    /// A peer as Talos wants it there.
    pub(crate) fn talos_peer(&self, key: &PublicKey) -> Option<&'a TalosPeer> {
        self.said(key)?.talos_peer()
    }
    pub(crate) fn discovery(&self) -> Option<&'a Discovery> {
        match self.fact(FactKey::Discovery) {
            Some(Fact::Discovery(discovery)) => Some(discovery),
            _ => None,
        }
    }

    pub(crate) fn source(&self, id: SourceId) -> Option<&'a SourceState> {
        let place = SourceId::ALL.iter().position(|known| *known == id)?;
        self.own.sources.get(place).copied().flatten()
    }

    /// The source, if it can be read at present.
    pub(crate) fn working(&self, id: SourceId) -> Option<&'a SourceState> {
        self.source(id).filter(|state| state.gap.is_none())
    }
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
