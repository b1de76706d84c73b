//! Answers packets of many sizes with short tallies.

use std::collections::BTreeMap;

use evidence::{Layer, Moment, PublicKey};
use thiserror::Error;

use super::{Datagram, Kind, MAX_AT_ONCE, TALLY_LENGTH};
use crate::{
    MAX_PEERS, ProbeKey, Refusal, WireCounters, WireError, budget::Budget, hearing::Hearing,
};

/// Packets of one peer that are answered in any one second: two rounds of a search, each seen twice, and two single ones.
const ANSWERS_PER_SECOND: usize = 4 * MAX_AT_ONCE + 4;

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// At an interface, by the tap, before any firewall of the host.
    AtInterface,
    /// Behind the firewall, where the receiving program is.
    Delivered,
}

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SizeReject {
    /// Not a size probe of this mesh.
    #[error(transparent)]
    Malformed(WireError),
    /// A tally: for the prober.
    #[error("datagram is a tally")]
    NotAProbe,
    /// Meant for another node.
    #[error("size probe is for {:?}", .0)]
    NotForMe(PublicKey),
    /// The sender is not one of the known peers.
    #[error("size probe is from {:?}, which is not a known peer", .0)]
    UnknownPeer(PublicKey),
    /// It came on another way than it was sent, or was cut on it.
    #[error("size probe does not look as it was sent")]
    Altered,
    /// Heard before, too old, or of a former session.
    #[error(transparent)]
    Replay(Refusal),
    /// More than this peer is answered.
    #[error("peer asks more than {ANSWERS_PER_SECOND} times a second")]
    RateLimited,
}

/// How often what became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeResponderCounters {
    /// Tallies that were made.
    pub answered: u64,
    /// Bytes that were no size probe of this mesh.
    pub malformed: WireCounters,
    /// Tallies.
    pub not_a_probe: u64,
    /// Probes for another node.
    pub not_for_me: u64,
    /// Probes of nodes that are not known.
    pub unknown_peer: u64,
    /// Probes of another length or on another way than they say.
    pub altered: u64,
    /// Replays of any kind.
    pub replayed: u64,
    /// Probes over the limit.
    pub rate_limited: u64,
    /// Peers beyond [`MAX_PEERS`] that were not added.
    pub peers_refused: u64,
}

/// The answering side of the size probes.
#[derive(Debug)]
pub struct SizeResponder {
    me: PublicKey,
    key: ProbeKey,
    peers: BTreeMap<PublicKey, Peer>,
    counters: SizeResponderCounters,
}

#[derive(Clone, Debug)]
struct Peer {
    hearings: BTreeMap<Seen, Hearing>,
    budget: Budget,
    runs: BTreeMap<Layer, Run>,
}

/// What has arrived of the newest run on one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    session: u64,
    id: u32,
    arrived: u32,
    seen: u32,
}

impl SizeResponder {
    /// Knows no peer yet.
    pub fn new(me: PublicKey, key: ProbeKey) -> Self {
        Self {
            me,
            key,
            peers: BTreeMap::new(),
            counters: SizeResponderCounters::default(),
        }
    }

    /// Answers this peer from now on. False if there are [`MAX_PEERS`] already.
    pub fn add_peer(&mut self, peer: PublicKey) -> bool {
        let room = self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer);
        if room {
            self.peers.entry(peer).or_insert_with(Peer::new);
        } else {
            self.counters.peers_refused += 1;
        }
        room
    }

    /// Forgets this peer.
    pub fn remove_peer(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }

    /// Judges a datagram that was seen on `layer` in an IP packet of `packet` bytes. `payload` may be cut off behind what it
    /// says. Tells whom to answer, through the tunnel, and what.
    pub fn handle(
        &mut self,
        payload: &[u8],
        (layer, seen): (Layer, Seen),
        packet: usize,
        now: Moment,
    ) -> Result<(PublicKey, [u8; TALLY_LENGTH]), SizeReject> {
        let judged = self.judge(payload, (layer, seen), packet, now);
        match &judged {
            Ok(_) => self.counters.answered += 1,
            Err(reject) => self.counters.count(*reject),
        }
        judged.map(|tally| (tally.receiver, tally.encode(&self.key)))
    }

    /// How often what became of datagrams.
    pub const fn counters(&self) -> &SizeResponderCounters {
        &self.counters
    }

    fn judge(
        &mut self,
        payload: &[u8],
        (layer, seen): (Layer, Seen),
        packet: usize,
        now: Moment,
    ) -> Result<Datagram, SizeReject> {
        let probe = Datagram::decode(payload, &self.key).map_err(SizeReject::Malformed)?;
        if probe.kind != Kind::Probe {
            return Err(SizeReject::NotAProbe);
        }
        if probe.receiver != self.me {
            return Err(SizeReject::NotForMe(probe.receiver));
        }
        let bit = 1_u32.checked_shl(u32::from(probe.place));
        let as_sent = probe.layer == layer && usize::from(probe.size) == packet;
        let bit = bit.filter(|_| as_sent).ok_or(SizeReject::Altered)?;
        let peer = self
            .peers
            .get_mut(&probe.sender)
            .ok_or(SizeReject::UnknownPeer(probe.sender))?;
        peer.hearings
            .entry(seen)
            .or_default()
            .hear(probe.session, probe.sequence, now)
            .map_err(SizeReject::Replay)?;
        let run = peer.tally(&probe, seen, bit);
        if peer.budget.busy_until(now).is_some() {
            return Err(SizeReject::RateLimited);
        }
        peer.budget.take(now);
        Ok(Datagram {
            kind: Kind::Tally,
            sender: self.me,
            receiver: probe.sender,
            arrived: run.arrived,
            seen: run.seen,
            ..probe
        })
    }
}

impl Peer {
    fn new() -> Self {
        Self {
            hearings: BTreeMap::new(),
            budget: Budget::per_second(ANSWERS_PER_SECOND),
            runs: BTreeMap::new(),
        }
    }

    fn tally(&mut self, probe: &Datagram, seen: Seen, bit: u32) -> Run {
        let fresh = Run {
            session: probe.session,
            id: probe.run,
            arrived: 0,
            seen: 0,
        };
        let run = self.runs.entry(probe.layer).or_insert(fresh);
        if (run.session, run.id) != (fresh.session, fresh.id) {
            *run = fresh;
        }
        match seen {
            Seen::AtInterface => run.seen |= bit,
            Seen::Delivered => run.arrived |= bit,
        }
        *run
    }
}

impl SizeResponderCounters {
    const fn count(&mut self, reject: SizeReject) {
        let counter = match reject {
            SizeReject::Malformed(error) => return self.malformed.count(error),
            SizeReject::NotAProbe => &mut self.not_a_probe,
            SizeReject::NotForMe(_) => &mut self.not_for_me,
            SizeReject::UnknownPeer(_) => &mut self.unknown_peer,
            SizeReject::Altered => &mut self.altered,
            SizeReject::Replay(_) => &mut self.replayed,
            SizeReject::RateLimited => &mut self.rate_limited,
        };
        *counter += 1;
    }
}
