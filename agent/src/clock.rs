//! Follows this node's wall clock, as something to be told and never to be relied on.

use std::{io, time::Duration};

use evidence::{Clock, KernelClock, Moment, Step, WallReading};
use probe_core::{Stamp, Wall, echo::Walls};

/// The kernel slews a clock by at most half a millisecond in a second. What moves this much between two looks was set.
const STEP_MS: u64 = 100;
/// Pace of telling what the clock shows, while nobody sets it.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// One look at the clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) now: Stamp,
    /// As it is to be told: a test may have shifted it.
    pub(crate) wall: Wall,
}

/// The newest reading, and the newest step.
#[derive(Debug, Default)]
pub(crate) struct OwnClock {
    fact: Option<Clock>,
    /// What the wall clock showed last, less the time since boot, in milliseconds.
    distance: Option<i64>,
    gap: Option<String>,
}

impl Look {
    /// Of both clocks, read one right after the other. `offset_ms` is added to the wall clock.
    pub(crate) fn of(now: Stamp, wall: Wall, offset_ms: i64) -> Self {
        let wall = wall.as_micros();
        let offset = offset_ms.saturating_mul(1000);
        Self {
            now,
            wall: Wall::from_micros(wall.saturating_add(offset)),
        }
    }

    /// The clock at both ends of answering what came at `received`.
    pub(crate) fn answering(&self, received: Stamp) -> Walls {
        Walls {
            received: self.wall.before(self.now.micros_since(received)),
            sent: self.wall,
        }
    }

    fn reading(&self) -> WallReading {
        reading(self.now, self.wall, 0)
    }
}

/// A wall clock that was read at a stamp, in the milliseconds of reports.
pub(crate) fn reading(at: Stamp, wall: Wall, error_micros: u64) -> WallReading {
    // A moment is rounded down: the clock is told as it was then.
    let wall = wall.before(at.as_micros() % 1000);
    WallReading {
        at: at.moment(),
        wall_ms: wall.as_micros().div_euclid(1000),
        error_us: u32::try_from(error_micros).unwrap_or(u32::MAX),
    }
}

impl OwnClock {
    /// Takes in a look. The kernel is asked where there is something to tell.
    pub(crate) fn follow(&mut self, look: Look, kernel: impl FnOnce() -> io::Result<KernelClock>) {
        let reading = look.reading();
        let distance = reading.wall_ms.saturating_sub(reading.at.as_millis());
        let moved = distance.saturating_sub(self.distance.unwrap_or(distance));
        self.distance = Some(distance);
        let step = (moved.unsigned_abs() >= STEP_MS).then_some(Step {
            at: reading.at,
            by_ms: moved,
        });
        let last = self.fact;
        let due = |last: &Clock| reading.at.since(last.reading.at) >= TELL_EVERY;
        if step.is_none() && last.as_ref().is_some_and(|last| !due(last)) {
            return;
        }
        let kernel = kernel();
        self.gap = kernel.as_ref().err().map(ToString::to_string);
        self.fact = Some(Clock {
            reading,
            booted: Moment::ZERO,
            kernel: kernel.ok(),
            stepped: step.or_else(|| last.and_then(|last| last.stepped)),
        });
    }

    pub(crate) const fn fact(&self) -> Option<&Clock> {
        self.fact.as_ref()
    }

    /// When the kernel was last asked, and why it did not tell.
    pub(crate) fn tried(&self) -> Option<(Moment, Option<String>)> {
        Some((self.fact?.reading.at, self.gap.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: i64 = 1_700_000_000_000_000;

    fn look(at_ms: u64, wall_ms: i64) -> Look {
        Look {
            now: Stamp::from_micros(at_ms * 1000),
            wall: Wall::from_micros(EPOCH + wall_ms * 1000),
        }
    }

    #[expect(
        clippy::unnecessary_wraps,
        reason = "it stands for a call that can fail"
    )]
    fn kernel() -> io::Result<KernelClock> {
        Ok(KernelClock {
            synchronized: true,
            max_error_us: 1,
            estimated_error_us: 1,
        })
    }

    #[test]
    fn a_clock_that_goes_on_is_told_every_ten_seconds() {
        let mut clock = OwnClock::default();
        for second in 0..25 {
            clock.follow(
                look(second * 1000, i64::try_from(second).unwrap() * 1000),
                kernel,
            );
        }
        let fact = clock.fact().unwrap();
        assert_eq!(fact.reading.at, Moment::from_millis(20_000));
        assert_eq!(fact.stepped, None);
    }

    #[test]
    fn a_clock_that_was_set_is_told_at_once_with_how_far_and_which_way() {
        let mut clock = OwnClock::default();
        clock.follow(look(0, 0), kernel);
        clock.follow(look(250, -4_750), kernel);
        let step = Step {
            at: Moment::from_millis(250),
            by_ms: -5_000,
        };
        assert_eq!(clock.fact().unwrap().stepped, Some(step));
        assert_eq!(clock.fact().unwrap().reading.at, Moment::from_millis(250));
        clock.follow(look(11_000, 6_000), kernel);
        assert_eq!(clock.fact().unwrap().stepped, Some(step));
    }

    #[test]
    fn slewing_is_no_step() {
        let mut clock = OwnClock::default();
        clock.follow(look(0, 0), kernel);
        clock.follow(look(10_000, 10_005), kernel);
        assert_eq!(clock.fact().unwrap().stepped, None);
    }

    #[test]
    fn a_kernel_that_does_not_tell_is_a_gap_and_the_clock_is_told_all_the_same() {
        let mut clock = OwnClock::default();
        clock.follow(look(7, 7), || Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(clock.fact().unwrap().kernel, None);
        let (at, gap) = clock.tried().unwrap();
        assert_eq!((at, gap.is_some()), (Moment::from_millis(7), true));
    }

    #[test]
    fn a_reading_is_that_of_its_rounded_moment() {
        let at = Stamp::from_micros(1_999);
        let read = reading(at, Wall::from_micros(5_999), 7);
        assert_eq!((read.at, read.wall_ms), (Moment::from_millis(1), 5));
        let before = reading(at, Wall::from_micros(0), 7);
        assert_eq!(before.wall_ms, -1);
    }
}
