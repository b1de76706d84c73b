//! A collector, fake agents, and a judge whose verdict is a picture of the view.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use diagnosis::{
    Expectation, NodeView, Stream, View, Watch,
    graph::{Graph, Level},
    levels::Check,
};
use evidence::{
    Delta, Fact, FactKey, Facts, Gate, Identity, Ladder, Moment, NodeName, NodeRef, NodeState,
    Peer, Phase, PublicKey, Tally, Verdict,
};
use mesh_collector::{
    Config, Counters, Http, Judge, Open, Otlp, Proof, RunError, StoreConfig, run,
};
use proto::{
    convert::{delta_to_wire, snapshot_to_wire, verdict_from_wire},
    limits::MESSAGE_BYTES,
    transport::{Mark, dial, listen},
    trust::MeshKey,
    wire::{
        GetRequest, ReportRequest, ReportResponse, gate_client::GateClient,
        mesh_client::MeshClient, report_client::ReportClient,
    },
};
use rustls::ClientConfig;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming, transport::Channel};
use zeroize::Zeroizing;

/// Longer than anything here takes, shorter than the patience of whoever runs the tests.
const BOUND: Duration = Duration::from_secs(20);
/// The level of [`picture`] that is ready when enough nodes report.
pub(crate) const MESH: &str = "mesh";
/// The level above it.
pub(crate) const API: &str = "kubernetes-api";

/// Fails the test when `future` takes too long.
pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    timeout(BOUND, future).await.expect("the bound of a test")
}

pub(crate) fn mesh_key(byte: u8) -> MeshKey {
    MeshKey::from_bytes(Zeroizing::new([byte; 32]))
}

pub(crate) fn name(text: &str) -> NodeName {
    NodeName::parse(text).unwrap()
}

pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    /// Where HTTP is served: in plain, in plain with details, over TLS.
    pub(crate) bare: SocketAddr,
    pub(crate) detailed: SocketAddr,
    pub(crate) https: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), RunError>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::judging_by(picture)
    }

    pub(crate) fn judging_by(judge: Judge) -> Self {
        Self::with(judge, Proof::of(mesh_key(1)), |_| {})
    }

    /// One with a store.
    pub(crate) fn keeping(folder: &Path) -> Self {
        let store = StoreConfig {
            folder: folder.to_owned(),
            forget: Vec::new(),
        };
        Self::with(picture, Proof::of(mesh_key(1)), |config| {
            config.store = Some(store);
        })
    }

    /// One that pushes to a receiver of OpenTelemetry.
    pub(crate) fn exporting(otlp: Otlp) -> Self {
        Self::with(picture, Proof::of(mesh_key(1)), |config| {
            config.otlp = Some(otlp);
        })
    }

    /// One with the certificates of an operator's own authority.
    pub(crate) fn proving(proof: Proof) -> Self {
        Self::with(picture, proof, |_| {})
    }

    /// One that serves the holders of other mesh keys, too.
    pub(crate) fn also_accepting(keys: Vec<MeshKey>) -> Self {
        Self::with(picture, Proof::of_all(mesh_key(1), keys), |_| {})
    }

    fn with(judge: Judge, proof: Proof, change: impl FnOnce(&mut Config)) -> Self {
        let (listener, address) = listener();
        let levels = vec![
            Level::new(MESH, &[], Check::Mesh),
            Level::new(API, &[MESH], Check::None),
        ];
        let expectation = Expectation {
            graph: Graph::new(levels).unwrap(),
            ..Expectation::default()
        };
        let mut config = Config::proving(proof, expectation);
        config.judge = judge;
        change(&mut config);
        config.patience = Duration::ZERO;
        config.confirm = Duration::ZERO;
        let [bare, detailed, https] = [Open::Gates, Open::Everything, Open::Tls].map(|open| {
            let (listener, address) = self::listener();
            config.http.push(Http { listener, open });
            address
        });
        let counters = Arc::clone(&config.counters);
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(run(listener, config, async move {
            drop(stopped.await);
        }));
        Self {
            address,
            bare,
            detailed,
            https,
            counters,
            stop,
            task,
        }
    }

    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.stop.send(()).unwrap();
        soon(self.task).await.unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(self) -> Result<(), RunError> {
        soon(self.task).await.unwrap()
    }

    pub(crate) async fn channel(&self, tls: ClientConfig) -> Channel {
        let target = self.address.to_string();
        soon(Box::pin(dial(&target, Mark::None, Arc::new(tls))))
            .await
            .unwrap()
    }

    pub(crate) async fn reader(&self) -> Channel {
        self.channel(mesh_key(1).reader_config().unwrap()).await
    }

    pub(crate) async fn gates(&self) -> GateClient<Channel> {
        GateClient::new(self.reader().await)
    }

    pub(crate) async fn mesh(&self) -> MeshClient<Channel> {
        MeshClient::new(self.reader().await).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// An agent that has not said anything yet. `machine` makes its certificate key.
    pub(crate) async fn agent(&self, node: &str, machine: &[u8]) -> Agent {
        let tls = mesh_key(1).agent_config(&name(node), machine).unwrap();
        Agent::on(self.channel(tls).await).await.unwrap()
    }

    /// An agent whose snapshot was taken in.
    pub(crate) async fn reporting(&self, node: &str) -> Agent {
        let mut agent = self.agent(node, b"machine").await;
        agent.snapshot([identity(node, "boot-a")]).await;
        agent.response().await.unwrap();
        agent
    }

    /// The first verdict for which `condition` holds.
    pub(crate) async fn until(&self, condition: impl Fn(&Verdict) -> bool) -> Verdict {
        self.until_on(self.reader().await, condition).await
    }

    /// The same for a reader that is connected already.
    pub(crate) async fn until_on(
        &self,
        reader: Channel,
        condition: impl Fn(&Verdict) -> bool,
    ) -> Verdict {
        let mut mesh = MeshClient::new(reader).max_decoding_message_size(MESSAGE_BYTES);
        let mut verdicts = soon(mesh.watch(GetRequest {})).await.unwrap().into_inner();
        loop {
            let verdict = soon(verdicts.message()).await.unwrap().unwrap();
            let verdict = verdict_from_wire(verdict).unwrap();
            if condition(&verdict) {
                return verdict;
            }
        }
    }
}

