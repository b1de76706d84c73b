//! The view, digested: who belongs to the mesh, who speaks freshly, who sits behind which public address.

mod end;
mod gather;
mod heard;
mod memo;
mod places;
mod trace;

use std::{cell::OnceCell, net::IpAddr, rc::Rc, time::Duration};

use evidence::{
    Arrival, Citation, Clock, DataSeen, Device, Discovery, EchoHeard, EchoSent, FactKey, Health,
    Host, Identity, Inert, Initiated, Layer, Moment, NodeEcho, NodeRef, Ntp, OfPeer, Peer,
    PublicKey, Reporter, Sizes, SourceId, SourceState, Steered, Steering, Talos, TalosPeer, Vxlan,
};

use crate::{
    NodeView, View,
    health::{self, Trouble},
    localise::Sites,
    pair::{Ground, Witnesses, Word},
    prefix::Number,
    timing,
};

pub(crate) use end::End;
pub(crate) use gather::Members;
pub(crate) use heard::{heard_at, was_set};
use memo::Heard;
pub(crate) use memo::{Memo, News};
pub(crate) use places::Places;
use trace::Trace;

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
    pub(crate) witnesses: Witnesses,
    /// Found when they are asked for first.
    pub(crate) sites: OnceCell<Sites>,
    /// Whether anybody has any part of what steers.
    pub(crate) steers: bool,
    memo: &'a Memo,
    /// Who has the key of each place.
    by_key: Vec<Vec<usize>>,
    trace: Rc<Trace>,
}

/// Behind which address a node was found to be, and what that was found by.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    node: NodeRef,
    key: Option<PublicKey>,
    addresses: Vec<IpAddr>,
    address: Option<IpAddr>,
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
    /// What it says of each key, if it speaks freshly.
    heard: Option<&'a Heard>,
    /// Where to find a key there.
    memo: &'a Memo,
    own: Own<'a>,
    /// What a good direction from or to it rests on, if it has all that.
    pub(crate) ground: Option<Ground>,
    trace: Rc<Trace>,
}

/// What a node says of itself: all but who it is only if it speaks.
#[derive(Clone, Debug, Default)]
struct Own<'a> {
    identity: Option<&'a Identity>,
    sources: [Option<&'a SourceState>; SourceId::ALL.len()],
    steering: Option<&'a Steering>,
    host: Option<&'a Host>,
    health: Option<&'a Health>,
    arrivals: &'a [Arrival],
    device: Option<&'a Device>,
    clock: Option<&'a Clock>,
    ntp: Option<&'a Ntp>,
    vxlan: Option<&'a Vxlan>,
    talos: Option<&'a Talos>,
    discovery: Option<&'a Discovery>,
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
    /// The mesh of a view whose news `memo` has taken in. `sites` are those of the last judgement, or none.
    pub(crate) fn new(
        view: &'a View,
        now: Moment,
        (memo, news): (&'a Memo, &News),
        sites: &[Site],
    ) -> Self {
        let trace = Rc::default();
        let members = gather::members(view, memo, &trace, now);
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
            witnesses: Witnesses::default(),
            sites: OnceCell::new(),
            steers,
            memo,
            by_key: Vec::new(),
            trace,
        };
        mesh.find_keys();
        mesh.find_sites(sites, news);
        mesh.find_witnesses();
        mesh
    }

    /// What a pair's answers depend on in time is noted here while they are asked for.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The place of a key.
    pub(crate) fn place_of(&self, key: &PublicKey) -> Option<usize> {
        self.memo.keys.of(key)
    }

    /// The nodes with the key of this place: one, or more if machines were cloned.
    pub(crate) fn of_key(&self, place: usize) -> &[usize] {
        self.by_key.get(place).map_or(&[], Vec::as_slice)
    }

    /// Whether a moment has come.
    pub(crate) fn reached(&self, moment: Moment) -> bool {
        let reached = self.now >= moment;
        if !reached {
            self.trace.until(moment);
        }
        reached
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
        self.reached(at.minus(timing::AHEAD)) && !self.reached(Self::gone(at, bound))
    }

    /// From when on `at` is more than `bound` ago.
    pub(crate) fn gone(at: Moment, bound: Duration) -> Moment {
        at.plus(bound).plus(Duration::from_millis(1))
    }

    /// Whether one of the two has been here too short for the other to know of it.
    pub(crate) fn settling(&self, a: &Member<'_>, b: &Member<'_>) -> bool {
        self.has_just_come(a) || self.has_just_come(b)
    }

    /// Whether a node's reports began a short while ago.
    pub(crate) fn has_just_come(&self, member: &Member<'_>) -> bool {
        let since = member.view.map_or(self.view.started, |view| view.since);
        !self.reached(since.plus(timing::SETTLE))
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

    fn find_keys(&mut self) {
        let mut by_key = vec![Vec::new(); self.memo.keys.len()];
        for member in self.members.values() {
            let place = member.key.and_then(|key| self.place_of(&key));
            if let Some(with) = place.and_then(|place| by_key.get_mut(place)) {
                with.push(member.index);
            }
        }
        self.by_key = by_key;
    }

    /// A node sits behind a NAT if others hear it from an address that it does not have itself.
    fn find_sites(&mut self, last: &[Site], news: &News) {
        // The last one in the order of nodes that does so tells the address.
        let site = |to: &Member<'_>| {
            let (identity, place) = (to.identity()?, self.place_of(&to.key?)?);
            let own = identity.addresses.iter();
            let own: Vec<Number> = own.filter_map(|one| self.memo.reader.known(*one)).collect();
            let others = self.members.values().rev();
            let others = others.filter(|from| from.index != to.index);
            let mut heard = others.filter_map(|from| from.word(place)?.heard_at);
            heard
                .find(|heard| !own.contains(heard))
                .and_then(|heard| self.memo.reader.address(heard))
        };
        let known = |member: &Member<'_>| {
            let dialled = member.key.and_then(|key| self.place_of(&key));
            let news = !news.speakers.is_empty()
                || dialled.is_some_and(|place| news.dialled.contains(&place));
            let last = last.get(member.index).filter(|last| last.is_of(member));
            last.filter(|_| !news).map(|last| last.address)
        };
        let sites = self.members.values();
        let sites: Vec<Option<IpAddr>> = sites
            .map(|member| known(member).unwrap_or_else(|| site(member)))
            .collect();
        for (member, site) in self.members.values_mut().zip(sites) {
            member.site = site;
        }
    }

    /// Notes what was found of sites, for the next judgement.
    pub(crate) fn note_sites(&self, sites: &mut Vec<Site>) {
        sites.truncate(self.members.len());
        for (index, member) in self.members.values().enumerate() {
            match sites.get_mut(index) {
                Some(last) if last.is_of(member) => last.address = member.site,
                Some(last) => *last = Site::of(member),
                None => sites.push(Site::of(member)),
            }
        }
    }
}

