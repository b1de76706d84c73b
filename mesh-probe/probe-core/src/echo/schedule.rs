//! When which peer is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evidence::{Moment, PublicKey};

use super::ticks::{Share, TICK, in_ticks, tick_before, tick_from};
use crate::{
    budget::Budget,
    random::{Phases, Random},
};

/// Requests that leave a node in any one second, at most, whatever the number of peers and of losses.
///
/// At 34 per second a mesh of 68 is gone round in two seconds and one of 1,024 in thirty, and the echo of one node costs
/// 34 * 136 bytes a second, headers aside.
pub const MAX_REQUESTS_PER_SECOND: u32 = 34;
/// Shortest time between two requests to a healthy peer.
pub const MIN_INTERVAL: Duration = Duration::from_secs(2);
/// A request without a reply for so long is lost.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between requests to a peer whose last request was lost.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// While node addresses are asked too, one in so many of the requests that a node may send is for them: two of 34.
pub const NODE_SHARE: u32 = 17;
/// In a mesh that takes longer than this to go round it is one in [`SMALL_NODE_SHARE`]: there each request that is lent delays the
/// word that a pair is dead.
const LONG_ROUND: Duration = Duration::from_secs(10);
/// One request in two seconds.
pub const SMALL_NODE_SHARE: u32 = 4 * NODE_SHARE;
/// Jitter is at most the interval divided by this, to either side: 10 %.
pub const JITTER_SHARE: u32 = 10;
/// Jitter is at most this: in a large mesh 10 % of the interval would only delay detection.
pub const JITTER_LIMIT: Duration = Duration::from_millis(500);
/// Losses in a row that [`super::Prober::detection_time`] waits for: one lost packet accuses nobody.
pub const CONFIRMING_LOSSES: u32 = 3;

/// Which of the two queues a peer stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// One request per interval, each peer at its own phase.
    Round,
    /// Promoted after a loss.
    Retry,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The peer's place in the round, without jitter; kept while it is retried.
    grid: Moment,
    due: Moment,
    pace: Pace,
}

/// Two queues under one budget, served at ticks. When both have something due they take turns, so that neither starves the other.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    slots: BTreeMap<PublicKey, Slot>,
    rounds: BTreeSet<(Moment, PublicKey)>,
    retries: BTreeSet<(Moment, PublicKey)>,
    budget: Budget,
    share: Share,
    per_second: u32,
    lends: bool,
    lent_at: Option<Moment>,
    retry_was_last: bool,
    phases: Phases,
    random: Random,
}

impl Schedule {
    pub(super) fn new(seed: u64, per_second: u32) -> Self {
        let per_second = per_second.clamp(1, MAX_REQUESTS_PER_SECOND);
        let mut random = Random::new(seed);
        Self {
            slots: BTreeMap::new(),
            rounds: BTreeSet::new(),
            retries: BTreeSet::new(),
            budget: Budget::per_second(usize::try_from(per_second).unwrap_or(1)),
            share: Share::of(per_second),
            per_second,
            lends: false,
            lent_at: None,
            retry_was_last: false,
            phases: Phases::new(random.next()),
            random,
        }
    }

    pub(super) fn add(&mut self, peer: PublicKey, now: Moment) {
        if self.slots.contains_key(&peer) {
            return;
        }
        self.slots.insert(
            peer,
            Slot {
                grid: now,
                due: now,
                pace: Pace::Round,
            },
        );
        let grid = now.plus(self.phases.next(self.interval()));
        self.enqueue(
            peer,
            Slot {
                grid,
                due: grid,
                pace: Pace::Round,
            },
        );
    }

    pub(super) fn remove(&mut self, peer: &PublicKey) {
        self.dequeue(*peer);
        self.slots.remove(peer);
    }

    /// A request was lost: ask again as soon as the retry interval permits.
    pub(super) fn promote(&mut self, peer: PublicKey, sent: Moment) {
        if let Some(slot) = self.dequeue(peer) {
            self.enqueue(
                peer,
                Slot {
                    due: tick_before(sent).plus(RETRY_INTERVAL),
                    pace: Pace::Retry,
                    ..slot
                },
            );
        }
    }

    /// A reply came: back to the round, at the place the peer had before, so that peers that recover together stay spread.
    pub(super) fn demote(&mut self, peer: PublicKey, now: Moment) {
        if self
            .slots
            .get(&peer)
            .is_some_and(|slot| slot.pace == Pace::Retry)
            && let Some(slot) = self.dequeue(peer)
        {
            self.enqueue_round(peer, slot.grid, now);
        }
    }

    /// The peer to ask now, if one is due and the budget permits. It is charged and put back for its next turn.
    pub(super) fn take(&mut self, now: Moment) -> Option<PublicKey> {
        if self.busy_until(now).is_some() {
            return None;
        }
        let peer = self.due(now)?;
        let slot = self.dequeue(peer)?;
        self.budget.take(now);
        self.share.take(now);
        self.retry_was_last = slot.pace == Pace::Retry;
        match slot.pace {
            Pace::Round => {
                // A peer that the budget kept waiting moves to where there is room; a crowd dissolves in one round.
                let late = now.since(slot.grid) > self.jitter() + TICK;
                self.enqueue_round(peer, if late { now } else { slot.grid }, now);
            }
            Pace::Retry => self.enqueue(
                peer,
                Slot {
                    due: tick_before(now).plus(RETRY_INTERVAL),
                    ..slot
                },
            ),
        }
        Some(peer)
    }