fn listener() -> (TcpListener, SocketAddr) {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An agent that says what the test tells it to.
pub(crate) struct Agent {
    requests: mpsc::Sender<ReportRequest>,
    responses: Streaming<ReportResponse>,
    sequence: u64,
    /// The present on its own timeline, far from the collector's.
    pub(crate) now: Moment,
}

impl Agent {
    pub(crate) async fn on(channel: Channel) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::channel(16);
        let mut client = ReportClient::new(channel).max_encoding_message_size(2 * MESSAGE_BYTES);
        let responses = soon(client.stream(ReceiverStream::new(receiver)))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            sequence: 0,
            now: Moment::from_millis(-5_000_000_000),
        })
    }

    pub(crate) async fn raw(&mut self, request: ReportRequest) {
        self.requests.send(request).await.unwrap();
    }

    pub(crate) async fn snapshot(&mut self, facts: impl IntoIterator<Item = Fact>) {
        self.sequence += 1;
        let facts: Facts = facts.into_iter().collect();
        self.raw(snapshot_to_wire(self.sequence, self.now, &facts))
            .await;
    }

    pub(crate) async fn delta(&mut self, upserts: Vec<Fact>, removed: Vec<FactKey>) {
        self.sequence += 1;
        let delta = Delta {
            upserts,
            removed,
            ..Delta::default()
        };
        self.raw(delta_to_wire(self.sequence, self.now, &delta))
            .await;
    }

    /// The same to a collector that may be gone.
    pub(crate) async fn try_delta(&mut self, upserts: Vec<Fact>) -> Result<(), ()> {
        self.sequence += 1;
        let delta = Delta {
            upserts,
            ..Delta::default()
        };
        let message = delta_to_wire(self.sequence, self.now, &delta);
        soon(self.requests.send(message)).await.map_err(drop)
    }

    pub(crate) async fn response(&mut self) -> Result<ReportResponse, Status> {
        soon(self.responses.message())
            .await
            .map(|response| response.expect("a response before the end of the stream"))
    }

    /// Why the collector ended the stream.
    pub(crate) async fn refusal(&mut self) -> Status {
        loop {
            match soon(self.responses.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Status::new(Code::Ok, "ended without a reason"),
                Err(status) => return status,
            }
        }
    }
}

