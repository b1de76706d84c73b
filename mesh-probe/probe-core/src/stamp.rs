//! Readings of the clock that are finer than a [`Moment`].

use evidence::Moment;

/// Microseconds on the timeline of [`Moment`]: round trips inside one site take less than a millisecond.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(u64);

impl Stamp {
    /// A stamp at so many microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds after the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The same time in the milliseconds that reports are made of, rounded down.
    pub fn moment(self) -> Moment {
        Moment::from_millis(i64::try_from(self.0 / 1000).unwrap_or(i64::MAX))
    }

    /// Microseconds passed since `earlier`; zero if `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A wall clock in microseconds since the Unix epoch, right or wrong. It is told to peers and never used to order anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(i64);

impl Wall {
    /// A wall clock that shows so many microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds after the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// What it showed so many microseconds before.
    #[must_use]
    pub const fn before(self, micros: u64) -> Self {
        Self(self.0.saturating_sub_unsigned(micros))
    }
}

impl From<Moment> for Stamp {
    /// A moment before the origin becomes the origin: a clock of a running system never reads below it.
    fn from(moment: Moment) -> Self {
        Self(
            u64::try_from(moment.as_millis())
                .unwrap_or(0)
                .saturating_mul(1000),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_rounds_down_to_its_moment() {
        assert_eq!(Stamp::from_micros(1_999).moment(), Moment::from_millis(1));
        assert_eq!(
            Stamp::from(Moment::from_millis(3)),
            Stamp::from_micros(3_000)
        );
        assert_eq!(Stamp::from(Moment::from_millis(-3)), Stamp::from_micros(0));
    }
}
