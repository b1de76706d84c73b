//! What readers were told, against what is told after a restart.

use std::collections::BTreeMap;

use evidence::{Change, Dated, Moment, Phase, Transition, limits};

/// One answer about the history.
pub(super) struct Told {
    pub(super) run: u64,
    pub(super) transitions: Vec<Transition>,
}

type Entry = (Moment, Change);

/// Everything that is known to have been judged, by run.
#[derive(Default)]
pub(super) struct Ledger {
    runs: BTreeMap<u64, Vec<Entry>>,
    /// The runs that came back from the disk once: they must not change any more, and only be forgotten from the front.
    settled: BTreeMap<u64, bool>,
    /// Entries that were compared.
    pub(super) compared: usize,
    /// Entries that a reader was told, and that a kill kept from the disk: in all, and most at once.
    lost: usize,
    most_lost: usize,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger")
            .field("runs_with_entries", &self.runs.len())
            .field("entries", &self.runs.values().map(Vec::len).sum::<usize>())
            .field("compared", &self.compared)
            .field("lost", &self.lost)
            .field("most_lost", &self.most_lost)
            .finish_non_exhaustive()
    }
}

impl Ledger {
    /// What the present run has judged so far.
    pub(super) fn seen(&mut self, told: &Told) {
        let own = told.transitions.iter().filter(|one| one.earlier.is_none());
        let own: Vec<Entry> = own.map(entry).collect();
        if told.transitions.len() < limits::TRANSITIONS {
            chained(&own, told.run);
        }
        self.runs.insert(told.run, own);
    }

    /// What is told first after a restart; gives the number of the run.
    pub(super) fn restarted(&mut self, told: &Told) -> u64 {
        let last = self.runs.keys().next_back().copied().unwrap_or(0);
        // A run that was killed before it came to the disk has left its number to the next one.
        assert!(told.run >= last, "run {} after {last}", told.run);
        let full = told.transitions.len() >= limits::TRANSITIONS;
        let mut back: BTreeMap<u64, Vec<Entry>> = BTreeMap::new();
        for one in &told.transitions {
            if let Some(earlier) = one.earlier {
                assert_eq!(earlier.dated, Dated::Exactly, "{one:?}");
                assert!(earlier.run < told.run, "{one:?}");
                back.entry(earlier.run).or_default().push(entry(one));
            }
        }
        let moments = told.transitions.iter().map(|one| one.at);
        assert!(moments.is_sorted(), "the order of what is told");
        let oldest = back.keys().next().copied();
        for (run, entries) in &back {
            let cut = full && Some(*run) == oldest;
            self.compare(*run, entries, cut);
        }
        // Of the others nothing came back: forgotten as the oldest, or killed before a line was written.
        for (run, known) in &self.runs {
            let forgotten = full && oldest.is_some_and(|oldest| *run < oldest);
            if !back.contains_key(run) && !forgotten {
                assert!(!self.settled.contains_key(run), "run {run} is gone");
                self.lost += known.len();
                self.most_lost = self.most_lost.max(known.len());
            }
        }
        self.runs.retain(|run, _| back.contains_key(run));
        self.runs.insert(told.run, Vec::new());
        told.run
    }

    fn compare(&mut self, run: u64, back: &[Entry], cut: bool) {
        self.compared += back.len();
        if !cut {
            chained(back, run);
        }
        let known = self.runs.entry(run).or_default();
        if self.settled.insert(run, true).is_some() {
            let same = if cut {
                known.ends_with(back)
            } else {
                known == back
            };
            assert!(same, "run {run}: {back:#?} was {known:#?}");
        } else if !cut {
            // One is the beginning of the other: judged after the last look, or not on the disk when the kill came.
            let both = known.len().min(back.len());
            assert_eq!(known[..both], back[..both], "run {run}");
            let lost = known.len() - both;
            self.lost += lost;
            self.most_lost = self.most_lost.max(lost);
        }
        *known = back.to_vec();
    }
}

fn entry(transition: &Transition) -> Entry {
    (transition.at, transition.change.clone())
}

/// Each change goes on from where the last one ended: no level is left twice, and nothing comes or goes twice.
fn chained(entries: &[Entry], run: u64) {
    let mut levels: BTreeMap<&str, (Phase, Phase)> = BTreeMap::new();
    let mut open: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    for (_, change) in entries {
        match change {
            Change::Gate {
                level,
                ready,
                may_start,
                ..
            } => {
                let first = (Phase::Unknown, may_start.0);
                let before = levels.insert(level, (ready.1, may_start.1));
                let before = before.unwrap_or(first);
                assert_eq!((ready.0, may_start.0), before, "run {run}: {entries:#?}");
            }
            Change::Opened { code, subject, .. } => {
                let before = open.insert((code, subject), true);
                assert_ne!(before, Some(true), "run {run}: {entries:#?}");
            }
            Change::Closed { code, subject } => {
                let before = open.insert((code, subject), false);
                assert_eq!(before, Some(true), "run {run}: {entries:#?}");
            }
            Change::Pair { .. } => {}
        }
    }
}
