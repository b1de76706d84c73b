//! The Gate service: may the next layer be started?

use std::{sync::Arc, time::Duration};

use diagnosis::Expectation;
use evidence::document::Question;
use proto::{
    convert::{expect_to_wire, gate_to_wire, level_to_wire},
    wire::{self, CheckRequest, GateState, GraphLevel, GraphRequest, GraphResponse, WaitRequest},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    access,
    answer::{Answers, Asked, Waited, answer},
    counters::Counters,
};

#[derive(Debug)]
pub(crate) struct Gates {
    pub(crate) answers: Answers,
    pub(crate) expectation: Expectation,
    pub(crate) counters: Arc<Counters>,
}

#[tonic::async_trait]
impl wire::gate_server::Gate for Gates {
    type WatchStream = ReceiverStream<Result<GateState, Status>>;

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<GateState>, Status> {
        access::reader(&request, &self.counters)?;
        let CheckRequest { level, question } = request.into_inner();
        let gate = self.answers.check(&level, known(question)?)?;
        Ok(Response::new(gate_to_wire(&gate)))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<GateState>, Status> {
        access::reader(&request, &self.counters)?;
        let WaitRequest {
            level,
            question,
            timeout_ms,
            sit_out,
            stable_ms,
        } = request.into_inner();
        let asked = Asked {
            level,
            question: known(question)?,
            sit_out,
            stable: Duration::from_millis(stable_ms),
        };
        let limit = Duration::from_millis(timeout_ms);
        let Waited { gate, timed_out } = self.answers.wait(&asked, limit).await?;
        Ok(Response::new(GateState {
            timed_out,
            ..gate_to_wire(&gate)
        }))
    }

    async fn watch(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        access::reader(&request, &self.counters)?;
        let CheckRequest { level, question } = request.into_inner();
        let question = known(question)?;
        self.answers.check(&level, question)?;
        let mut last = None;
        let states = self.answers.verdicts.clone().watch(move |judged| {
            let gate = answer(judged, &level, question)?;
            if last.as_ref() == Some(&gate) {
                return Ok(None);
            }
            let state = gate_to_wire(&gate);
            last = Some(gate);
            Ok(Some(state))
        });
        Ok(Response::new(states))
    }

    async fn graph(
        &self,
        request: Request<GraphRequest>,
    ) -> Result<Response<GraphResponse>, Status> {
        access::reader(&request, &self.counters)?;
        let GraphRequest {} = request.into_inner();
        let judged = self.answers.verdicts.current()?;
        let Expectation {
            min_nodes,
            names,
            graph,
        } = &self.expectation;
        let levels = graph.told().into_iter().map(|level| GraphLevel {
            state: judged.verdict.gate(&level.name).map(gate_to_wire),
            ..level_to_wire(&level)
        });
        Ok(Response::new(GraphResponse {
            levels: levels.collect(),
            expect: Some(expect_to_wire(*min_nodes, names)),
        }))
    }
}

/// Both answers are in the state; a question of a later version must not be answered by another.
fn known(question: i32) -> Result<Question, Status> {
    match wire::Question::try_from(question) {
        Ok(wire::Question::Ready) => Ok(Question::Ready),
        Ok(wire::Question::MayStart) => Ok(Question::MayStart),
        Err(_) => Err(Status::invalid_argument(format!(
            "field question: expected 0 or 1, got {question}"
        ))),
    }
}
