//! What inert datagrams were heard, and from where.

use std::{collections::BTreeMap, net::SocketAddr};

use evidence::{Moment, PublicKey};
use thiserror::Error;

use super::Datagram;
use crate::{HeardStats, MAX_PEERS, ProbeKey, Refusal, WireCounters, WireError, hearing::Hearing};

/// What was heard of one sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InertHeard {
    /// How much, when, and with what loss.
    pub stats: HeardStats,
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
    /// Heard before, too old, or of a former session.
    #[error(transparent)]
    Replay(Refusal),
}

/// How often what became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerCounters {
    /// Datagrams that counted.
    pub heard: u64,
    /// Bytes that were no inert datagram of this mesh.
    pub malformed: WireCounters,
    /// Datagrams for another node.
    pub not_for_me: u64,
    /// Datagrams of nodes that are not known.
    pub unknown_peer: u64,
    /// Replays of any kind, and what a path duplicated.
    pub replayed: u64,
    /// Peers beyond [`MAX_PEERS`] that were not added.
    pub peers_refused: u64,
}

/// Counts inert datagrams per known sender, safe against replays.
#[derive(Debug)]
pub struct InertTracker {
    me: PublicKey,
    key: ProbeKey,
    peers: BTreeMap<PublicKey, Peer>,
    counters: TrackerCounters,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    hearing: Hearing,
    heard_from: Option<SocketAddr>,
}

impl InertTracker {
    /// Knows no peer yet.
    pub fn new(me: PublicKey, key: ProbeKey) -> Self {
        Self {
            me,
            key,
            peers: BTreeMap::new(),
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

    /// Judges the payload of one datagram that the tap saw arriving; tells whose it is if it counts.
    pub fn handle(
        &mut self,
        payload: &[u8],
        from: SocketAddr,
        now: Moment,
    ) -> Result<PublicKey, InertReject> {
        let judged = self.judge(payload, from, now);
        match judged {
            Ok(_) => self.counters.heard += 1,
            Err(reject) => self.counters.count(reject),
        }
        judged
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

    fn judge(
        &mut self,
        payload: &[u8],
        from: SocketAddr,
        now: Moment,
    ) -> Result<PublicKey, InertReject> {
        let datagram = Datagram::decode(payload, &self.key).map_err(InertReject::Malformed)?;
        if datagram.receiver != self.me {
            return Err(InertReject::NotForMe(datagram.receiver));
        }
        let sender = datagram.sender;
        let peer = self
            .peers
            .get_mut(&sender)
            .ok_or(InertReject::UnknownPeer(sender))?;
        peer.hearing
            .hear(datagram.session, datagram.sequence, now)
            .map_err(InertReject::Replay)?;
        peer.heard_from = Some(from);
        Ok(sender)
    }
}

impl Peer {
    fn heard(&self) -> InertHeard {
        InertHeard {
            stats: self.hearing.stats(),
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
            InertReject::Replay(_) => &mut self.replayed,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: PublicKey = PublicKey::from_bytes([1; 32]);
    const PEER: PublicKey = PublicKey::from_bytes([2; 32]);
    const NOW: Moment = Moment::from_millis(7);

    fn key() -> ProbeKey {
        ProbeKey::from_bytes([9; 32])
    }

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([198, 51, 100, 2], port))
    }

    fn payload(sender: PublicKey, receiver: PublicKey, sequence: u64) -> Vec<u8> {
        Datagram {
            sender,
            receiver,
            session: 4,
            sequence,
        }
        .encode(&key())
        .to_vec()
    }

    fn tracker() -> InertTracker {
        let mut tracker = InertTracker::new(ME, key());
        tracker.add_peer(PEER);
        tracker
    }

    #[test]
    fn the_latest_source_of_a_sender_is_remembered() {
        let mut tracker = tracker();
        assert_eq!(
            tracker.handle(&payload(PEER, ME, 0), from(51820), NOW),
            Ok(PEER)
        );
        assert_eq!(
            tracker.handle(&payload(PEER, ME, 1), from(40000), NOW),
            Ok(PEER)
        );
        let heard = tracker.heard(&PEER).unwrap();
        assert_eq!((heard.stats.heard, heard.stats.last_heard), (2, Some(NOW)));
        assert_eq!(heard.heard_from, Some(from(40000)));
    }

    #[test]
    fn a_replay_from_elsewhere_changes_nothing_but_the_count_of_replays() {
        let mut tracker = tracker();
        tracker
            .handle(&payload(PEER, ME, 0), from(51820), NOW)
            .unwrap();
        let again = tracker.handle(&payload(PEER, ME, 0), from(6), NOW);
        assert_eq!(again, Err(InertReject::Replay(Refusal::Duplicate)));
        assert_eq!(tracker.heard(&PEER).unwrap().heard_from, Some(from(51820)));
        assert_eq!(tracker.counters().replayed, 1);
    }

    #[test]
    fn strangers_and_misdirected_datagrams_are_counted_apart() {
        let mut tracker = tracker();
        let stranger = PublicKey::from_bytes([3; 32]);
        let of = |tracker: &mut InertTracker, sender, receiver| {
            tracker.handle(&payload(sender, receiver, 0), from(1), NOW)
        };
        assert_eq!(
            of(&mut tracker, stranger, ME),
            Err(InertReject::UnknownPeer(stranger))
        );
        assert_eq!(
            of(&mut tracker, PEER, stranger),
            Err(InertReject::NotForMe(stranger))
        );
        assert!(tracker.handle(&[0], from(1), NOW).is_err());
        let counters = tracker.counters();
        assert_eq!(
            (
                counters.unknown_peer,
                counters.not_for_me,
                counters.malformed.length
            ),
            (1, 1, 1)
        );
    }
}
