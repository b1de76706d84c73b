//! Whether a direction works, in one word.

use evidence::{Ladder, Outcome, Rung, Verdict};

/// One direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Data is proved to arrive, and nothing above is in doubt.
    Good,
    /// A rung fails.
    Broken,
    /// Neither is proved. Never good.
    Unproved,
}

impl Health {
    pub(super) fn of(ladder: &Ladder) -> Self {
        let fails = ladder
            .rungs
            .iter()
            .any(|state| state.outcome == Outcome::Fail);
        if fails || ladder.broken_at.is_some() {
            return Self::Broken;
        }
        // Rungs below the tunnel only explain it: what arrives inside has passed them.
        let in_doubt =
            |rung: &Rung| matches!(ladder.outcome(*rung), Outcome::Unknown | Outcome::Flapping);
        let above = ladder.rungs.iter().map(|state| state.rung);
        let doubt = above
            .filter(|rung| *rung > Rung::Tunnel)
            .any(|rung| in_doubt(&rung));
        if ladder.outcome(Rung::Tunnel).is_good() && !doubt {
            Self::Good
        } else {
            Self::Unproved
        }
    }
}

/// How many directions are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) good: usize,
    pub(super) broken: usize,
    pub(super) unproved: usize,
}

impl Tally {
    pub(super) fn of(verdict: &Verdict) -> Self {
        let mut tally = Self::default();
        for ladder in &verdict.pairs {
            match Health::of(ladder) {
                Health::Good => tally.good += 1,
                Health::Broken => tally.broken += 1,
                Health::Unproved => tally.unproved += 1,
            }
        }
        tally
    }

    pub(super) const fn all(self) -> usize {
        self.good + self.broken + self.unproved
    }

    /// `10 of 12 directions carry (2 broken)`.
    pub(super) fn sentence(self) -> String {
        let mut rest = Vec::new();
        if self.broken > 0 {
            rest.push(format!("{} broken", self.broken));
        }
        if self.unproved > 0 {
            rest.push(format!("{} not proved", self.unproved));
        }
        let rest = match rest.as_slice() {
            [] => String::new(),
            rest => format!(" ({})", rest.join(", ")),
        };
        format!("{} of {} directions carry{rest}", self.good, self.all())
    }
}

#[cfg(test)]
mod tests {
    use evidence::{NodeName, NodeRef, RungState};

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
        assert_eq!(Health::of(&ladder(&[])), Health::Unproved);
    }

    #[test]
    fn a_tunnel_that_carries_is_good_though_the_path_below_was_not_seen() {
        let seen = [
            (Rung::Underlay, Outcome::Unknown),
            (Rung::Tunnel, Outcome::Pass),
            (Rung::Steering, Outcome::NotApplicableYet),
        ];
        assert_eq!(Health::of(&ladder(&seen)), Health::Good);
    }

    #[test]
    fn doubt_above_the_tunnel_is_not_good_and_a_failure_is_broken() {
        let doubt = [
            (Rung::Tunnel, Outcome::Pass),
            (Rung::Steering, Outcome::Unknown),
        ];
        assert_eq!(Health::of(&ladder(&doubt)), Health::Unproved);
        let failure = [
            (Rung::Tunnel, Outcome::Pass),
            (Rung::TunnelMtu, Outcome::Fail),
        ];
        assert_eq!(Health::of(&ladder(&failure)), Health::Broken);
    }
}
