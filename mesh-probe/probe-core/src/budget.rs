//! A ceiling on how many datagrams leave in any one second.

use std::{collections::VecDeque, time::Duration};

use evidence::Moment;

/// One millisecond more than a second: moments are rounded down, so two that are 1,000 ms apart may be less.
const SPAN: Duration = Duration::from_millis(1001);

/// Permits at most `limit` takings in any second, wherever that second begins.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    limit: usize,
    taken: VecDeque<Moment>,
}

impl Budget {
    pub(crate) fn per_second(limit: usize) -> Self {
        Self {
            limit,
            taken: VecDeque::with_capacity(limit),
        }
    }

    /// When the next taking is permitted: `None` if at once.
    pub(crate) fn busy_until(&self, now: Moment) -> Option<Moment> {
        if self.taken.len() < self.limit {
            return None;
        }
        let free = self.taken.front()?.plus(SPAN);
        (free > now).then_some(free)
    }

    /// Records a taking; the caller has asked [`Budget::busy_until`] before.
    pub(crate) fn take(&mut self, now: Moment) {
        if self.taken.len() == self.limit {
            self.taken.pop_front();
        }
        self.taken.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_sees_more_than_the_limit() {
        let mut budget = Budget::per_second(5);
        let mut taken = Vec::new();
        for millis in 0..5000 {
            let now = Moment::from_millis(millis);
            if budget.busy_until(now).is_none() {
                budget.take(now);
                taken.push(millis);
            }
        }
        let most = taken
            .iter()
            .map(|start| {
                taken
                    .iter()
                    .filter(|t| (*start..start + 1000).contains(*t))
                    .count()
            })
            .max();
        assert_eq!(most, Some(5));
        assert_eq!(taken.len(), 25);
    }
}
