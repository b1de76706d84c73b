//! One monotonic timeline.

use std::{fmt, num::NonZeroU64, time::Duration};

use serde::{Deserialize, Serialize};

/// Milliseconds on one monotonic timeline whose origin is arbitrary.
///
/// An agent's facts are on the agent's timeline until the collector shifts them onto its own, once, at intake
/// (`Fact::shifted`). Wall clocks never enter: a node whose clock is wrong is one of the things to be reported.
/// Negative values are before the origin and are fine.
///
/// An `Option` of one is no longer than itself: the facts of a large mesh hold millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Moment(NonZeroU64);

/// What turns the order of signed numbers into that of unsigned ones.
const SIGN: u64 = 1 << 63;

impl Moment {
    /// The origin.
    pub const ZERO: Self = Self::from_millis(0);

    /// Before all others.
    pub const FIRST: Self = Self::from_millis(i64::MIN);

    /// After all others.
    pub const LAST: Self = Self::from_millis(i64::MAX);

    /// A moment at so many milliseconds after the origin. The least number there is, which is left for none, is taken for the
    /// next one.
    pub const fn from_millis(millis: i64) -> Self {
        Self(match NonZeroU64::new(millis.cast_unsigned() ^ SIGN) {
            Some(kept) => kept,
            None => NonZeroU64::MIN,
        })
    }

    /// Milliseconds after the origin.
    pub const fn as_millis(self) -> i64 {
        (self.0.get() ^ SIGN).cast_signed()
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(
            u64::try_from(self.as_millis().saturating_sub(earlier.as_millis())).unwrap_or(0),
        )
    }

    /// The moment `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        self.shifted(i64::try_from(by.as_millis()).unwrap_or(i64::MAX))
    }

    /// The moment `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.as_millis().saturating_sub(by))
    }

    /// The same moment on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub const fn shifted(self, offset: i64) -> Self {
        Self::from_millis(self.as_millis().saturating_add(offset))
    }
}

impl Default for Moment {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<i64> for Moment {
    fn from(millis: i64) -> Self {
        Self::from_millis(millis)
    }
}

impl From<Moment> for i64 {
    fn from(moment: Moment) -> Self {
        moment.as_millis()
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_never_negative() {
        let early = Moment::from_millis(5);
        let late = Moment::from_millis(9);
        assert_eq!(late.since(early), Duration::from_millis(4));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn moments_are_in_the_order_of_their_milliseconds_and_none_costs_nothing() {
        let all = [i64::MIN + 1, -2, -1, 0, 1, 2, i64::MAX];
        assert!(all.map(Moment::from_millis).is_sorted());
        assert_eq!(all.map(|one| Moment::from_millis(one).as_millis()), all);
        assert_eq!(size_of::<Option<Moment>>(), size_of::<Moment>());
    }

    #[test]
    fn arithmetic_saturates_at_the_ends_of_time() {
        let end = Moment::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(
            Moment::from_millis(i64::MIN).shifted(-1),
            Moment::from_millis(i64::MIN)
        );
    }
}
