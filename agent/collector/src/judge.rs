//! The task that owns the view: takes in changes, and judges.
//!
//! It judges when something changed, but not more often than [`DIRTY_PACE`], and at least every [`IDLE_PACE`], because
//! evidence ages. It rests at least as long as the last judgement took, so intake is never starved; and where all merely goes on
//! as before in a large mesh, so long that judging takes a twentieth of a processor at most. Deltas wait in the inbox until then, or until
//! somebody asks for what they say.

mod change;
mod log;
mod memory;
mod recent;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use diagnosis::{PairFilter, PairPage, Recorder, View, Watch, hold::Hold, standing::Standing};
use evidence::{Change as Changed, Facts, Moment, NodeName, PairPast, Verdict};
use proto::convert::PeerIdentity;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::sleep_until,
};
use tracing::info;

use crate::{
    access::Agent,
    clock,
    counters::Counters,
    inbox::{News, Report, Waiting},
    refusal::Refusal,
    state::{Admitted, State, StreamId, identity},
    verdicts::Judged,
    witness::Evidence,
};

pub(crate) use memory::Memory;
pub(crate) use recent::Recent;

/// What judges, and remembers what makes the next judgement quick: [`Watch::diagnose`], or another function in tests.
pub type Judge = fn(&mut Watch, &View, Moment) -> Verdict;

/// Shortest time from one judgement to the next.
const DIRTY_PACE: Duration = Duration::from_millis(100);
/// Longest time from one judgement to the next.
const IDLE_PACE: Duration = Duration::from_millis(500);
/// Where nobody says anything new: so many times as long as the last judgement took, but no longer than [`ROUTINE_MOST`].
const ROUTINE_REST: u32 = 20;
/// What only time brings about, such as an agent that has fallen silent, is told so much later at most.
const ROUTINE_MOST: Duration = Duration::from_secs(2);
/// A mesh with more nodes is large: to judge it all the time, or to tell all of it to everybody, would cost too much.
const SMALL: usize = 64;
/// Shortest time between two peer lists of a large mesh: each goes to every agent, so the cost is quadratic.
const LARGE_PEERS_PACE: Duration = Duration::from_secs(2);
/// Changes that wait for the owner; over it, the streams wait.
pub(crate) const CHANGES: usize = 64;

/// What the intake asks of the owner of the view.
#[derive(Debug)]
pub(crate) enum Change {
    Open {
        agent: Agent,
        facts: Facts,
        at: Moment,
        reply: oneshot::Sender<Result<Admitted, Refusal>>,
    },
    /// A reader asks for ladders.
    Pairs {
        filter: PairFilter,
        reply: oneshot::Sender<PairPage>,
    },
    Close {
        node: NodeName,
        id: StreamId,
        at: Moment,
        why: String,
    },
    /// Asks for what the next judgement is made of.
    Evidence { reply: oneshot::Sender<Evidence> },
}

/// The list that agents are told.
pub(crate) type Peers = Arc<Vec<PeerIdentity>>;

#[derive(Debug)]
pub(crate) struct Owner {
    state: State,
    judge: Judge,
    watch: Watch,
    changes: mpsc::Receiver<Change>,
    reports: Waiting,
    judged: watch::Sender<Arc<Judged>>,
    /// The one before. Who has just asked for a gate may hold it still, and giving back that of a mesh that has collapsed takes milliseconds:
    /// so it is given back here, a judgement later.
    before: Option<Arc<Judged>>,
    peers: watch::Sender<Peers>,
    peers_sent: Instant,
    next: Next,
    /// Who gets what the next judgement is made of.
    witnessed: Vec<oneshot::Sender<Evidence>>,
    recorder: Recorder,
    standing: Standing,
    memory: Memory,
    counters: Arc<Counters>,
}

/// When to judge next.
#[derive(Clone, Copy, Debug)]
struct Next {
    started: Instant,
    took: Duration,
    /// How many nodes there were.
    nodes: usize,
}

impl Next {
    fn due(self, news: News) -> Instant {
        // A small view takes long only where the machine is busy, and then nothing is gained by waiting.
        let rest = match self.nodes {
            0..=SMALL => Duration::ZERO,
            _ => (self.took * ROUTINE_REST).min(ROUTINE_MOST),
        };
        let pace = match news {
            News::Nothing => IDLE_PACE.max(rest),
            News::Routine => DIRTY_PACE.max(rest),
            News::Pressing => DIRTY_PACE,
        };
        self.started + pace.max(self.took * 2)
    }
}

