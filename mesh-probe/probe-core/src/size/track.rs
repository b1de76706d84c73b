//! One peer on one layer: full-size packets now and then, a search when they are lost.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use evidence::{Bracket, Layer, Moment, Sizes};

use super::{CONFIRMING_LOSSES, search::Search};

/// A packet whose tally has not come for so long is lost.
pub(super) const TIMEOUT: Duration = Duration::from_secs(1);
/// How often the sizes of a round that did not arrive are sent.
const ATTEMPTS: u8 = 2;
/// A limit that stands is searched for anew after so long.
const SEARCH_AGAIN: Duration = Duration::from_mins(1);
/// Pause of a search that waits for another to end: two at once would be a burst.
const TURN: Duration = Duration::from_millis(250);

/// What is known of a peer on a layer, and what is under way to it.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) state: Sizes,
    pub(super) due: Moment,
    step: Step,
    pub(super) run: Option<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// One full-size packet now and then.
    Canary,
    /// Many sizes at once, as soon as nobody else searches.
    WantsSearch,
    /// Many sizes at once.
    Search(Search),
    /// The size that failed once more, with leave to fragment it.
    InFragments(u16),
}

/// Packets on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) id: u32,
    pub(super) sizes: Vec<u16>,
    arrived: u32,
    attempt: u8,
    pub(super) sent_at: Moment,
    /// Places that are still to be sent in this attempt.
    pub(super) unsent: Vec<u8>,
}

impl Track {
    pub(super) const fn new(layer: Layer, to: IpAddr, full: u16, due: Moment) -> Self {
        Self {
            state: Sizes {
                layer,
                to,
                full,
                full_arrived: None,
                seen_arriving: None,
                lost: 0,
                lost_since: None,
                mended: None,
                bracket: None,
                too_big: None,
                in_fragments: None,
            },
            due,
            // There is a way on this layer only while a hole above it is known: it is looked for at once.
            step: match layer {
                Layer::Underlay => Step::WantsSearch,
                Layer::Tunnel | Layer::Overlay => Step::Canary,
            },
            run: None,
        }
    }

    /// Forgets a run of losses, and what was found in it. What arrived before stays known.
    pub(super) fn forget_losses(&mut self, now: Moment) {
        let Sizes {
            layer,
            to,
            full,
            full_arrived,
            ..
        } = self.state;
        *self = Self::new(layer, to, full, now);
        self.state.full_arrived = full_arrived;
    }

    /// Whether it has something on its way, or searches: whatever it sends next is not a matter of the budget.
    pub(super) const fn is_at_work(&self) -> bool {
        self.run.is_some() || !matches!(self.step, Step::Canary)
    }

    /// Whether its last packet was lost, and it is not known yet whether that was chance.
    pub(super) const fn is_retried(&self) -> bool {
        self.state.lost > 0 && self.state.lost < CONFIRMING_LOSSES
    }

    pub(super) const fn is_searching(&self) -> bool {
        matches!(self.step, Step::Search(_) | Step::InFragments(_))
    }

    /// Begins a run, or ends a search that has nothing left to try. Tells whether it belongs to a search.
    pub(super) fn begin(&mut self, id: u32, now: Moment, pause: Duration, others: bool) -> bool {
        if self.step == Step::WantsSearch {
            if others {
                self.due = now.plus(TURN);
                return true;
            }
            self.step = Step::Search(Search::new(self.state.full));
        }
        match &mut self.step {
            Step::Canary | Step::WantsSearch => {
                self.send(id, vec![self.state.full], now);
                false
            }
            Step::InFragments(size) => {
                let sizes = vec![*size];
                self.send(id, sizes, now);
                true
            }
            Step::Search(search) => {
                match search.next() {
                    sizes if sizes.is_empty() => self.found(now, pause),
                    sizes => self.send(id, sizes, now),
                }
                true
            }
        }
    }

    fn send(&mut self, id: u32, sizes: Vec<u16>, now: Moment) {
        let places = 0..u8::try_from(sizes.len()).unwrap_or(u8::MAX);
        self.run = Some(Run {
            id,
            sizes,
            arrived: 0,
            attempt: 1,
            sent_at: now,
            unsent: places.collect(),
        });
    }

