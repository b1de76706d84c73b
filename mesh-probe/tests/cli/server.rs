//! A collector on loopback that says what the test wants.

use std::{net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use evidence::{
    Change, Gate, Ladder, Moment, NodeRef, PairHealth, PairRef, Phase, Rung, Transition, Verdict,
};
use proto::{
    convert::{gate_to_wire, pair_from_wire, pairs_to_wire, transition_to_wire, verdict_to_wire},
    transport::{incoming, listen},
    trust::MeshKey,
    wire::{
        self, CheckRequest, EvidenceRequest, ExplainRequest, ExplainResponse, GateState,
        GetRequest, GraphLevel, GraphRequest, GraphResponse, HistoryRequest, HistoryResponse,
        PairsPage, PairsRequest, Question, WaitRequest,
        gate_server::{Gate as GateService, GateServer},
        mesh_server::{Mesh, MeshServer},
    },
};
use rustls::ServerConfig;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, transport::Server};
use zeroize::Zeroizing;

/// The mesh key of all tests, as bytes and as `MESH_KEY` takes it.
pub(crate) const KEY: u8 = 7;
pub(crate) const KEY_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

/// Between two looks whether somebody waits, and how long it may take.
const POLL: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(20);

type States = Pin<Box<dyn Stream<Item = Result<GateState, Status>> + Send>>;
type Parts = Pin<Box<dyn Stream<Item = Result<wire::EvidencePart, Status>> + Send>>;
type Verdicts = Pin<Box<dyn Stream<Item = Result<wire::Verdict, Status>> + Send>>;

/// What the collector says; the verdict can change while it is asked.
#[derive(Clone)]
pub(crate) struct Canned {
    verdict: watch::Sender<Verdict>,
    refusal: Option<Status>,
}

impl Canned {
    pub(crate) fn saying(verdict: Verdict) -> Self {
        Self {
            verdict: watch::Sender::new(verdict),
            refusal: None,
        }
    }

    pub(crate) fn refusing(refusal: Status) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::saying(Verdict::default())
        }
    }

    /// A collector with one level.
    pub(crate) fn with_gate(gate: Gate) -> Self {
        Self::saying(only(gate))
    }

    pub(crate) fn now_says(&self, gate: Gate) {
        self.verdict.send_replace(only(gate));
    }

    /// Returns once somebody waits, so that a change comes while he does.
    pub(crate) async fn until_asked(&self) {
        let asked = async {
            while self.verdict.receiver_count() == 0 {
                sleep(POLL).await;
            }
        };
        timeout(LIMIT, asked).await.expect("somebody waits in time");
    }

    fn state(&self, level: &str) -> Result<Gate, Status> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        let verdict = self.verdict.borrow();
        let known: Vec<&str> = verdict
            .gates
            .iter()
            .map(|gate| gate.level.as_str())
            .collect();
        let missing = || Status::not_found(format!("known levels: {}", known.join(", ")));
        verdict.gate(level).cloned().ok_or_else(missing)
    }
}

/// A pair that failed, with what followed.
fn history() -> HistoryResponse {
    let node = |name: &str| NodeRef::named(&name.parse().unwrap());
    let subject = || "home-worker <-> vps-1".to_owned();
    let code = || "tunnel-silent".to_owned();
    let failed = Change::Pair {
        from: node("vps-1"),
        to: node("home-worker"),
        good: false,
        rung: Rung::Tunnel,
    };
    let opened = Change::Opened {
        code: code(),
        subject: subject(),
        summary: "nothing passes".to_owned(),
    };
    let shut = Change::Gate {
        level: "mesh".to_owned(),
        ready: (Phase::Ready, Phase::NotReady),
        may_start: (Phase::Ready, Phase::Ready),
        reason: Some("2 of 12 directions fail".to_owned()),
    };
    let closed = Change::Closed {
        code: code(),
        subject: subject(),
    };
    let changes = [
        (1_000, failed),
        (1_000, opened),
        (1_000, shut),
        (9_500, closed),
    ];
    let told = changes.map(|(at, change)| {
        let at = Moment::from_millis(at);
        transition_to_wire(&Transition {
            at,
            change,
            earlier: None,
        })
    });
    HistoryResponse {
        now_ms: 61_000,
        transitions: told.to_vec(),
        run: None,
    }
}

fn only(gate: Gate) -> Verdict {
    Verdict {
        gates: vec![gate],
        ..Verdict::default()
    }
}

pub(crate) fn key(byte: u8) -> MeshKey {
    MeshKey::from_bytes(Zeroizing::new([byte; 32]))
}

/// Serves until the runtime of the test ends.
pub(crate) fn serve(canned: Canned) -> SocketAddr {
    serve_at(
        "127.0.0.1:0".parse().unwrap(),
        canned,
        key(KEY).server_config().unwrap(),
    )
}

