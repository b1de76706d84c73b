//! Observers in trouble: what a node did not see while it slept, or while its kernel dropped what came, is no evidence. And nodes
//! that went away on purpose.

use evidence::{Conntrack, Drops, Fact, FactKey, Health, Moment, Stage};

use crate::{
    mesh::{Member, Speaks},
    timing,
};

/// From here on a table of connections counts as full: what is new is dropped in bursts before it is.
const FULL_PERCENT: u64 = 95;

/// What a node was in trouble with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// Until when, as far as is known.
    pub(crate) until: Moment,
    /// In words, for a person.
    pub(crate) what: &'static str,
}

/// The trouble that a node had last.
pub(crate) fn trouble(health: &Health) -> Option<Trouble> {
    let last = |drops: Option<Drops>| drops.and_then(|drops| drops.last);
    let full = health.conntrack.filter(is_full).map(|table| table.at);
    [
        (
            health.stalled,
            "its agent was not run for half a second or more",
        ),
        (last(health.tap), "its tap lost packets"),
        (last(health.echo), "the socket of its echo was full"),
        (full, "its table of tracked connections is full"),
    ]
    .into_iter()
    .filter_map(|(until, what)| {
        Some(Trouble {
            until: until?,
            what,
        })
    })
    .max_by_key(|trouble| trouble.until)
}

fn is_full(table: &Conntrack) -> bool {
    let (count, max) = (u64::from(table.count), u64::from(table.max));
    max > 0 && count * 100 >= max * FULL_PERCENT
}

impl Member<'_> {
    /// What the machine is about to do, if its agent does not speak and Talos' last word was that it goes away on purpose.
    pub(crate) fn away_on_purpose(&self, now: Moment) -> Option<Stage> {
        let view = self.view.filter(|_| self.speaks != Speaks::Freshly)?;
        let Some(Fact::Talos(talos)) = view.facts.get(&FactKey::Talos) else {
            return None;
        };
        let leaving = [
            Stage::Rebooting,
            Stage::ShuttingDown,
            Stage::Resetting,
            Stage::Upgrading,
        ];
        let recent = now.since(view.last_report) <= timing::AWAY_ON_PURPOSE;
        talos
            .stage
            .filter(|stage| recent && leaving.contains(stage))
    }
}
