//! What inert probes were heard, from where, and what they are answered.

use std::{collections::BTreeMap, net::SocketAddr};

use evidence::{Moment, PublicKey};
use thiserror::Error;

use super::{Datagram, LENGTH, Probe, Reply, SourcePort};
use crate::{
    HeardStats, MAX_PEERS, ProbeKey, Refusal, Stamp, WireCounters, WireError, budget::Budget,
    hearing::Hearing,
};

/// Replies that leave a node in any one second, at most: as many as probes.
pub const MAX_REPLIES_PER_SECOND: usize = 5;
/// Replies to one peer in any one second: a prober sends one a second, and a path may bunch them.
pub const MAX_REPLIES_PER_PEER: usize = 2;

/// An inert datagram as the tap saw it arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// What it carries.
    pub payload: &'a [u8],
    /// Its source as it looks from here.
    pub from: SocketAddr,
    /// The TTL or hop limit that was left to it.
    pub hop_limit: u8,
    /// When it passed the interface.
    pub at: Stamp,
}

/// A probe that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Who sent it.
    pub peer: PublicKey,
    /// What to send back from the tunnel's port to where it came from; `None` if it is unsolicited, or enough was sent lately.
    pub reply: Option<[u8; LENGTH]>,
}

/// What was heard of one sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InertHeard {
    /// How much, when, and with what loss.
    pub stats: HeardStats,
    /// When the latest unsolicited one came.
    pub last_unsolicited: Option<Moment>,
    /// The source of the latest: the sender as it looks from here, behind its NAT.
    pub heard_from: Option<SocketAddr>,
}

/// Why a datagram does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InertReject {
    /// Not an inert datagram of this mesh.
    #[error(transparent)]
    Malformed(WireError),
    /// Meant for another node: an endpoint of somebody else leads here.
    #[error("inert datagram is for {:?}", .0)]
    NotForMe(PublicKey),
    /// The sender is not one of the known peers.
    #[error("inert datagram is from {:?}, which is not a known peer", .0)]
    UnknownPeer(PublicKey),
    /// A reply: for the [`InertProber`](super::InertProber).
    #[error("inert datagram is a reply")]
    NotAProbe,
    /// Heard before, too old, or of a former session.
    #[error(transparent)]
    Replay(Refusal),
}

/// How often what became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerCounters {
    /// Probes that counted.
    pub heard: u64,
    /// Unsolicited probes that counted.
    pub unsolicited: u64,
    /// Bytes that were no inert datagram of this mesh.
    pub malformed: WireCounters,
    /// Datagrams for another node.
    pub not_for_me: u64,
    /// Datagrams of nodes that are not known.
    pub unknown_peer: u64,
    /// Replays of any kind, and what a path duplicated.
    pub replayed: u64,
    /// Replies handed out.
    pub replied: u64,
    /// Probes that counted and are not answered, because enough was lately.
    pub replies_withheld: u64,
    /// Peers beyond [`MAX_PEERS`] that were not added.
    pub peers_refused: u64,
}

/// Counts inert datagrams per known sender, safe against replays.
#[derive(Debug)]
pub struct InertTracker {
    me: PublicKey,
    key: ProbeKey,
    peers: BTreeMap<PublicKey, Peer>,
    budget: Budget,
    counters: TrackerCounters,
}

#[derive(Clone, Debug)]
struct Peer {
    hearing: Hearing,
    unsolicited: Hearing,
    heard_from: Option<SocketAddr>,
    budget: Budget,
}

impl InertTracker {
    /// Knows no peer yet.
    pub fn new(me: PublicKey, key: ProbeKey) -> Self {
        Self {
            me,
            key,
            peers: BTreeMap::new(),
            budget: Budget::per_second(MAX_REPLIES_PER_SECOND),
            counters: TrackerCounters::default(),
        }
    }

