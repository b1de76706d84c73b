//! The asking side.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use evidence::{Moment, PublicKey};

use super::{
    CONFIRMING_LOSSES, Datagram, EchoStats, LENGTH, REPLY_TIMEOUT, Reply, Request,
    schedule::Schedule, stats::Tally,
};
use crate::{MAX_PEERS, ProbeKey, Stamp, WireCounters};

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
/// datagrams that have come before it ticks, because a reply that lies unread in a socket is not lost.
#[derive(Debug)]
pub struct Prober {
    me: PublicKey,
    key: ProbeKey,
    session: u64,
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
    next_sequence: u64,
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
        self.schedule.effective().0
    }

    /// The longest time from the death of a pair until [`CONFIRMING_LOSSES`] requests in a row are known to be lost.
    ///
    /// Never more than the budget is spent on being quick: with many peers, or many losses at a time, this grows.
    pub fn detection_time(&self) -> Duration {
        let (interval, retry) = self.schedule.effective();
        interval + self.schedule.jitter() * 2 + retry * (CONFIRMING_LOSSES - 1) + REPLY_TIMEOUT
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
        let since = peer.tally.loss_since();
        if let Some(sent) = peer.waiting.take_if(|sent| sent.sequence == sequence) {
            self.timeouts.remove(&(gives_up(sent), key));
            let micros = received_at.micros_since(sent.at);
            if Duration::from_micros(micros) > REPLY_TIMEOUT {
                peer.tally.lost(sent.at.moment());
                peer.tally.late(reply, received_at.moment());
            } else {
                peer.tally.answered(reply, micros, received_at.moment());
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
            self.emit(Event::LossEnded { peer: key, since });
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
            sequence: peer.next_sequence,
            at: self.now,
        };
        peer.next_sequence += 1;
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
mod tests {
    use super::*;
    use crate::{
        LossWindow,
        echo::{Answer, MAX_REQUESTS_PER_SECOND, MIN_INTERVAL, Responder},
    };

    const ME: PublicKey = PublicKey::from_bytes([1; 32]);
    const PEER: PublicKey = PublicKey::from_bytes([2; 32]);

    fn key() -> ProbeKey {
        ProbeKey::from_bytes([9; 32])
    }

    fn prober() -> Prober {
        Prober::new(ME, key(), 77, 5, MAX_REQUESTS_PER_SECOND)
    }

    fn at(millis: u64) -> Stamp {
        Stamp::from_micros(millis * 1000)
    }

    /// Two machines and the network between them: replies take 300 microseconds, `lost` decides what gets lost.
    struct Pair {
        prober: Prober,
        responder: Responder,
        sent: Vec<u64>,
        events: Vec<Event>,
    }

    impl Pair {
        fn new() -> Self {
            let mut responder = Responder::new(PEER, key());
            responder.add_peer(ME);
            let mut prober = prober();
            prober.handle(Input::PeerAdded(PEER), at(0));
            Self {
                prober,
                responder,
                sent: Vec::new(),
                events: Vec::new(),
            }
        }

        /// Runs from one millisecond to another; `lost(millis)` tells whether a request sent then gets no reply.
        fn run(&mut self, millis: std::ops::Range<u64>, lost: impl Fn(u64) -> bool) {
            for now in millis {
                self.prober.handle(Input::Tick, at(now));
                self.drain(now, &lost);
            }
        }

        fn drain(&mut self, now: u64, lost: &impl Fn(u64) -> bool) {
            loop {
                match self.prober.poll() {
                    Output::Wait { .. } => return,
                    Output::Event(event) => self.events.push(event),
                    Output::Transmit { bytes, .. } => {
                        self.sent.push(now);
                        if !lost(now) {
                            self.deliver(&bytes, now);
                        }
                    }
                }
            }
        }

        fn deliver(&mut self, request: &[u8], now: u64) {
            let received_at = Stamp::from_micros(now * 1000 + 300);
            let Answer::Reply(bytes) = self.responder.handle(request, received_at.moment()) else {
                unreachable!("refused: {:?}", self.responder.counters())
            };
            self.prober.handle(
                Input::Datagram {
                    bytes: &bytes,
                    received_at,
                },
                received_at,
            );
        }

        fn stats(&self) -> EchoStats {
            self.prober.stats(&PEER).unwrap()
        }
    }

    #[test]
    fn a_machine_without_peers_waits_for_peers() {
        let mut prober = prober();
        prober.handle(Input::Tick, at(5));
        assert_eq!(
            prober.poll(),
            Output::Wait {
                until: Moment::from_millis(3_600_005),
                reason: Reason::NoPeers
            }
        );
    }

    #[test]
    fn a_healthy_pair_is_asked_and_answers_without_an_event() {
        let mut pair = Pair::new();
        pair.run(0..60_000, |_| false);
        let stats = pair.stats();
        assert_eq!(stats.sent, stats.answered);
        assert!((29..=31).contains(&stats.sent));
        assert_eq!(stats.window.missing, 0);
        assert_eq!(stats.round_trip.unwrap().mean_micros, 300);
        assert_eq!(stats.forward.unwrap().missing, 0);
        assert_eq!(pair.events, []);
        assert_eq!(*pair.prober.counters(), ProberCounters::default());
    }

    #[test]
    fn a_dead_pair_is_known_within_the_detection_time_and_retried_every_second() {
        let mut pair = Pair::new();
        pair.run(0..20_000, |_| false);
        let limit = u64::try_from(pair.prober.detection_time().as_millis()).unwrap();
        pair.run(20_000..20_000 + limit + 1, |_| true);
        let stats = pair.stats();
        assert!(stats.consecutive_lost >= CONFIRMING_LOSSES, "{stats:?}");
        let first = pair
            .sent
            .iter()
            .copied()
            .find(|sent| *sent >= 20_000)
            .unwrap();
        assert_eq!(stats.loss_since, Some(at(first).moment()));
        assert_eq!(
            pair.events,
            [Event::LossBegan {
                peer: PEER,
                since: at(first).moment()
            }]
        );
        let retries: Vec<u64> = pair
            .sent
            .iter()
            .copied()
            .filter(|sent| *sent >= first)
            .collect();
        assert!(
            retries
                .windows(2)
                .all(|w| (1000..=1002).contains(&(w[1] - w[0]))),
            "{retries:?}"
        );
    }

    #[test]
    fn an_answer_ends_the_run_of_losses_and_the_haste() {
        let mut pair = Pair::new();
        pair.run(0..10_000, |now| (4000..7000).contains(&now));
        pair.run(10_000..20_000, |_| false);
        assert!(
            matches!(
                pair.events[..],
                [Event::LossBegan { .. }, Event::LossEnded { .. }]
            ),
            "{:?}",
            pair.events
        );
        let stats = pair.stats();
        assert_eq!((stats.consecutive_lost, stats.loss_since), (0, None));
        let calm: Vec<u64> = pair
            .sent
            .iter()
            .copied()
            .filter(|sent| *sent > 12_000)
            .collect();
        assert!(calm.windows(2).all(|w| w[1] - w[0] >= 1600), "{calm:?}");
    }

    #[test]
    fn a_reply_that_comes_too_late_shows_life_but_stays_lost() {
        let mut pair = Pair::new();
        let mut request = None;
        for now in 0..4000 {
            pair.prober.handle(Input::Tick, at(now));
            if let Output::Transmit { bytes, .. } = pair.prober.poll() {
                request = request.or(Some(bytes));
            }
        }
        pair.deliver(&request.unwrap(), 4000);
        let stats = pair.stats();
        assert_eq!((stats.late, stats.answered, stats.loss_since), (1, 0, None));
        assert!(stats.window.missing >= 1);
        assert_eq!(stats.last_answered, Some(at(4000).moment()));
    }

    #[test]
    fn a_reply_read_after_a_stall_is_judged_by_when_it_was_received() {
        let mut pair = Pair::new();
        let mut now = 0;
        let request = loop {
            pair.prober.handle(Input::Tick, at(now));
            if let Output::Transmit { bytes, .. } = pair.prober.poll() {
                break bytes;
            }
            now += 1;
        };
        let received_at = at(now + 10);
        let Answer::Reply(bytes) = pair.responder.handle(&request, received_at.moment()) else {
            unreachable!("refused")
        };
        pair.prober.handle(
            Input::Datagram {
                bytes: &bytes,
                received_at,
            },
            at(now + 1500),
        );
        pair.prober.handle(Input::Tick, at(now + 1500));
        assert_eq!(pair.stats().answered, 1);
        assert_eq!(
            pair.stats().window,
            LossWindow {
                expected: 1,
                missing: 0
            }
        );
    }

    #[test]
    fn requests_remembered_per_peer_are_bounded() {
        let mut pair = Pair::new();
        pair.run(0..60_000, |_| true);
        let peer = &pair.prober.peers[&PEER];
        assert_eq!(
            peer.given_up.len() + usize::from(peer.waiting.is_some()),
            MAX_OUTSTANDING
        );
        assert!(pair.prober.timeouts.len() <= 1);
    }

    #[test]
    fn a_repeated_reply_and_a_reply_of_another_session_do_not_count() {
        let mut pair = Pair::new();
        pair.run(0..3000, |_| false);
        let before = pair.stats();
        let again = |session| {
            let answers = Request {
                sender: PEER,
                receiver: ME,
                session,
                sequence: 0,
            };
            Datagram::Reply(Reply {
                answers,
                first: 0,
                heard: 1,
            })
            .encode(&key())
        };
        for session in [77, 78] {
            pair.prober.handle(
                Input::Datagram {
                    bytes: &again(session),
                    received_at: at(3000),
                },
                at(3000),
            );
        }
        assert_eq!(pair.stats(), before);
        assert_eq!(
            (
                pair.prober.counters().unexpected,
                pair.prober.counters().not_for_me
            ),
            (1, 1)
        );
    }

    #[test]
    fn a_refusal_is_noted_and_told() {
        let mut pair = Pair::new();
        pair.prober.handle(Input::Refused(PEER), at(50));
        assert_eq!(
            pair.prober.poll(),
            Output::Event(Event::Refused { peer: PEER })
        );
        assert_eq!(pair.stats().refused, Some(at(50).moment()));
    }

    #[test]
    fn a_removed_peer_leaves_nothing_behind() {
        let mut pair = Pair::new();
        pair.run(0..3000, |_| true);
        pair.prober.handle(Input::PeerRemoved(PEER), at(3000));
        assert!(pair.prober.timeouts.is_empty());
        assert!(pair.prober.stats(&PEER).is_none());
        assert!(matches!(
            pair.prober.poll(),
            Output::Wait {
                reason: Reason::NoPeers,
                ..
            }
        ));
    }

    #[test]
    fn peers_beyond_the_limit_and_oneself_are_refused() {
        let mut prober = prober();
        prober.handle(Input::PeerAdded(ME), at(0));
        for number in 0..1030_u32 {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            prober.handle(Input::PeerAdded(PublicKey::from_bytes(bytes)), at(0));
        }
        assert_eq!(prober.peers().count(), MAX_PEERS);
        assert_eq!(prober.counters().peers_refused, 7);
    }

    #[test]
    fn detection_takes_ten_seconds_in_a_mesh_of_170_and_35_in_one_of_1024() {
        for (peers, limit) in [(1_u32, 6), (169, 10), (1023, 35)] {
            let mut prober = prober();
            for number in 0..peers {
                let mut bytes = [7; 32];
                bytes[..4].copy_from_slice(&number.to_be_bytes());
                prober.handle(Input::PeerAdded(PublicKey::from_bytes(bytes)), at(0));
            }
            assert!(prober.interval() >= MIN_INTERVAL);
            assert!(
                prober.detection_time() <= Duration::from_secs(limit),
                "{peers}: {:?}",
                prober.detection_time()
            );
        }
    }
}
