//! How the fake behaves at present.

use std::fs;

use super::MOOD_FILE;

/// A way to behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Well,
    /// Takes questions and never answers.
    Hangs,
    /// Answers without end.
    Floods,
    /// Answers with bytes that mean nothing.
    Raves,
    /// Has ended, with all its connections.
    Dead,
    /// Knows nobody, as Talos does with a caller whose process it has not recorded yet.
    Denies,
    /// Says of each watch that it was too slow.
    Overruns,
}

impl Mood {
    /// What the file says; none or an unknown word is well.
    pub(super) fn now() -> Self {
        let text = fs::read_to_string(MOOD_FILE).unwrap_or_default();
        Self::of(text.trim())
    }

    fn of(word: &str) -> Self {
        match word {
            "hang" => Self::Hangs,
            "flood" => Self::Floods,
            "garbage" => Self::Raves,
            "die" => Self::Dead,
            "deny" => Self::Denies,
            "overrun" => Self::Overruns,
            _ => Self::Well,
        }
    }
}
