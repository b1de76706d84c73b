//! What was found of one direction, in an octet for each question.

use evidence::{Moment, Outcome, PairHealth, Rung};

use super::{ASKED, judge, plain, words::Silent};
use crate::mesh::{Member, Mesh};

/// The outcomes alone, by [`ASKED`]: all that is kept of each direction of a large mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcomes([Outcome; ASKED.len()]);

impl Outcomes {
    /// Of a direction that is good in everything.
    pub(super) const GOOD: Self = Self([Outcome::Pass; ASKED.len()]);

    /// Judges the direction from `a` to `b`, without a word, and says until when that holds if no fact changes.
    pub(crate) fn of<'a>(mesh: &Mesh<'a>, a: &Member<'a>, b: &Member<'a>) -> (Self, Moment) {
        match plain::good_until(mesh, a, b) {
            Some(until) => {
                // Where assertions are compiled in, each test of any mesh is one of this short cut as well.
                debug_assert_eq!(Self::at_length(mesh, a, b).0, Self::GOOD);
                (Self::GOOD, until)
            }
            None => Self::at_length(mesh, a, b),
        }
    }

    /// The same by all that is known of the direction.
    pub(super) fn at_length<'a>(mesh: &Mesh<'a>, a: &Member<'a>, b: &Member<'a>) -> (Self, Moment) {
        mesh.trace().take();
        let (answers, _) = judge::<Silent>(mesh, a, b);
        let outcomes = Self(answers.map(|answer| answer.outcome));
        (outcomes, mesh.trace().take())
    }

    /// What was found of one question, whatever was found of those below.
    pub(crate) fn asked(self, rung: Rung) -> Outcome {
        let mut all = ASKED.iter().zip(&self.0);
        let found = all.find(|(asked, _)| **asked == rung);
        found.map_or(Outcome::NotApplicableYet, |(_, outcome)| *outcome)
    }

    /// What the ladder has: what lies above the first failure is not judged.
    pub(crate) fn outcome(self, rung: Rung) -> Outcome {
        match self.broken_at() {
            Some(broken) if rung > broken => Outcome::NotApplicableYet,
            _ => self.asked(rung),
        }
    }

    /// The first rung that fails.
    pub(crate) fn broken_at(self) -> Option<Rung> {
        let mut all = ASKED.iter().zip(&self.0);
        let broken = all.find(|(_, outcome)| **outcome == Outcome::Fail);
        broken.map(|(rung, _)| *rung)
    }

    /// The highest rung that is good with all below it good.
    pub(crate) fn highest(self) -> Option<Rung> {
        let all = ASKED.iter().zip(&self.0);
        let good = all.take_while(|(_, outcome)| outcome.is_good());
        good.last().map(|(rung, _)| *rung)
    }

    /// Whether the direction works.
    pub(crate) fn health(self) -> PairHealth {
        match self.broken_at() {
            Some(_) => PairHealth::Broken,
            None => PairHealth::of_unbroken(|rung| self.asked(rung)),
        }
    }

    /// Says of a rung that is good at the moment that it flaps.
    pub(crate) fn mark(&mut self, rung: Rung) {
        let mut all = ASKED.iter().zip(&mut self.0);
        if let Some((_, outcome)) = all.find(|(asked, _)| **asked == rung) {
            *outcome = Outcome::Flapping;
        }
    }

    /// The rung that flaps, if one does.
    pub(crate) fn marked_at(self) -> Option<Rung> {
        let mut all = ASKED.iter().zip(&self.0);
        let marked = all.find(|(_, outcome)| **outcome == Outcome::Flapping);
        marked.map(|(rung, _)| *rung)
    }

    /// Whether all that was asked is good.
    pub(crate) fn all_good(self) -> bool {
        self.0.iter().all(|outcome| outcome.is_good())
    }
}