    /// Whether requests are lent at all: until it is told so, the whole budget is for the peers here.
    pub(super) fn lend_to_others(&mut self, lends: bool) {
        self.lends = lends;
    }

    /// Leave for a request to a node address, which is charged to the budget. It is given no more often than the share is.
    pub(super) fn lend(&mut self, now: Moment) -> bool {
        let pause = Duration::from_secs(1) * self.lent_one_in() / self.per_second;
        let early = self
            .lent_at
            .is_some_and(|at| tick_before(now).since(at) < pause);
        if !self.lends || early || self.busy_until(now).is_some() {
            return false;
        }
        self.budget.take(now);
        self.share.take(now);
        self.lent_at = Some(tick_before(now));
        true
    }

    /// When [`Schedule::take`] may next give something, and whether it is the budget that is waited for.
    pub(super) fn next(&self, now: Moment) -> Option<(Moment, bool)> {
        let rounds = self.rounds.first().map(|(due, _)| *due);
        let retries = self.retries.first().map(|(due, _)| *due);
        let due = rounds.into_iter().chain(retries).min()?;
        match self.busy_until(now) {
            Some(free) if free > due => Some((free, true)),
            _ => Some((due, false)),
        }
    }

    pub(super) fn interval(&self) -> Duration {
        let (kept, of) = self.kept();
        let round = self.whole_round() * of / kept;
        round.max(MIN_INTERVAL)
    }

    /// The round of a budget of which nothing is lent.
    fn whole_round(&self) -> Duration {
        Duration::from_secs(1) * count(self.slots.len()) / self.per_second
    }

    /// One request in so many is lent.
    fn lent_one_in(&self) -> u32 {
        if self.whole_round() > LONG_ROUND {
            SMALL_NODE_SHARE
        } else {
            NODE_SHARE
        }
    }

    /// How many of how many requests are not lent.
    fn kept(&self) -> (u32, u32) {
        let of = self.lent_one_in();
        if self.lends { (of - 1, of) } else { (1, 1) }
    }

    /// Interval and retry interval that the budget guarantees at present.
    ///
    /// Retries take what they need of the budget, at most half of it when the round needs the rest. The round is counted with
    /// all peers: those that are retried now were in it a moment ago, and may return.
    pub(super) fn guaranteed(&self) -> (Duration, Duration) {
        let (all, promoted) = (count(self.slots.len()), count(self.retries.len()));
        // Doubled, and as many times more as the share has parts, so that half of what is not lent is a whole number.
        let (kept, of) = self.kept();
        let half = self.per_second * kept;
        let left = half * 2 - promoted.saturating_mul(2 * of).min(half);
        let parts = Duration::from_secs(1) * (2 * of);
        let round = parts * all / left;
        let retry = parts * promoted / half;
        (
            in_ticks(round.max(self.interval())),
            in_ticks(retry.max(RETRY_INTERVAL)),
        )
    }

    pub(super) fn jitter(&self) -> Duration {
        (self.interval() / JITTER_SHARE).min(JITTER_LIMIT)
    }

    /// When the budget and the share of a tick permit the next request: `None` if at once.
    fn busy_until(&self, now: Moment) -> Option<Moment> {
        let budget = self.budget.busy_until(now).map(tick_from);
        budget.max(self.share.busy_until(now))
    }

    fn due(&self, now: Moment) -> Option<PublicKey> {
        let first = |queue: &BTreeSet<(Moment, PublicKey)>| {
            queue
                .first()
                .filter(|(due, _)| *due <= now)
                .map(|(_, peer)| *peer)
        };
        let (round, retry) = (first(&self.rounds), first(&self.retries));
        if self.retry_was_last {
            round.or(retry)
        } else {
            retry.or(round)
        }
    }

    fn enqueue_round(&mut self, peer: PublicKey, grid: Moment, now: Moment) {
        let grid = following(grid, self.interval(), now);
        let jitter = self.jitter();
        let due = grid.minus(jitter).plus(self.random.within(jitter * 2));
        self.enqueue(
            peer,
            Slot {
                grid,
                due,
                pace: Pace::Round,
            },
        );
    }

    fn enqueue(&mut self, peer: PublicKey, slot: Slot) {
        let due = tick_from(slot.due);
        let slot = Slot { due, ..slot };
        match slot.pace {
            Pace::Round => self.rounds.insert((slot.due, peer)),
            Pace::Retry => self.retries.insert((slot.due, peer)),
        };
        self.slots.insert(peer, slot);
    }

    fn dequeue(&mut self, peer: PublicKey) -> Option<Slot> {
        let slot = *self.slots.get(&peer)?;
        self.rounds.remove(&(slot.due, peer));
        self.retries.remove(&(slot.due, peer));
        Some(slot)
    }
}

/// The next place on the grid: one interval on, or as many as it takes to be later than `now`.
fn following(grid: Moment, interval: Duration, now: Moment) -> Moment {
    let behind = now.since(grid).as_millis() / interval.as_millis().max(1);
    let steps = u32::try_from(behind).unwrap_or(u32::MAX).saturating_add(1);
    grid.plus(interval.saturating_mul(steps))
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
