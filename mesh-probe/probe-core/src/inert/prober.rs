//! Sends inert datagrams to peers that are under suspicion, and hears their replies.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use evidence::{Moment, PublicKey};

use super::{Datagram, LENGTH, Probe, Reply};
use crate::{MAX_PEERS, ProbeKey, Stamp, WireCounters, budget::Budget, sequences::Sequences};

/// Probes that leave a node in any one second, at most.
pub const MAX_PER_SECOND: u32 = 5;
/// Datagrams of one suspicion that are sent quickly.
pub const QUICK_PROBES: u32 = 5;
/// Time between those.
pub const QUICK_SPACING: Duration = Duration::from_secs(1);
/// Time between the later ones: often enough to see a healed path, rarely enough to let NAT state age.
pub const SLOW_SPACING: Duration = Duration::from_secs(10);

/// When the unsolicited probe of a suspicion follows its first one.
pub const UNSOLICITED_AFTER: Duration = Duration::from_millis(500);
/// Time between unsolicited probes to one peer, however often the suspicion comes and goes.
pub const UNSOLICITED_SPACING: Duration = Duration::from_secs(30);
/// How late a reply may come and still count.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Probes to one peer that a reply is awaited for: more than are sent within [`REPLY_TIMEOUT`].
const MAX_OUTSTANDING: usize = 8;
const IDLE: Duration = Duration::from_hours(1);

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
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
    /// A reply, as the tap saw it arrive.
    Reply {
        /// The payload.
        bytes: &'a [u8],
        /// The TTL or hop limit that was left to it.
        hop_limit: u8,
        /// When it arrived.
        received: Stamp,
    },
    /// Time passed.
    Tick,
}

/// What the machine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to this endpoint, now.
    Transmit {
        /// Whom they are for.
        peer: PublicKey,
        /// Where to.
        to: SocketAddr,
        /// From which port.
        from: SourcePort,
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

/// The port that a probe leaves from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourcePort {
    /// That of the tunnel: the true five-tuple.
    Tunnel,
    /// One that was not used before: no NAT and no firewall knows the five-tuple.
    Fresh,
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
    /// What came back, if anything ever did.
    pub answered: Option<Answered>,
}

/// The replies of one peer, and what the newest said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Replies of all suspicions.
    pub count: u64,
    /// When the newest came.
    pub at: Moment,
    /// When the probe that it answers left.
    pub sent_at: Moment,
    /// From sending to hearing, without the time the peer took.
    pub round_trip_micros: u64,
    /// This node's tunnel port as the peer sees it.
    pub mapped: SocketAddr,
    /// The hop limit that was left to the probe.
    pub hop_limit_there: u8,
    /// The hop limit that was left to the reply.
    pub hop_limit_back: u8,
    /// The peer's clock when the probe arrived less ours when it left. The clocks have nothing in common: only its
    /// variation says something, namely how the time on the way there varies.
    pub there_micros: i64,
}

/// What was thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InertCounters {
    /// Suspicions that found no room among [`MAX_PEERS`].
    pub suspicions_refused: u64,
    /// Bytes that were no reply of this mesh.
    pub malformed: WireCounters,
    /// Replies to others, to what was never asked, repeated ones, and those that came too late.
    pub unmatched: u64,
}

/// Sends to each suspect one datagram a second, five times, then one every ten seconds until it is cleared; and once,
/// between the first two, one from a port that nobody knows.
///
/// The driver hands in one input with the time, then drains [`InertProber::poll`] until it says [`Output::Wait`]. What is
/// handed out counts as sent.
#[derive(Debug)]
pub struct InertProber {
    me: PublicKey,
    key: ProbeKey,
    session: u64,
    sequences: Sequences,
    unsolicited: Sequences,
    peers: BTreeMap<PublicKey, Peer>,
    budget: Budget,
    counters: InertCounters,
    now: Stamp,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    suspicion: Option<Suspicion>,
    stats: InertStats,
    last_unsolicited: Option<Moment>,
    /// Sequence numbers that a reply may answer, and when they left.
    outstanding: VecDeque<(u64, Stamp)>,
}

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    endpoint: SocketAddr,
    sent: u32,
    due: Moment,
    unsolicited_due: Option<Moment>,
}

impl InertProber {
    /// `session` must be random per process.
    pub fn new(me: PublicKey, key: ProbeKey, session: u64) -> Self {
        Self {
            me,
            key,
            session,
            sequences: Sequences::default(),
            unsolicited: Sequences::default(),
            peers: BTreeMap::new(),
            budget: Budget::per_second(usize::try_from(MAX_PER_SECOND).unwrap_or(1)),
            counters: InertCounters::default(),
            now: Stamp::default(),
        }
    }

    /// Takes one input. `now` never goes back.
    pub fn handle(&mut self, input: Input<'_>, now: Stamp) {
        self.now = now;
        match input {
            Input::Suspect { peer, endpoint } => self.suspect(peer, endpoint),
            Input::Cleared(peer) => self.clear(&peer),
            Input::Removed(peer) => drop(self.peers.remove(&peer)),
            Input::Reply {
                bytes,
                hop_limit,
                received,
            } => self.hear(bytes, hop_limit, received),
            Input::Tick => {}
        }
    }

