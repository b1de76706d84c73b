//! The view, digested: who belongs to the mesh, who speaks freshly, who sits behind which public address.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use evidence::{
    Arrival, Citation, Clock, DataSeen, Device, Discovery, EchoHeard, EchoSent, Fact, FactKey,
    Health, Host, Identity, Inert, Initiated, Layer, Moment, NodeName, NodeRef, Ntp, Peer,
    PublicKey, Reporter, Sizes, SourceId, SourceState, Steered, Steering, Talos, TalosPeer, Vxlan,
};

use crate::{
    NodeView, Stream, View,
    health::{self, Trouble},
    prefix::Holdings,
    timing,
};

/// The mesh at one moment.
pub(crate) struct Mesh<'a> {
    pub(crate) now: Moment,
    pub(crate) view: &'a View,
    /// All nodes that must be there.
    pub(crate) members: BTreeMap<NodeRef, Member<'a>>,
    /// How old an echo may be and still prove something; grows with the mesh, as the pace of the echo slows.
    pub(crate) echo_fresh: Duration,
    /// How old a full-size packet may be.
    pub(crate) size_fresh: Duration,
    /// Who has which node's own address where it should be: two, so that there is another beside any one.
    pub(crate) witnesses: BTreeMap<(PublicKey, IpAddr), Vec<NodeRef>>,
}

/// One node of the mesh.
pub(crate) struct Member<'a> {
    pub(crate) node: NodeRef,
    pub(crate) view: Option<&'a NodeView>,
    pub(crate) key: Option<PublicKey>,
    pub(crate) speaks: Speaks,
    /// The public address that others use for it, if that is not its own: it sits behind a NAT.
    pub(crate) site: Option<IpAddr>,
    /// Which peer of its device has which address.
    pub(crate) holdings: Holdings,
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
        let mut members = reporters(view, now);
        add_declared(view, &mut members);
        add_unclaimed_peers(&mut members);
        drop_forgotten(view, &mut members);
        let echo_fresh = timing::echo_fresh(members.len());
        let size_fresh = timing::size_fresh(members.len());
        let mut mesh = Self {
            now,
            view,
            members,
            echo_fresh,
            size_fresh,
            witnesses: BTreeMap::new(),
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

    /// All ordered pairs.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&Member<'a>, &Member<'a>)> {
        self.members.values().flat_map(move |a| {
            self.members
                .values()
                .filter(move |b| b.node != a.node)
                .map(move |b| (a, b))
        })
    }

    /// Whether `at` is at most `bound` ago. What claims to be of the future proves nothing.
    pub(crate) fn recent(&self, at: Moment, bound: Duration) -> bool {
        at <= self.now.plus(timing::AHEAD) && self.now.since(at) <= bound
    }

    /// Whether one of the two has been here too short for the other to know of it.
    pub(crate) fn settling(&self, a: &Member<'_>, b: &Member<'_>) -> bool {
        let here = |member: &Member<'_>| member.view.map_or(self.view.started, |view| view.since);
        self.now.since(here(a).max(here(b))) < timing::SETTLE
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

    /// Whether two nodes share a public address.
    pub(crate) fn same_site(&self, a: &NodeRef, b: &NodeRef) -> bool {
        let site = |node| self.members.get(node).and_then(|member| member.site);
        site(a).is_some() && site(a) == site(b)
    }

    /// A node sits behind a NAT if others send to an address that it does not have itself.
    fn find_sites(&mut self) {
        let mut sites = BTreeMap::new();
        for (from, to) in self.pairs() {
            let Some(identity) = to.identity() else {
                continue;
            };
            let seen = to
                .key
                .and_then(|key| from.peer(&key))
                .and_then(|peer| peer.endpoint);
            if let Some(endpoint) = seen
                && !identity.addresses.contains(&endpoint.ip())
            {
                sites.insert(to.node.clone(), endpoint.ip());
            }
        }
        for (node, site) in sites {
            if let Some(member) = self.members.get_mut(&node) {
                member.site = Some(site);
            }
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
        let steady = self.fresh()?.steady_since;
        let well = self.health().and_then(health::trouble);
        Some(well.map_or(steady, |trouble| trouble.until.max(steady)))
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
        self.view.and_then(identity)
    }

    pub(crate) fn peer(&self, key: &PublicKey) -> Option<&'a Peer> {
        match self.fact(FactKey::Peer(*key)) {
            Some(Fact::Peer(_, peer)) => Some(peer),
            _ => None,
        }
    }

    pub(crate) fn echo_sent(&self, to: &PublicKey) -> Option<&'a EchoSent> {
        match self.fact(FactKey::EchoSent(*to)) {
            Some(Fact::EchoSent(_, echo)) => Some(echo),
            _ => None,
        }
    }

    pub(crate) fn echo_heard(&self, from: &PublicKey) -> Option<&'a EchoHeard> {
        match self.fact(FactKey::EchoHeard(*from)) {
            Some(Fact::EchoHeard(_, echo)) => Some(echo),
            _ => None,
        }
    }

    pub(crate) fn inert(&self, with: &PublicKey) -> Option<&'a Inert> {
        match self.fact(FactKey::Inert(*with)) {
            Some(Fact::Inert(_, inert)) => Some(inert),
            _ => None,
        }
    }

    pub(crate) fn sizes(&self, to: &PublicKey, layer: Layer) -> Option<&'a Sizes> {
        match self.fact(FactKey::Sizes(*to)) {
            Some(Fact::Sizes(_, layers)) => layers.iter().find(|sizes| sizes.layer == layer),
            _ => None,
        }
    }

    pub(crate) fn data_seen(&self, of: &PublicKey) -> Option<&'a DataSeen> {
        match self.fact(FactKey::DataSeen(*of)) {
            Some(Fact::DataSeen(_, seen)) => Some(seen),
            _ => None,
        }
    }

    pub(crate) fn initiated(&self, to: &PublicKey) -> &'a [Initiated] {
        match self.fact(FactKey::Initiated(*to)) {
            Some(Fact::Initiated(_, list)) => list,
            _ => &[],
        }
    }

    pub(crate) fn arrivals(&self) -> &'a [Arrival] {
        match self.fact(FactKey::Arrivals) {
            Some(Fact::Arrivals(list)) => list,
            _ => &[],
        }
    }

    pub(crate) fn steering(&self) -> Option<&'a Steering> {
        match self.fact(FactKey::Steering) {
            Some(Fact::Steering(steering)) => Some(steering),
            _ => None,
        }
    }

    pub(crate) fn steered(&self, to: &PublicKey) -> Option<&'a Steered> {
        match self.fact(FactKey::Steered(*to)) {
            Some(Fact::Steered(_, steered)) => Some(steered),
            _ => None,
        }
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
        match self.fact(FactKey::TalosPeer(*key)) {
            Some(Fact::TalosPeer(_, peer)) => Some(peer),
            _ => None,
        }
    }
    pub(crate) fn discovery(&self) -> Option<&'a Discovery> {
        match self.fact(FactKey::Discovery) {
            Some(Fact::Discovery(discovery)) => Some(discovery),
            _ => None,
        }
    }

    /// All peers of its device.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (PublicKey, &'a Peer)> + use<'a> {
        let facts = self.fresh().into_iter().flat_map(|view| view.facts.iter());
        facts.filter_map(|fact| match fact {
            Fact::Peer(key, peer) => Some((*key, peer)),
            _ => None,
        })
    }

    pub(crate) fn source(&self, id: SourceId) -> Option<&'a SourceState> {
        match self.fact(FactKey::Source(id)) {
            Some(Fact::Source(_, state)) => Some(state),
            _ => None,
        }
    }

    /// The source, if it can be read at present.
    pub(crate) fn working(&self, id: SourceId) -> Option<&'a SourceState> {
        self.source(id).filter(|state| state.gap.is_none())
    }
}

