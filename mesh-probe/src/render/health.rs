//! How many directions work, in one sentence.

use evidence::{Tally, Verdict};

/// How all pairs are. A collector that tells no tally tells all pairs.
pub(super) fn tally(verdict: &Verdict) -> Tally {
    let told = Tally::of(&verdict.pairs);
    if told.all() > verdict.tally.all() {
        told
    } else {
        verdict.tally
    }
}

/// `10 of 12 directions carry (2 broken)`.
pub(super) fn sentence(tally: Tally) -> String {
    let mut rest = Vec::new();
    if tally.broken > 0 {
        rest.push(format!("{} broken", tally.broken));
    }
    if tally.unproved > 0 {
        rest.push(format!("{} not proved", tally.unproved));
    }
    let rest = match rest.as_slice() {
        [] => String::new(),
        rest => format!(" ({})", rest.join(", ")),
    };
    format!("{} of {} directions carry{rest}", tally.good, tally.all())
}
