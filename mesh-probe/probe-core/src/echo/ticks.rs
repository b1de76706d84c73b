//! The moments at which requests leave.
//!
//! Most of what an echo costs is waking up for it. So requests do not leave one by one: those that are due leave together, and
//! the replies to them are read together one tick later, stamped by the kernel with the time at which they came.

use std::time::Duration;

use evidence::Moment;

/// Time between two ticks. Four take a little more than a second, so that what leaves at five of them is never within one
/// second, though moments are rounded down and drivers wake a bit late.
pub const TICK: Duration = Duration::from_millis(251);
const MILLIS: i64 = 251;
/// Ticks in a second; no tick sends more than such a part of the budget, rounded up.
const PER_SECOND: u32 = 4;

/// The tick at this moment, or the next.
pub fn tick_from(moment: Moment) -> Moment {
    let behind = moment.as_millis().rem_euclid(MILLIS);
    match u64::try_from((MILLIS - behind) % MILLIS) {
        Ok(ahead) => moment.plus(Duration::from_millis(ahead)),
        Err(_) => moment,
    }
}

/// The tick at this moment, or the one before.
pub(super) fn tick_before(moment: Moment) -> Moment {
    match u64::try_from(moment.as_millis().rem_euclid(MILLIS)) {
        Ok(behind) => moment.minus(Duration::from_millis(behind)),
        Err(_) => moment,
    }
}

/// How long something takes at most that is done at ticks and takes so long otherwise.
pub(super) fn in_ticks(duration: Duration) -> Duration {
    duration + duration / 250
}

/// What of a second's budget may leave at one tick.
#[derive(Clone, Debug)]
pub(super) struct Share {
    limit: u32,
    tick: Moment,
    taken: u32,
}

impl Share {
    pub(super) fn of(per_second: u32) -> Self {
        Self {
            limit: per_second.div_ceil(PER_SECOND),
            tick: Moment::ZERO,
            taken: 0,
        }
    }

    /// When there is room again: `None` if now.
    pub(super) fn busy_until(&self, now: Moment) -> Option<Moment> {
        let spent = self.tick == tick_before(now) && self.taken >= self.limit;
        spent.then(|| self.tick.plus(TICK))
    }

    pub(super) fn take(&mut self, now: Moment) {
        let tick = tick_before(now);
        if self.tick != tick {
            (self.tick, self.taken) = (tick, 0);
        }
        self.taken += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn a_moment_lies_between_two_ticks_or_on_one() {
        for (millis, before, from) in [(0, 0, 0), (1, 0, 251), (251, 251, 251), (-1, -251, 0)] {
            assert_eq!(tick_before(at(millis)), at(before), "{millis}");
            assert_eq!(tick_from(at(millis)), at(from), "{millis}");
        }
        assert_eq!(u128::try_from(MILLIS), Ok(TICK.as_millis()));
    }

    #[test]
    fn a_tick_gives_a_quarter_of_the_budget_and_the_next_one_again() {
        let mut share = Share::of(34);
        for _ in 0..9 {
            assert_eq!(share.busy_until(at(260)), None);
            share.take(at(260));
        }
        assert_eq!(share.busy_until(at(400)), Some(at(502)));
        assert_eq!(share.busy_until(at(502)), None);
    }
}
