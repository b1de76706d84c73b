//! Which sizes to try.

use std::collections::BTreeSet;

/// Most sizes that leave at once: one bit of the tally for each.
pub const MAX_AT_ONCE: usize = 20;
/// The shortest packet that is tried; no path of IPv4 may be narrower (RFC 791), and few are.
pub const SMALLEST: u16 = 600;
/// Below this, sizes are tried far apart: links of today carry it (RFC 8200 demands 1280 of IPv6 links).
const USUAL: u16 = 1200;
/// Sizes of the first round below the usual ones.
const UNUSUAL: [u16; 2] = [SMALLEST, 1000];
/// Sizes of the first round between the usual ones and the full one: so many that a second round has room for each byte between two of
/// them, up to an MTU of 1,500 and somewhat more.
const ROOM: u16 = 16;
/// Rounds of one search; three find the limit to the byte up to an MTU of 9,000.
const MAX_ROUNDS: u8 = 4;

/// A search for the longest packet that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    full: u16,
    pub(super) passed: Option<u16>,
    pub(super) failed: Option<u16>,
    rounds: u8,
}

impl Search {
    pub(super) const fn new(full: u16) -> Self {
        Self {
            full,
            passed: None,
            failed: None,
            rounds: 0,
        }
    }

    /// The sizes of the next round, shortest first; none if all is known that will be.
    pub(super) fn next(&mut self) -> Vec<u16> {
        if self.rounds == MAX_ROUNDS {
            return Vec::new();
        }
        self.rounds += 1;
        match (self.passed, self.failed) {
            (None, None) => first_round(self.full),
            (Some(passed), Some(failed)) => again_between(passed, failed),
            _ => Vec::new(),
        }
    }

    /// Takes what arrived of a round. A longer packet that arrived outweighs a shorter one that was lost: that was chance.
    pub(super) fn note(&mut self, sizes: &[u16], arrived: &BTreeSet<u16>) {
        self.passed = arrived.last().copied().max(self.passed);
        let lost = sizes.iter().filter(|size| !arrived.contains(size)).copied();
        let above = lost.filter(|size| Some(*size) > self.passed).min();
        self.failed = match (self.failed, above) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        }
        .filter(|failed| Some(*failed) > self.passed);
    }
}

fn first_round(full: u16) -> Vec<u16> {
    let mut sizes: BTreeSet<u16> = UNUSUAL.into_iter().filter(|size| *size < full).collect();
    if full > USUAL {
        sizes.insert(USUAL);
        sizes.extend(evenly(USUAL, full, ROOM));
    }
    sizes.insert(full);
    let spare = sizes.len().saturating_sub(MAX_AT_ONCE);
    sizes.into_iter().skip(spare).collect()
}

/// Sizes between one that passed and one that did not, and that one once more: it may have been lost for another reason, which is
/// over by now.
fn again_between(passed: u16, failed: u16) -> Vec<u16> {
    if failed.saturating_sub(passed) <= 1 {
        return Vec::new();
    }
    let most = u16::try_from(MAX_AT_ONCE).unwrap_or(u16::MAX);
    let mut sizes = evenly(passed, failed, most - 1);
    sizes.push(failed);
    sizes
}

/// So many sizes, at most, that lie evenly between two, without them.
fn evenly(low: u16, high: u16, most: u16) -> Vec<u16> {
    let gap = high.saturating_sub(low);
    let parts = gap.min(most + 1);
    let place = |part: u16| {
        let offset = u32::from(gap) * u32::from(part) / u32::from(parts.max(1));
        low.saturating_add(u16::try_from(offset).unwrap_or(u16::MAX))
    };
    (1..parts).map(place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Runs a search against a path that carries packets up to `limit`; tells the rounds it took.
    fn run(full: u16, limit: u16) -> (Search, u8) {
        let mut search = Search::new(full);
        loop {
            let sizes = search.next();
            if sizes.is_empty() {
                return (search, search.rounds);
            }
            assert!(sizes.len() <= MAX_AT_ONCE, "{sizes:?}");
            let arrived = sizes.iter().filter(|size| **size <= limit).copied();
            search.note(&sizes, &arrived.collect());
        }
    }

    #[test]
    fn a_usual_limit_is_found_to_the_byte_in_two_rounds() {
        for limit in 1200..1420 {
            let mut search = Search::new(1420);
            for _ in 0..2 {
                let sizes = search.next();
                let arrived = sizes.iter().filter(|size| **size <= limit).copied();
                search.note(&sizes, &arrived.collect());
            }
            assert_eq!(
                (search.passed, search.failed),
                (Some(limit), Some(limit + 1))
            );
        }
    }

    #[test]
    fn losses_that_end_during_a_search_make_no_narrow_path() {
        let mut search = Search::new(1420);
        let sizes = search.next();
        let short = sizes.iter().filter(|size| **size <= 1300).copied();
        search.note(&sizes, &short.collect());
        let sizes = search.next();
        search.note(&sizes, &sizes.iter().copied().collect());
        assert_eq!(search.failed, None);
    }

    #[test]
    fn a_shorter_packet_that_was_lost_by_chance_misleads_nobody() {
        let mut search = Search::new(1420);
        let sizes = search.next();
        let arrived = sizes.iter().filter(|size| **size != 1200).copied();
        search.note(&sizes, &arrived.collect());
        assert_eq!((search.passed, search.failed), (Some(1420), None));
    }

    proptest! {
        #[test]
        fn every_limit_is_found(
            (full, limit) in (700_u16..9001).prop_flat_map(|full| (Just(full), SMALLEST..full)),
        ) {
            let (search, rounds) = run(full, limit);
            prop_assert_eq!(search.passed, Some(limit));
            prop_assert_eq!(search.failed, Some(limit + 1));
            prop_assert!(rounds <= MAX_ROUNDS);
        }

        #[test]
        fn a_path_that_carries_nothing_is_no_narrow_path(full in 100_u16..9001) {
            let (search, _) = run(full, 0);
            prop_assert_eq!(search.passed, None);
        }
    }
}
