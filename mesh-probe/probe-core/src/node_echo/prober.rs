//! The asking side.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use evidence::{Moment, NodeAsked, PublicKey, Via};

use super::{Datagram, Kind, LENGTH, family};
use crate::{
    MAX_PEERS, ProbeKey, WireCounters,
    random::{Phases, Random},
    sequences::Sequences,
};

/// Shortest time between two requests to an address that answers.
pub const INTERVAL: Duration = Duration::from_secs(5);
/// A request without a reply for so long is lost. Both ends read their sockets at ticks, so an answer takes two of them longer
/// than its way.
pub const REPLY_TIMEOUT: Duration = Duration::from_millis(1750);
/// Time from an answer that says that the request went around the tunnel to the next request.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// So many requests in a row that are lost, or go around the tunnel, are followed quickly by another one; then it is one per
/// [`INTERVAL`] again.
pub const QUICK_RETRIES: u32 = 5;
/// Requests in a row that are lost, or go around the tunnel, and are more than chance.
const MORE_THAN_CHANCE: u32 = 3;
/// How far a request may leave before or after its turn.
const JITTER: Duration = Duration::from_millis(500);

/// What the machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A peer is to be asked at these addresses from now on: of IPv4, and of IPv6. An address that was known keeps its counts.
    Aim {
        /// The peer.
        peer: PublicKey,
        /// Its addresses, one of each family at most.
        at: [Option<IpAddr>; 2],
    },
    /// A peer is not to be asked any more.
    Removed(PublicKey),
    /// The tunnel to a peer may carry nothing: it is not asked meanwhile, and what was lost before says nothing of its addresses.
    Doubted(PublicKey),
    /// The tunnel carries again.
    Back(PublicKey),
    /// Bytes came that are no request.
    Datagram {
        /// All of them.
        bytes: &'a [u8],
        /// Where from.
        from: IpAddr,
        /// By which link of this node, if its name is known.
        via: Option<Via>,
    },
    /// Time passed. Only now are requests given up, so hand in all datagrams that have come before.
    Tick,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The address that is asked.
    pub to: IpAddr,
    /// The bytes.
    pub bytes: [u8; LENGTH],
}

/// What was thrown away, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProberCounters {
    /// Requests sent.
    pub sent: u64,
    /// Bytes that were no datagram of this kind and mesh.
    pub malformed: WireCounters,
    /// Authentic ones that answer nothing which is waited for: late, doubled, of a former process, or not from where they say.
    pub stray: u64,
    /// Peers beyond [`MAX_PEERS`], or this node itself, that were not added.
    pub peers_refused: u64,
}

/// Asks an address of each peer now and then, and keeps the score.
///
/// It has no budget of its own: the driver asks [`Prober::is_due`], gets leave of the one budget of all echoes
/// ([`crate::echo::Prober::lend`]), and takes the request.
#[derive(Debug)]
pub struct Prober {
    me: PublicKey,
    key: ProbeKey,
    session: u64,
    sequences: Sequences,
    tracks: BTreeMap<Key, Track>,
    /// Whose turn it is, and of those whose last request failed. Both wait in the order of their moments, and take turns.
    rounds: BTreeSet<(Moment, Key)>,
    retries: BTreeSet<(Moment, Key)>,
    retry_was_last: bool,
    timeouts: BTreeSet<(Moment, Key)>,
    doubted: BTreeSet<PublicKey>,
    /// The newest answer that said that a request went around the tunnel.
    beside: Option<(PublicKey, Moment)>,
    phases: Phases,
    random: Random,
    counters: ProberCounters,
}

/// A peer, and the family of its address.
type Key = (PublicKey, usize);

#[derive(Clone, Debug)]
struct Track {
    told: NodeAsked,
    /// Answers in a row that said that the request went around the tunnel.
    around: u32,
    due: Moment,
    waiting: Option<(u64, Moment)>,
}

impl Prober {
    /// `session` must be random per process; `seed` only spreads the requests.
    pub fn new(me: PublicKey, key: ProbeKey, session: u64, seed: u64) -> Self {
        Self {
            me,
            key,
            session,
            sequences: Sequences::default(),
            tracks: BTreeMap::new(),
            rounds: BTreeSet::new(),
            retries: BTreeSet::new(),
            retry_was_last: false,
            timeouts: BTreeSet::new(),
            doubted: BTreeSet::new(),
            beside: None,
            phases: Phases::new(seed),
            random: Random::new(seed),
            counters: ProberCounters::default(),
        }
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input<'_>, now: Moment) {
        match input {
            Input::Aim { peer, at } => self.aim(peer, at, now),
            Input::Removed(peer) => {
                for key in both(peer) {
                    self.forget(key);
                }
                self.doubted.remove(&peer);
            }
            Input::Doubted(peer) => self.doubt(peer),
            Input::Back(peer) => {
                self.doubted.remove(&peer);
                for key in both(peer) {
                    self.enqueue(key, now, false);
                }
            }
            Input::Datagram { bytes, from, via } => self.receive(bytes, (from, via), now),
            Input::Tick => self.expire(now),
        }
    }

