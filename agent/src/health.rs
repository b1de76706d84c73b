//! How well this agent itself could look: what it slept through, and what the kernel dropped for it.

use std::{collections::VecDeque, time::Duration};

use evidence::{Conntrack, Drops, Health, Lag, Moment, health::STALL};
use sources::pressure::Pressure;

/// Over which time lag is told, in seconds.
const SECONDS: usize = 10;

/// Everything that is known of the agent's own health.
#[derive(Debug, Default)]
pub(crate) struct OwnHealth {
    seconds: VecDeque<Second>,
    fact: Health,
    tap: Growth,
    echo: Growth,
    backlog: Growth,
    squeezed: Growth,
}

/// The wake-ups of one second.
#[derive(Clone, Copy, Debug)]
struct Second {
    began: Moment,
    wakes: u32,
    late: Duration,
    latest: Duration,
}

/// A counter of the kernel, from when it was first read.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    last: Option<u64>,
    drops: Drops,
}

impl OwnHealth {
    /// The loop wanted to be woken at `wanted`, or earlier by an event, and runs `now`.
    pub(crate) fn woke(&mut self, wanted: Moment, now: Moment) {
        let late = now.since(wanted);
        if late > STALL {
            self.fact.stalled = Some(now);
        }
        let fresh = |second: &&mut Second| now.since(second.began) < Duration::from_secs(1);
        match self.seconds.back_mut().filter(fresh) {
            Some(second) => {
                second.wakes = second.wakes.saturating_add(1);
                second.late = second.late.saturating_add(late);
                second.latest = second.latest.max(late);
            }
            None => self.begin(now, late),
        }
    }

    /// The tap has lost so many since it was opened.
    pub(crate) fn tap(&mut self, dropped: Option<u64>, now: Moment) {
        self.fact.tap = self.tap.grow(dropped, now);
    }

    /// A reading of what the kernel dropped.
    pub(crate) fn pressure(&mut self, read: Pressure, now: Moment) {
        self.fact.echo = self.echo.grow(read.socket_drops, now);
        self.fact.backlog = self.backlog.grow(read.backlog_drops, now);
        self.fact.squeezed = self.squeezed.grow(read.squeezed, now);
        self.fact.conntrack = read.conntrack.map(|(count, max)| Conntrack {
            at: now,
            count,
            max,
        });
    }

    pub(crate) const fn fact(&self) -> Health {
        self.fact
    }

    /// Whole seconds only, so that the fact changes once in each.
    fn begin(&mut self, now: Moment, late: Duration) {
        let surplus = (self.seconds.len() + 1).saturating_sub(SECONDS);
        self.seconds.drain(..surplus);
        self.seconds.push_back(Second {
            began: now,
            wakes: 1,
            late,
            latest: late,
        });
        let wakes = self.seconds.iter().map(|second| second.wakes).sum::<u32>();
        let late: Duration = self.seconds.iter().map(|second| second.late).sum();
        let latest = self.seconds.iter().map(|second| second.latest).max();
        self.fact.lag = Some(Lag {
            mean_us: micros(late / wakes.max(1)),
            max_us: micros(latest.unwrap_or_default()),
        });
    }
}

impl Growth {
    /// A counter that shrank was begun anew.
    pub(crate) fn grow(&mut self, read: Option<u64>, now: Moment) -> Option<Drops> {
        let more = match (read, self.last) {
            (Some(read), Some(last)) => read.checked_sub(last).unwrap_or(read),
            _ => 0,
        };
        if more > 0 {
            self.drops.count = self.drops.count.saturating_add(more);
            self.drops.last = Some(now);
        }
        self.last = read.or(self.last);
        read.map(|_| self.drops)
    }
}

fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    #[test]
    fn a_late_wake_up_is_a_stall_and_an_early_one_is_none() {
        let mut health = OwnHealth::default();
        health.woke(at(1000), at(900));
        health.woke(at(1000), at(1500));
        assert_eq!(health.fact().stalled, None);
        health.woke(at(2000), at(8000));
        assert_eq!(health.fact().stalled, Some(at(8000)));
        assert_eq!(health.fact().lag.unwrap().max_us, 6_000_000);
    }

    #[test]
    fn lag_is_forgotten_after_ten_seconds_and_the_stall_is_not() {
        let mut health = OwnHealth::default();
        health.woke(at(0), at(700));
        for second in 1..12 {
            health.woke(at(700 + second * 1000), at(700 + second * 1000));
        }
        assert_eq!(health.fact().lag, Some(Lag::default()));
        assert_eq!(health.fact().stalled, Some(at(700)));
    }

    #[test]
    fn what_was_lost_before_the_first_look_is_not_told_and_what_is_lost_later_is_dated() {
        let mut health = OwnHealth::default();
        health.tap(Some(5), at(1));
        assert_eq!(health.fact().tap, Some(Drops::default()));
        health.tap(Some(7), at(2));
        health.tap(Some(7), at(3));
        let expected = Drops {
            count: 2,
            last: Some(at(2)),
        };
        assert_eq!(health.fact().tap, Some(expected));
        health.tap(None, at(4));
        assert_eq!(health.fact().tap, None);
        health.tap(Some(1), at(5));
        assert_eq!(health.fact().tap.unwrap().count, 3);
    }
}
