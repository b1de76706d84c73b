//! The pure machines of one `WireGuard` key, and what they know as facts.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
};

use evidence::{Fact, Facts, Layer, Moment, NodeEcho, PublicKey, limits};
use probe_core::{
    echo::{self, Prober, Responder},
    inert::{self, InertProber, InertTracker},
    node_echo,
    packet::headers_length,
    sightings::Sightings,
    size::{self, SizeProber, SizeResponder},
};
use tracing::{debug, warn};

use crate::{
    facts,
    observer::ObserverConfig,
    peers::{Changes, Peers},
};

/// The machines of one `WireGuard` key; a new key is a new node to its peers.
#[derive(Debug)]
pub(crate) struct Machines {
    pub(crate) key: PublicKey,
    pub(crate) prober: Prober,
    pub(crate) responder: Responder,
    pub(crate) inert: InertProber,
    pub(crate) tracker: InertTracker,
    pub(crate) sightings: Sightings,
    pub(crate) sizes: SizeProber,
    pub(crate) size_responder: SizeResponder,
    pub(crate) node_prober: node_echo::Prober,
    pub(crate) node_responder: node_echo::Responder,
    pub(crate) inert_times: BTreeMap<PublicKey, (SocketAddr, VecDeque<Moment>)>,
    pub(crate) unsolicited: BTreeMap<PublicKey, Moment>,
    pub(crate) suspects: BTreeSet<PublicKey>,
    /// Peers whose tunnel carried nothing for a while and carries again.
    pub(crate) back: BTreeSet<PublicKey>,
    /// A peer answers again, and nobody has been told yet.
    pub(crate) recovered: bool,
}

impl Machines {
    pub(crate) fn new(
        key: PublicKey,
        config: &ObserverConfig,
        mut random: impl FnMut() -> u64,
    ) -> Self {
        let probe_key = || config.probe_key.clone();
        Self {
            key,
            prober: Prober::new(key, probe_key(), random(), random(), config.echo_budget),
            responder: Responder::new(key, probe_key()),
            inert: InertProber::new(key, probe_key(), random()),
            tracker: InertTracker::new(key, probe_key()),
            sightings: Sightings::new(Some(&key)),
            sizes: SizeProber::new(key, probe_key(), random(), random()),
            size_responder: SizeResponder::new(key, probe_key()),
            node_prober: node_echo::Prober::new(key, probe_key(), random(), random()),
            node_responder: node_echo::Responder::new(key, probe_key()),
            inert_times: BTreeMap::new(),
            unsolicited: BTreeMap::new(),
            suspects: BTreeSet::new(),
            back: BTreeSet::new(),
            recovered: false,
        }
    }

    pub(crate) fn change_peers(&mut self, changes: &Changes, now: Moment) {
        for peer in &changes.removed {
            self.prober
                .handle(echo::Input::PeerRemoved(*peer), now.into());
            self.responder.remove_peer(peer);
            self.inert.handle(inert::Input::Removed(*peer), now.into());
            self.tracker.remove_peer(peer);
            self.sightings.remove_peer(peer);
            self.sizes.handle(size::Input::Removed(*peer), now);
            self.size_responder.remove_peer(peer);
            self.node_prober
                .handle(node_echo::Input::Removed(*peer), now);
            self.node_responder.remove_peer(peer);
            self.inert_times.remove(peer);
            self.unsolicited.remove(peer);
            self.suspects.remove(peer);
            self.back.remove(peer);
        }
        for peer in &changes.added {
            let room = [
                self.responder.add_peer(*peer),
                self.tracker.add_peer(*peer),
                self.sightings.add_peer(*peer),
                self.size_responder.add_peer(*peer),
                self.node_responder.add_peer(*peer),
            ];
            if room.contains(&false) {
                warn!(peer = %peer.short(), "more peers than this agent follows: this one is left out");
                continue;
            }
            self.prober
                .handle(echo::Input::PeerAdded(*peer), now.into());
        }
    }

    /// Keeps the addresses that are asked in step with the device.
    pub(crate) fn aim_at_nodes(&mut self, peers: &Peers, now: Moment) {
        for (peer, _) in peers.facts() {
            let at = peers.node_addresses(&peer);
            self.node_prober
                .handle(node_echo::Input::Aim { peer, at }, now);
        }
        self.prober.lend_to_others(!self.node_prober.is_idle());
    }

    pub(crate) fn on_event(&mut self, event: echo::Event, now: Moment) {
        match event {
            echo::Event::LossBegan { peer, .. } => {
                debug!(peer = %peer.short(), "an echo was lost");
                self.suspects.insert(peer);
                self.node_prober
                    .handle(node_echo::Input::Doubted(peer), now);
            }
            echo::Event::LossEnded { peer, lost, .. } => {
                debug!(peer = %peer.short(), "the echo is answered again");
                self.suspects.remove(&peer);
                self.recovered = true;
                self.node_prober.handle(node_echo::Input::Back(peer), now);
                if lost >= size::CONFIRMING_LOSSES {
                    self.back.insert(peer);
                }
            }
            echo::Event::Refused { .. } => {}
        }
    }

