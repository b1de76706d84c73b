//! What the uplinks say of themselves, for whoever asks the agent.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use evidence::{Moment, Uplink, UplinkState, UplinkWay, limits};

/// All uplinks that there are. A clone is the same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Uplinks(Arc<Mutex<Listed>>);

#[derive(Debug, Default)]
struct Listed {
    last: u64,
    uplinks: BTreeMap<u64, Uplink>,
}

/// The place of one uplink in the list, which goes with it.
#[derive(Debug)]
pub(crate) struct Place {
    list: Uplinks,
    number: u64,
}

impl Uplinks {
    /// One more, which has not tried yet.
    pub(crate) fn begin(&self, collector: &str, now: Moment) -> Place {
        let mut listed = self.listed();
        listed.last += 1;
        let number = listed.last;
        let uplink = Uplink {
            collector: told(collector),
            since: now,
            state: UplinkState::NotReporting {
                reason: String::new(),
            },
        };
        listed.uplinks.insert(number, uplink);
        Place {
            list: self.clone(),
            number,
        }
    }

    /// In the order in which they began; never more than [`limits::UPLINKS`], as no more are started.
    pub(crate) fn all(&self) -> Vec<Uplink> {
        let listed = self.listed();
        let all = listed.uplinks.values().take(limits::UPLINKS);
        all.cloned().collect()
    }

    /// No step under the lock can panic half-way; and if one did, the list would still be one.
    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The collector has taken the first message.
    pub(crate) fn reports(&self, to: SocketAddr, way: UplinkWay, now: Moment) {
        self.set(UplinkState::Reporting { to, way }, now);
    }

    /// The stream has ended, or there is none.
    pub(crate) fn ended(&self, reason: &str, now: Moment) {
        let reason = told(reason);
        self.set(UplinkState::NotReporting { reason }, now);
    }

    fn set(&self, state: UplinkState, now: Moment) {
        let mut listed = self.list.listed();
        let Some(uplink) = listed.uplinks.get_mut(&self.number) else {
            return;
        };
        let is_same = matches!(
            (&uplink.state, &state),
            (
                UplinkState::NotReporting { .. },
                UplinkState::NotReporting { .. }
            )
        );
        if !is_same {
            uplink.since = now;
        }
        uplink.state = state;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.list.listed().uplinks.remove(&self.number);
    }
}

/// A text as it may be told: short, on one line.
fn told(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let mut text: String = text.chars().map(plain).collect();
    text.truncate(text.floor_char_boundary(limits::TEXT));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::from_millis(millis)
    }

    fn states(list: &Uplinks) -> Vec<(Moment, bool)> {
        let all = list.all().into_iter();
        all.map(|uplink| {
            let reports = matches!(uplink.state, UplinkState::Reporting { .. });
            (uplink.since, reports)
        })
        .collect()
    }

    #[test]
    fn since_is_when_it_changed_and_not_when_it_was_tried_last() {
        let list = Uplinks::default();
        let place = list.begin("vps-1:21820", at(0));
        place.ended("no answer", at(10));
        place.ended("refused\n", at(20));
        assert_eq!(states(&list), [(at(0), false)]);
        let UplinkState::NotReporting { reason } = list.all().remove(0).state else {
            panic!("it does not report");
        };
        assert_eq!(reason, "refused ");
        let to = "192.0.2.1:21820".parse().unwrap();
        place.reports(to, UplinkWay::Underlay, at(30));
        assert_eq!(states(&list), [(at(30), true)]);
        place.ended("gone", at(40));
        assert_eq!(states(&list), [(at(40), false)]);
    }

    #[test]
    fn an_uplink_that_is_over_is_told_no_more() {
        let list = Uplinks::default();
        let first = list.begin("a", at(0));
        let _second = list.begin("b", at(1));
        drop(first);
        let told: Vec<String> = list.all().into_iter().map(|one| one.collector).collect();
        assert_eq!(told, ["b"]);
    }

    #[test]
    fn what_is_told_is_short_however_long_the_reason() {
        let list = Uplinks::default();
        let place = list.begin(&"é".repeat(limits::TEXT), at(0));
        place.ended(&"x".repeat(3 * limits::TEXT), at(0));
        let uplink = list.all().remove(0);
        assert!(uplink.collector.len() <= limits::TEXT);
        assert!(
            matches!(uplink.state, UplinkState::NotReporting { reason } if reason.len() == limits::TEXT)
        );
    }
}
