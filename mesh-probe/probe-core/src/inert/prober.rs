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
mod tests {
    use super::*;

    const ME: PublicKey = PublicKey::from_bytes([1; 32]);
    const PEER: PublicKey = PublicKey::from_bytes([2; 32]);

    fn prober() -> InertProber {
        InertProber::new(ME, ProbeKey::from_bytes([9; 32]), 77)
    }

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn endpoint(port: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 11], port))
    }

    fn suspect(peer: PublicKey) -> Input {
        Input::Suspect {
            peer,
            endpoint: endpoint(51820),
        }
    }

    /// Follows the machine's own deadlines; returns when it sent.
    fn run(prober: &mut InertProber, from: i64, to: i64) -> Vec<i64> {
        let mut now = from;
        let mut sent = Vec::new();
        while now < to {
            prober.handle(Input::Tick, at(now));
            now = loop {
                match prober.poll() {
                    Output::Transmit { .. } => sent.push(now),
                    Output::Wait { until, .. } => break until.as_millis(),
                }
            };
        }
        sent
    }

    #[test]
    fn a_suspicion_sends_five_times_quickly_and_then_slowly() {
        let mut prober = prober();
        prober.handle(suspect(PEER), at(0));
        assert_eq!(
            run(&mut prober, 0, 26_000),
            [0, 1000, 2000, 3000, 4000, 14_000, 24_000]
        );
        let expected = InertStats {
            sent: 7,
            last_sent: Some(at(24_000)),
            to: Some(endpoint(51820)),
        };
        assert_eq!(prober.stats(&PEER), Some(expected));
    }

    #[test]
    fn a_cleared_suspect_is_left_alone_and_its_counts_are_kept() {
        let mut prober = prober();
        prober.handle(suspect(PEER), at(0));
        run(&mut prober, 0, 500);
        prober.handle(Input::Cleared(PEER), at(500));
        assert_eq!(run(&mut prober, 500, 60_000), []);
        assert_eq!(prober.stats(&PEER).unwrap().sent, 1);
        assert!(matches!(
            prober.poll(),
            Output::Wait {
                reason: Reason::NoSuspicion,
                ..
            }
        ));
    }

    #[test]
    fn a_flickering_suspicion_sends_no_faster_than_a_lasting_one() {
        let mut prober = prober();
        let mut sent = Vec::new();
        for now in 0..5000 {
            prober.handle(suspect(PEER), at(now));
            sent.extend(run(&mut prober, now, now + 1));
            prober.handle(Input::Cleared(PEER), at(now));
        }
        assert_eq!(sent, [0, 1000, 2000, 3000, 4000]);
    }

    #[test]
    fn a_repeated_suspicion_only_moves_the_endpoint() {
        let mut prober = prober();
        prober.handle(suspect(PEER), at(0));
        run(&mut prober, 0, 5000);
        prober.handle(
            Input::Suspect {
                peer: PEER,
                endpoint: endpoint(4000),
            },
            at(5000),
        );
        assert_eq!(run(&mut prober, 5000, 15_000), [14_000]);
        assert_eq!(prober.stats(&PEER).unwrap().to, Some(endpoint(4000)));
    }

    #[test]
    fn no_second_sees_more_than_five_whatever_the_number_of_suspects() {
        let mut prober = prober();
        for number in 10..60 {
            prober.handle(suspect(PublicKey::from_bytes([number; 32])), at(0));
        }
        let sent = run(&mut prober, 0, 30_000);
        let most = sent
            .iter()
            .map(|t| sent.iter().filter(|u| (*t..t + 1000).contains(*u)).count())
            .max();
        assert_eq!(most, Some(5));
        assert!(prober.peers().all(|(_, stats)| stats.sent >= 1));
    }

    #[test]
    fn suspects_are_bounded() {
        let mut prober = prober();
        for number in 0..1030_u32 {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            prober.handle(suspect(PublicKey::from_bytes(bytes)), at(0));
        }
        assert_eq!(
            (prober.peers().count(), prober.counters().suspicions_refused),
            (MAX_PEERS, 6)
        );
    }
}
