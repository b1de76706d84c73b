//! The asking side.

use std::{net::IpAddr, time::Duration};

use evidence::{Layer, Moment, PublicKey, Sizes, TooBig};

use super::{
    Datagram, Kind, PROBE_LENGTH,
    track::{TIMEOUT, Track},
    tracks::{Key, Tracks},
};
use crate::{
    MAX_PEERS, ProbeKey, WireCounters,
    budget::Budget,
    packet::headers_length,
    random::{Phases, Random},
    sequences::Sequences,
};

/// Shortest time between two full-size packets to a peer on a layer.
pub const CANARY_INTERVAL: Duration = Duration::from_secs(5);
/// Full-size packets that leave in any one second, at most: 12 kB.
pub const CANARIES_PER_SECOND: u32 = 8;
/// Full-size packets lost in a row, a second apart, before a search begins: one lost packet accuses nobody.
pub const CONFIRMING_LOSSES: u32 = 3;
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
    /// The tunnel to the peer carried nothing for a while and is back: what was lost meanwhile says nothing of sizes.
    Back(PublicKey),
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
    /// Send this, without fragmenting it except where it says so.
    Transmit {
        /// The peer.
        peer: PublicKey,
        /// The layer.
        layer: Layer,
        /// Where to.
        to: IpAddr,
        /// The whole payload.
        payload: Vec<u8>,
        /// Whether it may be fragmented after all.
        may_fragment: bool,
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
    sequences: Sequences,
    pub(super) tracks: Tracks,
    budget: Budget,
    phases: Phases,
    random: Random,
    next_run: u32,
    counters: SizeCounters,
    now: Moment,
}

impl SizeProber {
    /// Knows no peer yet. `session` and `seed` are random.
    pub fn new(me: PublicKey, key: ProbeKey, session: u64, seed: u64) -> Self {
        Self {
            me,
            key,
            session,
            sequences: Sequences::default(),
            tracks: Tracks::default(),
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
            Input::NoTarget(peer, layer) => self.tracks.remove(&(peer, layer)),
            Input::Removed(peer) => {
                for layer in Layer::ALL {
                    self.tracks.remove(&(peer, layer));
                }
            }
            Input::Back(peer) => {
                for layer in Layer::ALL {
                    let begin_anew = |track: &mut Track| track.forget_losses(now);
                    self.tracks.change(&(peer, layer), begin_anew);
                }
            }
            Input::Datagram(bytes) => self.tally(bytes),
            Input::TooBig {
                peer,
                layer,
                reporter,
                mtu,
            } => {
                let word = TooBig {
                    at: now,
                    reporter,
                    mtu,
                };
                self.tracks
                    .change(&(peer, layer), |track| track.state.too_big = Some(word));
            }
            Input::Tick => {}
        }
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Output {
        loop {
            let Some((due, key)) = self.next() else {
                return Output::Wait(self.now.plus(IDLE));
            };
            if due > self.now {
                return Output::Wait(due);
            }
            if let Some(output) = self.advance(&key) {
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
        let known = self.tracks.get(&key);
        if known.is_some_and(same) {
            return;
        }
        if known.is_none() && self.tracks.len() >= MAX_PEERS * Layer::ALL.len() {
            self.counters.targets_refused += 1;
            return;
        }
        let due = self.now.plus(self.phases.next(FIRST_WITHIN));
        self.tracks.insert(key, Track::new(key.1, to, full, due));
    }

    /// The track whose turn comes first, and when: one that is at work, or one that waits for the budget as well. Neither is
    /// looked for, however many there are.
    fn next(&self) -> Option<(Moment, Key)> {
        let at_work = self.tracks.first_at_work();
        let free = self.budget.busy_until(self.now);
        let with_room = |(due, key)| (free.map_or(due, |free| free.max(due)), key);
        let retried = self.tracks.first_retried().map(with_room);
        let waiting = self.tracks.first_waiting().map(with_room);
        let is_due = |(due, _): &(Moment, Key)| *due <= self.now;
        at_work
            .filter(is_due)
            .or_else(|| retried.filter(is_due))
            .or_else(|| [at_work, retried, waiting].into_iter().flatten().min())
    }

    /// Brings the track that is due one step on.
    fn advance(&mut self, key: &Key) -> Option<Output> {
        let track = self.tracks.get(key)?;
        let Some(run) = &track.run else {
            self.begin(key);
            return None;
        };
        if let Some(place) = run.unsent.last().copied() {
            let output = self.transmit(*key, place);
            self.tracks.change(key, |track| {
                track.run.as_mut().and_then(|run| run.unsent.pop())
            });
            return output;
        }
        let (now, over) = (self.now, run.sent_at.plus(TIMEOUT));
        let (pause, searching) = (self.pause(), self.tracks.is_another_searching(key));
        self.tracks.change(key, |track| {
            if now < over {
                track.due = over;
            } else {
                track.timed_out(now, pause, searching);
            }
        });
        None
    }

    fn begin(&mut self, key: &Key) {
        let (now, pause, id) = (self.now, self.pause(), self.next_run.wrapping_add(1));
        self.next_run = id;
        let another = self.tracks.is_another_searching(key);
        let searches = self
            .tracks
            .change(key, |track| track.begin(id, now, pause, another))
            .unwrap_or(true);
        if !searches {
            self.budget.take(now);
        }
    }

    /// Time from one full-size packet to the next.
    fn pause(&mut self) -> Duration {
        let interval = self.interval();
        interval + self.random.within(interval / 10)
    }

    fn transmit(&mut self, key: (PublicKey, Layer), place: u8) -> Option<Output> {
        let track = self.tracks.get(&key)?;
        let run = track.run.as_ref()?;
        let size = *run.sizes.get(usize::from(place))?;
        let sequence = self.sequences.take(key.0);
        let probe = Datagram {
            kind: Kind::Probe,
            sender: self.me,
            receiver: key.0,
            session: self.session,
            sequence,
            layer: key.1,
            place,
            size,
            run: run.id,
            arrived: 0,
            seen: 0,
        };
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
            may_fragment: track.may_fragment(),
        })
    }

    fn tally(&mut self, bytes: &[u8]) {
        let tally = match Datagram::decode(bytes, &self.key) {
            Ok(tally) => tally,
            Err(error) => return self.counters.malformed.count(error),
        };
        let meant =
            tally.kind == Kind::Tally && tally.receiver == self.me && tally.session == self.session;
        let (now, pause) = (self.now, self.pause());
        let key = (tally.sender, tally.layer);
        let counted = self.tracks.get(&key).filter(|_| meant);
        let run = counted.and_then(|track| track.run.as_ref());
        if run.is_none_or(|run| run.id != tally.run) {
            self.counters.stray += 1;
            return;
        }
        self.counters.tallies += 1;
        self.tracks.change(&key, |track| {
            track.told(tally.arrived, tally.seen, now, pause);
        });
    }
}
