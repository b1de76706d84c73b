//! The Gate service: may the next layer be started?

use std::{sync::Arc, time::Duration};

use evidence::{Gate, Phase};
use proto::{
    convert::gate_to_wire,
    limits::MAX_WAIT,
    wire::{self, CheckRequest, GateState, Question, WaitRequest},
};
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    access,
    counters::Counters,
    verdicts::{Verdicts, gate},
};

#[derive(Debug)]
pub(crate) struct Gates {
    pub(crate) verdicts: Verdicts,
    pub(crate) counters: Arc<Counters>,
}

#[tonic::async_trait]
impl wire::gate_server::Gate for Gates {
    type WatchStream = ReceiverStream<Result<GateState, Status>>;

    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<GateState>, Status> {
        access::reader(&request, &self.counters)?;
        let CheckRequest { level, question } = request.into_inner();
        // Both answers are in the state; a question of a later version must not be answered by another.
        known(question)?;
        Ok(Response::new(gate_to_wire(&self.verdicts.gate(&level)?)))
    }

    async fn wait(&self, request: Request<WaitRequest>) -> Result<Response<GateState>, Status> {
        access::reader(&request, &self.counters)?;
        let WaitRequest {
            level,
            question,
            timeout_ms,
            sit_out,
        } = request.into_inner();
        let question = known(question)?;
        let limit = Duration::from_millis(timeout_ms).min(MAX_WAIT);
        let mut verdicts = self.verdicts.clone();
        let settled = verdicts.first(|judged| {
            let gate = gate(judged, &level)?;
            Ok(is_settled(&gate, question, sit_out).then_some(gate))
        });
        let state = match timeout(limit, settled).await {
            Ok(gate) => gate_to_wire(&gate?),
            Err(_) => GateState {
                timed_out: true,
                ..gate_to_wire(&self.verdicts.gate(&level)?)
            },
        };
        Ok(Response::new(state))
    }

    async fn watch(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        access::reader(&request, &self.counters)?;
        let CheckRequest { level, question } = request.into_inner();
        known(question)?;
        self.verdicts.gate(&level)?;
        let mut last = None;
        let states = self.verdicts.clone().watch(move |judged| {
            let gate = gate(judged, &level)?;
            if last.as_ref() == Some(&gate) {
                return Ok(None);
            }
            let state = gate_to_wire(&gate);
            last = Some(gate);
            Ok(Some(state))
        });
        Ok(Response::new(states))
    }
}

fn known(question: i32) -> Result<Question, Status> {
    Question::try_from(question).map_err(|_| {
        Status::invalid_argument(format!("field question: expected 0 or 1, got {question}"))
    })
}

fn is_settled(gate: &Gate, question: Question, sit_out: bool) -> bool {
    let phase = match question {
        Question::Ready => gate.phase,
        Question::MayStart => gate.may_start,
    };
    phase == Phase::Ready || (gate.terminal && !sit_out)
}
