//! When which peer is asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evidence::{Moment, PublicKey};

use crate::{
    budget::Budget,
    random::{Phases, Random},
};

/// Requests that leave a node in any one second, at most, whatever the number of peers and of losses.
///
/// At 34 per second a mesh of 68 is gone round in two seconds and one of 1,024 in thirty, and the echo of one node costs
/// 34 * 120 bytes a second, headers aside.
pub const MAX_REQUESTS_PER_SECOND: u32 = 34;
/// Shortest time between two requests to a healthy peer.
pub const MIN_INTERVAL: Duration = Duration::from_secs(2);
/// A request without a reply for so long is lost.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// Time between requests to a peer whose last request was lost.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);
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

#[derive(Clone, Debug)]
struct Slot {
    /// The peer's place in the round, without jitter; kept while it is retried.
    grid: Moment,
    due: Moment,
    pace: Pace,
}

/// Two queues under one budget. When both have something due they take turns, so that neither starves the other.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    slots: BTreeMap<PublicKey, Slot>,
    rounds: BTreeSet<(Moment, PublicKey)>,
    retries: BTreeSet<(Moment, PublicKey)>,
    budget: Budget,
    per_second: u32,
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
            per_second,
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
                    due: sent.plus(RETRY_INTERVAL),
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
        if self.budget.busy_until(now).is_some() {
            return None;
        }
        let peer = self.due(now)?;
        let slot = self.dequeue(peer)?;
        self.budget.take(now);
        self.retry_was_last = slot.pace == Pace::Retry;
        match slot.pace {
            Pace::Round => {
                // A peer that the budget kept waiting moves to where there is room; a crowd dissolves in one round.
                let late = now.since(slot.grid) > self.jitter();
                self.enqueue_round(peer, if late { now } else { slot.grid }, now);
            }
            Pace::Retry => self.enqueue(
                peer,
                Slot {
                    due: now.plus(RETRY_INTERVAL),
                    ..slot
                },
            ),
        }
        Some(peer)
    }

    /// When [`Schedule::take`] may next give something, and whether it is the budget that is waited for.
    pub(super) fn next(&self, now: Moment) -> Option<(Moment, bool)> {
        let rounds = self.rounds.first().map(|(due, _)| *due);
        let retries = self.retries.first().map(|(due, _)| *due);
        let due = rounds.into_iter().chain(retries).min()?;
        match self.budget.busy_until(now) {
            Some(free) if free > due => Some((free, true)),
            _ => Some((due, false)),
        }
    }

    pub(super) fn interval(&self) -> Duration {
        let round = Duration::from_secs(1) * count(self.slots.len()) / self.per_second;
        round.max(MIN_INTERVAL)
    }

    /// Interval and retry interval as the budget lets them be at present.
    pub(super) fn effective(&self) -> (Duration, Duration) {
        let second = Duration::from_secs(1);
        let (healthy, promoted) = (count(self.rounds.len()), count(self.retries.len()));
        // Rates in thousandths of a request per second.
        let budget = u64::from(self.per_second) * 1000;
        let round_millis = u64::try_from(self.interval().as_millis()).unwrap_or(u64::MAX);
        let for_rounds = u64::from(healthy) * 1_000_000 / round_millis;
        let for_retries = u64::from(promoted) * 1000;
        if for_rounds + for_retries <= budget {
            return (self.interval(), RETRY_INTERVAL);
        }
        let retries = for_retries.min((budget / 2).max(budget.saturating_sub(for_rounds)));
        let rounds = (budget - retries).max(1);
        let stretched =
            Duration::from_millis(u64::from(healthy) * 1_000_000 / rounds).max(self.interval());
        let again = (second * promoted * 1000) / u32::try_from(retries.max(1)).unwrap_or(u32::MAX);
        (stretched, again.max(RETRY_INTERVAL))
    }

    pub(super) fn jitter(&self) -> Duration {
        (self.interval() / JITTER_SHARE).min(JITTER_LIMIT)
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
        match slot.pace {
            Pace::Round => self.rounds.insert((slot.due, peer)),
            Pace::Retry => self.retries.insert((slot.due, peer)),
        };
        self.slots.insert(peer, slot);
    }

    fn dequeue(&mut self, peer: PublicKey) -> Option<Slot> {
        let slot = self.slots.get(&peer)?.clone();
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
mod tests {
    use super::*;

    const SECOND: i64 = 1000;

    fn peer(number: u16) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    }

    fn schedule(peers: u16) -> Schedule {
        let mut schedule = Schedule::new(1, MAX_REQUESTS_PER_SECOND);
        for number in 0..peers {
            schedule.add(peer(number), Moment::ZERO);
        }
        schedule
    }

    /// Runs for so many seconds; returns all sendings.
    fn run(schedule: &mut Schedule, seconds: i64) -> Vec<(i64, PublicKey)> {
        let mut sent = Vec::new();
        for millis in 0..seconds * SECOND {
            while let Some(peer) = schedule.take(Moment::from_millis(millis)) {
                sent.push((millis, peer));
            }
        }
        sent
    }

    fn most_in_a_second(sent: &[(i64, PublicKey)]) -> usize {
        let times: Vec<i64> = sent.iter().map(|(at, _)| *at).collect();
        let within = |start: i64| {
            times.partition_point(|at| *at < start + SECOND)
                - times.partition_point(|at| *at < start)
        };
        times.iter().map(|start| within(*start)).max().unwrap_or(0)
    }

    #[test]
    fn the_interval_is_two_seconds_until_the_budget_stretches_it() {
        assert_eq!(schedule(3).interval(), Duration::from_secs(2));
        assert_eq!(schedule(68).interval(), Duration::from_secs(2));
        assert_eq!(schedule(170).interval(), Duration::from_secs(5));
        assert_eq!(schedule(1023).interval().as_secs(), 30);
    }

    #[test]
    fn a_small_mesh_is_asked_every_two_seconds_give_or_take_ten_percent() {
        let sent = run(&mut schedule(3), 60);
        for number in 0..3 {
            let times: Vec<i64> = sent
                .iter()
                .filter(|(_, p)| *p == peer(number))
                .map(|(at, _)| *at)
                .collect();
            assert!((29..=31).contains(&times.len()), "{times:?}");
            assert!(
                times
                    .windows(2)
                    .all(|w| (1600..=2400).contains(&(w[1] - w[0]))),
                "{times:?}"
            );
        }
    }

    #[test]
    fn no_second_sees_more_requests_than_the_budget_for_any_mesh() {
        for peers in [1, 34, 68, 69, 300, 1023] {
            let mut schedule = schedule(peers);
            for number in (0..peers).step_by(2) {
                schedule.promote(peer(number), Moment::ZERO);
            }
            assert!(
                most_in_a_second(&run(&mut schedule, 40)) <= 34,
                "{peers} peers"
            );
        }
    }

    #[test]
    fn in_a_full_mesh_every_peer_is_asked_within_the_interval_and_the_jitter() {
        let mut schedule = schedule(1023);
        let longest = schedule.interval() + schedule.jitter() * 2 + Duration::from_millis(500);
        let mut last: BTreeMap<PublicKey, i64> =
            (0..1023).map(|number| (peer(number), 0)).collect();
        for (at, peer) in run(&mut schedule, 120) {
            let gap = at - last.insert(peer, at).unwrap();
            assert!(
                at < 40 * SECOND || u128::try_from(gap).unwrap() <= longest.as_millis(),
                "gap of {gap} ms"
            );
        }
        assert!(last.values().all(|at| *at > 80 * SECOND));
    }

    #[test]
    fn a_promoted_peer_is_asked_every_second_and_returns_to_its_place() {
        let mut schedule = schedule(1);
        let (first, _) = run(&mut schedule, 3)[0];
        schedule.promote(peer(0), Moment::from_millis(first));
        let retried: Vec<i64> = run(&mut schedule, 10).iter().map(|(at, _)| *at).collect();
        assert!(
            retried.windows(2).all(|w| w[1] - w[0] == SECOND),
            "{retried:?}"
        );
        schedule.demote(peer(0), Moment::from_millis(10 * SECOND));
        let (next, _) = schedule.next(Moment::from_millis(10 * SECOND)).unwrap();
        let moved = (next.as_millis() - first + SECOND).rem_euclid(2 * SECOND) - SECOND;
        assert!(moved.abs() <= 200, "phase moved by {moved} ms");
    }

    #[test]
    fn when_the_budget_is_short_losses_and_the_round_share_it() {
        let mut schedule = schedule(200);
        for number in 0..100 {
            schedule.promote(peer(number), Moment::ZERO);
        }
        let sent = run(&mut schedule, 20);
        let retries = sent.iter().filter(|(_, p)| *p < peer(100)).count();
        assert!(
            (sent.len() * 4 / 10..=sent.len() * 6 / 10).contains(&retries),
            "{retries} of {}",
            sent.len()
        );
        let (interval, retry) = schedule.effective();
        assert!(interval > schedule.interval() || retry > RETRY_INTERVAL);
    }
}
