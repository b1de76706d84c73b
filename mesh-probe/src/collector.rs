//! The connection to the collector. Every step has a time limit.

use std::{future::Future, sync::Arc, time::Duration};

use evidence::{Gate, Ladder, Moment, Transition, Verdict};
use proto::{
    convert::{
        ConvertError, evidence_from_wire, gate_from_wire, pair_to_wire, pairs_from_wire,
        transition_from_wire, verdict_from_wire,
    },
    limits::MESSAGE_BYTES,
    transport::{DialError, Mark, dial},
    wire::{
        CheckRequest, EvidenceRequest, GetRequest, GraphRequest, HistoryRequest, HistoryResponse,
        PairsRequest, Question, WaitRequest, gate_client::GateClient, mesh_client::MeshClient,
    },
};
use rustls::ClientConfig;
use tokio::time::timeout;
use tonic::{Code, Response, Status, Streaming, transport::Channel};

use crate::{
    args::{Connection, PairsArgs, Proof, Target},
    bundle::{Bundle, Gathering},
    document,
    error::ProbeError,
    graph::{GateGraph, Source},
    secret,
};

/// A collector that may be asked: where it is and what proves us to it.
#[derive(Clone, Debug)]
pub struct Collector {
    target: Target,
    proof: Proof,
    tls: Arc<ClientConfig>,
    timeout: Duration,
}

/// What has changed.
#[derive(Clone, Debug)]
pub struct History {
    /// The present on the timeline of the transitions.
    pub now: Moment,
    /// Oldest first.
    pub transitions: Vec<Transition>,
    /// The present run of the collector, if it has a store.
    pub run: Option<u64>,
}

/// A level and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelQuestion {
    pub level: String,
    pub may_start: bool,
    /// Yes only if it has been yes for so long without a break.
    pub stable: Duration,
}

impl LevelQuestion {
    /// As documents name it.
    pub const fn asked(&self) -> document::Question {
        if self.may_start {
            document::Question::MayStart
        } else {
            document::Question::Ready
        }
    }
}

/// What a wait gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waited {
    pub gate: Gate,
    pub timed_out: bool,
}

impl Collector {
    /// Reads the key and prepares TLS; nothing is dialled yet.
    pub fn new(connection: &Connection) -> Result<Self, ProbeError> {
        let mut all = Self::all(connection)?;
        if all.len() > 1 {
            return Err(ProbeError::SeveralCollectors);
        }
        all.pop().ok_or(ProbeError::NoCollector)
    }

    /// All that were given, at least one.
    pub fn all(connection: &Connection) -> Result<Vec<Self>, ProbeError> {
        if connection.collector.is_empty() {
            return Err(ProbeError::NoCollector);
        }
        let tls = if let Some(own) = connection.own() {
            own.reader_config().map_err(ProbeError::Own)?
        } else if let Some(file) = &connection.credentials {
            secret::reader_config(file).map_err(ProbeError::Credentials)?
        } else {
            let key = connection.key_source().load().map_err(ProbeError::Key)?;
            key.reader_config().map_err(ProbeError::Trust)?
        };
        let tls = Arc::new(tls);
        let one = |target: &Target| Self {
            target: target.clone(),
            proof: connection.proof(),
            tls: Arc::clone(&tls),
            timeout: connection.timeout,
        };
        Ok(connection.collector.iter().map(one).collect())
    }

