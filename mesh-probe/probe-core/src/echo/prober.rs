//! The asking side.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use evidence::{Moment, PublicKey};

use super::{
    CONFIRMING_LOSSES, ClockSample, Datagram, EchoStats, LENGTH, REPLY_TIMEOUT, Reply, Request,
    schedule::Schedule, stats::Tally, ticks::TICK,
};
use crate::{MAX_PEERS, ProbeKey, Stamp, WireCounters, sequences::Sequences};

/// Requests remembered per peer: the one that is waited for, and the latest that were given up, whose replies are late.
pub const MAX_OUTSTANDING: usize = 4;
/// Events that wait to be fetched; beyond it the oldest is dropped and counted.
pub const MAX_EVENTS: usize = 2 * MAX_PEERS;

/// With nobody to ask, the machine wants to be called again after so long, and need not be.
const IDLE: Duration = Duration::from_hours(1);

/// What the machine is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A peer is to be asked from now on.
    PeerAdded(PublicKey),
    /// A peer is not to be asked any more; its counts are forgotten.
    PeerRemoved(PublicKey),
    /// Bytes came.
    Datagram {
        /// All of them.
        bytes: &'a [u8],
        /// Read from the clock right after they were received.
        received_at: Stamp,
    },
    /// The network said that this peer cannot be reached or does not listen.
    Refused(PublicKey),
    /// Time passed. Only now are requests given up, so hand in all datagrams that have come before.
    Tick,
}

/// What the machine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to this peer's `KubeSpan` address, now.
    Transmit {
        /// Whom to.
        to: PublicKey,
        /// A request.
        bytes: [u8; LENGTH],
    },
    /// Something changed that is worth a line.
    Event(Event),
    /// Nothing more. The next input is awaited, at the latest a [`Input::Tick`] at this moment.
    Wait {
        /// When to tick.
        until: Moment,
        /// What for.
        reason: Reason,
    },
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first loss after an answer, or the first ever.
    LossBegan {
        /// Who did not answer.
        peer: PublicKey,
        /// When the lost request was sent.
        since: Moment,
    },
    /// The first answer after a loss.
    LossEnded {
        /// Who answers again.
        peer: PublicKey,
        /// When the first request of the run of losses was sent.
        since: Moment,
        /// How many were lost in a row.
        lost: u32,
    },
    /// The network refused a request.
    Refused {
        /// For whom it was.
        peer: PublicKey,
    },
}

/// What a [`Output::Wait`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The next peer's turn.
    NextRequest,
    /// A reply, or the end of waiting for it.
    ReplyTimeout,
    /// A peer is due, but this second's budget is spent.
    Budget,
    /// There are no peers.
    NoPeers,
}

/// What was thrown away, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProberCounters {
    /// Bytes that were no echo datagram of this mesh.
    pub malformed: WireCounters,
    /// Authentic requests: they belong to the [`super::Responder`].
    pub not_a_reply: u64,
    /// Replies meant for another node, or for a former process of this one.
    pub not_for_me: u64,
    /// Replies of nodes that are not asked.
    pub unknown_peer: u64,
    /// Replies to nothing that is remembered: duplicates, or very late.
    pub unexpected: u64,
    /// Peers beyond [`MAX_PEERS`], or this node itself, that were not added.
    pub peers_refused: u64,
    /// Events dropped because nobody fetched them.
    pub events_dropped: u64,
}

/// Asks every peer in turn and keeps the score.
///
/// ```text
///            request due               reply within 1 s
///   Round ---------------> waiting --------------------> Round
///                             | no reply for 1 s
///                             v       1 s, request        any reply
///                           Retry <-------------> waiting ---------> Round
/// ```
///
/// The driver hands in one input with the time, then drains [`Prober::poll`] until it says [`Output::Wait`]; it reads all
/// datagrams that have come before it ticks, because a reply that lies unread in a socket is not lost. It need not read them
/// before: what is due leaves at ticks, [`super::TICK`] apart, and a reply that waits for the next one with its time of arrival
/// is as good as one that is read at once.
#[derive(Debug)]
pub struct Prober {
    me: PublicKey,
    key: ProbeKey,
    session: u64,
    sequences: Sequences,
    peers: BTreeMap<PublicKey, Peer>,
    schedule: Schedule,
    /// When the requests that are waited for are given up.
    timeouts: BTreeSet<(Moment, PublicKey)>,
    events: VecDeque<Event>,
    counters: ProberCounters,
    now: Stamp,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    waiting: Option<Sent>,
    given_up: VecDeque<Sent>,
    tally: Tally,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    sequence: u64,
    at: Stamp,
}