pub(crate) fn key(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

pub(crate) fn identity(node: &str, boot_id: &str) -> Fact {
    Fact::Identity(Identity {
        name: name(node),
        public_key: Some(key(node.bytes().fold(0, u8::wrapping_add))),
        kubespan_address: None,
        addresses: Vec::new(),
        boot_id: boot_id.to_owned(),
        instance: 1,
        version: boot_id.to_owned(),
    })
}

pub(crate) fn peer(byte: u8, last_handshake: Moment) -> Fact {
    let peer = Peer {
        endpoint: None,
        allowed_ips: Vec::new(),
        last_handshake: Some(last_handshake),
        rx_bytes: 0,
        tx_bytes: 0,
        rx_moved: None,
        since: Moment::ZERO,
        keepalive: None,
        endpoint_changes: Vec::new(),
    };
    Fact::Peer(key(byte), peer)
}

/// Repeats the view: a ladder per peer fact; a conflict as a gap; the boot id where the version belongs.
pub(crate) fn picture(_: &mut Watch, view: &View, now: Moment) -> Verdict {
    let open = view
        .nodes
        .values()
        .filter(|node| node.stream == Stream::Open)
        .count();
    let enough = open >= view.expectation.min_nodes;
    let phase = if enough {
        Phase::Ready
    } else {
        Phase::NotReady
    };
    let terminal = view.nodes.values().any(|node| node.conflict.is_some());
    let reasons = vec![format!("{open} nodes report")];
    let pairs: Vec<Ladder> = view
        .nodes
        .iter()
        .flat_map(|(name, node)| ladders(name, node, now))
        .collect();
    Verdict {
        nodes: view
            .nodes
            .iter()
            .map(|(name, node)| node_state(name, node, now))
            .collect(),
        tally: Tally::of(&pairs),
        pairs,
        gates: vec![
            Gate {
                level: MESH.to_owned(),
                phase,
                may_start: Phase::Ready,
                depends_on: Vec::new(),
                reasons: reasons.clone(),
                terminal,
            },
            Gate {
                level: API.to_owned(),
                phase: Phase::Unknown,
                may_start: phase,
                depends_on: vec![MESH.to_owned()],
                reasons,
                terminal: false,
            },
        ],
        ..Verdict::default()
    }
}

fn node_state(name: &NodeName, node: &NodeView, now: Moment) -> NodeState {
    let version = match node.facts.get(&FactKey::Identity) {
        Some(Fact::Identity(identity)) => Some(identity.boot_id.clone()),
        _ => None,
    };
    let gaps = node.conflict.iter().map(|conflict| conflict.what.clone());
    NodeState {
        node: NodeRef::named(name),
        reporting: node.stream == Stream::Open,
        report_age_ms: u64::try_from(now.since(node.last_report).as_millis()).ok(),
        version,
        kubespan_address: None,
        site: None,
        gaps: gaps.collect(),
    }
}

fn ladders(name: &NodeName, node: &NodeView, now: Moment) -> Vec<Ladder> {
    let one = |fact: &Fact| match fact {
        Fact::Peer(key, peer) => Some(Ladder {
            from: NodeRef::named(name),
            to: NodeRef::Unnamed { key: *key },
            rungs: Vec::new(),
            highest: None,
            broken_at: None,
            rtt_us: None,
            loss_percent: None,
            handshake_age_ms: peer
                .last_handshake
                .and_then(|at| u64::try_from(now.since(at).as_millis()).ok()),
            endpoint: None,
            flapping: None,
        }),
        _ => None,
    };
    node.facts.iter().filter_map(one).collect()
}

/// The state of one node in a picture.
pub(crate) fn node<'v>(verdict: &'v Verdict, node: &str) -> Option<&'v NodeState> {
    let wanted = NodeRef::named(&name(node));
    verdict.nodes.iter().find(|state| state.node == wanted)
}
