//! Signs and words of what is good and what is not. A colour is never the only sign.

use evidence::{Ladder, Outcome, PairHealth, Phase, Rung};

use super::html::Html;

/// How something is: the class that colours it, and a sign for who sees no colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Warn,
    Bad,
    Unknown,
}

impl Mood {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }

    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Good => "\u{2713}",
            Self::Warn => "!",
            Self::Bad => "\u{2717}",
            Self::Unknown => "?",
        }
    }

    /// Writes sign and word.
    pub(super) fn write(self, html: &mut Html, word: &str) {
        html.element("span", &[("class", self.class())], |html| {
            html.leaf("span", &[("aria-hidden", "true")], self.sign())
                .text(" ")
                .text(word);
        });
    }
}

/// The answer to "is it ready?", and to "may it be started?".
pub(super) fn ready(phase: Phase) -> (Mood, &'static str) {
    match phase {
        Phase::Ready => (Mood::Good, "ready"),
        Phase::NotReady => (Mood::Bad, "not ready"),
        Phase::Unknown => (Mood::Unknown, "unknown"),
    }
}

/// The same of "may it be started?".
pub(super) fn may_start(phase: Phase) -> (Mood, &'static str) {
    match phase {
        Phase::Ready => (Mood::Good, "yes"),
        Phase::NotReady => (Mood::Bad, "no"),
        Phase::Unknown => (Mood::Unknown, "unknown"),
    }
}

/// What is known of one rung.
pub(super) fn outcome(outcome: Outcome) -> (Mood, &'static str) {
    let mood = match outcome {
        Outcome::Pass => Mood::Good,
        Outcome::Warn => Mood::Warn,
        Outcome::Fail | Outcome::Flapping => Mood::Bad,
        Outcome::Unknown | Outcome::NotApplicableYet => Mood::Unknown,
    };
    let word = match outcome {
        Outcome::NotApplicableYet => "not applicable yet",
        other => other.as_str(),
    };
    (mood, word)
}

/// A direction in a word.
pub(super) fn direction(ladder: &Ladder) -> (Mood, &'static str) {
    let warns = |ladder: &Ladder| {
        let mut rungs = ladder.rungs.iter();
        rungs.any(|state| state.outcome == Outcome::Warn)
    };
    match ladder.health() {
        PairHealth::Broken => (Mood::Bad, ladder.broken_at.map_or("broken", Rung::as_str)),
        PairHealth::Good if warns(ladder) => (Mood::Warn, "warning"),
        PairHealth::Good => (Mood::Good, "good"),
        PairHealth::Unproved if ladder.flapping.is_some() => (Mood::Bad, "flapping"),
        PairHealth::Unproved => (Mood::Unknown, "not proved"),
    }
}
