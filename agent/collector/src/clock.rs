//! The collector's timeline.

use std::time::{SystemTime, UNIX_EPOCH};

use evidence::Moment;
use rustix::time::{ClockId, clock_gettime};

/// Milliseconds since boot, time asleep included. A machine that was suspended must find its view stale when it wakes:
/// on `CLOCK_MONOTONIC` the reports of yesterday would still be fresh.
pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::Boottime);
    Moment::from_millis(
        time.tv_sec
            .saturating_mul(1000)
            .saturating_add(time.tv_nsec / 1_000_000),
    )
}

/// What the wall clock says, in milliseconds since 1970. It may be wrong and nothing is ordered by it; it only dates what is kept.
pub(crate) fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let first = now();
        assert!(now() >= first);
    }
}
