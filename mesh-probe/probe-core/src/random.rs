//! Repeatable spreading and jitter. Nothing here is secret, so a short generator is enough.

use std::time::Duration;

/// 2^64 divided by the golden ratio: its multiples spread evenly over the circle, however many are taken.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A `SplitMix64` generator.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A whole number of milliseconds from zero to `span`, both included.
    pub(crate) fn within(&mut self, span: Duration) -> Duration {
        let millis = u64::try_from(span.as_millis())
            .unwrap_or(u64::MAX - 1)
            .min(u64::MAX - 1);
        Duration::from_millis(self.next() % (millis + 1))
    }
}

/// Places on a circle, each far from all that were handed out before it.
#[derive(Clone, Debug)]
pub(crate) struct Phases(u64);

impl Phases {
    pub(crate) const fn new(start: u64) -> Self {
        Self(start)
    }

    /// The next place on a circle that takes `round` to go round.
    pub(crate) fn next(&mut self, round: Duration) -> Duration {
        self.0 = self.0.wrapping_add(GOLDEN);
        let millis = round.as_millis().saturating_mul(u128::from(self.0 >> 32)) >> 32;
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [random.next(), random.next()]
        };
        assert_eq!(draw(5), draw(5));
        assert_ne!(draw(5), draw(6));
    }

    #[test]
    fn phases_leave_no_crowd_and_no_large_gap() {
        let mut phases = Phases::new(12345);
        let mut places: Vec<u64> = Vec::new();
        for _ in 0..34 {
            places.push(u64::try_from(phases.next(Duration::from_secs(1)).as_millis()).unwrap());
        }
        places.sort_unstable();
        assert!(
            places
                .windows(2)
                .all(|pair| (10..100).contains(&(pair[1] - pair[0]))),
            "{places:?}"
        );
    }
}