fn identity(view: &NodeView) -> Option<&Identity> {
    match view.facts.get(&FactKey::Identity) {
        Some(Fact::Identity(identity)) => Some(identity),
        _ => None,
    }
}

fn reporters(view: &View, now: Moment) -> BTreeMap<NodeRef, Member<'_>> {
    view.nodes
        .iter()
        .map(|(name, node)| (NodeRef::named(name), reporter(name, node, now)))
        .collect()
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
    let key = identity(node).and_then(|identity| identity.public_key);
    let mut member = Member {
        node: NodeRef::named(name),
        view: Some(node),
        key,
        speaks,
        site: None,
        holdings: Holdings::default(),
    };
    for (key, peer) in member.peers() {
        member.holdings.add(key, &peer.allowed_ips);
    }
    member
}

fn add_declared(view: &View, members: &mut BTreeMap<NodeRef, Member<'_>>) {
    for name in &view.expectation.names {
        let node = NodeRef::named(name);
        members
            .entry(node.clone())
            .or_insert_with(|| silent(node, None));
    }
}

/// A key in somebody's device that nobody claims is a node whose agent has not reported.
fn add_unclaimed_peers(members: &mut BTreeMap<NodeRef, Member<'_>>) {
    let claimed: BTreeSet<PublicKey> = members.values().filter_map(|member| member.key).collect();
    let listed: BTreeSet<PublicKey> = members.values().flat_map(listed_keys).collect();
    for key in listed.difference(&claimed) {
        let node = NodeRef::Unnamed { key: *key };
        members
            .entry(node.clone())
            .or_insert_with(|| silent(node, Some(*key)));
    }
}

/// A node that no longer speaks, is in nobody's device and was not declared has been taken out of the mesh. One whose
/// key was never known cannot be looked up in a device: it stays missed.
fn drop_forgotten(view: &View, members: &mut BTreeMap<NodeRef, Member<'_>>) {
    let listed: BTreeSet<PublicKey> = members.values().flat_map(listed_keys).collect();
    let anybody_fresh = members.values().any(|member| member.fresh().is_some());
    members.retain(|node, member| {
        let declared =
            matches!(node, NodeRef::Named { name } if view.expectation.names.contains(name));
        let unlisted = member.key.is_some_and(|key| !listed.contains(&key));
        let removed = member.speaks == Speaks::Stopped && anybody_fresh && unlisted && !declared;
        !removed
    });
}

fn listed_keys<'a>(member: &Member<'a>) -> impl Iterator<Item = PublicKey> + 'a + use<'a> {
    let facts = member
        .fresh()
        .into_iter()
        .flat_map(|view| view.facts.iter());
    facts.filter_map(|fact| match fact {
        Fact::Peer(key, _) => Some(*key),
        _ => None,
    })
}

fn silent<'a>(node: NodeRef, key: Option<PublicKey>) -> Member<'a> {
    Member {
        node,
        view: None,
        key,
        speaks: Speaks::Never,
        site: None,
        holdings: Holdings::default(),
    }
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