    /// What to do next; see the contract above.
    pub fn poll(&mut self) -> Output {
        let now = self.now.moment();
        let Some((peer, due, from)) = self.next() else {
            return Output::Wait {
                until: now.plus(IDLE),
                reason: Reason::NoSuspicion,
            };
        };
        match self.budget.busy_until(now) {
            Some(free) if free > due => Output::Wait {
                until: free,
                reason: Reason::Budget,
            },
            _ if due > now => Output::Wait {
                until: due,
                reason: Reason::NextProbe,
            },
            _ => self.transmit(peer, from),
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
        let now = self.now.moment();
        let rested = peer
            .stats
            .last_sent
            .map_or(now, |sent| sent.plus(QUICK_SPACING));
        let due = rested.max(now);
        let unsolicited_due = due.plus(UNSOLICITED_AFTER);
        let last = peer.last_unsolicited;
        let may = last.is_none_or(|last| last.plus(UNSOLICITED_SPACING) <= unsolicited_due);
        peer.suspicion = Some(Suspicion {
            endpoint,
            sent: 0,
            due,
            unsolicited_due: may.then_some(unsolicited_due),
        });
    }

    fn hear(&mut self, bytes: &[u8], hop_limit: u8, received: Stamp) {
        let reply = match Datagram::decode(bytes, &self.key) {
            Ok(Datagram::Reply(reply)) => reply,
            Ok(Datagram::Probe(_) | Datagram::Unsolicited(_)) => {
                return self.counters.unmatched += 1;
            }
            Err(error) => return self.counters.malformed.count(error),
        };
        let mine = reply.answers.receiver == self.me && reply.answers.session == self.session;
        let matched = self
            .peers
            .get_mut(&reply.answers.sender)
            .filter(|_| mine)
            .and_then(|peer| peer.answered(&reply, hop_limit, received));
        if matched.is_none() {
            self.counters.unmatched += 1;
        }
    }

    fn clear(&mut self, key: &PublicKey) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.suspicion = None;
        }
    }

    fn next(&self) -> Option<(PublicKey, Moment, SourcePort)> {
        let due = |(key, peer): (&PublicKey, &Peer)| {
            let (due, from) = peer.suspicion?.next();
            Some((*key, due, from))
        };
        self.peers
            .iter()
            .filter_map(due)
            .min_by_key(|(_, due, _)| *due)
    }

    fn transmit(&mut self, key: PublicKey, from: SourcePort) -> Output {
        let now = self.now;
        let sequence = match from {
            SourcePort::Tunnel => self.sequences.take(key),
            SourcePort::Fresh => self.unsolicited.take(key),
        };
        let taken = self.peers.get_mut(&key).and_then(|peer| match from {
            SourcePort::Tunnel => peer.take(sequence, now),
            SourcePort::Fresh => peer.take_unsolicited(now.moment()),
        });
        let Some(to) = taken else {
            return Output::Wait {
                until: now.moment(),
                reason: Reason::NextProbe,
            };
        };
        self.budget.take(now.moment());
        let probe = Probe {
            sender: self.me,
            receiver: key,
            session: self.session,
            sequence,
        };
        let datagram = match from {
            SourcePort::Tunnel => Datagram::Probe(probe),
            SourcePort::Fresh => Datagram::Unsolicited(probe),
        };
        Output::Transmit {
            peer: key,
            to,
            from,
            bytes: datagram.encode(&self.key),
        }
    }
}

impl Suspicion {
    /// What is due first: never two things at the same time.
    fn next(&self) -> (Moment, SourcePort) {
        match self.unsolicited_due {
            Some(due) if due < self.due => (due, SourcePort::Fresh),
            _ => (self.due, SourcePort::Tunnel),
        }
    }
}

impl Peer {
    fn take(&mut self, sequence: u64, now: Stamp) -> Option<SocketAddr> {
        let suspicion = self.suspicion.as_mut()?;
        suspicion.sent = suspicion.sent.saturating_add(1);
        let spacing = if suspicion.sent < QUICK_PROBES {
            QUICK_SPACING
        } else {
            SLOW_SPACING
        };
        suspicion.due = now.moment().plus(spacing);
        self.stats = InertStats {
            sent: self.stats.sent + 1,
            last_sent: Some(now.moment()),
            to: Some(suspicion.endpoint),
            answered: self.stats.answered,
        };
        if self.outstanding.len() == MAX_OUTSTANDING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back((sequence, now));
        Some(suspicion.endpoint)
    }

    fn take_unsolicited(&mut self, now: Moment) -> Option<SocketAddr> {
        let suspicion = self.suspicion.as_mut()?;
        suspicion.unsolicited_due = None;
        self.last_unsolicited = Some(now);
        Some(suspicion.endpoint)
    }

    /// Takes the newest reply as it is; one to a probe before that only counts.
    fn answered(&mut self, reply: &Reply, hop_limit: u8, received: Stamp) -> Option<()> {
        let asked = |(sequence, _): &(u64, Stamp)| *sequence == reply.answers.sequence;
        let (_, sent) = self
            .outstanding
            .remove(self.outstanding.iter().position(asked)?)?;
        let passed = received.micros_since(sent);
        if Duration::from_micros(passed) > REPLY_TIMEOUT {
            return None;
        }
        let held = reply.answered.micros_since(reply.received);
        let newest = Answered {
            count: 1,
            at: received.moment(),
            sent_at: sent.moment(),
            round_trip_micros: passed.saturating_sub(held),
            mapped: reply.mapped,
            hop_limit_there: reply.hop_limit,
            hop_limit_back: hop_limit,
            there_micros: apart(reply.received, sent),
        };
        self.stats.answered = Some(match self.stats.answered {
            Some(known) if known.sent_at > newest.sent_at => Answered {
                count: known.count + 1,
                ..known
            },
            known => Answered {
                count: known.map_or(0, |known| known.count) + 1,
                ..newest
            },
        });
        Some(())
    }
}

/// Of two clocks; a peer may claim any time at all.
fn apart(theirs: Stamp, ours: Stamp) -> i64 {
    let apart = i128::from(theirs.as_micros()) - i128::from(ours.as_micros());
    i64::try_from(apart).unwrap_or(if apart < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests;