impl Prober {
    /// `session` must be random per process; `seed` only spreads the requests; `per_second` lowers the budget below
    /// [`super::MAX_REQUESTS_PER_SECOND`] and cannot raise it.
    pub fn new(me: PublicKey, key: ProbeKey, session: u64, seed: u64, per_second: u32) -> Self {
        Self {
            me,
            key,
            session,
            sequences: Sequences::default(),
            peers: BTreeMap::new(),
            schedule: Schedule::new(seed, per_second),
            timeouts: BTreeSet::new(),
            events: VecDeque::new(),
            counters: ProberCounters::default(),
            now: Stamp::default(),
        }
    }

    /// Takes one input. `now` never goes back.
    pub fn handle(&mut self, input: Input<'_>, now: Stamp) {
        self.now = self.now.max(now);
        match input {
            Input::PeerAdded(peer) => self.add(peer),
            Input::PeerRemoved(peer) => self.remove(peer),
            Input::Datagram { bytes, received_at } => self.receive(bytes, received_at),
            Input::Refused(peer) => self.refuse(peer),
            Input::Tick => self.expire(),
        }
    }

    /// Time passed while the driver sent: the next request leaves that much later than the one before. Unlike a tick it gives
    /// nothing up.
    pub fn passed(&mut self, now: Stamp) {
        self.now = self.now.max(now);
    }

    /// What to do next; see the contract above.
    pub fn poll(&mut self) -> Output {
        if let Some(event) = self.events.pop_front() {
            return Output::Event(event);
        }
        self.next_request().unwrap_or_else(|| self.wait())
    }

    /// The score of one peer.
    pub fn stats(&self, peer: &PublicKey) -> Option<EchoStats> {
        self.peers.get(peer).map(|peer| peer.tally.stats())
    }

    /// The score of every peer, in the order of their keys.
    pub fn peers(&self) -> impl Iterator<Item = (PublicKey, EchoStats)> {
        self.peers
            .iter()
            .map(|(key, peer)| (*key, peer.tally.stats()))
    }

    /// What was thrown away.
    pub const fn counters(&self) -> &ProberCounters {
        &self.counters
    }

    /// Time between two requests to a healthy peer.
    pub fn interval(&self) -> Duration {
        self.schedule.guaranteed().0
    }

    /// Whether some requests are to be left to those who ask node addresses ([`crate::node_echo`]).
    pub fn lend_to_others(&mut self, lends: bool) {
        self.schedule.lend_to_others(lends);
    }

    /// Leave to send one such request now, charged to the one budget of all echoes. Its share is one request in
    /// [`super::NODE_SHARE`], in a mesh that is slow to go round one in [`super::SMALL_NODE_SHARE`].
    pub fn lend(&mut self, now: Stamp) -> bool {
        self.schedule.lend(now.moment())
    }

    /// The longest time from the death of a pair until [`CONFIRMING_LOSSES`] requests in a row are known to be lost.
    ///
    /// Never more than the budget is spent on being quick: with many peers, or many losses at a time, this grows.
    pub fn detection_time(&self) -> Duration {
        let (interval, retry) = self.schedule.guaranteed();
        interval
            + self.schedule.jitter() * 2
            + TICK
            + retry * (CONFIRMING_LOSSES - 1)
            + REPLY_TIMEOUT
    }

    fn add(&mut self, peer: PublicKey) {
        let known = self.peers.contains_key(&peer);
        if peer == self.me || (!known && self.peers.len() >= MAX_PEERS) {
            self.counters.peers_refused += 1;
            return;
        }
        self.peers.entry(peer).or_default();
        self.schedule.add(peer, self.now.moment());
    }

    fn remove(&mut self, peer: PublicKey) {
        self.schedule.remove(&peer);
        if let Some(Peer {
            waiting: Some(sent),
            ..
        }) = self.peers.remove(&peer)
        {
            self.timeouts.remove(&(gives_up(sent), peer));
        }
    }

    fn receive(&mut self, bytes: &[u8], received_at: Stamp) {
        match Datagram::decode(bytes, &self.key) {
            Err(error) => self.counters.malformed.count(error),
            Ok(Datagram::Request(_)) => self.counters.not_a_reply += 1,
            Ok(Datagram::Reply(reply))
                if reply.answers.receiver != self.me || reply.answers.session != self.session =>
            {
                self.counters.not_for_me += 1;
            }
            Ok(Datagram::Reply(reply)) => self.score(&reply, received_at),
        }
    }

