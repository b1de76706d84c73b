//! The clock that all facts of a node are stamped with.

use evidence::Moment;
use probe_core::Stamp;
use rustix::time::{ClockId, clock_gettime};

/// Microseconds since boot, time asleep included.
///
/// `CLOCK_BOOTTIME` never steps, unlike the wall clock, and does not stand still while a virtual machine is suspended,
/// unlike `CLOCK_MONOTONIC`. Read it once per turn of a driver.
pub fn stamp() -> Stamp {
    let time = clock_gettime(ClockId::Boottime);
    let micros = time
        .tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_nsec / 1000);
    Stamp::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The same in the milliseconds that reports are made of.
pub fn moment() -> Moment {
    stamp().moment()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_never_goes_back() {
        let readings: Vec<Stamp> = (0..1000).map(|_| stamp()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] > Stamp::from_micros(0));
        assert!(moment() >= readings[0].moment());
    }
}
