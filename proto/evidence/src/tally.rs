//! Whether directions work, and how many do: all that is said of most pairs of a large mesh.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Ladder, Outcome, Rung, Verdict};

/// Whether a direction works, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairHealth {
    /// Data is proved to arrive, and nothing above is in doubt.
    Good,
    /// A rung fails.
    Broken,
    /// Neither is proved. Never good.
    Unproved,
}

impl PairHealth {
    /// Of a direction none of whose rungs fails.
    pub fn of_unbroken(outcome: impl Fn(Rung) -> Outcome) -> Self {
        // Rungs below the tunnel only explain it: what arrives inside has passed them.
        let above = Rung::ALL.into_iter().filter(|rung| *rung > Rung::Tunnel);
        let in_doubt = above
            .map(&outcome)
            .any(|found| matches!(found, Outcome::Unknown | Outcome::Flapping));
        if outcome(Rung::Tunnel).is_good() && !in_doubt {
            Self::Good
        } else {
            Self::Unproved
        }
    }
}

/// How many ordered pairs are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tally {
    /// Those that work.
    pub good: u64,
    /// Those that do not.
    pub broken: u64,
    /// Those of which neither is proved.
    pub unproved: u64,
}

impl Tally {
    /// All of them.
    pub const fn all(self) -> u64 {
        let some = self.good.saturating_add(self.broken);
        some.saturating_add(self.unproved)
    }

    /// Counts one more.
    pub const fn add(&mut self, health: PairHealth) {
        match health {
            PairHealth::Good => self.good += 1,
            PairHealth::Broken => self.broken += 1,
            PairHealth::Unproved => self.unproved += 1,
        }
    }

    /// Counts one less.
    pub const fn remove(&mut self, health: PairHealth) {
        let count = match health {
            PairHealth::Good => &mut self.good,
            PairHealth::Broken => &mut self.broken,
            PairHealth::Unproved => &mut self.unproved,
        };
        *count = count.saturating_sub(1);
    }

    /// Counts ladders.
    pub fn of(ladders: &[Ladder]) -> Self {
        let mut tally = Self::default();
        for ladder in ladders {
            tally.add(ladder.health());
        }
        tally
    }
}

/// `10 of 12 directions carry (2 broken)`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} directions carry", self.good, self.all())?;
        match (self.broken, self.unproved) {
            (0, 0) => Ok(()),
            (broken, 0) => write!(f, " ({broken} broken)"),
            (0, unproved) => write!(f, " ({unproved} not proved)"),
            (broken, unproved) => write!(f, " ({broken} broken, {unproved} not proved)"),
        }
    }
}

impl Verdict {
    /// How all pairs are. A collector that tells no tally tells all pairs.
    pub fn all_pairs(&self) -> Tally {
        let told = Tally::of(&self.pairs);
        if told.all() > self.tally.all() {
            told
        } else {
            self.tally
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{NodeName, NodeRef, RungState};

    use super::*;

    fn ladder(outcomes: &[(Rung, Outcome)]) -> Ladder {
        let node = |name| NodeRef::named(&NodeName::parse(name).unwrap());
        let rung = |&(rung, outcome): &(Rung, Outcome)| RungState {
            rung,
            outcome,
            method: String::new(),
            evidence: Vec::new(),
        };
        Ladder {
            from: node("a"),
            to: node("b"),
            rungs: outcomes.iter().map(rung).collect(),
            highest: None,
            broken_at: None,
            rtt_us: None,
            loss_percent: None,
            handshake_age_ms: None,
            endpoint: None,
            flapping: None,
        }
    }

    #[test]
    fn no_evidence_is_neither_good_nor_broken() {
        assert_eq!(ladder(&[]).health(), PairHealth::Unproved);
    }

    #[test]
    fn a_tunnel_that_carries_is_good_though_the_path_below_was_not_seen() {
        let seen = [
            (Rung::Underlay, Outcome::Unknown),
            (Rung::Tunnel, Outcome::Pass),
            (Rung::Steering, Outcome::NotApplicableYet),
        ];
        assert_eq!(ladder(&seen).health(), PairHealth::Good);
    }

    #[test]
    fn doubt_above_the_tunnel_is_not_good_and_a_failure_is_broken() {
        let doubt = [
            (Rung::Tunnel, Outcome::Pass),
            (Rung::Steering, Outcome::Unknown),
        ];
        assert_eq!(ladder(&doubt).health(), PairHealth::Unproved);
        let failure = [
            (Rung::Tunnel, Outcome::Pass),
            (Rung::TunnelMtu, Outcome::Fail),
        ];
        assert_eq!(ladder(&failure).health(), PairHealth::Broken);
    }
}
