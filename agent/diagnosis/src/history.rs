//! How pairs have changed between good and failed: what one judgement alone cannot know.
//!
//! A pair that changed several times in a short while is *flapping*: that it is good at the moment says little, so it counts
//! as good again only after it was good for a while. How long that is follows from how it flapped, and a single outage does
//! not flap.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use evidence::{
    Change, Fact, FactKey, Flapping, Ladder, Moment, NodeName, NodeRef, Outcome, PairPast, Rung,
    Verdict, limits,
};

use crate::{View, mesh::millis, timing};

/// Changes that make a pair flap: good, failed, good, failed, good.
const FLAPS: usize = 4;
/// Changes from one failure to the next that must be known before a period is told: three cycles.
const CYCLES: usize = 3;

/// The pasts of all pairs that have changed of late, or fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    pasts: BTreeMap<NodeRef, BTreeMap<NodeRef, Past>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Past {
    good: bool,
    rung: Rung,
    changes: Vec<Moment>,
}

/// How a pair flaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flaps {
    pub(crate) rung: Rung,
    pub(crate) first: Moment,
    pub(crate) last: Moment,
    pub(crate) told: Flapping,
}

/// Writes the history; keeps what a judgement does not need.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    /// Which process spoke last for a node, and since when.
    agents: BTreeMap<NodeName, (u64, Moment)>,
}

impl History {
    /// Of pasts that were told elsewhere; more than there can be, and more changes than there can be, are left out.
    pub fn of(pasts: impl IntoIterator<Item = PairPast>) -> Self {
        let mut history = Self::default();
        for past in pasts.into_iter().take(limits::PAIR_PASTS) {
            history.insert(past);
        }
        history
    }

    /// All pasts, in the order of their pairs.
    pub fn pasts(&self) -> impl Iterator<Item = PairPast> {
        self.pasts.iter().flat_map(|(from, row)| {
            let pair = move |(to, past): (&NodeRef, &Past)| past.told(from, to);
            row.iter().map(pair)
        })
    }

    /// The pairs that have one.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&NodeRef, &NodeRef)> {
        let rows = self.pasts.iter();
        rows.flat_map(|(from, row)| row.keys().map(move |to| (from, to)))
    }

    /// The past of one pair.
    pub fn past_of(&self, from: &NodeRef, to: &NodeRef) -> Option<PairPast> {
        self.past(from, to).map(|past| past.told(from, to))
    }

    /// Takes in a past from before a restart, unless the pair has one already. There is room for so many.
    pub fn recall(&mut self, past: PairPast) {
        if self.past(&past.from, &past.to).is_none() && self.len() < limits::PAIR_PASTS {
            self.insert(past);
        }
    }

    fn insert(&mut self, past: PairPast) {
        let PairPast {
            from,
            to,
            good,
            rung,
            mut changes,
        } = past;
        changes.truncate(limits::PAIR_CHANGES);
        let past = Past {
            good,
            rung,
            changes,
        };
        self.pasts.entry(from).or_default().insert(to, past);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pasts.values().map(BTreeMap::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pasts.is_empty()
    }

    /// How a pair flaps, if it does.
    pub(crate) fn flaps(&self, from: &NodeRef, to: &NodeRef, now: Moment) -> Option<Flaps> {
        self.past(from, to)?.flaps(now)
    }

    fn past(&self, from: &NodeRef, to: &NodeRef) -> Option<&Past> {
        self.pasts.get(from)?.get(to)
    }

    fn past_mut(&mut self, from: &NodeRef, to: &NodeRef) -> Option<&mut Past> {
        self.pasts.get_mut(from)?.get_mut(to)
    }

    /// Drops what no judgement asks for any more, and the pairs of nodes that are gone.
    fn forget(&mut self, verdict: &Verdict, now: Moment) {
        let nodes: BTreeSet<&NodeRef> = verdict.nodes.iter().map(|node| &node.node).collect();
        self.pasts.retain(|from, row| {
            row.retain(|to, past| {
                past.changes
                    .retain(|at| now.since(*at) <= timing::FLAP_WINDOW);
                let matters = !past.good || !past.changes.is_empty();
                matters && nodes.contains(to)
            });
            !row.is_empty() && nodes.contains(from)
        });
    }
}

impl Past {
    fn told(&self, from: &NodeRef, to: &NodeRef) -> PairPast {
        PairPast {
            from: from.clone(),
            to: to.clone(),
            good: self.good,
            rung: self.rung,
            changes: self.changes.clone(),
        }
    }

    /// What stayed as it was for as long as a pair must be good at most does not come and go: two outages with more than that
    /// between them are two outages.
    fn flaps(&self, now: Moment) -> Option<Flaps> {
        let recent = |at: &Moment| now.since(*at) <= timing::FLAP_WINDOW;
        let mut changes: Vec<Moment> = self.changes.iter().copied().filter(recent).collect();
        let rests = gaps(&changes, 1).map(|gap| gap >= timing::STEADY_MOST);
        let last_rest = rests.enumerate().filter(|(_, rests)| *rests).last();
        let before = last_rest.map_or(0, |(at, _)| at + 1);
        changes.drain(..before);
        let (first, last) = changes.first().zip(changes.last())?;
        let longest = gaps(&changes, 1).max()?;
        let hold = (longest * 2).clamp(timing::STEADY_LEAST, timing::STEADY_MOST);
        if changes.len() < FLAPS || now.since(*last) > hold {
            return None;
        }
        Some(Flaps {
            rung: self.rung,
            first: *first,
            last: *last,
            told: Flapping {
                changes: u32::try_from(changes.len()).unwrap_or(u32::MAX),
                over_ms: millis(last.since(*first)),
                period_ms: period(&changes).map(millis),
            },
        })
    }
}