    fn score(&mut self, reply: &Reply, received_at: Stamp) {
        let key = reply.answers.sender;
        let Some(peer) = self.peers.get_mut(&key) else {
            self.counters.unknown_peer += 1;
            return;
        };
        let sequence = reply.answers.sequence;
        let (since, lost) = (peer.tally.loss_since(), peer.tally.consecutive_lost());
        if let Some(sent) = peer.waiting.take_if(|sent| sent.sequence == sequence) {
            self.timeouts.remove(&(gives_up(sent), key));
            let micros = received_at.micros_since(sent.at);
            if Duration::from_micros(micros) > REPLY_TIMEOUT {
                peer.tally.lost(sent.at.moment());
                peer.tally.late(reply, received_at.moment());
            } else {
                peer.tally.answered(reply, micros, received_at.moment());
                if let Some(sample) = ClockSample::new(sent.at, reply.wall, received_at) {
                    peer.tally.clock(sample);
                }
            }
        } else if let Some(place) = peer
            .given_up
            .iter()
            .position(|sent| sent.sequence == sequence)
        {
            peer.given_up.remove(place);
            peer.tally.late(reply, received_at.moment());
        } else {
            self.counters.unexpected += 1;
            return;
        }
        self.schedule.demote(key, self.now.moment());
        if let Some(since) = since {
            self.emit(Event::LossEnded {
                peer: key,
                since,
                lost,
            });
        }
    }

    fn refuse(&mut self, key: PublicKey) {
        match self.peers.get_mut(&key) {
            Some(peer) => {
                peer.tally.refused(self.now.moment());
                self.emit(Event::Refused { peer: key });
            }
            None => self.counters.unknown_peer += 1,
        }
    }

    fn expire(&mut self) {
        while let Some((_, key)) = self
            .timeouts
            .first()
            .copied()
            .filter(|(at, _)| *at <= self.now.moment())
        {
            self.timeouts.pop_first();
            self.give_up(key);
        }
    }

    fn give_up(&mut self, key: PublicKey) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        let Some(sent) = peer.waiting.take() else {
            return;
        };
        let first = peer.tally.loss_since().is_none();
        peer.tally.lost(sent.at.moment());
        if peer.given_up.len() == MAX_OUTSTANDING - 1 {
            peer.given_up.pop_front();
        }
        peer.given_up.push_back(sent);
        self.schedule.promote(key, sent.at.moment());
        if first {
            self.emit(Event::LossBegan {
                peer: key,
                since: sent.at.moment(),
            });
        }
    }

    fn next_request(&mut self) -> Option<Output> {
        let to = self.schedule.take(self.now.moment())?;
        self.give_up_before_asking_again(to);
        let peer = self.peers.get_mut(&to)?;
        let sent = Sent {
            sequence: self.sequences.take(to),
            at: self.now,
        };
        peer.tally.sent(sent.at.moment());
        peer.waiting = Some(sent);
        self.timeouts.insert((gives_up(sent), to));
        let request = Request {
            sender: self.me,
            receiver: to,
            session: self.session,
            sequence: sent.sequence,
        };
        Some(Output::Transmit {
            to,
            bytes: Datagram::Request(request).encode(&self.key),
        })
    }

    /// A turn never comes before the reply timeout, but the driver may drain before it ticks.
    fn give_up_before_asking_again(&mut self, key: PublicKey) {
        if let Some(sent) = self.peers.get(&key).and_then(|peer| peer.waiting) {
            self.timeouts.remove(&(gives_up(sent), key));
            self.give_up(key);
            self.schedule.promote(key, self.now.moment());
        }
    }

    fn wait(&self) -> Output {
        let now = self.now.moment();
        let Some((turn, short)) = self.schedule.next(now) else {
            return Output::Wait {
                until: now.plus(IDLE),
                reason: Reason::NoPeers,
            };
        };
        match self.timeouts.first() {
            Some((at, _)) if *at < turn => Output::Wait {
                until: *at,
                reason: Reason::ReplyTimeout,
            },
            _ if short => Output::Wait {
                until: turn,
                reason: Reason::Budget,
            },
            _ => Output::Wait {
                until: turn,
                reason: Reason::NextRequest,
            },
        }
    }

    fn emit(&mut self, event: Event) {
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.counters.events_dropped += 1;
        }
        self.events.push_back(event);
    }
}

/// A millisecond is added because moments are rounded down: a reply after 999.9 ms is in time.
fn gives_up(sent: Sent) -> Moment {
    sent.at
        .moment()
        .plus(REPLY_TIMEOUT)
        .plus(Duration::from_millis(1))
}

#[cfg(test)]
mod tests;
