//! The evidence of one judgement, told to a reader in bounded messages.
//!
//! Facts are shared with the view until the view changes, so a slow reader costs memory and no time: hence one reader at
//! a time, and for so long only.

use std::{sync::Arc, time::Duration};

use diagnosis::{Conflict, NodeView, Stream, View};
use evidence::{Moment, NodeName, PairPast};
use prost::Message as _;
use proto::{
    convert::{EvidenceHeader, EvidencePart, NodeEvidence, evidence_to_wire, facts_to_wire},
    wire::{self, evidence_part::Part},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::judge::Change;

/// From here on a message takes no more facts. One fact has some ten kilobytes at most.
const PART_BYTES: usize = 1024 * 1024;
/// Time in which a reader must have taken all of it.
const TELLING: Duration = Duration::from_mins(2);
/// Messages that wait for the reader.
const AHEAD: usize = 1;

/// What a judgement was made of.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) view: View,
    pub(crate) at: Moment,
}

/// Who asks the owner of the view for evidence.
#[derive(Clone, Debug)]
pub(crate) struct Witness {
    changes: mpsc::Sender<Change>,
    free: Arc<Semaphore>,
}

impl Witness {
    pub(crate) fn new(changes: mpsc::Sender<Change>) -> Self {
        Self {
            changes,
            free: Arc::new(Semaphore::new(1)),
        }
    }

    /// The parts of the evidence of the next judgement.
    pub(crate) async fn tell(
        &self,
    ) -> Result<ReceiverStream<Result<wire::EvidencePart, Status>>, Status> {
        let busy = |_| {
            Status::resource_exhausted(
                "another reader is being told the evidence: ask again in a moment",
            )
        };
        let permit = Arc::clone(&self.free).try_acquire_owned().map_err(busy)?;
        let (reply, told) = oneshot::channel();
        let stopping = || Status::unavailable("the collector is stopping");
        let asked = self.changes.send(Change::Evidence { reply }).await;
        asked.map_err(|_| stopping())?;
        let evidence = told.await.map_err(|_| stopping())?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(send(evidence, sender, permit));
        Ok(ReceiverStream::new(receiver))
    }
}

async fn send(
    evidence: Evidence,
    sender: mpsc::Sender<Result<wire::EvidencePart, Status>>,
    _permit: OwnedSemaphorePermit,
) {
    let all = async {
        for part in parts(&evidence) {
            if sender.send(Ok(part)).await.is_err() {
                return;
            }
        }
    };
    if timeout(TELLING, all).await.is_err() {
        let seconds = TELLING.as_secs();
        let late =
            Status::deadline_exceeded(format!("the evidence was not taken within {seconds} s"));
        // Who does not read the parts does not read this either.
        drop(sender.try_send(Err(late)));
    }
}

/// All parts, each made when it is wanted.
fn parts(evidence: &Evidence) -> impl Iterator<Item = wire::EvidencePart> {
    let Evidence { view, at } = evidence;
    let header = EvidencePart::Header(EvidenceHeader {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        now: *at,
        started: view.started,
        min_nodes: view.expectation.min_nodes,
        expected: view.expectation.names.clone(),
        graph: view.expectation.graph.told(),
    });
    let end = EvidencePart::End {
        nodes: view.nodes.len(),
        facts: view.nodes.values().map(|node| node.facts.len()).sum(),
    };
    let pasts: Vec<PairPast> = view.history.pasts().collect();
    let pasts = (!pasts.is_empty()).then(|| evidence_to_wire(&EvidencePart::Pasts(pasts)));
    let nodes = view.nodes.iter().flat_map(|(name, node)| {
        let head = EvidencePart::Node(head(name, node));
        std::iter::once(evidence_to_wire(&head)).chain(facts(node))
    });
    std::iter::once(evidence_to_wire(&header))
        .chain(pasts)
        .chain(nodes)
        .chain(std::iter::once(evidence_to_wire(&end)))
}

fn head(name: &NodeName, node: &NodeView) -> NodeEvidence {
    let NodeView {
        facts: _,
        stream,
        since,
        last_report,
        steady_since,
        conflict,
    } = node;
    NodeEvidence {
        name: name.clone(),
        closed: match stream {
            Stream::Open => None,
            Stream::Closed(at) => Some(*at),
        },
        since: *since,
        last_report: *last_report,
        steady_since: *steady_since,
        conflict: conflict
            .as_ref()
            .map(|Conflict { at, what }| (*at, what.clone())),
    }
}

/// The facts of a node, as many in a part as fit.
fn facts(node: &NodeView) -> impl Iterator<Item = wire::EvidencePart> {
    let mut facts = facts_to_wire(&node.facts).peekable();
    std::iter::from_fn(move || {
        facts.peek()?;
        let mut part = Vec::new();
        let mut bytes = 0;
        while bytes < PART_BYTES
            && let Some(fact) = facts.next()
        {
            bytes += fact.encoded_len();
            part.push(fact);
        }
        let part = Some(Part::Facts(wire::FactsEvidence { facts: part }));
        Some(wire::EvidencePart { part })
    })
}