impl Site {
    fn of(member: &Member<'_>) -> Self {
        let identity = member.identity();
        Self {
            node: member.node.clone(),
            key: member.key,
            addresses: identity.map_or_else(Vec::new, |identity| identity.addresses.clone()),
            address: member.site,
        }
    }

    /// Whether it was found by what the node still says.
    fn is_of(&self, member: &Member<'_>) -> bool {
        let addresses = member
            .identity()
            .map_or(&[][..], |identity| &identity.addresses);
        self.node == member.node && self.key == member.key && self.addresses == addresses
    }
}

impl<'a> Member<'a> {
    /// The node's facts, if its agent speaks freshly. What a silent agent said once proves nothing now.
    pub(crate) fn fresh(&self) -> Option<&'a NodeView> {
        self.view.filter(|_| self.speaks == Speaks::Freshly)
    }

    /// When its last report came.
    pub(crate) fn last_report(&self) -> Option<Moment> {
        self.trace.never_holds();
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
        self.own.health
    }

    pub(crate) fn identity(&self) -> Option<&'a Identity> {
        self.own.identity
    }

    /// What it says of a key, if it speaks freshly.
    fn said(&self, key: &PublicKey) -> Option<&'a OfPeer> {
        let heard = self.heard?;
        match self.memo.keys.of(key) {
            Some(place) => heard.row.get(place)?.as_deref(),
            // Of one that is nobody's and in no device.
            None => self.fresh()?.facts.of_peer(key).map(|said| &**said),
        }
    }

    /// The same in few words.
    pub(crate) fn word(&self, place: usize) -> Option<&'a Word> {
        self.heard?.words.get(place)
    }

    /// Whether its device gives the peer with the key of this place this very address.
    pub(crate) fn gives(&self, address: Number, place: usize) -> bool {
        self.heard
            .is_some_and(|heard| heard.holdings.gives(address, place))
    }

    /// The peer of its device to which packets for this address go.
    pub(crate) fn holder(&self, address: IpAddr) -> Option<PublicKey> {
        let Memo { reader, keys, .. } = self.memo;
        self.heard?.holdings.holder(address, reader, keys)
    }

    /// The peer of its device that has this very address.
    pub(crate) fn holder_of_host(&self, address: IpAddr) -> Option<PublicKey> {
        let Memo { reader, keys, .. } = self.memo;
        self.heard?.holdings.host(address, reader, keys)
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

    pub(crate) fn node_echo(&self, with: &PublicKey) -> Option<&'a NodeEcho> {
        self.said(with)?.node_echo()
    }

    pub(crate) fn initiated(&self, to: &PublicKey) -> &'a [Initiated] {
        self.said(to).map_or(&[], OfPeer::initiated)
    }

    pub(crate) fn arrivals(&self) -> &'a [Arrival] {
        self.trace.never_holds();
        self.own.arrivals
    }

    pub(crate) fn steering(&self) -> Option<&'a Steering> {
        self.own.steering
    }

    pub(crate) fn steered(&self, to: &PublicKey) -> Option<&'a Steered> {
        self.said(to)?.steered()
    }

    pub(crate) fn device(&self) -> Option<&'a Device> {
        self.own.device
    }

    pub(crate) fn clock(&self) -> Option<&'a Clock> {
        self.own.clock
    }

    pub(crate) fn ntp(&self) -> Option<&'a Ntp> {
        self.own.ntp
    }

    pub(crate) fn host(&self) -> Option<&'a Host> {
        self.own.host
    }

    pub(crate) fn vxlan(&self) -> Option<&'a Vxlan> {
        self.own.vxlan
    }

    /// The node as Talos sees it.
    pub(crate) fn talos(&self) -> Option<&'a Talos> {
        self.own.talos
    }

    /// A peer as Talos wants it there.
    pub(crate) fn talos_peer(&self, key: &PublicKey) -> Option<&'a TalosPeer> {
        self.said(key)?.talos_peer()
    }
    pub(crate) fn discovery(&self) -> Option<&'a Discovery> {
        self.own.discovery
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