/// The times between changes that are `apart` places apart.
fn gaps(changes: &[Moment], apart: usize) -> impl Iterator<Item = Duration> {
    let later = changes.iter().skip(apart);
    changes
        .iter()
        .zip(later)
        .map(|(earlier, later)| later.since(*earlier))
}

/// The mean time from one failure, or recovery, to the next, if they vary by at most a fifth of it.
pub(crate) fn period(changes: &[Moment]) -> Option<Duration> {
    let cycles: Vec<u128> = gaps(changes, 2).map(|gap| gap.as_millis()).collect();
    let count = u128::try_from(cycles.len()).ok()?;
    let mean = cycles.iter().sum::<u128>().checked_div(count)?;
    let squares = |cycle: &u128| cycle.abs_diff(mean).saturating_pow(2);
    let variance = cycles
        .iter()
        .map(squares)
        .sum::<u128>()
        .checked_div(count)?;
    let regular = variance.saturating_mul(25) <= mean.saturating_pow(2);
    (cycles.len() >= CYCLES && regular && mean > 0)
        .then(|| u64::try_from(mean).ok().map(Duration::from_millis))?
}

impl Recorder {
    /// Takes in a verdict on this view, and tells which pairs have changed.
    ///
    /// The start of an agent or of its node is no outage of its pairs: while one of the two settles, what they are is taken as
    /// it is, and nothing counts as a change.
    pub fn observe(&mut self, view: &mut View, verdict: &Verdict, now: Moment) -> Vec<Change> {
        self.meet(view, now);
        let mut told = Vec::new();
        let again = timing::tried_again(verdict.nodes.len());
        let mut room = limits::PAIR_PASTS.saturating_sub(view.history.len());
        for ladder in &verdict.pairs {
            if ladder.broken_at.is_none() && view.history.is_empty() {
                continue;
            }
            let settling = self.settling(&ladder.from, now) || self.settling(&ladder.to, now);
            let past = view.history.past_mut(&ladder.from, &ladder.to);
            let change = match (past, ladder.broken_at) {
                (Some(past), _) => past.take(ladder, settling, (again, now)),
                (None, Some(rung)) if room > 0 => {
                    room -= 1;
                    let changes = if settling { Vec::new() } else { vec![now] };
                    let past = Past {
                        good: false,
                        rung,
                        changes,
                    };
                    let row = view.history.pasts.entry(ladder.from.clone()).or_default();
                    row.insert(ladder.to.clone(), past);
                    (!settling).then_some((false, rung))
                }
                _ => None,
            };
            told.extend(change.map(|(good, rung)| Change::Pair {
                from: ladder.from.clone(),
                to: ladder.to.clone(),
                good,
                rung,
            }));
        }
        view.history.forget(verdict, now);
        told
    }

    fn meet(&mut self, view: &View, now: Moment) {
        self.agents.retain(|name, _| view.nodes.contains_key(name));
        for (name, node) in &view.nodes {
            let Some(Fact::Identity(identity)) = node.facts.get(&FactKey::Identity) else {
                continue;
            };
            let known = self.agents.get(name);
            if known.is_none_or(|(instance, _)| *instance != identity.instance) {
                self.agents.insert(name.clone(), (identity.instance, now));
            }
        }
    }

    fn settling(&self, node: &NodeRef, now: Moment) -> bool {
        let NodeRef::Named { name } = node else {
            return false;
        };
        let known = self.agents.get(name);
        known.is_some_and(|(_, since)| now.since(*since) < timing::SETTLE)
    }
}

impl Past {
    /// What the pair is now; tells it if that is a change. Within `again` every way of the mesh is tried once more.
    fn take(
        &mut self,
        ladder: &Ladder,
        settling: bool,
        (again, now): (Duration, Moment),
    ) -> Option<(bool, Rung)> {
        if let (true, Some(rung)) = (self.good, ladder.broken_at)
            && self.is_just_as_far(rung, (again, now))
        {
            // The recovery was none, and is taken back.
            self.changes.pop();
            self.good = false;
            return Some((false, rung));
        }
        let good = match ladder.broken_at {
            Some(rung) => {
                // While it fails, the lowest place where it does is the one that it will be remembered by.
                let lowest = rung.min(self.rung);
                self.rung = if self.changes.is_empty() {
                    rung
                } else {
                    lowest
                };
                false
            }
            None if proved(ladder, self.rung) => true,
            None => return None,
        };
        if good == self.good {
            return None;
        }
        self.good = good;
        if settling {
            return None;
        }
        let over = (self.changes.len() + 1).saturating_sub(limits::PAIR_CHANGES);
        self.changes.drain(..over);
        self.changes.push(now);
        Some((good, self.rung))
    }
}

impl Past {
    /// Whether it fails at a higher rung than before, a moment after it was good up to there. Rungs are tried one after the
    /// other, and what is above the one that has become good was not tried again yet.
    fn is_just_as_far(&self, rung: Rung, (again, now): (Duration, Moment)) -> bool {
        let last = self.changes.last();
        rung > self.rung && last.is_some_and(|at| now.since(*at) < again)
    }
}

/// Whether all is good up to where it failed, whatever the past makes of that.
fn proved(ladder: &Ladder, rung: Rung) -> bool {
    let top = rung.max(Rung::Tunnel);
    let good = |outcome: Outcome| outcome.is_good() || outcome == Outcome::Flapping;
    let mut rungs = ladder.rungs.iter().filter(|state| state.rung <= top);
    !ladder.rungs.is_empty() && rungs.all(|state| good(state.outcome))
}
