//! When to try again: OTLP wants exponential pauses with a part that is drawn by lot, and no attempt before a receiver says so.

use std::time::Duration;

/// First pause.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause of our own choice.
const LONGEST: Duration = Duration::from_secs(30);
/// Longest pause that a receiver can ask for: it must not be able to silence a collector for good.
const LONGEST_ASKED: Duration = Duration::from_mins(15);
/// Doublings after which the longest pause is reached.
const DOUBLINGS: u32 = 5;

/// How often it failed since it worked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pace {
    failures: u32,
}

impl Pace {
    /// It works.
    pub(super) fn worked(&mut self) {
        self.failures = 0;
    }

    /// The pause after a failure. `asked` is what the receiver wants; `lot` is drawn from 0 to 1.
    pub(super) fn pause(&mut self, asked: Option<Duration>, lot: f64) -> Duration {
        let doubled = FIRST * 2_u32.pow(self.failures.min(DOUBLINGS));
        self.failures = self.failures.saturating_add(1);
        // From a half to the whole, so that collectors that failed together do not come back together.
        let own = doubled
            .min(LONGEST)
            .mul_f64(0.5 + lot.clamp(0.0, 1.0) / 2.0);
        own.max(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}
