//! The Agent service: what this agent is, and what it sees.

use std::{sync::Arc, time::Duration};

use proto::{
    convert::agent_status_to_wire,
    limits,
    wire::{
        AgentStatus, AgentStatusRequest, AgentWatchRequest, ReportRequest,
        agent_server::{Agent, AgentServer},
    },
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Own;
use crate::messages::{Messages, knows_itself};

/// Messages handed to HTTP/2 and not yet taken.
const OUTGOING: usize = 2;
/// A message that HTTP/2 does not take for so long means that nobody reads.
const STUCK: Duration = Duration::from_secs(5);
/// Bytes of a question: none has a field.
const REQUEST_BYTES: usize = 1024;

/// What everybody is answered by; a clone is the same.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    own: Own,
    watches: Arc<Semaphore>,
}

impl Answers {
    pub(crate) fn new(own: Own) -> Self {
        Self {
            own,
            watches: Arc::new(Semaphore::new(limits::AGENT_WATCHES)),
        }
    }

    pub(super) const fn own(&self) -> &Own {
        &self.own
    }

    pub(super) fn service(self) -> AgentServer<Self> {
        AgentServer::new(self)
            .max_decoding_message_size(REQUEST_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES)
    }
}

#[tonic::async_trait]
impl Agent for Answers {
    type WatchStream = ReceiverStream<Result<ReportRequest, Status>>;

    async fn status(
        &self,
        request: Request<AgentStatusRequest>,
    ) -> Result<Response<AgentStatus>, Status> {
        let AgentStatusRequest {} = request.into_inner();
        Ok(Response::new(agent_status_to_wire(&self.own.status())))
    }

    async fn watch(
        &self,
        request: Request<AgentWatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let AgentWatchRequest {} = request.into_inner();
        if !knows_itself(&self.own.facts.borrow()) {
            let waits = self.own.waits_for.borrow().unwrap_or("its first look");
            return Err(Status::unavailable(format!(
                "the agent does not see anything yet: it waits for {waits}"
            )));
        }
        let place = Arc::clone(&self.watches).try_acquire_owned().map_err(|_| {
            let most = limits::AGENT_WATCHES;
            Status::resource_exhausted(format!("{most} others watch already: ask again later"))
        })?;
        let (sender, receiver) = mpsc::channel(OUTGOING);
        tokio::spawn(tell(Messages::new(self.own.facts.clone()), sender, place));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Tells until nobody listens any more.
async fn tell(
    mut messages: Messages,
    sender: mpsc::Sender<Result<ReportRequest, Status>>,
    _place: OwnedSemaphorePermit,
) {
    let mut next = Some(messages.snapshot());
    while let Some(message) = next {
        if !matches!(timeout(STUCK, sender.send(Ok(message))).await, Ok(Ok(()))) {
            return;
        }
        next = tokio::select! {
            () = sender.closed() => return,
            next = messages.next() => next,
        };
    }
}
