//! Facts that go on from what was said of them before, told by what moved in them alone.
//!
//! In a mesh that is well nearly all that agents say is that counters grew and moments moved on. Told as whole facts, each costs as much as
//! one that is new: it is written, read, checked and put in the place of another that differs in a few numbers. Told by these numbers, it
//! is the same fact to the bit.

use std::fmt;

use thiserror::Error;

use crate::{
    Delta, EchoHeard, EchoSent, Fact, FactKey, Facts, Moment, NodeEcho, Peer, PublicKey, Rtt,
    Sizes, SourceId, SourceState, WallReading, limits,
};

/// What moved in facts that go on ([`Fact::goes_on_from`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many milliseconds later sources were read than before.
    pub sources: Vec<(SourceId, i64)>,
    /// Facts about keys.
    pub of_peers: Vec<MovedFact>,
    /// By how much their numbers moved, those of one fact after those of the other.
    pub by: Vec<i64>,
}

/// A fact about a key of which numbers moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MovedFact {
    /// Of whom.
    pub key: ShortKey,
    /// Which one.
    pub kind: MovedKind,
    /// How many numbers it has that can move: so many of [`Moved::by`] are its own.
    pub numbers: u8,
}

/// The first four bytes of a key: enough among those that one node speaks of. Who cannot tell two apart by them tells whole facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShortKey(pub u32);

/// Facts that are told so: those of which there are some for each pair, and that move while all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MovedKind {
    /// [`Fact::Peer`].
    Peer,
    /// [`Fact::EchoSent`].
    EchoSent,
    /// [`Fact::EchoHeard`].
    EchoHeard,
    /// [`Fact::Sizes`].
    Sizes,
    /// [`Fact::NodeEcho`].
    NodeEcho,
}

/// Why facts cannot go on.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CannotMove {
    /// Nothing was said of the source.
    #[error("a source of which something was said before, got {id}", id = .0.as_str())]
    Source(SourceId),
    /// Nothing was said of it.
    #[error("a fact that was said before, got {0}")]
    Unsaid(MovedFact),
    /// There are two such keys.
    #[error("one key, got two that begin as that of {0}")]
    Two(MovedFact),
    /// It has another number of numbers.
    #[error("{expected} numbers of {fact}, got {got}", got = .fact.numbers)]
    Numbers {
        /// Which one.
        fact: MovedFact,
        /// How many it has.
        expected: usize,
    },
}

/// `echo-sent of BwcHB..`: as much of the key, in the writing that everybody knows, as there is of it.
impl fmt::Display for MovedFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            MovedKind::Peer => "wireguard-peer",
            MovedKind::EchoSent => "echo-sent",
            MovedKind::EchoHeard => "echo-heard",
            MovedKind::Sizes => "sizes",
            MovedKind::NodeEcho => "node-echo",
        };
        let (least, _) = self.key.bounds();
        write!(f, "{kind} of {least:.5}..")
    }
}

impl ShortKey {
    /// Of this key.
    pub const fn of(key: &PublicKey) -> Self {
        let [a, b, c, d, ..] = *key.as_bytes();
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// The least and the greatest key that begin so.
    pub(crate) fn bounds(self) -> (PublicKey, PublicKey) {
        let [least, greatest] = [0x00, 0xff].map(|rest| {
            let mut key = [rest; 32];
            for (byte, first) in key.iter_mut().zip(self.0.to_be_bytes()) {
                *byte = first;
            }
            PublicKey::from_bytes(key)
        });
        (least, greatest)
    }
}

impl MovedKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Peer,
        Self::EchoSent,
        Self::EchoHeard,
        Self::Sizes,
        Self::NodeEcho,
    ];

    /// What a fact of this kind about a key is found by.
    pub(crate) const fn of(self, key: PublicKey) -> FactKey {
        match self {
            Self::Peer => FactKey::Peer(key),
            Self::EchoSent => FactKey::EchoSent(key),
            Self::EchoHeard => FactKey::EchoHeard(key),
            Self::Sizes => FactKey::Sizes(key),
            Self::NodeEcho => FactKey::NodeEcho(key),
        }
    }

    const fn of_fact(fact: &Fact) -> Option<(Self, &PublicKey)> {
        match fact {
            Fact::Peer(key, _) => Some((Self::Peer, key)),
            Fact::EchoSent(key, _) => Some((Self::EchoSent, key)),
            Fact::EchoHeard(key, _) => Some((Self::EchoHeard, key)),
            Fact::Sizes(key, _) => Some((Self::Sizes, key)),
            Fact::NodeEcho(key, _) => Some((Self::NodeEcho, key)),
            _ => None,
        }
    }
}

