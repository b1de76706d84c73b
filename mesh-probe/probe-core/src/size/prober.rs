//! The asking side.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use evidence::{Bracket, Layer, Moment, PublicKey, Sizes, TooBig};

use super::{Datagram, Kind, PROBE_LENGTH, search::Search};
use crate::{
    MAX_PEERS, ProbeKey, WireCounters,
    budget::Budget,
    packet::headers_length,
    random::{Phases, Random},
};

/// Shortest time between two full-size packets to a peer on a layer.
pub const CANARY_INTERVAL: Duration = Duration::from_secs(5);
/// Full-size packets that leave in any one second, at most: 12 kB.
pub const CANARIES_PER_SECOND: u32 = 8;
/// Full-size packets lost in a row, a second apart, before a search begins: one lost packet accuses nobody.
pub const CONFIRMING_LOSSES: u32 = 3;
/// A packet whose tally has not come for so long is lost.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How often the sizes of a round that did not arrive are sent.
const ATTEMPTS: u8 = 2;
/// A limit that stands is searched for anew after so long.
const SEARCH_AGAIN: Duration = Duration::from_mins(1);
/// Pause of a search that waits for another to end: two at once would be a burst.
const TURN: Duration = Duration::from_millis(250);
/// How far apart the first packets to new peers are spread.
const FIRST_WITHIN: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_hours(1);

/// What can happen.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Packets to `peer` on `layer` go to `to`, and are at most `full` bytes long.
    Target {
        /// The peer.
        peer: PublicKey,
        /// The layer.
        layer: Layer,
        /// Where to.
        to: IpAddr,
        /// The longest IP packet that this node would send.
        full: u16,
    },
    /// There is no way to this peer on this layer at present.
    NoTarget(PublicKey, Layer),
    /// The peer is gone.
    Removed(PublicKey),
    /// A datagram that may be a tally.
    Datagram(&'a [u8]),
    /// A packet to `peer` on `layer` was too big for a link on its way.
    TooBig {
        /// The peer.
        peer: PublicKey,
        /// The layer.
        layer: Layer,
        /// Who says so; `None` if it is this node's kernel.
        reporter: Option<IpAddr>,
        /// The MTU it names.
        mtu: u32,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send this, without fragmenting it.
    Transmit {
        /// The peer.
        peer: PublicKey,
        /// The layer.
        layer: Layer,
        /// Where to.
        to: IpAddr,
        /// The whole payload.
        payload: Vec<u8>,
    },
    /// Nothing until then, unless something happens.
    Wait(Moment),
}

/// How often what became of datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SizeCounters {
    /// Packets sent.
    pub sent: u64,
    /// Bytes of these packets.
    pub bytes: u64,
    /// Tallies that counted.
    pub tallies: u64,
    /// Bytes that were no tally of this mesh.
    pub malformed: WireCounters,
    /// Tallies for nobody, of nobody, or of an old run.
    pub stray: u64,
    /// Targets beyond the limit of peers.
    pub targets_refused: u64,
}

/// Sends packets of full size to each peer on each layer, and searches for the limit where they are lost.
#[derive(Debug)]
pub struct SizeProber {
    me: PublicKey,
    key: ProbeKey,
    session: u64,
    sequences: BTreeMap<PublicKey, u64>,
    tracks: BTreeMap<(PublicKey, Layer), Track>,
    budget: Budget,
    phases: Phases,
    random: Random,
    next_run: u32,
    counters: SizeCounters,
    now: Moment,
}

#[derive(Clone, Debug)]
struct Track {
    state: Sizes,
    due: Moment,
    step: Step,
    run: Option<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// One full-size packet now and then.
    Canary,
    /// Many sizes at once.
    Search(Search),
}

/// Packets on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Run {
    id: u32,
    sizes: Vec<u16>,
    arrived: u32,
    attempt: u8,
    sent_at: Moment,
    /// Places that are still to be sent in this attempt.
    unsent: Vec<u8>,
}

impl SizeProber {
    /// Knows no peer yet. `session` and `seed` are random.
    pub fn new(me: PublicKey, key: ProbeKey, session: u64, seed: u64) -> Self {
        Self {
            me,
            key,
            session,
            sequences: BTreeMap::new(),
            tracks: BTreeMap::new(),
            budget: Budget::per_second(usize::try_from(CANARIES_PER_SECOND).unwrap_or(1)),
            phases: Phases::new(seed),
            random: Random::new(seed),
            next_run: 0,
            counters: SizeCounters::default(),
            now: Moment::ZERO,
        }
    }

