//! When something of an earlier run was.
//!
//! Moments are of a monotonic clock that begins anew with the machine. While it has not, they still hold. Else the wall
//! clock is asked, and believed only if it does not contradict what monotonic clocks tell: how long the collectors since
//! have lived. Those clocks alone decide what is too old to be kept, so a wrong date wipes nothing out.

use std::{fs, time::Duration};

use evidence::{Dated, Earlier, Moment, Transition};

use super::record::{Changed, Run};
use crate::clock;

/// So long is kept what was, of the time in which a collector ran; and a wall clock that tells of more is not believed.
pub(super) const KEPT_FOR: Duration = Duration::from_hours(30 * 24);

/// The clocks at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Present {
    pub(super) timeline: String,
    pub(super) at: Moment,
    pub(super) wall_ms: i64,
}

impl Present {
    pub(super) fn read() -> Self {
        // The boot tells machines and their starts apart; the namespace, containers whose clock has an offset.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let timeline = boot.map_or_else(
            |_| String::new(),
            |boot| {
                let namespace = fs::read_link("/proc/self/ns/time").unwrap_or_default();
                format!("{} {}", boot.trim(), namespace.display())
            },
        );
        Self {
            timeline,
            at: clock::now(),
            wall_ms: clock::wall_ms(),
        }
    }
}

impl Run {
    /// The run that begins now, after `last`, of which the last sign of life is from the moment `heard`.
    pub(super) fn after(last: Option<(&Self, Moment)>, now: &Present) -> Self {
        let lived_ms = last.map_or(0, |(last, heard)| {
            if last.holds_at(now) {
                last.lived(now.at)
            } else {
                last.lived(heard)
            }
        });
        Self {
            number: last.map_or(1, |(last, _)| last.number.saturating_add(1)),
            timeline: now.timeline.clone(),
            at: now.at,
            wall_ms: now.wall_ms,
            lived_ms,
        }
    }

    /// How long collectors had lived at a moment of this run, at least.
    pub(super) fn lived(&self, at: Moment) -> i64 {
        let since = at.as_millis().saturating_sub(self.at.as_millis());
        self.lived_ms.saturating_add(since.max(0))
    }

    fn holds_at(&self, now: &Present) -> bool {
        !self.timeline.is_empty() && self.timeline == now.timeline && self.at <= now.at
    }
}

/// When a moment of an earlier run was, on the present timeline.
fn date(at: Moment, wall_ms: i64, of: &Run, present: &Run, now: &Present) -> (Moment, Dated) {
    if of.holds_at(now) && at <= now.at {
        return (at, Dated::Exactly);
    }
    let least = millis(present.lived(now.at).saturating_sub(of.lived(at)));
    let told = now.wall_ms.saturating_sub(wall_ms);
    let believed = told >= 0 && (least..=KEPT_FOR).contains(&millis(told));
    if believed {
        (now.at.minus(millis(told)), Dated::ByWallClock)
    } else {
        (now.at.minus(least), Dated::Unknown)
    }
}

fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// When a moment of an earlier run was, if that is known.
pub(super) fn moment(
    at: Moment,
    wall_ms: i64,
    of: &Run,
    present: &Run,
    now: &Present,
) -> Option<Moment> {
    let (at, dated) = date(at, wall_ms, of, present, now);
    (dated != Dated::Unknown).then_some(at)
}

/// Earlier entries as they are told now, in their order: none seems later than one that came after it.
pub(super) fn transitions<'c>(
    entries: impl DoubleEndedIterator<Item = (&'c Changed, &'c Run)>,
    present: &Run,
    now: &Present,
) -> Vec<Transition> {
    let mut latest = now.at;
    let mut told: Vec<Transition> = entries
        .rev()
        .map(|(entry, of)| {
            let (mut at, mut dated) = date(entry.at, entry.wall_ms, of, present, now);
            if at > latest {
                (at, dated) = (latest, Dated::Unknown);
            }
            latest = at;
            Transition {
                at,
                change: entry.change.clone(),
                earlier: Some(Earlier {
                    run: entry.run,
                    wall_ms: entry.wall_ms,
                    dated,
                }),
            }
        })
        .collect();
    told.reverse();
    told
}

#[cfg(test)]
mod tests {
    use evidence::Change;