impl Moved {
    /// How many facts are told.
    pub const fn len(&self) -> usize {
        self.sources.len() + self.of_peers.len()
    }

    /// Whether none is.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a fact in, if it can be told so; says whether it was.
    fn take(&mut self, new: &Fact, older: &Facts) -> bool {
        let Some(old) = older.get(&new.key()) else {
            return false;
        };
        if !new.goes_on_from(old) {
            return false;
        }
        if let (Fact::Source(id, new), Fact::Source(_, old)) = (new, old) {
            let [after, before] = [new, old].map(|state| state.read_at.as_millis());
            let later = after.wrapping_sub(before);
            let mut moved = old.clone();
            moved.go_on(later);
            if moved == *new {
                self.sources.push((*id, later));
            }
            return moved == *new;
        }
        let Some((kind, key)) = MovedKind::of_fact(new) else {
            return false;
        };
        let (before, after) = (values(old), values(new));
        let by = before.iter().zip(&after);
        let by: Vec<i64> = by.map(|(old, new)| new.wrapping_sub(*old)).collect();
        // What did not merely move cannot be told so, nor what would leave its range: this holds for any fact, whatever `numbers` goes through.
        let mut moved = old.clone();
        moved.move_by(&mut by.iter().copied());
        let is_it = moved == *new && by.len() <= limits::MOVED_NUMBERS;
        let numbers = u8::try_from(by.len()).ok();
        let Some(numbers) = numbers.filter(|_| is_it) else {
            return false;
        };
        let key = ShortKey::of(key);
        let told = MovedFact { key, kind, numbers };
        if older.of_short_key(told).is_err() {
            return false;
        }
        self.of_peers.push(told);
        self.by.extend(by);
        true
    }
}

impl Delta {
    /// Says the same by moves, as far as that can be said so, to somebody who has `older`.
    #[must_use]
    pub fn by_moves(mut self, older: &Facts) -> Self {
        let Self { upserts, moved, .. } = &mut self;
        upserts.retain(|fact| !moved.take(fact, older));
        self
    }
}

