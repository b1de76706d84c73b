//! The newest transitions, in memory; those of earlier runs too, where there is a store.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use evidence::{Change, Moment, Transition, limits};

/// Pairs of one judgement that are told one by one; in a collapse the findings say more.
const PAIRS_TOLD: usize = 64;

/// What has changed last. Clones share it; the owner of the view writes, readers copy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recent(Arc<Mutex<VecDeque<Transition>>>);

/// What one judgement changed, as it is kept and told.
pub(super) fn transitions(at: Moment, changes: Vec<Change>, pairs: Vec<Change>) -> Vec<Transition> {
    let pairs = pairs.into_iter().take(PAIRS_TOLD);
    let one = |change| Transition {
        at,
        change,
        earlier: None,
    };
    pairs.chain(changes).map(one).collect()
}

impl Recent {
    /// What earlier runs have left.
    pub(crate) fn of(earlier: Vec<Transition>) -> Self {
        Self(Arc::new(Mutex::new(earlier.into())))
    }

    /// Adds what one judgement changed.
    pub(crate) fn add(&self, transitions: Vec<Transition>) {
        if transitions.is_empty() {
            return;
        }
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.extend(transitions);
        let over = list.len().saturating_sub(limits::TRANSITIONS);
        list.drain(..over);
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Transition> {
        let list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let recent = Recent::default();
        for number in 0..3000 {
            let closed = Change::Closed {
                code: "path-broken".to_owned(),
                subject: number.to_string(),
            };
            let at = Moment::from_millis(number);
            recent.add(transitions(at, vec![closed], Vec::new()));
        }
        let all = recent.all();
        assert_eq!(all.len(), limits::TRANSITIONS);
        assert_eq!(all.last().map(|last| last.at.as_millis()), Some(2999));
    }
}