    use super::*;

    const HOUR: i64 = 3_600_000;
    const WALL: i64 = 1_795_000_000_000;

    fn clocks(timeline: &str, at: i64, wall_ms: i64) -> Present {
        Present {
            timeline: timeline.to_owned(),
            at: Moment::from_millis(at),
            wall_ms,
        }
    }

    /// A run that began at 1 h of boot `a`, with an entry an hour later; what is said of the entry at `now`.
    fn said(now: &Present) -> (i64, Dated) {
        let begun = Run::after(None, &clocks("a", HOUR, WALL));
        let entry = Changed {
            run: begun.number,
            at: Moment::from_millis(2 * HOUR),
            wall_ms: WALL + HOUR,
            change: Change::Closed {
                code: "path-broken".to_owned(),
                subject: "vps-1".to_owned(),
            },
        };
        let present = Run::after(Some((&begun, entry.at)), now);
        assert_eq!(present.number, 2);
        let later = Present {
            at: now.at.plus(Duration::from_secs(10)),
            wall_ms: now.wall_ms + 10_000,
            ..now.clone()
        };
        let told = transitions(std::iter::once((&entry, &begun)), &present, &later);
        let earlier = told[0].earlier.unwrap();
        assert_eq!((earlier.run, earlier.wall_ms), (1, WALL + HOUR));
        let age = later.at.as_millis() - told[0].at.as_millis();
        (age, earlier.dated)
    }

    #[test]
    fn while_the_machine_is_up_ages_are_exact_whatever_the_wall_clock_says() {
        for wall in [0, WALL, WALL + 1000 * HOUR] {
            let age = said(&clocks("a", 3 * HOUR, wall));
            assert_eq!(age, (HOUR + 10_000, Dated::Exactly));
        }
    }

    #[test]
    fn after_a_boot_the_wall_clock_is_believed() {
        let age = said(&clocks("b", 60_000, WALL + 3 * HOUR));
        assert_eq!(age, (2 * HOUR + 10_000, Dated::ByWallClock));
    }

    #[test]
    fn a_wall_clock_that_stepped_gives_no_age() {
        for wall in [0, WALL, WALL + HOUR - 20_000, WALL + 31 * 24 * HOUR] {
            let (age, dated) = said(&clocks("b", 60_000, wall));
            // This run lives for ten seconds: younger it cannot be.
            assert_eq!((age, dated), (10_000, Dated::Unknown), "{wall}");
        }
    }

    #[test]
    fn an_unknown_timeline_is_no_timeline() {
        let now = clocks("", 3 * HOUR, WALL + 2 * HOUR);
        let begun = Run::after(None, &clocks("", HOUR, WALL));
        assert!(!begun.holds_at(&now));
    }

    #[test]
    fn entries_keep_their_order_when_the_wall_clock_went_back_between_them() {
        let begun = Run::after(None, &clocks("a", 0, WALL));
        let entry = |at, wall_ms| Changed {
            run: 1,
            at: Moment::from_millis(at),
            wall_ms,
            change: Change::Closed {
                code: String::new(),
                subject: String::new(),
            },
        };
        let (first, second) = (entry(1000, WALL + HOUR), entry(2000, WALL + 2000));
        let now = clocks("b", 5000, WALL + 2 * HOUR);
        let present = Run::after(Some((&begun, second.at)), &now);
        let told = transitions(
            [(&first, &begun), (&second, &begun)].into_iter(),
            &present,
            &now,
        );
        assert!(told[0].at <= told[1].at, "{told:?}");
        assert_eq!(told[0].earlier.unwrap().dated, Dated::Unknown);
        assert_eq!(told[1].earlier.unwrap().dated, Dated::ByWallClock);
    }

    #[test]
    fn the_time_that_collectors_lived_goes_on_over_restarts_and_boots() {
        let first = Run::after(None, &clocks("a", 1000, WALL));
        let second = Run::after(
            Some((&first, Moment::from_millis(5000))),
            &clocks("a", 9000, 0),
        );
        assert_eq!(second.lived_ms, 8000);
        let heard = Moment::from_millis(10_000);
        let third = Run::after(Some((&second, heard)), &clocks("b", 50, 0));
        assert_eq!((third.number, third.lived_ms), (3, 9000));
    }
}
