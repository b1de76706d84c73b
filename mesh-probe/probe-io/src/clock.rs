//! The clock that all facts of a node are stamped with.

use std::io;

use evidence::{KernelClock, Moment};
use probe_core::{Stamp, Wall};
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

/// The wall clock, right or wrong. Nothing is ever ordered by it.
pub fn wall() -> Wall {
    let time = clock_gettime(ClockId::Realtime);
    let micros = time.tv_sec.saturating_mul(1_000_000);
    Wall::from_micros(micros.saturating_add(time.tv_nsec / 1000))
}

/// What the kernel says of the wall clock: whether anybody disciplines it, and how far off it may be.
pub fn kernel() -> io::Result<KernelClock> {
    let (status, state) = crate::sys::kernel_clock()?;
    let micros = |value| u32::try_from(value).unwrap_or(u32::MAX);
    Ok(KernelClock {
        synchronized: status != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0,
        max_error_us: micros(state.maxerror),
        estimated_error_us: micros(state.esterror),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_its_clock_and_the_clock_is_one_of_these_days() {
        let kernel = kernel().unwrap();
        assert!(
            kernel.max_error_us > 0 || !kernel.synchronized,
            "{kernel:?}"
        );
        assert!(wall().as_micros() > 1_600_000_000_000_000);
    }

    #[test]
    fn the_clock_never_goes_back() {
        let readings: Vec<Stamp> = (0..1000).map(|_| stamp()).collect();
        assert!(readings.is_sorted());
        assert!(readings[0] > Stamp::from_micros(0));
        assert!(moment() >= readings[0].moment());
    }
}