    /// Counts this peer from now on. False if there are [`MAX_PEERS`] already.
    pub fn add_peer(&mut self, peer: PublicKey) -> bool {
        let room = self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer);
        if room {
            self.peers.entry(peer).or_default();
        } else {
            self.counters.peers_refused += 1;
        }
        room
    }

    /// Forgets this peer.
    pub fn remove_peer(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }

    /// Judges one datagram that the tap saw arriving; tells whose it is if it counts. `now` never goes back.
    ///
    /// A replay is not answered, and a reply is as long as its probe and no more frequent: this node can neither be made
    /// to answer a recording nor to send more than it was sent.
    pub fn handle(&mut self, arrived: &Arrived<'_>, now: Stamp) -> Result<Counted, InertReject> {
        let judged = self.judge(arrived);
        let (probe, from) = judged.inspect_err(|reject| self.counters.count(*reject))?;
        let reply = match from {
            SourcePort::Tunnel => {
                self.counters.heard += 1;
                self.reply(&probe, arrived, now)
            }
            SourcePort::Fresh => {
                self.counters.unsolicited += 1;
                None
            }
        };
        Ok(Counted {
            peer: probe.sender,
            reply,
        })
    }

    /// What was heard of one peer.
    pub fn heard(&self, peer: &PublicKey) -> Option<InertHeard> {
        self.peers.get(peer).map(Peer::heard)
    }

    /// What was heard of every peer, in the order of their keys.
    pub fn peers(&self) -> impl Iterator<Item = (PublicKey, InertHeard)> {
        self.peers.iter().map(|(key, peer)| (*key, peer.heard()))
    }

    /// How often what became of datagrams.
    pub const fn counters(&self) -> &TrackerCounters {
        &self.counters
    }

    fn judge(&mut self, arrived: &Arrived<'_>) -> Result<(Probe, SourcePort), InertReject> {
        let datagram =
            Datagram::decode(arrived.payload, &self.key).map_err(InertReject::Malformed)?;
        let (probe, from) = match datagram {
            Datagram::Probe(probe) => (probe, SourcePort::Tunnel),
            Datagram::Unsolicited(probe) => (probe, SourcePort::Fresh),
            Datagram::Reply(_) => return Err(InertReject::NotAProbe),
        };
        if probe.receiver != self.me {
            return Err(InertReject::NotForMe(probe.receiver));
        }
        let peer = self
            .peers
            .get_mut(&probe.sender)
            .ok_or(InertReject::UnknownPeer(probe.sender))?;
        let hearing = match from {
            SourcePort::Tunnel => &mut peer.hearing,
            SourcePort::Fresh => &mut peer.unsolicited,
        };
        hearing
            .hear(probe.session, probe.sequence, arrived.at.moment())
            .map_err(InertReject::Replay)?;
        if from == SourcePort::Tunnel {
            peer.heard_from = Some(arrived.from);
        }
        Ok((probe, from))
    }

    fn reply(&mut self, probe: &Probe, arrived: &Arrived<'_>, now: Stamp) -> Option<[u8; LENGTH]> {
        let moment = now.moment();
        let budgets = [
            &mut self.budget,
            &mut self.peers.get_mut(&probe.sender)?.budget,
        ];
        if budgets
            .iter()
            .any(|budget| budget.busy_until(moment).is_some())
        {
            self.counters.replies_withheld += 1;
            return None;
        }
        for budget in budgets {
            budget.take(moment);
        }
        self.counters.replied += 1;
        let reply = Datagram::Reply(Reply {
            answers: Probe {
                sender: self.me,
                receiver: probe.sender,
                ..*probe
            },
            mapped: arrived.from,
            hop_limit: arrived.hop_limit,
            received: arrived.at,
            answered: now,
        });
        Some(reply.encode(&self.key))
    }
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            hearing: Hearing::default(),
            unsolicited: Hearing::default(),
            heard_from: None,
            budget: Budget::per_second(MAX_REPLIES_PER_PEER),
        }
    }
}

impl Peer {
    fn heard(&self) -> InertHeard {
        InertHeard {
            stats: self.hearing.stats(),
            last_unsolicited: self.unsolicited.stats().last_heard,
            heard_from: self.heard_from,
        }
    }
}

impl TrackerCounters {
    const fn count(&mut self, reject: InertReject) {
        let counter = match reject {
            InertReject::Malformed(error) => return self.malformed.count(error),
            InertReject::NotForMe(_) => &mut self.not_for_me,
            InertReject::UnknownPeer(_) => &mut self.unknown_peer,
            InertReject::NotAProbe => return,
            InertReject::Replay(_) => &mut self.replayed,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests;
