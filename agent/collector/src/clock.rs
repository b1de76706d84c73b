//! The collector's timeline.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let first = now();
        assert!(now() >= first);
    }
}
