//! Which handshake datagrams were seen leaving and arriving.
//!
//! Pure bookkeeping for a tap. With the initiations one node saw leaving and the arrivals another saw, a reader of both
//! can say where a handshake was last seen: their session indices are the same.

mod arrivals;
mod departures;

use std::net::SocketAddr;

use evidence::{Moment, PublicKey};

pub use arrivals::{Arrival, MAX_ARRIVALS};
pub use departures::{Initiated, MAX_INITIATED};

use crate::{
    sightings::{arrivals::Arrivals, departures::Departures},
    wireguard::{Handshake, Initiation, Mac1Key},
};

/// Which way a datagram went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It left this node.
    Out,
    /// It came to this node.
    In,
}

/// One handshake datagram that the tap saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which way it went.
    pub direction: Direction,
    /// The other end: destination of what leaves, source of what comes.
    pub remote: SocketAddr,
    /// What it is.
    pub handshake: Handshake,
}

/// Datagrams by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounters {
    /// Initiations.
    pub initiations: u64,
    /// Responses.
    pub responses: u64,
    /// Cookie replies.
    pub cookie_replies: u64,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SightingCounters {
    /// Datagrams that left.
    pub outgoing: KindCounters,
    /// Datagrams that came.
    pub incoming: KindCounters,
    /// Datagrams seen a second time, on another interface of the same node.
    pub seen_twice: u64,
    /// Initiations that left for a key that is not a known peer's.
    pub outgoing_unattributed: u64,
    /// Incoming initiations whose `mac1` was made for another key than ours.
    pub incoming_for_another_key: u64,
    /// Responses and cookie replies that came for no remembered initiation.
    pub incoming_unmatched: u64,
    /// Responses and cookie replies that left for no remembered arrival.
    pub outgoing_unmatched: u64,
    /// Peers beyond [`crate::MAX_PEERS`] that were not added.
    pub peers_refused: u64,
}

/// Remembers the latest handshake datagrams: per peer those that left, for the whole node those that came.
///
/// The receiver of an initiation that leaves is told by its `mac1`, which is keyed with the peer's public key; the sender
/// of one that comes cannot be told without decrypting, so arrivals are not sorted by peer.
#[derive(Clone, Debug, Default)]
pub struct Sightings {
    own: Option<Mac1Key>,
    departures: Departures,
    arrivals: Arrivals,
    counters: SightingCounters,
}

impl Sightings {
    /// `own` is this node's public key, if it is known yet.
    pub fn new(own: Option<&PublicKey>) -> Self {
        Self {
            own: own.map(Mac1Key::of),
            ..Self::default()
        }
    }

    /// Arrivals from now on are checked against this key; earlier ones keep what was known then.
    pub fn set_own_key(&mut self, own: &PublicKey) {
        self.own = Some(Mac1Key::of(own));
    }

    /// Initiations to this peer are attributed from now on. False if there are [`crate::MAX_PEERS`] already.
    pub fn add_peer(&mut self, peer: PublicKey) -> bool {
        let room = self.departures.add(peer);
        self.counters.peers_refused += u64::from(!room);
        room
    }

    /// Forgets a peer and the initiations to it.
    pub fn remove_peer(&mut self, peer: &PublicKey) {
        self.departures.remove(peer);
    }

    /// Records one datagram.
    pub fn handle(&mut self, sighting: &Sighting, now: Moment) {
        let Sighting {
            direction,
            remote,
            handshake,
        } = sighting;
        match direction {
            Direction::Out => self.counters.outgoing.count(handshake),
            Direction::In => self.counters.incoming.count(handshake),
        }
        match (direction, handshake) {
            (Direction::Out, Handshake::Initiation(initiation)) => {
                self.initiation_left(initiation, *remote, now);
            }
            (Direction::In, Handshake::Initiation(initiation)) => {
                self.initiation_came(initiation, *remote, now);
            }
            (Direction::In, Handshake::Response { receiver_index, .. }) => {
                let matched = self.departures.answered(*receiver_index, now);
                self.counters.incoming_unmatched += u64::from(!matched);
            }
            (Direction::In, Handshake::CookieReply { receiver_index }) => {
                let matched = self.departures.refused_with_cookie(*receiver_index, now);
                self.counters.incoming_unmatched += u64::from(!matched);
            }
            (Direction::Out, Handshake::Response { receiver_index, .. }) => {
                let matched = self.arrivals.answered(*receiver_index, *remote, now);
                self.counters.outgoing_unmatched += u64::from(!matched);
            }
            (Direction::Out, Handshake::CookieReply { receiver_index }) => {
                let matched = self
                    .arrivals
                    .refused_with_cookie(*receiver_index, *remote, now);
                self.counters.outgoing_unmatched += u64::from(!matched);
            }
        }
    }

    /// The latest initiations that left for a peer, oldest first; empty if there were none.
    pub fn initiated(&self, peer: &PublicKey) -> impl Iterator<Item = &Initiated> {
        self.departures.of(peer)
    }

    /// The known peers, in the order of their keys.
    pub fn peers(&self) -> impl Iterator<Item = &PublicKey> {
        self.departures.peers()
    }

    /// The latest initiations that came, oldest first.
    pub fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.arrivals.iter()
    }

    /// What was counted.
    pub const fn counters(&self) -> &SightingCounters {
        &self.counters
    }

    fn initiation_left(&mut self, initiation: &Initiation, to: SocketAddr, now: Moment) {
        if self.departures.holds(initiation.sender_index(), to, now) {
            self.counters.seen_twice += 1;
        } else if !self.departures.record(initiation, to, now) {
            self.counters.outgoing_unattributed += 1;
        }
    }

    fn initiation_came(&mut self, initiation: &Initiation, from: SocketAddr, now: Moment) {
        if self.arrivals.holds(initiation.sender_index(), from, now) {
            self.counters.seen_twice += 1;
            return;
        }
        let for_us = self.own.as_ref().map(|own| initiation.matches(own));
        self.counters.incoming_for_another_key += u64::from(for_us == Some(false));
        self.arrivals
            .record(initiation.sender_index(), from, for_us, now);
    }
}

impl KindCounters {
    const fn count(&mut self, handshake: &Handshake) {
        match handshake {
            Handshake::Initiation(_) => self.initiations += 1,
            Handshake::Response { .. } => self.responses += 1,
            Handshake::CookieReply { .. } => self.cookie_replies += 1,
        }
    }
}

#[cfg(test)]
mod tests;
