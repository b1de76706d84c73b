//! The Mesh service: the verdict as a whole, and the pages of the findings.

use std::sync::Arc;

use prost::Message as _;
use proto::{
    convert::{transition_to_wire, verdict_to_wire},
    limits::MESSAGE_BYTES,
    wire::{
        self, EvidencePart, EvidenceRequest, ExplainRequest, ExplainResponse, GetRequest,
        HistoryRequest, HistoryResponse, Verdict,
    },
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    access, clock,
    counters::Counters,
    judge::Recent,
    verdicts::{Judged, Verdicts},
    witness::Witness,
};

/// A ladder is never smaller on the wire, so a verdict of more pairs need not be converted to know that it is too large.
const LADDER_BYTES: usize = 64;

#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) verdicts: Verdicts,
    pub(crate) witness: Witness,
    pub(crate) recent: Recent,
    pub(crate) counters: Arc<Counters>,
}

#[tonic::async_trait]
impl wire::mesh_server::Mesh for Mesh {
    type WatchStream = ReceiverStream<Result<Verdict, Status>>;
    type EvidenceStream = ReceiverStream<Result<EvidencePart, Status>>;

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Verdict>, Status> {
        access::reader(&request, &self.counters)?;
        let judged = self.verdicts.current()?;
        Ok(Response::new(one_message(&judged, &self.counters)?))
    }

    async fn watch(
        &self,
        request: Request<GetRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        access::reader(&request, &self.counters)?;
        let counters = Arc::clone(&self.counters);
        let mut last = None;
        let verdicts = self.verdicts.clone().watch(move |judged| {
            if last == Some(judged.revision) {
                return Ok(None);
            }
            last = Some(judged.revision);
            one_message(judged, &counters).map(Some)
        });
        Ok(Response::new(verdicts))
    }

    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        access::reader(&request, &self.counters)?;
        let ExplainRequest { code } = request.into_inner();
        let page = diagnosis::explain(&code).ok_or_else(|| unknown(&code))?;
        Ok(Response::new(ExplainResponse {
            code: page.code.to_owned(),
            title: page.title.to_owned(),
            page: page.text.to_owned(),
        }))
    }

    async fn history(
        &self,
        request: Request<HistoryRequest>,
    ) -> Result<Response<HistoryResponse>, Status> {
        access::reader(&request, &self.counters)?;
        let transitions = self.recent.all();
        Ok(Response::new(HistoryResponse {
            now_ms: clock::now().as_millis(),
            transitions: transitions.iter().map(transition_to_wire).collect(),
        }))
    }

    async fn evidence(
        &self,
        request: Request<EvidenceRequest>,
    ) -> Result<Response<Self::EvidenceStream>, Status> {
        access::reader(&request, &self.counters)?;
        self.witness.tell().await.map(Response::new)
    }
}

fn unknown(code: &str) -> Status {
    let echoed: String = code.chars().take(64).collect();
    Status::not_found(format!("no finding has the code {echoed:?}"))
}

/// The verdict, if it fits. A part of it would read as a mesh that has no other pairs.
fn one_message(judged: &Judged, counters: &Counters) -> Result<Verdict, Status> {
    let too_large = |at_least: usize| {
        counters.verdicts_oversized.add();
        Status::resource_exhausted(format!(
            "the verdict has {at_least} bytes or more, a message has at most {MESSAGE_BYTES}: ask for gates"
        ))
    };
    let at_least = judged.verdict.pairs.len() * LADDER_BYTES;
    if at_least > MESSAGE_BYTES {
        return Err(too_large(at_least));
    }
    let verdict = verdict_to_wire(&judged.verdict);
    let size = verdict.encoded_len();
    if size > MESSAGE_BYTES {
        return Err(too_large(size));
    }
    Ok(verdict)
}