    /// Where it is.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Asking, ProbeError> {
        self.connect_within(self.timeout).await
    }

    /// Connects, in less than the usual time if there is only `limit` left.
    pub async fn connect_within(&self, limit: Duration) -> Result<Asking, ProbeError> {
        let limit = limit.min(self.timeout);
        let dialled = self.within(limit, Box::pin(self.dial())).await?;
        let channel = dialled.map_err(|source| ProbeError::Dial {
            target: self.target.clone(),
            proof: self.proof,
            source,
        })?;
        Ok(Asking {
            collector: self.clone(),
            channel,
        })
    }

    /// The underlay first: the way through the tunnel dies with the tunnel that we ask about. Without the right to set
    /// the mark, or where only the tunnel leads there, whatever the routes say.
    async fn dial(&self) -> Result<Channel, DialError> {
        match dial(self.target.as_str(), Mark::Underlay, Arc::clone(&self.tls)).await {
            Err(DialError::Mark(_) | DialError::Connect { .. } | DialError::ConnectTimeout(_)) => {
                dial(self.target.as_str(), Mark::None, Arc::clone(&self.tls)).await
            }
            dialled => dialled,
        }
    }

    async fn within<F: Future>(&self, limit: Duration, work: F) -> Result<F::Output, ProbeError> {
        let answered = timeout(limit, work).await;
        answered.map_err(|_| ProbeError::NoAnswer {
            target: self.target.clone(),
            after: limit,
        })
    }
}

/// A connection on which questions are asked.
#[derive(Clone, Debug)]
pub struct Asking {
    collector: Collector,
    channel: Channel,
}

impl Asking {
    /// The whole verdict.
    pub async fn verdict(&self) -> Result<Verdict, ProbeError> {
        let mut client =
            MeshClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let limit = self.collector.timeout;
        let verdict = self
            .request("read the verdict", limit, client.get(GetRequest {}))
            .await?;
        verdict_from_wire(verdict).map_err(|source| ProbeError::Answer {
            target: self.collector.target.clone(),
            source,
        })
    }

    /// The newest transitions.
    pub async fn history(&self) -> Result<History, ProbeError> {
        let mut client =
            MeshClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let limit = self.collector.timeout;
        let request = client.history(HistoryRequest {});
        let HistoryResponse {
            now_ms,
            transitions,
            run,
        } = self.request("read the history", limit, request).await?;
        // A change of a kind that a later collector knows is left out; the others have happened all the same.
        let is_known =
            |read: &Result<Transition, ConvertError>| !matches!(read, Err(error) if error.is_later);
        let transitions: Result<Vec<Transition>, _> = transitions
            .into_iter()
            .map(transition_from_wire)
            .filter(is_known)
            .collect();
        let transitions = transitions.map_err(|source| ProbeError::Answer {
            target: self.collector.target.clone(),
            source,
        })?;
        Ok(History {
            now: Moment::from_millis(now_ms),
            transitions,
            run,
        })
    }

    /// The evidence of the next judgement. Each part of it may take the usual time.
    pub async fn evidence(&self) -> Result<Bundle, ProbeError> {
        const READ: &str = "read the evidence";
        let target = || self.collector.target.clone();
        let broken = |source| ProbeError::Evidence {
            target: target(),
            source,
        };
        let mut client =
            MeshClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let limit = self.collector.timeout;
        let request = client.evidence(EvidenceRequest {});
        let mut parts = self.request(READ, limit, request).await?;
        let mut gathering = Gathering::default();
        while let Some(part) = self
            .request(READ, limit, async {
                parts.message().await.map(Response::new)
            })
            .await?
        {
            let part = evidence_from_wire(part).map_err(|source| ProbeError::Answer {
                target: target(),
                source,
            })?;
            gathering.take(part).map_err(broken)?;
        }
        let made_by = format!("mesh-probe {}", env!("CARGO_PKG_VERSION"));
        gathering.finish(made_by).map_err(broken)
    }

