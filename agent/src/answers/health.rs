//! Two words over HTTP, for whoever restarts agents: nothing of the node is told, so nobody has to prove who he is.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use probe_io::clock;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{ACCEPT_AGAIN, Own, Refused, bound, failed};

/// Connections at a time; over it they wait in the kernel.
const CONNECTIONS: usize = 16;
/// Bytes of the head of a request: the least that the library takes. No path reads a body.
const HEAD_BYTES: usize = 8 * 1024;
/// Headers of one request.
const HEADERS: usize = 32;
/// Time for one question and its answer; each has a connection of its own.
const LIFETIME: Duration = Duration::from_secs(5);

/// Answers there until it cannot; says why.
pub(super) async fn serve(address: SocketAddr, own: &Own) -> Box<Refused> {
    let listener = match TcpListener::bind(address).await {
        Ok(listener) => listener,
        Err(error) => return failed("listen", error),
    };
    bound(&address, "/livez and /readyz can be asked by everybody");
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(ACCEPT_AGAIN).await;
            continue;
        };
        let own = own.clone();
        tokio::spawn(async move {
            one(stream, own).await;
            drop(place);
        });
    }
    failed("go on", std::io::ErrorKind::Other.into())
}

async fn one(stream: TcpStream, own: Own) {
    let answer = service_fn(|request| {
        let answer = answer(&request, &own);
        async { Ok::<_, Infallible>(answer) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(LIFETIME)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), answer);
    if let Ok(Err(error)) = timeout(LIFETIME, served).await {
        debug!(%error, "a question for health failed");
    }
}

fn answer(request: &Request<Incoming>, own: &Own) -> Response<String> {
    let now = clock::moment();
    let good = match request.uri().path() {
        "/livez" => Some(own.is_alive(now)),
        "/readyz" => Some(own.is_ready(now)),
        _ => None,
    };
    let (status, text) = match good {
        _ if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            (StatusCode::METHOD_NOT_ALLOWED, "expected GET or HEAD\n")
        }
        None => (StatusCode::NOT_FOUND, "expected /livez or /readyz\n"),
        Some(true) => (StatusCode::OK, "ok\n"),
        Some(false) => (StatusCode::SERVICE_UNAVAILABLE, "no\n"),
    };
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}
