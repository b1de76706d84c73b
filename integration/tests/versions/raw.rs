//! gRPC of messages that are bytes already: what another version writes, no type of ours can.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use prost::bytes::{Buf as _, BufMut as _};
use proto::{
    transport::{incoming, listen},
    trust::MeshKey,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status,
    body::Body,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http,
    server::NamedService,
    transport::Server,
};

/// Takes and gives whole messages as they are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let mut item = vec![0; buffer.remaining()];
        buffer.copy_to_slice(&mut item);
        Ok(Some(item))
    }
}

/// What a collector of another version answers, by the path of the call.
pub(crate) type Answers = BTreeMap<&'static str, Result<Vec<u8>, Status>>;

/// Serves the answers until the runtime of the test ends.
pub(crate) fn serve(key: &MeshKey, answers: Answers) -> SocketAddr {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Arc::new(key.server_config().unwrap());
    let connections = ReceiverStream::new(incoming(listener, tls, Arc::default()));
    let answers = Arc::new(answers);
    let served = Server::builder()
        .add_service(Gates(Arc::clone(&answers)))
        .add_service(Meshes(answers))
        .serve_with_incoming(connections);
    tokio::spawn(served);
    address
}

#[derive(Clone)]
struct Gates(Arc<Answers>);

#[derive(Clone)]
struct Meshes(Arc<Answers>);

impl NamedService for Gates {
    const NAME: &'static str = "mesh.v1.Gate";
}

impl NamedService for Meshes {
    const NAME: &'static str = "mesh.v1.Mesh";
}

type Answer = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

fn answer(answers: &Answers, request: http::Request<Body>) -> Answer {
    let said = answers.get(request.uri().path()).cloned();
    let said = said.unwrap_or_else(|| Err(Status::unimplemented("not in this test")));
    Box::pin(async move {
        let call = tower::service_fn(move |_: Request<Vec<u8>>| {
            let said = said.clone();
            async move { said.map(Response::new) }
        });
        Ok(tonic::server::Grpc::new(Raw).unary(call, request).await)
    })
}

impl tower::Service<http::Request<Body>> for Gates {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        answer(&self.0, request)
    }
}

impl tower::Service<http::Request<Body>> for Meshes {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Answer {
        answer(&self.0, request)
    }
}