    /// A page of ladders: the first, or what comes after the last one of the page before. Whether others follow it.
    pub async fn pairs(
        &self,
        wanted: &PairsArgs,
        after: Option<&Ladder>,
    ) -> Result<(Vec<Ladder>, bool), ProbeError> {
        let mut client =
            MeshClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES);
        let PairsArgs {
            node,
            from,
            to,
            broken,
        } = wanted.clone();
        let after = after.map(Ladder::pair);
        let request = PairsRequest {
            node,
            from,
            to,
            not_good: broken,
            after: after.as_ref().map(pair_to_wire),
        };
        let limit = self.collector.timeout;
        let page = self.request("read pairs", limit, client.pairs(request));
        pairs_from_wire(page.await?).map_err(|source| ProbeError::Answer {
            target: self.collector.target.clone(),
            source,
        })
    }

    /// The present state of a level.
    pub async fn check(&self, question: &LevelQuestion) -> Result<Gate, ProbeError> {
        let mut client = self.gates();
        let limit = self.collector.timeout;
        let request = client.check(check_request(question));
        let state = self.request("check a gate", limit, request).await;
        state
            .map(gate_from_wire)
            .map_err(|error| unknown_level(error, question))
    }

    /// Lets the collector wait for `time`; it gets the usual time more to say that it was in vain.
    pub async fn wait(
        &self,
        question: &LevelQuestion,
        time: Duration,
        sit_out: bool,
    ) -> Result<Waited, ProbeError> {
        let mut client = self.gates();
        let request = client.wait(WaitRequest {
            level: question.level.clone(),
            question: asked(question).into(),
            timeout_ms: u64::try_from(time.as_millis()).unwrap_or(u64::MAX),
            sit_out,
            stable_ms: u64::try_from(question.stable.as_millis()).unwrap_or(u64::MAX),
        });
        let limit = time + self.collector.timeout;
        let state = self.request("wait at a gate", limit, request).await;
        let state = state.map_err(|error| unknown_level(error, question))?;
        Ok(Waited {
            timed_out: state.timed_out,
            gate: gate_from_wire(state),
        })
    }

    /// The states of a level while a wait goes on.
    pub async fn watch(&self, question: &LevelQuestion) -> Result<Gates, ProbeError> {
        let mut client = self.gates();
        let limit = self.collector.timeout;
        let request = client.watch(check_request(question));
        let states = self.request("watch a gate", limit, request).await?;
        Ok(Gates(states))
    }

    /// The gate graph, with the present state of each level.
    pub async fn graph(&self) -> Result<GateGraph, ProbeError> {
        let mut client = self.gates();
        let limit = self.collector.timeout;
        let request = client.graph(GraphRequest {});
        let graph = self.request("read the gate graph", limit, request).await?;
        Ok(GateGraph::from_wire(graph, Source::Collector))
    }

    fn gates(&self) -> GateClient<Channel> {
        GateClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    async fn request<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        request: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, ProbeError> {
        let answered = self.collector.within(limit, request).await?;
        let answered = answered.map_err(|status| ProbeError::Request {
            operation,
            target: self.collector.target.clone(),
            source: status.into(),
        })?;
        Ok(answered.into_inner())
    }
}

/// Changing states of a level.
#[derive(Debug)]
pub struct Gates(Streaming<proto::wire::GateState>);

impl Gates {
    /// The next state; `None` when the stream has ended, for whatever reason: it only accompanies a wait.
    pub async fn next(&mut self) -> Option<Gate> {
        let state = self.0.message().await.ok().flatten()?;
        Some(gate_from_wire(state))
    }
}

fn check_request(question: &LevelQuestion) -> CheckRequest {
    CheckRequest {
        level: question.level.clone(),
        question: asked(question).into(),
    }
}

const fn asked(question: &LevelQuestion) -> Question {
    if question.may_start {
        Question::MayStart
    } else {
        Question::Ready
    }
}

/// A level that the collector does not know is a mistake of ours, not trouble of its.
fn unknown_level(error: ProbeError, question: &LevelQuestion) -> ProbeError {
    match error {
        ProbeError::Request { source, target, .. } if source.code() == Code::NotFound => {
            ProbeError::UnknownLevel {
                level: question.level.clone(),
                target: Some(target),
                source,
            }
        }
        error => error,
    }
}
