//! A real collector with its real judge, connections as agents and readers make them, and the real command line.

use std::{net::SocketAddr, path::Path, process::Stdio, sync::Arc, time::Duration};

use diagnosis::Expectation;
use evidence::{NodeName, Verdict};
use integration::lab::programs::Binaries;
use mesh_collector::{Config, Counters, run};
use prost::Message as _;
use proto::{
    convert::verdict_from_wire,
    transport::{Mark, dial, listen},
    trust::MeshKey,
    wire::{Delta, GetRequest, ReportRequest, mesh_client::MeshClient, report_request::Body},
};
use tokio::{process::Command, sync::mpsc, time::timeout};
use tokio_rustls::rustls::ClientConfig;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming, client::Grpc, codegen::http::uri::PathAndQuery, transport::Channel,
};
use zeroize::Zeroizing;

use crate::{mesh, raw::Raw};

/// The mesh key, as bytes and as `MESH_KEY` takes it.
pub(crate) const KEY: u8 = 7;
const KEY_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(30);

pub(crate) fn key(byte: u8) -> MeshKey {
    MeshKey::from_bytes(Zeroizing::new([byte; 32]))
}

pub(crate) struct Stage {
    address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
}

/// A report stream that goes on as long as it is kept.
pub(crate) struct Reporting {
    requests: mpsc::Sender<Vec<u8>>,
    responses: Streaming<Vec<u8>>,
}

impl Reporting {
    /// Says one message more, and waits until it was taken in or refused.
    pub(crate) async fn send(&mut self, sequence: u64, delta: Delta) -> Result<(), Status> {
        let request = ReportRequest {
            sequence,
            now_ms: mesh::NOW.as_millis(),
            body: Some(Body::Delta(delta)),
        };
        self.requests.send(request.encode_to_vec()).await.unwrap();
        self.answer().await
    }

    async fn answer(&mut self) -> Result<(), Status> {
        let answer = timeout(BOUND, self.responses.message()).await.unwrap();
        answer.map(|answer| assert!(answer.is_some(), "an answer before the end"))
    }
}

impl Stage {
    /// Serves until the runtime of the test ends.
    pub(crate) fn start() -> Self {
        let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let config = Config::new(key(KEY), Expectation::default());
        let counters = Arc::clone(&config.counters);
        tokio::spawn(run(listener, config, std::future::pending()));
        Self { address, counters }
    }

    /// The first message of an agent, in whatever bytes.
    pub(crate) async fn report(
        &self,
        name: &NodeName,
        first: Vec<u8>,
    ) -> Result<Reporting, Status> {
        self.report_at("/mesh.v1.Report/Stream", name, first).await
    }

    pub(crate) async fn report_at(
        &self,
        path: &'static str,
        name: &NodeName,
        first: Vec<u8>,
    ) -> Result<Reporting, Status> {
        let channel = self
            .channel(key(KEY).agent_config(name, b"machine").unwrap())
            .await;
        let (requests, receiver) = mpsc::channel(4);
        requests.send(first).await.unwrap();
        let mut grpc = Grpc::new(channel);
        grpc.ready().await.unwrap();
        let stream = Request::new(ReceiverStream::new(receiver));
        let call = grpc.streaming(stream, PathAndQuery::from_static(path), Raw);
        let responses = timeout(BOUND, call).await.unwrap()?.into_inner();
        let mut reporting = Reporting {
            requests,
            responses,
        };
        reporting.answer().await?;
        Ok(reporting)
    }

    /// A question of a reader, in whatever bytes.
    pub(crate) async fn call(
        &self,
        path: &'static str,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, Status> {
        let mut grpc = Grpc::new(self.reader().await);
        grpc.ready().await.unwrap();
        let call = grpc.unary(Request::new(request), PathAndQuery::from_static(path), Raw);
        timeout(BOUND, call)
            .await
            .unwrap()
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn verdict(&self) -> Verdict {
        let mut client = MeshClient::new(self.reader().await);
        let verdict = client.get(GetRequest {}).await.unwrap().into_inner();
        verdict_from_wire(verdict).unwrap()
    }

    pub(crate) async fn reader(&self) -> Channel {
        self.channel(key(KEY).reader_config().unwrap()).await
    }

    async fn channel(&self, tls: ClientConfig) -> Channel {
        let target = self.address.to_string();
        let dialled = Box::pin(dial(&target, Mark::None, Arc::new(tls)));
        timeout(BOUND, dialled).await.unwrap().unwrap()
    }

    pub(crate) async fn ask(&self, arguments: &str) -> Run {
        ask(self.address, arguments).await
    }
}

/// What the command line said.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `mesh-probe`, as it was built beside `lab`.
pub(crate) async fn ask(collector: SocketAddr, arguments: &str) -> Run {
    let programs = Binaries::beside(Path::new(env!("CARGO_BIN_EXE_lab")));
    let programs = programs.unwrap_or_else(|error| panic!("{error}"));
    let command = Command::new(programs.path("mesh-probe"))
        .env_clear()
        .env("MESH_KEY", KEY_TEXT)
        .env("MESH_COLLECTOR", collector.to_string())
        .args(arguments.split_whitespace())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(BOUND, command)
        .await
        .expect("an end in time")
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code().expect("no signal ended it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
