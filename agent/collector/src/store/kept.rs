//! What is kept, in memory: what the file says when it is written anew, each part within its bound.

use std::collections::{BTreeMap, VecDeque};

use diagnosis::timing::FLAP_WINDOW;
use evidence::{Moment, NodeName, NodeRef, PairPast, Transition, limits};

use super::{
    dating::{self, KEPT_FOR, Present},
    record::{Changed, FORMAT, KeyHash, Pinned, Record, Run, line},
};

/// Transitions that are kept, of all runs.
pub(super) const ENTRIES: usize = limits::TRANSITIONS;
/// Bytes that their lines may have together.
const ENTRY_BYTES: usize = 4 * 1024 * 1024;
/// Nodes whose keys are kept. More than a view holds: names come and go. The one not seen for longest goes first.
const PINNED_NODES: usize = 2 * limits::NODES;
/// Keys of one node, by mesh key; the collector serves three at a time.
const PINNED_KEYS: usize = 4;

/// The pinned keys of one node, by mesh key.
pub(crate) type Pins = BTreeMap<String, [u8; 32]>;

#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    runs: BTreeMap<u64, Run>,
    /// With the length of their lines.
    entries: VecDeque<(Changed, usize)>,
    entry_bytes: usize,
    pins: BTreeMap<NodeName, Vec<Pinned>>,
    pasts: BTreeMap<(NodeRef, NodeRef), (u64, PairPast)>,
}

impl Kept {
    /// Takes in a record that was read, or is about to be written. What is of no run that is known cannot be dated, and is
    /// left out. Says whether it was taken in and anything is new.
    pub(super) fn take(&mut self, record: Record) -> bool {
        let length = line(&record).map(|line| line.len());
        let Some(length) = length else {
            return false;
        };
        let known = |kept: &Self, run| kept.runs.contains_key(&run);
        match record {
            Record::Run(run) => self.runs.insert(run.number, run).is_none(),
            Record::Changed(entry) if known(self, entry.run) => {
                self.entry_bytes += length;
                self.entries.push_back((entry, length));
                while self.entries.len() > ENTRIES || self.entry_bytes > ENTRY_BYTES {
                    self.drop_oldest();
                }
                true
            }
            Record::Past { run, past } if known(self, run) => {
                let pair = (past.from.clone(), past.to.clone());
                if !self.pasts.contains_key(&pair) && self.pasts.len() >= limits::PAIR_PASTS {
                    self.drop_quietest();
                }
                self.pasts.insert(pair, (run, past));
                true
            }
            Record::Store { .. } | Record::Changed(_) | Record::Past { .. } => false,
            Record::Pinned(pinned) => self.pin(pinned),
        }
    }

    /// The first key stays. It is written again only to tell that the node was seen in another run.
    fn pin(&mut self, pinned: Pinned) -> bool {
        if !self.pins.contains_key(&pinned.node) && self.pins.len() >= PINNED_NODES {
            let seen = |pins: &[Pinned]| pins.iter().map(|one| one.run).max();
            let longest = self.pins.iter().min_by_key(|(_, pins)| seen(pins));
            if let Some(node) = longest.map(|(node, _)| node.clone()) {
                self.pins.remove(&node);
            }
        }
        let pins = self.pins.entry(pinned.node.clone()).or_default();
        if let Some(known) = pins.iter_mut().find(|one| one.mesh == pinned.mesh) {
            let later = pinned.run > known.run && known.key == pinned.key;
            if later {
                known.run = pinned.run;
            }
            return later;
        }
        if pins.len() >= PINNED_KEYS
            && let Some(oldest) = (0..pins.len()).min_by_key(|at| pins.get(*at).map(|one| one.run))
        {
            pins.remove(oldest);
        }
        pins.push(pinned);
        true
    }

    /// Forgets the keys of a node whose machine was replaced; says whether there were any.
    pub(super) fn forget(&mut self, node: &NodeName) -> bool {
        self.pins.remove(node).is_some()
    }

    /// Begins a run, and drops what is too old for it.
    pub(super) fn begin(&mut self, now: &Present) -> Run {
        let last = self.runs.values().next_back();
        let run = Run::after(last.map(|last| (last, self.heard(last))), now);
        self.runs.insert(run.number, run.clone());
        let lived = run.lived(now.at);
        let kept = i64::try_from(KEPT_FOR.as_millis()).unwrap_or(i64::MAX);
        while let Some((oldest, _)) = self.entries.front() {
            let of = self.runs.get(&oldest.run);
            let age = of.map_or(i64::MAX, |of| lived.saturating_sub(of.lived(oldest.at)));
            if age <= kept {
                break;
            }
            self.drop_oldest();
        }
        self.tidy(&run, lived);
        run
    }

