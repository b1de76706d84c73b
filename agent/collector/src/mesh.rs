//! The Mesh service: the verdict, pairs by the page, and the pages of the findings.

use std::sync::Arc;

use diagnosis::{PairFilter, PairPage};
use prost::Message as _;
use proto::{
    convert::{pair_from_wire, pairs_to_wire, transition_to_wire, verdict_to_wire},
    limits::MESSAGE_BYTES,
    wire::{
        self, EvidencePart, EvidenceRequest, ExplainRequest, ExplainResponse, GetRequest,
        HistoryRequest, HistoryResponse, PairsPage, PairsRequest, Verdict,
    },
};
use tokio::sync::Semaphore;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{
    access, clock,
    counters::Counters,
    judge::Memory,
    pairs::Pairs,
    store::Writer,
    verdicts::{Judged, Verdicts},
    witness::Witness,
};

/// Watches of the verdict at a time. Each holds a verdict or two that its reader has not taken yet.
pub(crate) const WATCHES: usize = 256;

#[derive(Debug)]
pub(crate) struct Mesh {
    pub(crate) verdicts: Verdicts,
    pub(crate) witness: Witness,
    pub(crate) pairs: Pairs,
    pub(crate) memory: Memory,
    /// Places for watches, [`WATCHES`] in all.
    pub(crate) watches: Arc<Semaphore>,
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
        let place = Arc::clone(&self.watches).try_acquire_owned();
        let place = place.map_err(|_| {
            self.counters.watches_refused.add();
            Status::resource_exhausted(format!(
                "{WATCHES} readers watch already: ask again later, or ask once"
            ))
        })?;
        let counters = Arc::clone(&self.counters);
        let mut last = None;
        let verdicts = self.verdicts.clone().watch(move |judged| {
            // It is given back with the watch.
            let _place = &place;
            if last == Some(judged.revision) {
                return Ok(None);
            }
            last = Some(judged.revision);
            one_message(judged, &counters).map(Some)
        });
        Ok(Response::new(verdicts))
    }

    async fn pairs(&self, request: Request<PairsRequest>) -> Result<Response<PairsPage>, Status> {
        access::reader(&request, &self.counters)?;
        let filter = filter(request.into_inner())?;
        let page = self.pairs.page(filter).await?;
        Ok(Response::new(fitting(page)))
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
        let transitions = self.memory.recent.all();
        let told = HistoryResponse {
            now_ms: clock::now().as_millis(),
            transitions: transitions.iter().map(transition_to_wire).collect(),
            run: self.memory.store.as_ref().map(Writer::run),
        };
        Ok(Response::new(newest(told)))
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

/// The verdict in one message. What does not fit of its ladders is left out: the tally counts all pairs, and `Pairs` has them.
fn one_message(judged: &Judged, counters: &Counters) -> Result<Verdict, Status> {
    let mut verdict = verdict_to_wire(&judged.verdict);
    let mut size = verdict.encoded_len();
    while size > MESSAGE_BYTES && !verdict.pairs.is_empty() {
        verdict.pairs.truncate(verdict.pairs.len() / 2);
        size = verdict.encoded_len();
    }
    if size > MESSAGE_BYTES {
        counters.verdicts_oversized.add();
        return Err(Status::resource_exhausted(format!(
            "the verdict has {size} bytes without a pair, a message has at most {MESSAGE_BYTES}: ask for gates"
        )));
    }
    Ok(verdict)
}

/// The newest transitions that fit into a message.
fn newest(mut told: HistoryResponse) -> HistoryResponse {
    while told.encoded_len() > MESSAGE_BYTES && !told.transitions.is_empty() {
        told.transitions.drain(..told.transitions.len().div_ceil(2));
    }
    told
}

fn filter(request: PairsRequest) -> Result<PairFilter, Status> {
    let PairsRequest {
        node,
        from,
        to,
        not_good,
        after,
    } = request;
    let after = after.map(|after| pair_from_wire("after", after));
    let after = after.transpose();
    Ok(PairFilter {
        node,
        from,
        to,
        not_good,
        after: after.map_err(|error| Status::invalid_argument(error.to_string()))?,
    })
}

/// As much of a page as fits into a message.
fn fitting(mut page: PairPage) -> PairsPage {
    loop {
        let wire = pairs_to_wire(&page.pairs, page.more);
        if wire.encoded_len() <= MESSAGE_BYTES || page.pairs.len() <= 1 {
            return wire;
        }
        page.pairs.truncate(page.pairs.len() / 2);
        page.more = true;
    }
}
