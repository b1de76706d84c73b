//! The clock that all facts of a node are stamped with.

use std::{io, time::Duration};

use evidence::{KernelClock, Moment};
use probe_core::{Stamp, Wall};
use rustix::time::{ClockId, clock_gettime};

/// Microseconds since boot, time asleep included.
///
/// `CLOCK_BOOTTIME` never steps, unlike the wall clock, and does not stand still while a virtual machine is suspended,
/// unlike `CLOCK_MONOTONIC`. Read it once per turn of a driver.
pub fn stamp() -> Stamp {
    Stamp::from_micros(micros(ClockId::Boottime))
}

/// The same in the milliseconds that reports are made of.
pub fn moment() -> Moment {
    stamp().moment()
}

/// A packet that waited longer to be read was not waited for.
const LONGEST_WAIT: u64 = 10_000_000;
/// The wall clock is slewed by 500 ppm at most (adjtimex(2)): a quarter of a millisecond from one reading to the next. What
/// moves further was set.
const WALL_CLOCK_WAS_SET: u64 = 1000;

/// Turns the kernel's times of arrival, which it takes from the wall clock, into stamps.
///
/// What counts is how long a packet has waited. Around a moment at which the wall clock is set nobody knows that; then the time
/// of reading is taken, as it is where the kernel gives none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ArrivalTimes {
    /// How far the wall clock was ahead when a packet was last read, in microseconds.
    ahead: Option<i64>,
}

impl ArrivalTimes {
    /// When a packet that is read now came.
    pub(crate) fn came(&mut self, arrived: Option<Duration>) -> Stamp {
        self.turn(arrived, stamp(), micros(ClockId::Realtime))
    }

    fn turn(&mut self, arrived: Option<Duration>, read: Stamp, wall: u64) -> Stamp {
        let ahead = wall.wrapping_sub(read.as_micros()).cast_signed();
        let before = self.ahead.replace(ahead);
        let is_steady = before.is_none_or(|before| before.abs_diff(ahead) <= WALL_CLOCK_WAS_SET);
        let arrived = arrived.and_then(|since| u64::try_from(since.as_micros()).ok());
        let waited = arrived.and_then(|arrived| wall.checked_sub(arrived));
        match waited.filter(|waited| is_steady && *waited <= LONGEST_WAIT) {
            Some(waited) => Stamp::from_micros(read.as_micros().saturating_sub(waited)),
            None => read,
        }
    }
}

fn micros(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let micros = time
        .tv_sec
        .saturating_mul(1_000_000)
        .saturating_add(time.tv_nsec / 1000);
    u64::try_from(micros).unwrap_or(0)
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

    const HOUR: u64 = 3_600_000_000;

    fn at(micros: u64) -> Stamp {
        Stamp::from_micros(micros)
    }

    #[test]
    fn a_packet_came_as_long_ago_as_the_wall_clock_says() {
        let mut times = ArrivalTimes::default();
        let arrived = Some(Duration::from_micros(HOUR + 400));
        assert_eq!(times.turn(arrived, at(1000), HOUR + 1000), at(400));
        assert_eq!(times.turn(None, at(2000), HOUR + 2000), at(2000));
    }

    #[test]
    fn a_wall_clock_that_is_set_or_absurd_moves_no_arrival() {
        let mut times = ArrivalTimes::default();
        times.turn(None, at(1000), HOUR);
        let arrived = Some(Duration::from_micros(HOUR + 1500));
        // Set back and forward between arrival and reading; then steady, with an arrival in the future and one long past.
        for wall in [HOUR - 5000, 2 * HOUR, 2 * HOUR] {
            assert_eq!(times.turn(arrived, at(1000), wall), at(1000), "{wall}");
        }
        let future = Some(Duration::from_micros(3 * HOUR));
        assert_eq!(times.turn(future, at(1000), 2 * HOUR), at(1000));
        // Steady again: what it says counts.
        let arrived = Some(Duration::from_micros(2 * HOUR - 300));
        assert_eq!(times.turn(arrived, at(1000), 2 * HOUR), at(700));
    }

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