    /// The last sign of life of a run.
    fn heard(&self, run: &Run) -> Moment {
        let entries = self.entries.iter().rev();
        let entry = entries
            .take_while(|(entry, _)| entry.run == run.number)
            .next();
        let pasts = self.pasts.values().filter(|(of, _)| *of == run.number);
        let change = pasts.filter_map(|(_, past)| past.changes.last().copied());
        change
            .chain(entry.map(|(entry, _)| entry.at))
            .fold(run.at, Moment::max)
    }

    /// Drops pasts that no judgement asks for any more, and runs of which nothing is left.
    fn tidy(&mut self, present: &Run, lived: i64) {
        let run = present.number;
        let window = i64::try_from(FLAP_WINDOW.as_millis()).unwrap_or(i64::MAX);
        let runs = &self.runs;
        self.pasts.retain(|_, (of, past)| {
            let last = runs.get(of).zip(past.changes.last());
            last.is_some_and(|(of, last)| lived.saturating_sub(of.lived(*last)) <= window)
        });
        let used: std::collections::BTreeSet<u64> = self
            .entries
            .iter()
            .map(|(entry, _)| entry.run)
            .chain(self.pasts.values().map(|(of, _)| *of))
            .collect();
        self.runs.retain(|of, _| *of == run || used.contains(of));
    }

    fn drop_oldest(&mut self) {
        if let Some((_, length)) = self.entries.pop_front() {
            self.entry_bytes = self.entry_bytes.saturating_sub(length);
        }
    }

    fn drop_quietest(&mut self) {
        let last = |past: &PairPast| past.changes.last().copied();
        let quietest = self
            .pasts
            .iter()
            .min_by_key(|(_, (run, past))| (*run, last(past)));
        if let Some(pair) = quietest.map(|(pair, _)| pair.clone()) {
            self.pasts.remove(&pair);
        }
    }

    /// The file as it would be written anew.
    pub(super) fn text(&self) -> String {
        let header = std::iter::once(Record::Store { format: FORMAT });
        let runs = self.runs.values().cloned().map(Record::Run);
        let entries = self.entries.iter().cloned();
        let entries = entries.map(|(entry, _)| Record::Changed(entry));
        let pins = self.pins.values().flatten().cloned().map(Record::Pinned);
        let pasts = self.pasts.values().cloned();
        let pasts = pasts.map(|(run, past)| Record::Past { run, past });
        let records = header.chain(runs).chain(pins).chain(pasts).chain(entries);
        records.filter_map(|record| line(&record)).collect()
    }

    /// All entries, told at the start of a run.
    pub(super) fn transitions(&self, present: &Run, now: &Present) -> Vec<Transition> {
        let entries = self.entries.iter();
        let dated = entries.filter_map(|(entry, _)| Some((entry, self.runs.get(&entry.run)?)));
        let dated: Vec<_> = dated.collect();
        dating::transitions(dated.into_iter(), present, now)
    }

    pub(super) fn pins(&self) -> BTreeMap<NodeName, Pins> {
        let keys = |pins: &[Pinned]| {
            let one = |pinned: &Pinned| {
                let KeyHash(key) = pinned.key;
                (pinned.mesh.clone(), key)
            };
            pins.iter().map(one).collect()
        };
        let nodes = self.pins.iter();
        nodes
            .map(|(node, pins)| (node.clone(), keys(pins)))
            .collect()
    }

    /// What pairs did of late, on the present timeline.
    pub(super) fn pasts(&self, present: &Run, now: &Present) -> Vec<PairPast> {
        let told = self.pasts.values().filter_map(|(run, past)| {
            let of = self.runs.get(run)?;
            let mut past = past.clone();
            // The wall clock of these is not kept: that of their run's start plus the time since is the same clock.
            let wall = |at: Moment| {
                let since = at.as_millis().saturating_sub(of.at.as_millis());
                of.wall_ms.saturating_add(since)
            };
            let moments = past.changes.iter();
            past.changes = moments
                .filter_map(|at| dating::moment(*at, wall(*at), of, present, now))
                .filter(|at| now.at.since(*at) <= FLAP_WINDOW)
                .collect();
            (!past.changes.is_empty()).then_some(past)
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests;
