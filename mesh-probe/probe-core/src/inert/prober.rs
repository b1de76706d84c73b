//! Sends inert datagrams to peers that are under suspicion.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use evidence::{Moment, PublicKey};

use super::{Datagram, LENGTH};
use crate::{MAX_PEERS, ProbeKey, budget::Budget};

/// Inert datagrams that leave a node in any one second, at most.
pub const MAX_PER_SECOND: u32 = 5;
/// Datagrams of one suspicion that are sent quickly.
pub const QUICK_PROBES: u32 = 5;
/// Time between those.
pub const QUICK_SPACING: Duration = Duration::from_secs(1);
/// Time between the later ones: often enough to see a healed path, rarely enough to let NAT state age.
pub const SLOW_SPACING: Duration = Duration::from_secs(10);

const IDLE: Duration = Duration::from_hours(1);

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// A pair is in doubt. Said again, it only moves the endpoint.
    Suspect {
        /// The other end.
        peer: PublicKey,
        /// Where its tunnel is dialled.
        endpoint: SocketAddr,
    },
    /// The doubt is over. Counts are kept.
    Cleared(PublicKey),
    /// The peer is gone. Counts are forgotten.
    Removed(PublicKey),
    /// Time passed.
    Tick,
}

/// What the machine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes from the tunnel's port to this endpoint, now.
    Transmit {
        /// Whom they are for.
        peer: PublicKey,
        /// Where to.
        to: SocketAddr,
        /// An inert datagram.
        bytes: [u8; LENGTH],
    },
    /// Nothing more. The next input is awaited, at the latest a [`Input::Tick`] at this moment.
    Wait {
        /// When to tick.
        until: Moment,
        /// What for.
        reason: Reason,
    },
}

/// What a [`Output::Wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The next datagram of a suspicion.
    NextProbe,
    /// One is due, but this second's budget is spent.
    Budget,
    /// Nobody is under suspicion.
    NoSuspicion,
}

/// What was sent to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InertStats {
    /// Datagrams of all suspicions.
    pub sent: u64,
    /// When the latest left.
    pub last_sent: Option<Moment>,
    /// Where it went.
    pub to: Option<SocketAddr>,
}

/// What was thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InertCounters {
    /// Suspicions that found no room among [`MAX_PEERS`].
    pub suspicions_refused: u64,
}

/// Sends to each suspect one datagram a second, five times, then one every ten seconds until it is cleared.
///
/// The driver hands in one input with the time, then drains [`InertProber::poll`] until it says [`Output::Wait`]. What is
/// handed out counts as sent.
#[derive(Debug)]
pub struct InertProber {
    me: PublicKey,
    key: ProbeKey,
    session: u64,
    peers: BTreeMap<PublicKey, Peer>,
    budget: Budget,
    counters: InertCounters,
    now: Moment,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    suspicion: Option<Suspicion>,
    stats: InertStats,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    endpoint: SocketAddr,
    sent: u32,
    due: Moment,
}

impl InertProber {
    /// `session` must be random per process.
    pub fn new(me: PublicKey, key: ProbeKey, session: u64) -> Self {
        Self {
            me,
            key,
            session,
            peers: BTreeMap::new(),
            budget: Budget::per_second(usize::try_from(MAX_PER_SECOND).unwrap_or(1)),
            counters: InertCounters::default(),
            now: Moment::ZERO,
        }
    }

    /// Takes one input. `now` never goes back.
    pub fn handle(&mut self, input: Input, now: Moment) {
        self.now = now;
        match input {
            Input::Suspect { peer, endpoint } => self.suspect(peer, endpoint),
            Input::Cleared(peer) => self.clear(&peer),
            Input::Removed(peer) => drop(self.peers.remove(&peer)),
            Input::Tick => {}
        }
    }

    /// What to do next; see the contract above.
    pub fn poll(&mut self) -> Output {
        let Some((peer, due)) = self.next() else {
            return Output::Wait {
                until: self.now.plus(IDLE),
                reason: Reason::NoSuspicion,
            };
        };
        match self.budget.busy_until(self.now) {
            Some(free) if free > due => Output::Wait {
                until: free,
                reason: Reason::Budget,
            },
            _ if due > self.now => Output::Wait {
                until: due,
                reason: Reason::NextProbe,
            },
            _ => self.transmit(peer),
        }
    }

    /// What was sent to one peer; `None` if it never was under suspicion.
    pub fn stats(&self, peer: &PublicKey) -> Option<InertStats> {
        self.peers.get(peer).map(|peer| peer.stats)
    }

    /// What was sent to every peer that ever was under suspicion, in the order of their keys.
    pub fn peers(&self) -> impl Iterator<Item = (PublicKey, InertStats)> {
        self.peers.iter().map(|(key, peer)| (*key, peer.stats))
    }

    /// What was thrown away.
    pub const fn counters(&self) -> &InertCounters {
        &self.counters
    }

    fn suspect(&mut self, key: PublicKey, endpoint: SocketAddr) {
        if self.peers.len() >= MAX_PEERS && !self.peers.contains_key(&key) {
            self.counters.suspicions_refused += 1;
            return;
        }
        let peer = self.peers.entry(key).or_default();
        if let Some(suspicion) = &mut peer.suspicion {
            suspicion.endpoint = endpoint;
            return;
        }
        // A doubt that flickers does not send more often than one that stays.
        let rested = peer
            .stats
            .last_sent
            .map_or(self.now, |sent| sent.plus(QUICK_SPACING));
        peer.suspicion = Some(Suspicion {
            endpoint,
            sent: 0,
            due: rested.max(self.now),
        });
    }

    fn clear(&mut self, key: &PublicKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.suspicion = None;
        }
    }

    fn next(&self) -> Option<(PublicKey, Moment)> {
        let due = |(key, peer): (&PublicKey, &Peer)| {
            peer.suspicion.map(|suspicion| (*key, suspicion.due))
        };
        self.peers
            .iter()
            .filter_map(due)
            .min_by_key(|(_, due)| *due)
    }

    fn transmit(&mut self, key: PublicKey) -> Output {
        let now = self.now;
        let sent = self.peers.get_mut(&key).and_then(|peer| peer.take(now));
        let Some((to, sequence)) = sent else {
            return Output::Wait {
                until: now,
                reason: Reason::NextProbe,
            };
        };
        self.budget.take(now);
        let datagram = Datagram {
            sender: self.me,
            receiver: key,
            session: self.session,
            sequence,
        };
        Output::Transmit {
            peer: key,
            to,
            bytes: datagram.encode(&self.key),
        }
    }
}

impl Peer {
    fn take(&mut self, now: Moment) -> Option<(SocketAddr, u64)> {
        let suspicion = self.suspicion.as_mut()?;
        suspicion.sent = suspicion.sent.saturating_add(1);
        let spacing = if suspicion.sent < QUICK_PROBES {
            QUICK_SPACING
        } else {
            SLOW_SPACING
        };
        suspicion.due = now.plus(spacing);
        let sequence = self.stats.sent;
        self.stats = InertStats {
            sent: sequence + 1,
            last_sent: Some(now),
            to: Some(suspicion.endpoint),
        };
        Some((suspicion.endpoint, sequence))
    }
}

#[cfg(test)]
mod tests;