/// A number that moves while a fact goes on.
enum Number<'a> {
    /// A counter that has no bound.
    Count(&'a mut u64),
    /// What has one.
    Few(&'a mut u32),
    At(&'a mut Moment),
    /// Milliseconds of somebody's wall clock.
    Wall(&'a mut i64),
}

impl Number<'_> {
    fn value(&self) -> i64 {
        match self {
            Self::Count(count) => count.cast_signed(),
            Self::Few(few) => i64::from(**few),
            Self::At(at) => at.as_millis(),
            Self::Wall(wall) => **wall,
        }
    }

    fn move_by(self, by: i64) {
        match self {
            Self::Count(count) => *count = count.wrapping_add_signed(by),
            Self::Few(few) => {
                let most = if by < 0 { 0 } else { u32::MAX };
                let moved = i64::from(*few).saturating_add(by);
                *few = u32::try_from(moved).unwrap_or(most);
            }
            Self::At(at) => *at = at.shifted(by),
            Self::Wall(wall) => *wall = wall.saturating_add(by),
        }
    }
}

/// The numbers of a fact, in the order in which [`Fact::numbers`] goes through them.
fn values(fact: &Fact) -> Vec<i64> {
    let mut values = Vec::new();
    fact.clone()
        .numbers(&mut |number| values.push(number.value()));
    values
}

impl Fact {
    /// Goes through the numbers that move while the fact goes on. Their order is a part of the contract with agents: whoever changes it, or
    /// what is gone through, or adds a layer of sizes, gives the layout another number (`limits::MOVED_LAYOUT`).
    fn numbers(&mut self, each: &mut impl FnMut(Number<'_>)) {
        match self {
            Self::Peer(_, peer) => {
                each(Number::Count(&mut peer.rx_bytes));
                each(Number::Count(&mut peer.tx_bytes));
                moment(&mut peer.rx_moved, each);
                moment(&mut peer.last_handshake, each);
            }
            Self::EchoSent(_, echo) => {
                each(Number::Count(&mut echo.sent));
                each(Number::Count(&mut echo.answered));
                moment(&mut echo.last_sent, each);
                moment(&mut echo.last_answered, each);
                if let Some(Rtt {
                    last_us,
                    min_us,
                    mean_us,
                    max_us,
                }) = &mut echo.rtt
                {
                    for few in [last_us, min_us, mean_us, max_us] {
                        each(Number::Few(few));
                    }
                }
                each(Number::Few(&mut echo.window));
                each(Number::Few(&mut echo.window_lost));
                each(Number::Few(&mut echo.short_losses));
                if let Some(WallReading {
                    at,
                    wall_ms,
                    error_us,
                }) = &mut echo.clock
                {
                    each(Number::At(at));
                    each(Number::Wall(wall_ms));
                    each(Number::Few(error_us));
                }
            }
            Self::EchoHeard(_, echo) => {
                each(Number::Count(&mut echo.heard));
                moment(&mut echo.last_heard, each);
                each(Number::Few(&mut echo.window));
                each(Number::Few(&mut echo.window_missing));
            }
            Self::Sizes(_, layers) => {
                for sizes in layers {
                    moment(&mut sizes.full_arrived, each);
                    moment(&mut sizes.seen_arriving, each);
                    moment(&mut sizes.in_fragments, each);
                }
            }
            Self::NodeEcho(_, echo) => {
                let NodeEcho { asked, heard } = &mut **echo;
                for asked in asked {
                    each(Number::Count(&mut asked.answered));
                    moment(&mut asked.last_answered, each);
                }
                for heard in heard {
                    each(Number::Count(&mut heard.heard));
                    each(Number::At(&mut heard.last));
                }
            }
            _ => {}
        }
    }

    /// How many numbers that is.
    pub(crate) fn count_numbers(&self) -> usize {
        let some = |moments: &[Option<Moment>]| moments.iter().flatten().count();
        match self {
            Self::Peer(
                _,
                Peer {
                    rx_moved,
                    last_handshake,
                    ..
                },
            ) => 2 + some(&[*rx_moved, *last_handshake]),
            Self::EchoSent(
                _,
                EchoSent {
                    last_sent,
                    last_answered,
                    rtt,
                    clock,
                    ..
                },
            ) => {
                let rtt = rtt.map_or(0, |_| 4);
                let clock = clock.map_or(0, |_| 3);
                2 + some(&[*last_sent, *last_answered]) + rtt + 3 + clock
            }
            Self::EchoHeard(_, EchoHeard { last_heard, .. }) => 3 + some(&[*last_heard]),
            Self::Sizes(_, layers) => {
                let of_layer = |sizes: &Sizes| {
                    some(&[sizes.full_arrived, sizes.seen_arriving, sizes.in_fragments])
                };
                layers.iter().map(of_layer).sum()
            }
            Self::NodeEcho(_, echo) => {
                let NodeEcho { asked, heard } = &**echo;
                let asked = asked.iter().map(|asked| 1 + some(&[asked.last_answered]));
                asked.sum::<usize>() + 2 * heard.len()
            }
            _ => 0,
        }
    }

    /// Goes on by so much.
    pub(crate) fn move_by(&mut self, by: &mut impl Iterator<Item = i64>) {
        self.numbers(&mut |number| number.move_by(by.next().unwrap_or(0)));
    }
}

fn moment(at: &mut Option<Moment>, each: &mut impl FnMut(Number<'_>)) {
    if let Some(at) = at {
        each(Number::At(at));
    }
}

impl SourceState {
    /// The same, read later.
    pub(crate) fn go_on(&mut self, later: i64) {
        self.read_at = self.read_at.shifted(later);
    }
}
