//! Agents by the hundred: one connection each, over TLS, with the certificate of its node.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, ensure};
use evidence::{Delta, Fact, Facts, Identity, Moment};
use probe_io::clock;
use prost::{Message as _, bytes::Bytes};
use proto::{
    convert::{delta_to_wire, snapshot_to_wire},
    limits::{HEARTBEAT, MESSAGE_BYTES},
    transport::{Mark, dial},
    trust::MeshKey,
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming, client::Grpc, codegen::http::uri::PathAndQuery};

use super::{
    bytes::{Acknowledged, AsBytes, ReportBody},
    facts::{Mesh, name, spacing},
    process::ADDRESS,
};

/// Messages handed to HTTP/2 and not yet taken, as in the agent.
const OUTGOING: usize = 2;
/// Agents that connect at a time.
const CONNECTING: usize = 16;
/// How long all of them may take to be taken in, and to be heard of again.
const BOUND: Duration = Duration::from_mins(5);
/// What all agents are doing.
#[derive(Clone, Debug)]
enum Order {
    /// Say what has changed, at each tick.
    Report,
    /// Say that they are alive.
    Quiet,
    /// Say, once, that nothing works; then that they are alive. One body for each node.
    Collapse(Arc<Vec<ReportBody>>),
}

/// What was sent so far.
#[derive(Debug, Default)]
struct Counts {
    messages: AtomicU64,
    bytes: AtomicU64,
    facts: AtomicU64,
}

/// A reading of [`Counts`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) messages: f64,
    pub(crate) bytes: f64,
    pub(crate) facts: f64,
}

/// Agents that report until this value is dropped.
#[derive(Debug)]
pub(crate) struct Agents {
    mesh: Mesh,
    nodes: u16,
    orders: watch::Sender<Order>,
    counts: Arc<Counts>,
    tasks: JoinSet<anyhow::Result<()>>,
    /// A message of an agent was acknowledged: how long that took.
    delays: mpsc::UnboundedReceiver<Duration>,
    /// An agent's word of the collapse was taken in.
    collapsed: mpsc::UnboundedReceiver<u16>,
}

/// What an agent shares with the others.
#[derive(Clone, Debug)]
struct Shared {
    mesh: Mesh,
    every: u32,
    /// From one tick to the next.
    pace: Duration,
    counts: Arc<Counts>,
    orders: watch::Receiver<Order>,
    delays: mpsc::UnboundedSender<Duration>,
    collapsed: mpsc::UnboundedSender<u16>,
}

impl Agents {
    /// Connects so many agents, and waits until the snapshot of each was taken in. They report at each tick that is a multiple of
    /// `every`.
    pub(crate) async fn start(nodes: u16, every: u32) -> anyhow::Result<Self> {
        let mesh = Mesh::new(nodes, clock::moment());
        let orders = watch::Sender::new(Order::Report);
        let counts = Arc::new(Counts::default());
        let (delayed, delays) = mpsc::unbounded_channel();
        let (taken, collapsed) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        let (ready, mut started) = mpsc::channel(CONNECTING);
        let turns = Arc::new(Semaphore::new(CONNECTING));
        for node in 0..nodes {
            let shared = Shared {
                mesh,
                every,
                pace: spacing(nodes),
                counts: Arc::clone(&counts),
                orders: orders.subscribe(),
                delays: delayed.clone(),
                collapsed: taken.clone(),
            };
            let (ready, turns) = (ready.clone(), Arc::clone(&turns));
            tasks.spawn(async move {
                let turn = turns.acquire_owned().await?;
                let facts = shared.mesh.snapshot(node, clock::moment());
                let mut agent = Agent::connect(node, facts, shared).await?;
                drop(turn);
                // Whoever waits for all of them may have given up.
                ready.send(()).await.ok();
                // As on machines of their own, their ticks do not fall together.
                let share = spacing(nodes) * u32::from(node) / u32::from(nodes);
                sleep(share).await;
                agent.report().await
            });
        }
        drop(ready);
        let all = async {
            for _ in 0..nodes {
                started.recv().await.context("an agent has ended")?;
            }
            anyhow::Ok(())
        };
        let outcome = timeout(BOUND, all).await.context("agents connect")?;
        let mut agents = Self {
            mesh,
            nodes,
            orders,
            counts,
            tasks,
            delays,
            collapsed,
        };
        // Why an agent has ended says more than that it has.
        agents.check()?;
        outcome?;
        Ok(agents)
    }

