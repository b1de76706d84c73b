//! The servers that this program plays itself, as processes of their own.

use std::{env, future::pending, hint::black_box, sync::Arc};

use anyhow::{Context as _, bail};
use diagnosis::{Expectation, View, Watch};
use evidence::{Moment, Verdict};
use proto::{
    limits,
    transport::{incoming, listen},
    trust::MeshKey,
    wire::{
        ReportRequest, ReportResponse,
        report_server::{Report, ReportServer},
    },
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, transport::Server as Grpc};

use super::process::{ADDRESS, MESH_KEY, Server};

/// Set in a program that is to serve: whom it plays.
pub(crate) const KIND: &str = "BENCH_SERVER";

/// Serves until it is killed, if it was started for that.
pub(crate) fn play() -> Option<anyhow::Result<()>> {
    let kind = env::var(KIND).ok()?;
    Some(serve(&kind))
}

fn serve(kind: &str) -> anyhow::Result<()> {
    // As many threads as the collector has.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let key = MeshKey::from_base64(MESH_KEY, "the key of the bench")?;
    runtime.block_on(async move {
        let (listener, _) = listen(ADDRESS.parse()?)?;
        if kind == format!("{:?}", Server::Intake) {
            let mut config = mesh_collector::Config::new(key, Expectation::default());
            config.judge = look_at_nothing;
            return Ok(mesh_collector::run(listener, config, pending()).await?);
        }
        if kind != format!("{:?}", Server::Bare) {
            bail!("{KIND} is {kind:?}, which nobody plays");
        }
        let tls = Arc::new(key.server_config()?);
        let service = ReportServer::new(Bare)
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        Grpc::builder()
            .add_service(service)
            .serve_with_incoming(ReceiverStream::new(incoming(listener, tls, Arc::default())))
            .await
            .context("serve")
    })
}

fn look_at_nothing(_: &mut Watch, _: &View, _: Moment) -> Verdict {
    Verdict::default()
}

/// Decodes, drops, acknowledges.
struct Bare;

#[tonic::async_trait]
impl Report for Bare {
    type StreamStream = ReceiverStream<Result<ReportResponse, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<ReportRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let mut inbound = request.into_inner();
        let (sender, receiver) = mpsc::channel(2);
        tokio::spawn(async move {
            while let Ok(Some(message)) = inbound.message().await {
                let response = ReportResponse {
                    acknowledged: black_box(message).sequence,
                    peers: None,
                    moved_layout: None,
                };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