    /// A tally of the present run: what has arrived of it, and what the far tap has seen.
    pub(super) fn told(&mut self, arrived: u32, seen: u32, now: Moment, pause: Duration) {
        let Some(run) = self.run.as_mut() else {
            return;
        };
        run.arrived |= arrived & run.all();
        // Nobody is asked to take what is sent past the tunnel: at the interface it has arrived.
        if self.state.layer == Layer::Underlay {
            run.arrived |= seen & run.all();
        } else if seen & !arrived != 0 {
            self.state.seen_arriving = Some(now);
        }
        if matches!(self.step, Step::InFragments(_)) {
            if run.arrived != 0 {
                self.state.in_fragments = Some(now);
                self.calm_down(now, pause);
            }
            return;
        }
        if run.has(self.state.full) {
            self.state.full_arrived = Some(now);
            self.state.seen_arriving = None;
            if self.state.lost >= CONFIRMING_LOSSES {
                self.state.mended = Some(now);
            }
            self.state.lost = 0;
            self.state.lost_since = None;
            self.state.bracket = None;
            self.state.too_big = None;
            self.state.in_fragments = None;
            self.calm_down(now, pause);
        } else if run.arrived == run.all() {
            self.end_round(now);
        }
    }

    /// The time of a run is over and something of it is missing.
    pub(super) fn timed_out(&mut self, now: Moment, pause: Duration, others_search: bool) {
        let Some(run) = &mut self.run else {
            return;
        };
        match self.step {
            Step::InFragments(_) if run.attempt >= ATTEMPTS => self.calm_down(now, pause),
            Step::InFragments(_) => run.again(now),
            Step::Canary | Step::WantsSearch => {
                let sent_at = run.sent_at;
                self.run = None;
                self.lose(sent_at, now, pause, others_search);
            }
            Step::Search(_) if run.attempt < ATTEMPTS => run.again(now),
            Step::Search(_) => self.end_round(now),
        }
    }

    /// A full-size packet is lost.
    fn lose(&mut self, sent_at: Moment, now: Moment, pause: Duration, others_search: bool) {
        self.state.lost = self.state.lost.saturating_add(1);
        self.state.lost_since.get_or_insert(sent_at);
        let known = self
            .state
            .bracket
            .is_some_and(|bracket| now.since(bracket.at) < SEARCH_AGAIN);
        self.due = now;
        if self.state.lost < CONFIRMING_LOSSES {
            return;
        }
        if known {
            self.due = now.plus(pause);
        } else if others_search {
            self.due = now.plus(TURN);
        } else {
            self.step = Step::Search(Search::new(self.state.full));
        }
    }

    fn end_round(&mut self, now: Moment) {
        let (Step::Search(search), Some(run)) = (&mut self.step, self.run.take()) else {
            return;
        };
        search.note(&run.sizes, &run.arrived_sizes());
        self.due = now;
    }

    /// The search is over.
    fn found(&mut self, now: Moment, pause: Duration) {
        if let Step::Search(search) = self.step {
            self.state.bracket = search.failed.map(|failed| Bracket {
                at: now,
                passed: search.passed,
                failed,
            });
        }
        self.calm_down(now, pause);
        let failed = self.state.bracket.map(|bracket| bracket.failed);
        if let Some(size) = failed.filter(|_| self.state.layer == Layer::Underlay) {
            self.state.in_fragments = None;
            self.step = Step::InFragments(size);
            self.due = now;
        }
    }

    /// Back to a full-size packet now and then.
    fn calm_down(&mut self, now: Moment, pause: Duration) {
        self.step = Step::Canary;
        self.run = None;
        self.due = now.plus(pause);
    }

    pub(super) const fn may_fragment(&self) -> bool {
        matches!(self.step, Step::InFragments(_))
    }
}

impl Run {
    fn all(&self) -> u32 {
        let count = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
        1_u32
            .checked_shl(count)
            .map_or(u32::MAX, |above| above.wrapping_sub(1))
    }

    fn places(&self) -> impl Iterator<Item = (u8, u16, bool)> {
        (0_u8..)
            .zip(&self.sizes)
            .map(|(place, size)| (place, *size, self.arrived >> place & 1 == 1))
    }

    fn has(&self, size: u16) -> bool {
        self.places()
            .any(|(_, one, arrived)| arrived && one == size)
    }

    fn arrived_sizes(&self) -> BTreeSet<u16> {
        let arrived = self.places().filter(|(_, _, arrived)| *arrived);
        arrived.map(|(_, size, _)| size).collect()
    }

    fn again(&mut self, now: Moment) {
        let missing = self.places().filter(|(_, _, arrived)| !arrived);
        self.unsent = missing.map(|(place, _, _)| place).collect();
        self.attempt += 1;
        self.sent_at = now;
    }
}
