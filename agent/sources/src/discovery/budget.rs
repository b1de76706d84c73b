//! How often the service may be asked.

use std::time::Duration;

use evidence::Moment;

/// One call of each kind in so long a time. The service serves 15 requests a second to one address, which a whole site may
/// share; 60 nodes behind one NAT take two of them.
pub(super) const SPACING: Duration = Duration::from_mins(1);

/// A token that comes back after [`SPACING`], whatever became of the call that it was spent on.
#[derive(Debug, Default)]
pub(super) struct Budget {
    spent: Option<Moment>,
}

impl Budget {
    /// Takes the token, if there is one.
    pub(super) fn take(&mut self, now: Moment) -> bool {
        let free = self.spent.is_none_or(|spent| now.since(spent) >= SPACING);
        if free {
            self.spent = Some(now);
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_back_after_a_minute_and_not_before() {
        let mut budget = Budget::default();
        let at = Moment::from_millis;
        assert!(budget.take(at(0)));
        assert!(!budget.take(at(59_999)));
        assert!(budget.take(at(60_000)));
        assert!(!budget.take(at(60_001)));
    }

    #[test]
    fn trying_without_a_token_does_not_put_off_the_next() {
        let mut budget = Budget::default();
        let taken = (0..600).filter(|second| budget.take(Moment::from_millis(second * 1000)));
        assert_eq!(taken.count(), 10);
    }
}