impl Owner {
    /// Judges once, so that the first reader finds an answer.
    pub(crate) fn new(
        mut state: State,
        judge: Judge,
        (mut hold, mut standing): (Hold, Standing),
        (changes, reports): (mpsc::Receiver<Change>, Waiting),
        memory: Memory,
        counters: Arc<Counters>,
    ) -> Self {
        let now = Instant::now();
        let at = clock::now();
        let view = state.lend();
        let mut watch = Watch::default();
        let mut verdict = judge(&mut watch, &view, at);
        standing.apply(&mut verdict, at);
        hold.apply(&view.expectation.graph, &mut verdict.gates, at);
        state.give_back(view);
        counters.judgements.add();
        Self {
            state,
            judge,
            watch,
            changes,
            reports,
            judged: watch::Sender::new(Arc::new(Judged {
                verdict,
                at,
                revision: 1,
                hold,
            })),
            before: None,
            peers: watch::Sender::new(Peers::default()),
            peers_sent: now,
            next: Next {
                started: now,
                took: Duration::ZERO,
                nodes: 0,
            },
            witnessed: Vec::new(),
            recorder: Recorder::default(),
            standing,
            memory,
            counters,
        }
    }

    pub(crate) fn judgements(&self) -> watch::Receiver<Arc<Judged>> {
        self.judged.subscribe()
    }

    pub(crate) fn peers(&self) -> watch::Receiver<Peers> {
        self.peers.subscribe()
    }

    /// Runs until `stop` is ready. Dropping the owner ends all streams and all waits. It judges where it runs, for seconds if everything
    /// fails in a large mesh: so that is a thread of its own.
    pub(crate) async fn run(mut self, stop: impl Future<Output = ()>) {
        tokio::pin!(stop);
        loop {
            let due = self.next.due(self.state.news().max(self.reports.news()));
            tokio::select! {
                biased;
                () = &mut stop => return,
                () = sleep_until(due.into()) => {
                    self.take_reports();
                    self.judge();
                }
                change = self.changes.recv() => {
                    // What was said before counts before.
                    self.take_reports();
                    match change {
                        Some(Change::Pairs { filter, reply }) => self.tell_pairs(&filter, reply),
                        Some(change) => self.take(change),
                        None => return,
                    }
                }
                () = self.reports.noticed() => if self.reports.are_many() {
                    self.take_reports();
                },
            }
        }
    }

    fn take_reports(&mut self) {
        for Report {
            node,
            id,
            delta,
            at,
        } in self.reports.take()
        {
            if let Err(refusal) = self.state.apply(&node, id, delta, at) {
                self.state.end(&node, id, at, refusal);
            }
        }
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Open {
                agent,
                facts,
                at,
                reply,
            } => {
                let version = identity(&facts).map(|identity| identity.version.clone());
                let answer = self.state.open(&agent, facts, at);
                if answer.is_ok() {
                    self.memory.pinned(&agent);
                    let from = agent.from.map(tracing::field::display);
                    info!(node = %agent.node, from, version, "node reports");
                }
                // Whoever no longer waits for the answer learns it when the stream's end is reported.
                drop(reply.send(answer));
            }
            Change::Close { node, id, at, why } => {
                if self.state.close(&node, id, at) {
                    info!(%node, why, "node's report stream ended");
                }
            }
            Change::Evidence { reply } => self.witnessed.push(reply),
            // A page is made by `tell_pairs`, which may take a while.
            Change::Pairs { reply, .. } => drop(reply),
        }
    }

    /// Makes a page of ladders. Of a large mesh that takes as long as the part of a judgement that reads the view.
    fn tell_pairs(&mut self, filter: &PairFilter, reply: oneshot::Sender<PairPage>) {
        let view = self.state.lend();
        let page = self.watch.pairs(&view, filter, clock::now());
        self.state.give_back(view);
        // A reader who does not wait any more needs no page.
        drop(reply.send(page));
    }

    fn judge(&mut self) {
        let started = Instant::now();
        let task = Task {
            view: self.state.lend(),
            judge: self.judge,
            watch: mem::take(&mut self.watch),
            recorder: mem::take(&mut self.recorder),
            standing: mem::take(&mut self.standing),
            witnessed: !self.witnessed.is_empty(),
            last: Arc::clone(&self.judged.borrow()),
            at: clock::now(),
        };
        let nodes = task.view.nodes.len();
        let done = task.run();
        let at = done.judged.at;
        if let Some(view) = done.witnessed {
            for reply in self.witnessed.drain(..) {
                let view = view.clone();
                // Whoever no longer waits for it has gone away.
                drop(reply.send(Evidence { view, at }));
            }
        }
        self.state.give_back(done.view);
        self.watch = done.watch;
        self.recorder = done.recorder;
        self.standing = done.standing;
        log::write(&done.events);
        let changes = log::changes(done.events);
        let transitions = recent::transitions(at, changes, done.pairs);
        self.memory.changed(transitions, done.pasts);
        let judged = Arc::new(done.judged);
        self.memory.judged(&judged);
        self.before = Some(self.judged.send_replace(judged));
        self.counters.judgements.add();
        self.tell_peers(at);
        self.next = Next {
            started,
            took: started.elapsed(),
            nodes,
        };
    }

    fn tell_peers(&mut self, now: Moment) {
        let large = self.state.node_count() > SMALL;
        if large && self.peers_sent.elapsed() < LARGE_PEERS_PACE {
            return;
        }
        let peers = self.state.peers(now);
        let changed = self.peers.send_if_modified(|last| {
            let changed = **last != peers;
            if changed {
                *last = Arc::new(peers);
            }
            changed
        });
        if changed {
            self.peers_sent = Instant::now();
        }
    }
}