    /// Keeps the inert prober's suspects and their endpoints in step with the echo.
    pub(crate) fn suspect(&mut self, peers: &Peers, now: Moment) {
        let under: BTreeSet<PublicKey> = self.suspects.clone();
        for peer in &under {
            // Without an endpoint there is no five-tuple to try: the peer has to dial.
            if let Some(endpoint) = peers.fact(peer).and_then(|fact| fact.endpoint) {
                self.inert.handle(
                    inert::Input::Suspect {
                        peer: *peer,
                        endpoint,
                    },
                    now.into(),
                );
            }
        }
        let cleared: Vec<PublicKey> = self
            .inert_times
            .keys()
            .filter(|peer| !under.contains(peer))
            .copied()
            .collect();
        for peer in cleared {
            self.inert.handle(inert::Input::Cleared(peer), now.into());
        }
    }

    /// Keeps the ways of full-size packets in step with the device: where they go, and how long they may be.
    pub(crate) fn aim(&mut self, peers: &Peers, full: Option<u16>, now: Moment) {
        for peer in std::mem::take(&mut self.back) {
            self.sizes.handle(size::Input::Back(peer), now);
        }
        for (peer, _) in peers.facts() {
            let endpoint = self
                .beside_a_hole(peers, &peer)
                .map(|to| to.ip().to_canonical());
            let outer = endpoint.zip(full).map(|(to, full)| outer(full, to));
            let ways = [
                (Layer::Underlay, endpoint, outer),
                (Layer::Tunnel, peers.address(&peer).map(Into::into), full),
                (Layer::Overlay, peers.node_address(&peer), full),
            ];
            for (layer, to, full) in ways {
                let input = match to.zip(full) {
                    Some((to, full)) => size::Input::Target {
                        peer,
                        layer,
                        to,
                        full,
                    },
                    None => size::Input::NoTarget(peer, layer),
                };
                self.sizes.handle(input, now);
            }
        }
    }

    /// The endpoint of a peer on whose way through the tunnel a search has found a hole: only then is the way past it tried.
    fn beside_a_hole(&self, peers: &Peers, peer: &PublicKey) -> Option<SocketAddr> {
        let sizes = self.sizes.sizes(peer);
        let tunnel = sizes.iter().find(|sizes| sizes.layer == Layer::Tunnel)?;
        tunnel.bracket?;
        peers.fact(peer)?.endpoint
    }

    /// Datagrams to another address say nothing of the way to this one: they are forgotten.
    pub(crate) fn remember_inert(&mut self, peer: PublicKey, to: SocketAddr, at: Moment) {
        let (last, times) = self
            .inert_times
            .entry(peer)
            .or_insert((to, VecDeque::new()));
        if std::mem::replace(last, to) != to {
            times.clear();
        }
        if times.len() == limits::INERT_TIMES {
            times.pop_front();
        }
        times.push_back(at);
    }

    pub(crate) fn facts(&self, peers: &Peers, facts: &mut Facts) {
        for (key, _) in peers.facts() {
            if let Some(stats) = self.prober.stats(&key) {
                facts.insert(Fact::EchoSent(key, facts::echo_sent(&stats)));
            }
            let echo = NodeEcho {
                asked: self.node_prober.asked(&key),
                heard: self.node_responder.heard(&key),
            };
            if !echo.is_empty() {
                facts.insert(Fact::NodeEcho(key, Box::new(echo)));
            }
            if let Some(stats) = self.responder.heard(&key).filter(|stats| stats.heard > 0) {
                facts.insert(Fact::EchoHeard(key, facts::echo_heard(&stats)));
            }
            let times: Vec<Moment> = self
                .inert_times
                .get(&key)
                .map(|(_, times)| times.iter().copied().collect())
                .unwrap_or_default();
            if let Some(inert) = facts::inert(
                self.inert.stats(&key),
                &times,
                self.unsolicited.get(&key).copied(),
                self.tracker.heard(&key).as_ref(),
            ) {
                facts.insert(Fact::Inert(key, Box::new(inert)));
            }
            let initiated = facts::initiated(&self.sightings, &key);
            if !initiated.is_empty() {
                facts.insert(Fact::Initiated(key, initiated));
            }
            let sizes = self.sizes.sizes(&key);
            if !sizes.is_empty() {
                facts.insert(Fact::Sizes(key, sizes));
            }
        }
        let arrivals = facts::arrivals(&self.sightings);
        if !arrivals.is_empty() {
            facts.insert(Fact::Arrivals(arrivals));
        }
    }
}

/// Bytes of the header and the tag of a data message.
const DATA_MESSAGE: usize = 16 + 16;

/// What the tunnel makes of a packet of full size on its way to an endpoint.
fn outer(full: u16, endpoint: IpAddr) -> u16 {
    let added = headers_length(endpoint) + DATA_MESSAGE;
    full.saturating_add(u16::try_from(added).unwrap_or(u16::MAX))
}
