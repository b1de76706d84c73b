//! Whose turn is when. Pure: the time is an argument.
//!
//! Of each client one moment is kept: when the next turn would be if all before had come at the rate. As long as that is not further ahead
//! than what may be asked for at once, nobody waits (the generic cell rate algorithm of ATM, ITU-T I.371).

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proto::limits::Rate;

/// Most clients that are remembered: over it, the one who may ask soonest is forgotten.
const CLIENTS: usize = 4096;

/// The turns of one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    rate: Rate,
    next: Instant,
}

impl Turn {
    pub(crate) const fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, next: now }
    }

    /// Takes the next turn: when it is.
    pub(crate) fn take(&mut self, now: Instant) -> Instant {
        let at = self.at(now);
        self.next = self.next.max(now) + self.rate.every;
        at
    }

    /// When the next turn is.
    fn at(&self, now: Instant) -> Instant {
        // The first of those that may come at once is no pause away from the last.
        let ahead = self.rate.every * self.rate.at_once.saturating_sub(1);
        self.next.checked_sub(ahead).map_or(now, |at| at.max(now))
    }
}

/// Those of all clients.
#[derive(Debug)]
pub(crate) struct Turns<K> {
    rate: Rate,
    of: BTreeMap<K, Turn>,
}

impl<K: Copy + Ord> Turns<K> {
    pub(crate) const fn new(rate: Rate) -> Self {
        Self {
            rate,
            of: BTreeMap::new(),
        }
    }

    /// Takes the next turn of a client: when it is. If that is later than `patience` from now, none is taken.
    pub(crate) fn take(
        &mut self,
        of: K,
        now: Instant,
        patience: Duration,
    ) -> Result<Instant, Instant> {
        if !self.of.contains_key(&of) && self.of.len() >= CLIENTS {
            self.forget(now);
        }
        let turn = self
            .of
            .entry(of)
            .or_insert_with(|| Turn::new(self.rate, now));
        let at = turn.at(now);
        if at > now + patience {
            return Err(at);
        }
        Ok(turn.take(now))
    }

    /// Forgets those who have rested, which changes nothing for them; if all ask all the time, one.
    fn forget(&mut self, now: Instant) {
        self.of.retain(|_, turn| turn.next > now);
        if self.of.len() < CLIENTS {
            return;
        }
        let soonest = self.of.iter().min_by_key(|(_, turn)| turn.next);
        if let Some(soonest) = soonest.map(|(of, _)| *of) {
            self.of.remove(&soonest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate {
        every: Duration::from_millis(100),
        at_once: 3,
    };
    const PATIENCE: Duration = Duration::from_millis(150);

    #[test]
    fn who_comes_at_the_rate_never_waits_and_who_comes_at_once_waits_from_the_fourth_on() {
        let begun = Instant::now();
        let mut turns = Turns::new(RATE);
        for step in 0..100 {
            let now = begun + RATE.every * step;
            assert_eq!(turns.take("steady", now, PATIENCE), Ok(now));
        }
        let waits = [0, 0, 0, 100].map(Duration::from_millis);
        for wait in waits {
            assert_eq!(turns.take("eager", begun, PATIENCE), Ok(begun + wait));
        }
        // The fifth would wait for 200 ms. It takes no turn, so the next one waits no longer for it.
        let refused = Err(begun + Duration::from_millis(200));
        assert_eq!(turns.take("eager", begun, PATIENCE), refused);
        assert_eq!(turns.take("eager", begun, PATIENCE), refused);
        let later = begun + Duration::from_millis(60);
        let at = begun + Duration::from_millis(200);
        assert_eq!(turns.take("eager", later, PATIENCE), Ok(at));
    }

    #[test]
    fn after_a_rest_as_many_may_come_at_once_again() {
        let begun = Instant::now();
        let mut turn = Turn::new(RATE, begun);
        let rested = begun + Duration::from_secs(10);
        for now in [begun, rested] {
            let taken: Vec<Instant> = (0..4).map(|_| turn.take(now)).collect();
            assert_eq!(taken, [now, now, now, now + RATE.every]);
        }
    }

    #[test]
    fn the_clients_that_are_remembered_are_bounded_and_who_is_over_the_rate_is_not_forgotten() {
        let now = Instant::now();
        let mut turns = Turns::new(RATE);
        let eager = 0;
        for _ in 0..4 {
            turns.take(eager, now, PATIENCE).unwrap();
        }
        for other in 1..=3 * CLIENTS {
            assert_eq!(turns.take(other, now, PATIENCE), Ok(now));
            assert!(turns.of.len() <= CLIENTS);
        }
        assert!(turns.take(eager, now, PATIENCE).is_err());
    }
}
