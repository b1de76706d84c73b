//! The Report service: reports in, acknowledgements and the peer list out.

pub(crate) mod check;
mod replies;
mod stream;

use std::sync::Arc;

use proto::wire::{ReportRequest, ReportResponse, report_server::Report};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    access,
    counters::Counters,
    inbox::Inbox,
    judge::{Change, Peers},
    rates::Desk,
};

/// Responses that wait for a slow agent; over it, acknowledgements are joined.
const RESPONSES: usize = 2;

/// What each report stream shares with the rest of the collector.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    pub(crate) changes: mpsc::Sender<Change>,
    pub(crate) inbox: Inbox,
    pub(crate) peers: watch::Receiver<Peers>,
    pub(crate) streams: Desk<[u8; 32]>,
    pub(crate) counters: Arc<Counters>,
}

#[tonic::async_trait]
impl Report for Intake {
    type StreamStream = ReceiverStream<Result<ReportResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<ReportRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let agent = access::agent(&request, &self.counters)?;
        self.streams.turn(agent.key).await?;
        let (sender, receiver) = mpsc::channel(RESPONSES);
        tokio::spawn(stream::serve(
            self.clone(),
            agent,
            request.into_inner(),
            sender,
        ));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
