//! The thread that writes. Whoever judges leaves what is to be kept, and never waits for the disk.

use std::{
    collections::BTreeMap,
    io, mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use evidence::{NodeName, NodeRef, PairPast, Transition, limits};
use tracing::{error, info, warn};

use super::{
    files::Journal,
    kept::Kept,
    last,
    record::{Changed, KeyHash, Pinned, Record, line},
};
use crate::{clock, counters::Counters, verdicts::Judged};

/// Transitions that wait for the disk; what comes on top is not kept, and counted.
const WAITING: usize = 1024;
/// Bytes that are appended until the file is written anew, without what has gone meanwhile.
const SLACK: usize = 2 * 1024 * 1024;
/// Least time between two waits for the disk: etcd may share it, and suffers from those of others.
const SYNC: Duration = Duration::from_secs(2);
/// Time until a disk that failed is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// Time that the disk gets at a stop.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Where the judge leaves what is to be kept. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    desk: Arc<Desk>,
    counters: Arc<Counters>,
    run: u64,
}

#[derive(Debug, Default)]
struct Desk {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

/// What waits for the disk.
#[derive(Debug, Default)]
struct Waiting {
    entries: Vec<Changed>,
    pins: BTreeMap<(NodeName, String), [u8; 32]>,
    pasts: BTreeMap<(NodeRef, NodeRef), PairPast>,
    /// The newest verdict. It waits for its time, and nobody is woken for it.
    last: Option<(Arc<Judged>, i64)>,
    /// A node reported in one since the writer looked last.
    witnessed: bool,
    /// Entries that found no place since the writer looked last.
    dropped: usize,
    closing: bool,
    /// The writer has ended.
    closed: bool,
}

impl Writer {
    /// Starts the thread; `kept` is in its run, and not written yet.
    pub(super) fn start(
        journal: impl Journal,
        kept: Kept,
        run: u64,
        counters: Arc<Counters>,
    ) -> Self {
        let desk = Arc::new(Desk::default());
        let task = Task {
            journal,
            kept,
            run,
            grown: 0,
            failing: Some(Instant::now()),
            told: false,
            last: None,
            witnessed: false,
            last_due: Instant::now() + last::PACE,
            sync_due: None,
            counters: Arc::clone(&counters),
        };
        let shared = Arc::clone(&desk);
        let spawned = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || task.work(&shared));
        if let Err(error) = spawned {
            counters.store_failures.add();
            error!(%error, "failed to start the thread that keeps the history; it is kept in memory only");
            desk.lock().closed = true;
        }
        Self {
            desk,
            counters,
            run,
        }
    }

    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Keeps what one judgement changed.
    pub(crate) fn changed(&self, transitions: &[Transition]) {
        if transitions.is_empty() {
            return;
        }
        let wall_ms = clock::wall_ms();
        let mut waiting = self.desk.lock();
        if waiting.closed {
            return;
        }
        let room = WAITING.saturating_sub(waiting.entries.len());
        let new = transitions.iter().take(room).map(|transition| Changed {
            run: self.run,
            at: transition.at,
            wall_ms,
            change: transition.change.clone(),
        });
        waiting.entries.extend(new);
        let dropped = transitions.len().saturating_sub(room);
        waiting.dropped += dropped;
        drop(waiting);
        self.counters.store_dropped.add_all(dropped);
        self.desk.changed.notify_all();
    }

    /// Keeps what is remembered of pairs; of each the newest.
    pub(crate) fn pasts(&self, pasts: impl IntoIterator<Item = PairPast>) {
        let mut waiting = self.desk.lock();
        for past in pasts {
            if !waiting.closed && waiting.pasts.len() < limits::PAIR_PASTS {
                let pair = (past.from.clone(), past.to.clone());
                waiting.pasts.insert(pair, past);
            }
        }
        drop(waiting);
        self.desk.changed.notify_all();
    }

    /// Keeps the key with which a node reports. There are no more than the view has nodes.
    pub(crate) fn pinned(&self, node: &NodeName, mesh: &str, key: [u8; 32]) {
        let mut waiting = self.desk.lock();
        if !waiting.closed {
            let pin = (node.clone(), mesh.to_owned());
            waiting.pins.entry(pin).or_insert(key);
        }
        drop(waiting);
        self.desk.changed.notify_all();
    }

    /// Keeps a verdict as the last one, until there is a newer.
    pub(crate) fn judged(&self, judged: &Arc<Judged>) {
        let witnessed = judged.verdict.nodes.iter().any(|node| node.reporting);
        let mut waiting = self.desk.lock();
        waiting.witnessed |= witnessed;
        if !waiting.closed {
            waiting.last = Some((Arc::clone(judged), clock::wall_ms()));
        }
    }

