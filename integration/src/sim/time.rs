//! Virtual time: microseconds since the simulation began; what was before is negative.

use std::time::Duration;

use evidence::Moment;

/// A point in virtual time.
pub type Micros = i64;

pub const MILLI: Micros = 1_000;
pub const SECOND: Micros = 1_000_000;
pub const HOUR: Micros = 3_600 * SECOND;

/// A duration in virtual time.
pub fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// The moment on the timeline of a machine that booted at `boot`.
pub fn moment(at: Micros, boot: Micros) -> Moment {
    Moment::from_millis(at.saturating_sub(boot).div_euclid(MILLI))
}

/// When a moment of that machine is, not before it.
pub fn at(moment: Moment, boot: Micros) -> Micros {
    boot.saturating_add(moment.as_millis().saturating_mul(MILLI))
}
