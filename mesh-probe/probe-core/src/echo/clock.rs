//! The clock of a peer, as its echo replies tell it.

use std::collections::VecDeque;

use super::{Walls, stats::WINDOW};
use crate::{Stamp, Wall};

/// What a peer's wall clock showed at a time of our own, and how far that may be off.
///
/// The request left at one stamp and the reply came at another; somewhere between them the peer read its clock. Where is
/// not known: the way there may have taken all of the time, or none. So the middle is taken, and half of the time on the
/// way is the error, however uneven the two ways are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockSample {
    /// When the reply came.
    pub at: Stamp,
    /// What the peer's clock showed then.
    pub wall: Wall,
    /// Half of the round trip without the time that the peer took.
    pub error_micros: u64,
}

impl ClockSample {
    /// Makes one of the four stamps; `None` if they contradict each other: the clock was set between the peer's two.
    pub(super) fn new(sent: Stamp, walls: Walls, received: Stamp) -> Option<Self> {
        let (came, left) = (walls.received.as_micros(), walls.sent.as_micros());
        let took = u64::try_from(left.checked_sub(came)?).ok()?;
        let way = received.micros_since(sent).checked_sub(took)?;
        Some(Self {
            at: received,
            wall: Wall::from_micros(left.checked_add_unsigned(way / 2)?),
            error_micros: way.div_ceil(2),
        })
    }

    /// Whether one clock that goes on evenly can have given both.
    fn agrees(&self, later: &Self) -> bool {
        /// What a clock may gain or lose: one part of so many, twice the most that the kernel slews.
        const DRIFT: u64 = 1000;
        let passed = later.at.micros_since(self.at);
        let expected = self.wall.as_micros().saturating_add_unsigned(passed);
        let errors = self.error_micros.saturating_add(later.error_micros);
        expected.abs_diff(later.wall.as_micros()) <= errors.saturating_add(passed / DRIFT)
    }
}

/// The samples of the recent replies.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerClock {
    samples: VecDeque<ClockSample>,
}

impl PeerClock {
    /// A sample that contradicts the one before it is of a clock that was set: what it showed before is forgotten.
    pub(super) fn push(&mut self, sample: ClockSample) {
        let last = self.samples.back();
        if last.is_some_and(|last| !last.agrees(&sample)) {
            self.samples.clear();
        }
        if self.samples.len() == WINDOW {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The one with the least error: delay only ever adds to it. Of equals the newest.
    pub(super) fn best(&self) -> Option<ClockSample> {
        let newest_first = self.samples.iter().rev();
        newest_first
            .min_by_key(|sample| sample.error_micros)
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EPOCH: i64 = 1_700_000_000_000_000;

    /// A clock that is `ahead` of ours, over ways that take so many microseconds.
    fn sample(sent: u64, ahead: i64, (there, back): (u64, u64)) -> ClockSample {
        let at = |micros: u64| {
            Wall::from_micros(EPOCH.saturating_add(ahead).saturating_add_unsigned(micros))
        };
        let walls = Walls {
            received: at(sent + there),
            sent: at(sent + there + 50),
        };
        let received = Stamp::from_micros(sent + there + 50 + back);
        ClockSample::new(Stamp::from_micros(sent), walls, received).unwrap()
    }

    fn ahead(sample: &ClockSample) -> i64 {
        let ours = EPOCH.saturating_add_unsigned(sample.at.as_micros());
        sample.wall.as_micros() - ours
    }

    #[test]
    fn even_ways_give_the_offset_exactly_and_uneven_ones_stay_within_the_error() {
        let even = sample(1_000, 10_000_000, (400, 400));
        assert_eq!((ahead(&even), even.error_micros), (10_000_000, 400));
        let uneven = sample(1_000, 0, (90_000, 1_000));
        assert_eq!((ahead(&uneven), uneven.error_micros), (44_500, 45_500));
    }

    #[test]
    fn of_many_answers_the_quickest_counts() {
        let mut clock = PeerClock::default();
        clock.push(sample(0, 5_000, (90_000, 400)));
        clock.push(sample(1_000_000, 5_000, (300, 300)));
        clock.push(sample(2_000_000, 5_000, (400, 70_000)));
        let best = clock.best().unwrap();
        assert_eq!((ahead(&best), best.error_micros), (5_000, 300));
    }

    #[test]
    fn a_clock_that_was_set_is_not_told_by_what_it_showed_before() {
        let mut clock = PeerClock::default();
        clock.push(sample(0, 0, (100, 100)));
        clock.push(sample(1_000_000, 10_000_000, (5_000, 5_000)));
        assert_eq!(ahead(&clock.best().unwrap()), 10_000_000);
    }

    #[test]
    fn stamps_that_contradict_each_other_give_no_sample() {
        let of = |came, left| {
            let walls = Walls {
                received: Wall::from_micros(came),
                sent: Wall::from_micros(left),
            };
            ClockSample::new(Stamp::from_micros(0), walls, Stamp::from_micros(500))
        };
        assert_eq!(of(EPOCH, EPOCH - 1), None);
        assert_eq!(of(EPOCH, EPOCH + 501), None);
        assert_eq!(of(i64::MIN, i64::MAX), None);
        assert!(of(EPOCH, EPOCH + 500).is_some());
    }

    proptest! {
        #[test]
        fn the_truth_is_always_within_the_error(
            offset in -1_000_000_000_i64..1_000_000_000,
            ways in (0..500_000_u64, 0..500_000_u64),
        ) {
            let sample = sample(7, offset, ways);
            let off = ahead(&sample).abs_diff(offset);
            prop_assert!(off <= sample.error_micros, "{off} {sample:?}");
        }
    }
}