    /// Whether there is anybody to ask at all.
    pub fn is_idle(&self) -> bool {
        self.tracks.is_empty()
    }

    /// Whether somebody is to be asked now.
    pub fn is_due(&self, now: Moment) -> bool {
        self.first(now).is_some()
    }

    /// The next request; to be sent now. `None` if nobody is to be asked now.
    pub fn take(&mut self, now: Moment) -> Option<Request> {
        let (key, retried) = self.first(now)?;
        self.give_up(key, now);
        self.retry_was_last = retried;
        let sequence = self.sequences.take(key.0);
        let track = self.tracks.get_mut(&key)?;
        track.waiting = Some((sequence, now));
        let to = track.told.to;
        self.timeouts.insert((gives_up(now), key));
        let jitter = self.random.within(JITTER * 2);
        self.enqueue(key, now.plus(INTERVAL).minus(JITTER).plus(jitter), false);
        self.counters.sent += 1;
        let request = Datagram {
            kind: Kind::Request,
            sender: self.me,
            receiver: key.0,
            session: self.session,
            sequence,
            address: to,
        };
        let bytes = request.encode(&self.key);
        Some(Request { to, bytes })
    }

    /// What was asked of one peer, IPv4 first.
    pub fn asked(&self, peer: &PublicKey) -> Vec<NodeAsked> {
        let tracks = both(*peer).filter_map(|key| self.tracks.get(&key));
        let told = tracks.map(|track| {
            let beside = self.beside.filter(|(other, _)| other != peer);
            NodeAsked {
                beside: beside.map(|(_, at)| at).filter(|_| track.told.lost > 0),
                ..track.told.clone()
            }
        });
        told.filter(|asked| asked.answered > 0 || asked.lost > 0)
            .collect()
    }

    /// What was thrown away.
    pub const fn counters(&self) -> &ProberCounters {
        &self.counters
    }

    fn aim(&mut self, peer: PublicKey, at: [Option<IpAddr>; 2], now: Moment) {
        let known = both(peer).any(|key| self.tracks.contains_key(&key));
        if peer == self.me || (!known && self.tracks.len() >= MAX_PEERS * 2) {
            self.counters.peers_refused += 1;
            return;
        }
        for (place, to) in at.into_iter().enumerate() {
            let key = (peer, place);
            let last = self.tracks.get(&key).map(|track| track.told.to);
            if last == to {
                continue;
            }
            self.forget(key);
            if let Some(to) = to.filter(|to| family(*to) == place) {
                let due = now.plus(self.phases.next(INTERVAL));
                self.tracks.insert(key, Track::new(to, due));
                self.enqueue(key, due, false);
            }
        }
    }

    fn doubt(&mut self, peer: PublicKey) {
        let known = both(peer).any(|key| self.tracks.contains_key(&key));
        if !known || !self.doubted.insert(peer) {
            return;
        }
        for key in both(peer) {
            self.dequeue(key);
            if let Some(track) = self.tracks.get_mut(&key) {
                if let Some((_, sent)) = track.waiting.take() {
                    self.timeouts.remove(&(gives_up(sent), key));
                }
                (track.told.lost, track.told.lost_since, track.around) = (0, None, 0);
            }
        }
    }

    fn forget(&mut self, key: Key) {
        self.dequeue(key);
        if let Some(track) = self.tracks.remove(&key)
            && let Some((_, sent)) = track.waiting
        {
            self.timeouts.remove(&(gives_up(sent), key));
        }
    }

    fn first(&self, now: Moment) -> Option<(Key, bool)> {
        let due = |queue: &BTreeSet<(Moment, Key)>| {
            let first = queue.first().filter(|(due, _)| *due <= now);
            first.map(|(_, key)| *key)
        };
        let round = due(&self.rounds).map(|key| (key, false));
        let retry = due(&self.retries).map(|key| (key, true));
        if self.retry_was_last {
            round.or(retry)
        } else {
            retry.or(round)
        }
    }