    /// Fails when an agent has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(ended) => ended?.and_then(|()| anyhow::bail!("an agent has ended")),
        }
    }

    pub(crate) fn sent(&self) -> Sent {
        // Over four thousand million there is no figure.
        let of = |count: &AtomicU64| {
            let count = u32::try_from(count.load(Ordering::Relaxed));
            count.map_or(f64::NAN, f64::from)
        };
        Sent {
            messages: of(&self.counts.messages),
            bytes: of(&self.counts.bytes),
            facts: of(&self.counts.facts),
        }
    }

    /// How long the acknowledgements took that have come since this was asked last, in milliseconds.
    pub(crate) fn delays(&mut self) -> Vec<f64> {
        let mut all = Vec::new();
        while let Ok(delay) = self.delays.try_recv() {
            all.push(delay.as_secs_f64() * 1000.0);
        }
        all
    }

    /// All agents fall silent but for signs of life, for as long as it takes until every pair can be called lost.
    pub(crate) async fn fall_silent(&mut self) -> Vec<ReportBody> {
        self.orders.send_replace(Order::Quiet);
        let begun = Instant::now();
        let at = clock::moment().plus(SILENCE);
        let mut bodies = Vec::new();
        for node in 0..self.nodes {
            let delta = Delta {
                upserts: self.mesh.collapse(node, at),
                ..Delta::default()
            };
            bodies.push(ReportBody::of(delta_to_wire(0, Moment::ZERO, &delta)));
            // The other agents are on this thread.
            tokio::task::yield_now().await;
        }
        sleep(SILENCE.saturating_sub(begun.elapsed())).await;
        bodies
    }

    /// Sends the collapse, and waits until the last agent's word was taken in; says how long that took.
    pub(crate) async fn collapse(&mut self, bodies: Vec<ReportBody>) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.orders.send_replace(Order::Collapse(Arc::new(bodies)));
        let all = async {
            for _ in 0..self.nodes {
                self.collapsed.recv().await.context("all agents ended")?;
            }
            anyhow::Ok(())
        };
        timeout(BOUND, all)
            .await
            .context("the collapse is told")??;
        Ok(begun.elapsed())
    }
}

/// Connects as one agent more, waits until its snapshot was taken in, and goes away. It does not know its key yet: so
/// it appears in no list of peers, and the others are not told of it.
pub(crate) async fn come_anew(node: u16) -> anyhow::Result<()> {
    let (delays, _) = mpsc::unbounded_channel();
    let (collapsed, _) = mpsc::unbounded_channel();
    let shared = Shared {
        mesh: Mesh::new(node + 1, clock::moment()),
        every: 1,
        pace: spacing(1),
        counts: Arc::default(),
        orders: watch::Sender::new(Order::Report).subscribe(),
        delays,
        collapsed,
    };
    let facts = shared.mesh.snapshot(node, clock::moment());
    let identities = facts.iter().filter_map(|fact| match fact {
        Fact::Identity(identity) => Some(Fact::Identity(Identity {
            public_key: None,
            ..identity.clone()
        })),
        _ => None,
    });
    let facts = identities.collect();
    Agent::connect(node, facts, shared).await.map(drop)
}

/// From the last echo that was told to the collapse: longer than the eight seconds that every pair is said to be silent.
const SILENCE: Duration = Duration::from_secs(9);

/// What was said and is not acknowledged yet, with when it was said. HTTP/2 bounds how much there can be.
type Open = Arc<Mutex<VecDeque<(u64, Instant)>>>;

struct Agent {
    node: u16,
    shared: Shared,
    outgoing: mpsc::Sender<Bytes>,
    acknowledged: watch::Receiver<u64>,
    open: Open,
    sequence: u64,
    last: Moment,
    /// What it has said.
    facts: Facts,
}

impl Agent {
    async fn connect(node: u16, facts: Facts, shared: Shared) -> anyhow::Result<Self> {
        let key = MeshKey::from_base64(super::process::MESH_KEY, "the key of the bench")?;
        let tls = Arc::new(key.agent_config(&name(node), &node.to_be_bytes())?);
        let channel = dial(ADDRESS, Mark::None, tls).await?;
        let mut client = Grpc::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        client.ready().await?;
        let (outgoing, requests) = mpsc::channel(OUTGOING);
        let now = clock::moment();
        outgoing
            .send(snapshot_to_wire(1, now, &facts).encode_to_vec().into())
            .await?;
        let path = PathAndQuery::from_static("/mesh.v1.Report/Stream");
        let responses = client
            .streaming(Request::new(ReceiverStream::new(requests)), path, AsBytes)
            .await?
            .into_inner();
        let (told, mut acknowledged) = watch::channel(0);
        let open = Open::default();
        let (waiting, delays) = (Arc::clone(&open), shared.delays.clone());
        tokio::spawn(listen(responses, told, waiting, delays));
        timeout(BOUND, acknowledged.wait_for(|sequence| *sequence >= 1))
            .await
            .context("a snapshot is taken in")??;
        Ok(Self {
            node,
            shared,
            outgoing,
            acknowledged,
            open,
            sequence: 1,
            last: now,
            facts,
        })
    }