pub(crate) fn serve_at(address: SocketAddr, canned: Canned, tls: ServerConfig) -> SocketAddr {
    let (listener, _) = listen(address).unwrap();
    let address = listener.local_addr().unwrap();
    let connections = ReceiverStream::new(incoming(listener, Arc::new(tls), Arc::default()));
    let served = Server::builder()
        .add_service(GateServer::new(canned.clone()))
        .add_service(MeshServer::new(canned))
        .serve_with_incoming(connections);
    tokio::spawn(served);
    address
}

#[tonic::async_trait]
impl GateService for Canned {
    type WatchStream = States;

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<GateState>, Status> {
        let gate = self.state(&request.get_ref().level)?;
        Ok(Response::new(gate_to_wire(&gate)))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<GateState>, Status> {
        let request = request.into_inner();
        self.state(&request.level)?;
        let is_over = |verdict: &Verdict| {
            let gate = verdict.gate(&request.level);
            gate.is_none_or(|gate| {
                let phase = match request.question() {
                    Question::Ready => gate.phase,
                    Question::MayStart => gate.may_start,
                };
                phase == Phase::Ready || (gate.terminal && !request.sit_out)
            })
        };
        let mut changes = self.verdict.subscribe();
        let time = Duration::from_millis(request.timeout_ms);
        let timed_out = timeout(time, changes.wait_for(is_over)).await.is_err();
        let state = gate_to_wire(&self.state(&request.level)?);
        Ok(Response::new(GateState { timed_out, ..state }))
    }

    async fn watch(&self, request: Request<CheckRequest>) -> Result<Response<States>, Status> {
        let level = request.into_inner().level;
        let first = self.state(&level)?;
        let first = tokio_stream::once(Ok(gate_to_wire(&first)));
        Ok(Response::new(Box::pin(
            first.chain(tokio_stream::pending()),
        )))
    }

    async fn graph(&self, _: Request<GraphRequest>) -> Result<Response<GraphResponse>, Status> {
        let verdict = self.verdict.borrow();
        let level = |gate: &Gate| GraphLevel {
            name: gate.level.clone(),
            title: format!("what {} is for", gate.level),
            depends_on: gate
                .depends_on
                .iter()
                .map(|level| wire::Dependency {
                    level: level.clone(),
                    cost: 3,
                })
                .collect(),
            check: "mesh".to_owned(),
            stable_ms: 20_000,
            state: Some(gate_to_wire(gate)),
            ..GraphLevel::default()
        };
        Ok(Response::new(GraphResponse {
            levels: verdict.gates.iter().map(level).collect(),
            // As of an earlier version.
            expect: None,
        }))
    }
}

#[tonic::async_trait]
impl Mesh for Canned {
    type WatchStream = Verdicts;
    type EvidenceStream = Parts;

    async fn get(&self, _: Request<GetRequest>) -> Result<Response<wire::Verdict>, Status> {
        if let Some(refusal) = &self.refusal {
            return Err(refusal.clone());
        }
        Ok(Response::new(verdict_to_wire(&self.verdict.borrow())))
    }

    async fn watch(&self, _: Request<GetRequest>) -> Result<Response<Verdicts>, Status> {
        Err(Status::unimplemented("not asked by mesh-probe"))
    }

    async fn history(
        &self,
        _: Request<HistoryRequest>,
    ) -> Result<Response<HistoryResponse>, Status> {
        Ok(Response::new(history()))
    }

    async fn evidence(&self, _: Request<EvidenceRequest>) -> Result<Response<Parts>, Status> {
        Err(Status::unimplemented("of an earlier version"))
    }

    async fn pairs(&self, request: Request<PairsRequest>) -> Result<Response<PairsPage>, Status> {
        const PAGE: usize = 2;
        let request = request.into_inner();
        let after = request
            .after
            .map(|pair| pair_from_wire("after", pair).unwrap());
        let is = |wanted: &Option<String>, node: &NodeRef| {
            wanted.as_ref().is_none_or(|name| *name == node.to_string())
        };
        let verdict = self.verdict.borrow();
        let mut pairs: Vec<Ladder> = verdict.pairs.clone();
        pairs.retain(|pair| {
            let later = |after: &PairRef| (&pair.from, &pair.to) > (&after.from, &after.to);
            (is(&request.node, &pair.from) || is(&request.node, &pair.to))
                && is(&request.from, &pair.from)
                && is(&request.to, &pair.to)
                && (!request.not_good || pair.health() != PairHealth::Good)
                && after.as_ref().is_none_or(later)
        });
        pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        let more = pairs.len() > PAGE;
        pairs.truncate(PAGE);
        Ok(Response::new(pairs_to_wire(&pairs, more)))
    }

    async fn explain(
        &self,
        _: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("mesh-probe explains offline"))
    }
}