    fn receive(&mut self, bytes: &[u8], (from, via): (IpAddr, Option<Via>), now: Moment) {
        let reply = match Datagram::decode(bytes, &self.key) {
            Ok(reply) => reply,
            Err(error) => return self.counters.malformed.count(error),
        };
        if self
            .score(&reply, (from.to_canonical(), via), now)
            .is_none()
        {
            self.counters.stray += 1;
        }
    }

    fn score(
        &mut self,
        reply: &Datagram,
        (from, via): (IpAddr, Option<Via>),
        now: Moment,
    ) -> Option<()> {
        let Kind::Reply { through } = reply.kind else {
            return None;
        };
        let mine = reply.receiver == self.me && reply.session == self.session;
        let key = (reply.sender, family(reply.address));
        let track = self.tracks.get_mut(&key).filter(|_| mine)?;
        let asked = track.told.to;
        if from != asked || reply.address != asked {
            return None;
        }
        let waiting = |(sequence, _): &mut (u64, Moment)| *sequence == reply.sequence;
        let (_, sent) = track.waiting.take_if(waiting)?;
        track.answered((through, via), now);
        let (around, retried) = (track.around, (1..=QUICK_RETRIES).contains(&track.around));
        self.timeouts.remove(&(gives_up(sent), key));
        if around > 0 {
            if self.beside.is_none() {
                self.hurry(now);
            }
            self.beside = Some((reply.sender, now));
        } else if self.beside.is_some_and(|(peer, _)| peer == reply.sender) {
            self.beside = None;
        }
        if retried {
            self.enqueue(key, sent.plus(RETRY_INTERVAL), true);
        }
        Some(())
    }

    /// One goes around the tunnel, so others may: they are asked out of their turn, as fast as the budget permits.
    fn hurry(&mut self, now: Moment) {
        let well = self.tracks.iter().filter(|(_, track)| {
            track.waiting.is_none() && track.around == 0 && track.told.lost == 0
        });
        let well: Vec<Key> = well.map(|(key, _)| *key).collect();
        for key in well {
            self.enqueue(key, now, true);
        }
    }

    fn expire(&mut self, now: Moment) {
        while let Some((_, key)) = self.timeouts.first().filter(|(at, _)| *at <= now).copied() {
            self.timeouts.pop_first();
            self.give_up(key, now);
        }
    }

    fn give_up(&mut self, key: Key, now: Moment) {
        let Some(track) = self.tracks.get_mut(&key) else {
            return;
        };
        let Some((_, sent)) = track.waiting.take() else {
            return;
        };
        self.timeouts.remove(&(gives_up(sent), key));
        let told = &mut track.told;
        told.lost = told.lost.saturating_add(1);
        told.lost_since = told.lost_since.or(Some(sent));
        track.around = 0;
        if told.lost <= QUICK_RETRIES {
            self.enqueue(key, now, true);
        }
    }

    fn enqueue(&mut self, key: Key, due: Moment, retried: bool) {
        self.dequeue(key);
        if self.doubted.contains(&key.0) {
            return;
        }
        if let Some(track) = self.tracks.get_mut(&key) {
            track.due = due;
            let queue = if retried {
                &mut self.retries
            } else {
                &mut self.rounds
            };
            queue.insert((due, key));
        }
    }

    fn dequeue(&mut self, key: Key) {
        if let Some(track) = self.tracks.get(&key) {
            self.rounds.remove(&(track.due, key));
            self.retries.remove(&(track.due, key));
        }
    }
}

impl Track {
    const fn new(to: IpAddr, due: Moment) -> Self {
        Self {
            told: NodeAsked {
                to,
                answered: 0,
                last_answered: None,
                back: None,
                through: None,
                lost: 0,
                lost_since: None,
                beside: None,
                mended: None,
            },
            around: 0,
            due,
            waiting: None,
        }
    }

    fn answered(&mut self, (through, back): (Option<bool>, Option<Via>), now: Moment) {
        let told = &mut self.told;
        if through != Some(false) && told.lost.max(self.around) >= MORE_THAN_CHANCE {
            told.mended = Some(now);
        }
        self.around = match through {
            Some(false) => self.around.saturating_add(1),
            Some(true) | None => 0,
        };
        told.answered = told.answered.saturating_add(1);
        (told.last_answered, told.back, told.through) = (Some(now), back, through);
        (told.lost, told.lost_since) = (0, None);
    }
}

fn both(peer: PublicKey) -> impl Iterator<Item = Key> {
    (0..2).map(move |family| (peer, family))
}

/// A millisecond is added because moments are rounded down.
fn gives_up(sent: Moment) -> Moment {
    sent.plus(REPLY_TIMEOUT).plus(Duration::from_millis(1))
}
