//! One monotonic timeline.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// Milliseconds on one monotonic timeline whose origin is arbitrary.
///
/// An agent's facts are on the agent's timeline until the collector shifts them onto its own, once, at intake
/// (`Fact::shifted`). Wall clocks never enter: a node whose clock is wrong is one of the things to be reported.
/// Negative values are before the origin and are fine.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Moment(i64);

impl Moment {
    /// The origin.
    pub const ZERO: Self = Self(0);

    /// A moment at so many milliseconds after the origin.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds after the origin.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The moment `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The moment `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)),
        )
    }

    /// The same moment on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub const fn shifted(self, offset: i64) -> Self {
        Self(self.0.saturating_add(offset))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
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
    fn arithmetic_saturates_at_the_ends_of_time() {
        let end = Moment::from_millis(i64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(
            Moment::from_millis(i64::MIN).shifted(-1),
            Moment::from_millis(i64::MIN)
        );
    }
}