    async fn report(&mut self) -> anyhow::Result<()> {
        let pace = self.shared.pace;
        let mut ticks = interval_at(Instant::now() + pace, pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut lived, mut ticked) = (Instant::now(), 0);
        let mut told = false;
        loop {
            let order = tokio::select! {
                _ = ticks.tick() => self.shared.orders.borrow().clone(),
                changed = self.shared.orders.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    match &*self.shared.orders.borrow() {
                        collapse @ Order::Collapse(_) => collapse.clone(),
                        Order::Report | Order::Quiet => continue,
                    }
                }
            };
            match order {
                Order::Report => {
                    ticked += 1;
                    if ticked % self.shared.every == 0 {
                        self.tell_changes().await?;
                    }
                }
                Order::Collapse(bodies) if !told => {
                    told = true;
                    let body = bodies.get(usize::from(self.node)).cloned();
                    drop(bodies);
                    self.say(&body.unwrap_or_default(), 0).await?;
                    self.heard().await?;
                    // Whoever waits for all of them may have given up.
                    self.shared.collapsed.send(self.node).ok();
                }
                Order::Quiet | Order::Collapse(_) => {
                    // At the tick that is nearest: a second that is just not over yet would make it two.
                    if lived.elapsed() + pace / 2 >= HEARTBEAT {
                        lived = Instant::now();
                        let nothing = delta_to_wire(0, Moment::ZERO, &Delta::default());
                        self.say(&ReportBody::of(nothing), 0).await?;
                    }
                }
            }
        }
    }

    async fn tell_changes(&mut self) -> anyhow::Result<()> {
        let now = clock::moment();
        let mut newest = self.facts.clone();
        for fact in self.shared.mesh.changes(self.node, self.last, now) {
            newest.insert(fact);
        }
        let delta = newest.difference_from(&self.facts);
        ensure!(delta.routine, "an agent of a mesh that is well has news");
        // As real ones do, of which the collector has said that it takes it. The bare service gets the same bytes.
        let delta = delta.by_moves(&self.facts);
        self.facts = newest;
        self.last = now;
        let facts = u64::try_from(delta.len()).unwrap_or(u64::MAX);
        let body = ReportBody::of(delta_to_wire(0, Moment::ZERO, &delta));
        let open = Arc::clone(&self.open);
        let next = (self.sequence + 1, Instant::now());
        if let Ok(mut open) = open.lock() {
            open.push_back(next);
        }
        // Like a real one, it does not wait for the acknowledgement.
        self.say(&body, facts).await
    }

    async fn say(&mut self, body: &ReportBody, facts: u64) -> anyhow::Result<()> {
        self.sequence += 1;
        let message = body.with(self.sequence, clock::moment().as_millis());
        let counts = &self.shared.counts;
        counts.messages.fetch_add(1, Ordering::Relaxed);
        counts.facts.fetch_add(facts, Ordering::Relaxed);
        let bytes = u64::try_from(message.len()).unwrap_or(u64::MAX);
        counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        let sent = timeout(BOUND, self.outgoing.send(message)).await;
        ensure!(matches!(sent, Ok(Ok(()))), "the stream takes no more");
        Ok(())
    }

    /// Waits until what was said last is acknowledged.
    async fn heard(&mut self) -> anyhow::Result<()> {
        let wanted = self.sequence;
        let heard = self.acknowledged.wait_for(|sequence| *sequence >= wanted);
        timeout(BOUND, heard)
            .await
            .context("a report is taken in")?
            .context("the stream has ended")?;
        Ok(())
    }
}

async fn listen(
    mut responses: Streaming<Bytes>,
    told: watch::Sender<u64>,
    open: Open,
    delays: mpsc::UnboundedSender<Duration>,
) {
    // The end of the stream ends whoever waits for an acknowledgement.
    while let Ok(Some(bytes)) = responses.message().await {
        let Ok(Acknowledged { sequence }) = Acknowledged::decode(bytes) else {
            return;
        };
        if let Ok(mut open) = open.lock() {
            while let Some((number, said)) = open.front()
                && *number <= sequence
            {
                // Nobody may want to know.
                delays.send(said.elapsed()).ok();
                open.pop_front();
            }
        }
        if told.send(sequence).is_err() {
            return;
        }
    }
}