    /// Has everything written that waits, within a bound.
    pub(crate) fn close(&self) {
        let mut waiting = self.desk.lock();
        waiting.closing = true;
        self.desk.changed.notify_all();
        let open = |waiting: &mut Waiting| !waiting.closed;
        let ended = self
            .desk
            .changed
            .wait_timeout_while(waiting, LAST_WORDS, open)
            .unwrap_or_else(PoisonError::into_inner);
        if ended.1.timed_out() {
            self.counters.store_failures.add();
            warn!(
                seconds = LAST_WORDS.as_secs(),
                "the disk did not take the last of the history in time"
            );
        }
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What waits, as soon as something does or `until` is over. Says whether it is the last.
    fn next(&self, until: Instant) -> (Waiting, bool) {
        let mut waiting = self.lock();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if waiting.closing || waiting.has_some() || left.is_zero() {
                let closing = waiting.closing;
                let taken = mem::take(&mut *waiting);
                waiting.closing = closing;
                return (taken, closing);
            }
            let woken = self.changed.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Waiting {
    fn has_some(&self) -> bool {
        !(self.entries.is_empty() && self.pins.is_empty() && self.pasts.is_empty())
    }

    fn records(self, run: u64) -> impl Iterator<Item = Record> {
        // Keys first: they are what trust rests on.
        let pins = self.pins.into_iter().map(move |((node, mesh), key)| {
            Record::Pinned(Pinned {
                node,
                mesh,
                key: KeyHash(key),
                run,
            })
        });
        let pasts = self.pasts.into_values();
        let pasts = pasts.map(move |past| Record::Past { run, past });
        let entries = self.entries.into_iter().map(Record::Changed);
        pins.chain(entries).chain(pasts)
    }
}

/// The thread's own.
struct Task<J> {
    journal: J,
    kept: Kept,
    run: u64,
    /// Bytes that were appended since the file was written anew.
    grown: usize,
    /// The file does not say all that is kept; when the disk is tried again.
    failing: Option<Instant>,
    /// That it fails was told.
    told: bool,
    /// The newest verdict, while it is not on the disk.
    last: Option<(Arc<Judged>, i64)>,
    /// Somebody has reported in this run: before, a verdict says nothing, and would replace one that did.
    witnessed: bool,
    /// When it may be written.
    last_due: Instant,
    /// When what was appended is to be on the disk.
    sync_due: Option<Instant>,
    counters: Arc<Counters>,
}

impl<J: Journal> Task<J> {
    fn work(mut self, desk: &Desk) {
        // A run is known before anything is kept of it.
        self.write("");
        loop {
            let dues = [Some(self.last_due), self.failing, self.sync_due];
            let until = dues.into_iter().flatten().min().unwrap_or(self.last_due);
            let (mut waiting, last) = desk.next(until);
            self.witnessed |= waiting.witnessed;
            let newest = waiting.last.take().filter(|_| self.witnessed);
            self.last = newest.or_else(|| self.last.take());
            let text = self.keep(waiting);
            let due = self.failing.is_none_or(|retry| retry <= Instant::now());
            if last || (due && (self.failing.is_some() || !text.is_empty())) {
                self.write(&text);
            }
            let now = Instant::now();
            if self.sync_due.is_some_and(|due| last || due <= now) {
                self.sync();
            }
            if last || self.last_due <= now {
                self.write_last();
            }
            if last {
                break;
            }
        }
        // First the lock on the files, for whoever waits for the end to open them again.
        drop(self);
        desk.lock().closed = true;
        desk.changed.notify_all();
    }

    /// Takes in what waited; gives the lines of what is new.
    fn keep(&mut self, waiting: Waiting) -> String {
        if waiting.dropped > 0 {
            let entries = waiting.dropped;
            warn!(
                entries,
                "the disk is too slow: part of the history is kept in memory only"
            );
        }
        let mut text = String::new();
        for record in waiting.records(self.run) {
            let Some(line) = line(&record) else {
                self.counters.store_dropped.add();
                continue;
            };
            if self.kept.take(record) {
                text.push_str(&line);
            }
        }
        text
    }

    fn write_last(&mut self) {
        self.last_due = Instant::now() + last::PACE;
        let Some((judged, wall_ms)) = self.last.take() else {
            return;
        };
        let text = last::text(&judged.verdict, self.run, judged.at, wall_ms);
        // Why a disk fails is told with the history.
        if text.is_none_or(|text| self.journal.last(&text).is_err()) {
            self.counters.store_failures.add();
        }
    }

    /// Appends; or writes all anew, if too much was appended or the last time failed: it may have left half a line.
    fn write(&mut self, text: &str) {
        let full = self.grown.saturating_add(text.len()) > SLACK;
        let written = if self.failing.is_some() || full {
            self.grown = 0;
            self.sync_due = None;
            self.journal.replace(&self.kept.text())
        } else {
            self.grown += text.len();
            self.sync_due = self.sync_due.or_else(|| Some(Instant::now() + SYNC));
            self.journal.append(text)
        };
        self.tell(written);
    }

    fn sync(&mut self) {
        self.sync_due = None;
        let synced = self.journal.sync();
        self.tell(synced);
    }

    fn tell(&mut self, written: io::Result<()>) {
        self.failing = written.is_err().then(|| Instant::now() + RETRY);
        match written {
            Ok(()) if mem::take(&mut self.told) => info!("the history is on the disk again"),
            Ok(()) => {}
            Err(error) => {
                self.counters.store_failures.add();
                if !mem::replace(&mut self.told, true) {
                    error!(
                        %error,
                        retry_seconds = RETRY.as_secs(),
                        "failed to write the history; it is kept in memory until that works"
                    );
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