/// One judgement, apart from the owner.
struct Task {
    view: View,
    judge: Judge,
    watch: Watch,
    recorder: Recorder,
    standing: Standing,
    /// Whether somebody wants what is judged.
    witnessed: bool,
    last: Arc<Judged>,
    at: Moment,
}

struct Done {
    view: View,
    /// The view as it was judged, before the verdict became a part of its history.
    witnessed: Option<View>,
    watch: Watch,
    recorder: Recorder,
    standing: Standing,
    /// Pairs that have changed.
    pairs: Vec<Changed>,
    /// What is remembered of them.
    pasts: Vec<PairPast>,
    judged: Judged,
    events: Vec<log::Event>,
}

impl Task {
    fn run(mut self) -> Done {
        let mut verdict = (self.judge)(&mut self.watch, &self.view, self.at);
        self.standing.apply(&mut verdict, self.at);
        let mut hold = self.last.hold.clone();
        let graph = &self.view.expectation.graph;
        hold.apply(graph, &mut verdict.gates, self.at);
        let last = &self.last.verdict;
        let events = log::events(last, &verdict);
        let changed = !change::same_but_for_ages(last, &verdict);
        let witnessed = self.witnessed.then(|| self.view.clone());
        let pairs = self.recorder.observe(&mut self.view, &verdict, self.at);
        let history = &self.view.history;
        let past = |change: &Changed| match change {
            Changed::Pair { from, to, .. } => history.past_of(from, to),
            _ => None,
        };
        let pasts = pairs.iter().filter_map(past).collect();
        Done {
            view: self.view,
            witnessed,
            watch: self.watch,
            recorder: self.recorder,
            standing: self.standing,
            pairs,
            pasts,
            judged: Judged {
                verdict,
                at: self.at,
                revision: self.last.revision + u64::from(changed),
                hold,
            },
            events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_judgement_leaves_as_much_time_for_the_intake() {
        let started = Instant::now();
        let nodes = SMALL + 1;
        let next = |took| Next {
            started,
            took,
            nodes,
        };
        let after = |took, news| next(took).due(news) - started;
        let quick = Duration::from_millis(1);
        assert_eq!(after(quick, News::Pressing), DIRTY_PACE);
        assert_eq!(after(quick, News::Routine), DIRTY_PACE);
        assert_eq!(after(quick, News::Nothing), IDLE_PACE);
        let slow = Duration::from_secs(1);
        for news in [News::Pressing, News::Routine, News::Nothing] {
            assert_eq!(after(slow, news), slow * 2);
        }
    }

    #[test]
    fn what_goes_on_as_before_in_a_large_mesh_is_judged_in_a_twentieth_of_the_time() {
        let started = Instant::now();
        let took = Duration::from_millis(80);
        let next = |nodes| Next {
            started,
            took,
            nodes,
        };
        let after = |nodes, news| next(nodes).due(news) - started;
        let large = SMALL + 1;
        assert_eq!(after(large, News::Pressing), took * 2);
        assert_eq!(after(large, News::Routine), took * 20);
        assert_eq!(after(large, News::Nothing), took * 20);
        assert_eq!(after(SMALL, News::Routine), took * 2);
        assert_eq!(after(SMALL, News::Nothing), IDLE_PACE);
    }
}