    /// Takes what happened; then [`Self::poll`] until it says wait.
    pub fn handle(&mut self, input: Input<'_>, now: Moment) {
        self.now = now;
        match input {
            Input::Target {
                peer,
                layer,
                to,
                full,
            } => self.target((peer, layer), to, full),
            Input::NoTarget(peer, layer) => drop(self.tracks.remove(&(peer, layer))),
            Input::Removed(peer) => {
                self.tracks.retain(|(of, _), _| *of != peer);
                self.sequences.remove(&peer);
            }
            Input::Datagram(bytes) => self.tally(bytes),
            Input::TooBig {
                peer,
                layer,
                reporter,
                mtu,
            } => {
                if let Some(track) = self.tracks.get_mut(&(peer, layer)) {
                    track.state.too_big = Some(TooBig {
                        at: now,
                        reporter,
                        mtu,
                    });
                }
            }
            Input::Tick => {}
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Output {
        loop {
            let next = self.tracks.iter().min_by_key(|(_, track)| track.due);
            let Some((key, due)) = next.map(|(key, track)| (*key, track.due)) else {
                return Output::Wait(self.now.plus(IDLE));
            };
            if due > self.now {
                return Output::Wait(due);
            }
            if let Some(output) = self.advance(key) {
                return output;
            }
        }
    }

    /// What is known of a peer, bottom layer first.
    pub fn sizes(&self, peer: &PublicKey) -> Vec<Sizes> {
        let one = |layer| self.tracks.get(&(*peer, layer)).map(|track| track.state);
        Layer::ALL.into_iter().filter_map(one).collect()
    }

    /// How long at most a limit that appears now stays unknown: a round, and the losses that confirm it.
    pub fn detection_time(&self) -> Duration {
        self.interval() + TIMEOUT * CONFIRMING_LOSSES
    }

    /// How often what became of datagrams.
    pub const fn counters(&self) -> &SizeCounters {
        &self.counters
    }

    fn interval(&self) -> Duration {
        let tracks = u32::try_from(self.tracks.len()).unwrap_or(u32::MAX);
        CANARY_INTERVAL.max(Duration::from_secs(1) * tracks / CANARIES_PER_SECOND)
    }

    /// A way that has changed is a new one: what was known of the old says nothing.
    fn target(&mut self, key: (PublicKey, Layer), to: IpAddr, full: u16) {
        let same = |track: &Track| (track.state.to, track.state.full) == (to, full);
        if self.tracks.get(&key).is_some_and(same) {
            return;
        }
        if self.tracks.len() >= MAX_PEERS * Layer::ALL.len() && !self.tracks.contains_key(&key) {
            self.counters.targets_refused += 1;
            return;
        }
        let due = self.now.plus(self.phases.next(FIRST_WITHIN));
        self.tracks.insert(key, Track::new(key.1, to, full, due));
    }

    /// Brings the track that is due one step on.
    fn advance(&mut self, key: (PublicKey, Layer)) -> Option<Output> {
        let now = self.now;
        let searching = self
            .tracks
            .iter()
            .any(|(other, track)| *other != key && matches!(track.step, Step::Search(_)));
        let interval = self.interval();
        let jitter = self.random.within(interval / 10);
        let track = self.tracks.get_mut(&key)?;
        let Some(run) = &mut track.run else {
            let sizes = match &mut track.step {
                Step::Canary => {
                    if let Some(free) = self.budget.busy_until(now) {
                        track.due = free;
                        return None;
                    }
                    self.budget.take(now);
                    vec![track.state.full]
                }
                Step::Search(search) => search.next(),
            };
            self.next_run = self.next_run.wrapping_add(1);
            track.begin(self.next_run, sizes, now, interval + jitter);
            return None;
        };
        if let Some(place) = run.unsent.pop() {
            return self.transmit(key, place);
        }
        if now < run.sent_at.plus(TIMEOUT) {
            track.due = run.sent_at.plus(TIMEOUT);
            return None;
        }
        track.timed_out(now, interval + jitter, searching);
        None
    }

    fn transmit(&mut self, key: (PublicKey, Layer), place: u8) -> Option<Output> {
        let track = self.tracks.get(&key)?;
        let run = track.run.as_ref()?;
        let size = *run.sizes.get(usize::from(place))?;
        let sequence = self.sequences.entry(key.0).or_default();
        let probe = Datagram {
            kind: Kind::Probe,
            sender: self.me,
            receiver: key.0,
            session: self.session,
            sequence: *sequence,
            layer: key.1,
            place,
            size,
            run: run.id,
            arrived: 0,
            seen: 0,
        };
        *sequence += 1;
        self.counters.sent += 1;
        self.counters.bytes += u64::from(size);
        let mut payload = probe.encode(&self.key).to_vec();
        let length = usize::from(size).saturating_sub(headers_length(track.state.to));
        payload.resize(length.max(PROBE_LENGTH), 0);
        Some(Output::Transmit {
            peer: key.0,
            layer: key.1,
            to: track.state.to,
            payload,
        })
    }

    fn tally(&mut self, bytes: &[u8]) {
        let tally = match Datagram::decode(bytes, &self.key) {
            Ok(tally) => tally,
            Err(error) => return self.counters.malformed.count(error),
        };
        let meant =
            tally.kind == Kind::Tally && tally.receiver == self.me && tally.session == self.session;
        let (now, interval) = (self.now, self.interval());
        let jitter = self.random.within(interval / 10);
        let track = self
            .tracks
            .get_mut(&(tally.sender, tally.layer))
            .filter(|_| meant);
        let run = track.and_then(|track| {
            let run = track.run.as_mut().filter(|run| run.id == tally.run)?;
            run.arrived |= tally.arrived & run.all();
            Some(track)
        });
        let Some(track) = run else {
            self.counters.stray += 1;
            return;
        };
        self.counters.tallies += 1;
        if tally.seen & !tally.arrived != 0 {
            track.state.seen_arriving = Some(now);
        }
        track.heard(now, interval + jitter);
    }
}

impl Track {
    fn new(layer: Layer, to: IpAddr, full: u16, due: Moment) -> Self {
        Self {
            state: Sizes {
                layer,
                to,
                full,
                full_arrived: None,
                seen_arriving: None,
                lost: 0,
                lost_since: None,
                bracket: None,
                too_big: None,
                in_fragments: None,
            },
            due,
            step: Step::Canary,
            run: None,
        }
    }

    /// Begins a run; a search that has nothing left to try is done.
    fn begin(&mut self, id: u32, sizes: Vec<u16>, now: Moment, pause: Duration) {
        if sizes.is_empty() {
            return self.found(now, pause);
        }
        let places = 0..u8::try_from(sizes.len()).unwrap_or(u8::MAX);
        self.run = Some(Run {
            id,
            sizes,
            arrived: 0,
            attempt: 1,
            sent_at: now,
            unsent: places.collect(),
        });
    }

    /// The tally of a run has grown.
    fn heard(&mut self, now: Moment, pause: Duration) {
        let Some(run) = self.run.as_ref() else {
            return;
        };
        if run.has(self.state.full) {
            self.state.full_arrived = Some(now);
            self.state.seen_arriving = None;
            self.state.lost = 0;
            self.state.lost_since = None;
            self.state.bracket = None;
            self.state.too_big = None;
            self.step = Step::Canary;
            self.run = None;
            self.due = now.plus(pause);
        } else if run.arrived == run.all() {
            self.end_round(now);
        }
    }

    /// The time of a run is over and something of it is missing.
    fn timed_out(&mut self, now: Moment, pause: Duration, others_search: bool) {
        let Some(run) = &mut self.run else {
            return;
        };
        match self.step {
            Step::Canary => {
                let sent_at = run.sent_at;
                self.run = None;
                self.lose(sent_at, now, pause, others_search);
            }
            Step::Search(_) if run.attempt < ATTEMPTS => run.again(now),
            Step::Search(_) => self.end_round(now),
        }
    }

    /// A full-size packet is lost.
    fn lose(&mut self, sent_at: Moment, now: Moment, pause: Duration, others_search: bool) {
        self.state.lost = self.state.lost.saturating_add(1);
        self.state.lost_since.get_or_insert(sent_at);
        let known = self
            .state
            .bracket
            .is_some_and(|bracket| now.since(bracket.at) < SEARCH_AGAIN);
        self.due = now;
        if self.state.lost < CONFIRMING_LOSSES {
            return;
        }
        if known {
            self.due = now.plus(pause);
        } else if others_search {
            self.due = now.plus(TURN);
        } else {
            self.step = Step::Search(Search::new(self.state.full));
        }
    }

    fn end_round(&mut self, now: Moment) {
        let (Step::Search(search), Some(run)) = (&mut self.step, self.run.take()) else {
            return;
        };
        search.note(&run.sizes, &run.arrived_sizes());
        self.due = now;
    }

    /// The search is over.
    fn found(&mut self, now: Moment, pause: Duration) {
        if let Step::Search(search) = self.step {
            self.state.bracket = search.failed.map(|failed| Bracket {
                at: now,
                passed: search.passed,
                failed,
            });
        }
        self.step = Step::Canary;
        self.due = now.plus(pause);
    }
}

impl Run {
    fn all(&self) -> u32 {
        let count = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
        1_u32
            .checked_shl(count)
            .map_or(u32::MAX, |above| above.wrapping_sub(1))
    }

    fn places(&self) -> impl Iterator<Item = (u8, u16, bool)> {
        (0_u8..)
            .zip(&self.sizes)
            .map(|(place, size)| (place, *size, self.arrived >> place & 1 == 1))
    }

    fn has(&self, size: u16) -> bool {
        self.places()
            .any(|(_, one, arrived)| arrived && one == size)
    }

    fn arrived_sizes(&self) -> BTreeSet<u16> {
        let arrived = self.places().filter(|(_, _, arrived)| *arrived);
        arrived.map(|(_, size, _)| size).collect()
    }

    fn again(&mut self, now: Moment) {
        let missing = self.places().filter(|(_, _, arrived)| !arrived);
        self.unsent = missing.map(|(place, _, _)| place).collect();
        self.attempt += 1;
        self.sent_at = now;
    }
}
