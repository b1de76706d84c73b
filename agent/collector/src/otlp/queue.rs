//! Changes that wait to be exported.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use evidence::{Change, Transition};
use tokio::sync::Notify;

use crate::{clock, counters::Counters};

/// Changes that wait; the oldest go first, as the newest say how things are.
pub(super) const WAITING: usize = 1024;
/// Changes in one call.
pub(super) const BATCH: usize = 128;

/// A change of a gate or a finding, with the wall clock's time.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) wall_ms: i64,
    pub(super) change: Change,
    /// Grows by one from each to the next.
    number: u64,
}

/// The queue; clones share it. Who adds never waits.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    waiting: Arc<Mutex<Waiting>>,
    added: Arc<Notify>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: VecDeque<Entry>,
    next: u64,
}

impl Queue {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self {
            waiting: Arc::default(),
            added: Arc::default(),
            counters,
        }
    }

    /// Adds the changes of gates and findings. Those of pairs are in the metrics; a collapse has thousands of them.
    pub(crate) fn changed(&self, transitions: &[Transition]) {
        let is_told = |change: &&Change| !matches!(change, Change::Pair { .. });
        let wall_ms = clock::wall_ms();
        let mut told = transitions
            .iter()
            .map(|transition| &transition.change)
            .filter(is_told)
            .peekable();
        if told.peek().is_none() {
            return;
        }
        let mut waiting = self.lock();
        for change in told {
            let number = waiting.next;
            waiting.next += 1;
            waiting.changes.push_back(Entry {
                wall_ms,
                change: change.clone(),
                number,
            });
        }
        let over = waiting.changes.len().saturating_sub(WAITING);
        waiting.changes.drain(..over);
        drop(waiting);
        self.counters.otlp_records_dropped.add_all(over);
        self.added.notify_one();
    }

    /// The oldest ones, which stay until they are [`done`](Self::done).
    pub(super) fn oldest(&self) -> Vec<Entry> {
        self.lock().changes.iter().take(BATCH).cloned().collect()
    }

    /// Forgets those of a batch that are still there.
    pub(super) fn done(&self, batch: &[Entry]) {
        if let Some(last) = batch.last() {
            let mut waiting = self.lock();
            let number = last.number;
            waiting.changes.retain(|change| change.number > number);
        }
    }

    /// Waits until something was added. What was added before counts too, so there may be nothing.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
