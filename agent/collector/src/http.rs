//! HTTP for whoever has no gRPC: curl, Ansible, Terraform, Prometheus. And gRPC without credentials for the probes of
//! Kubernetes, which can have none: health and reflection, on the same port.
//!
//! Two kinds of listeners, and neither is on unless it is asked for. *Plain* has no credentials, so it tells what a level is
//! and no more, unless it is told to give details. *TLS* has the derived certificates, takes readers and agents, and tells all.

mod documents;
mod host;
mod limits;
mod page;
mod query;
mod routes;

use std::{io, sync::Arc};

use axum::{Extension, middleware};
use hyper::server::conn::{http1, http2};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use proto::transport::{self, Lanes};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_stream::StreamExt as _;
use tonic::transport::server::Connected as _;
use tracing::{debug, warn};

use crate::{access, certificates::Tls, connections::bounded, counters::Counters, rates::From};

pub(crate) use documents::error;
pub(crate) use routes::Surface;
use routes::{Details, router};

/// What a client of HTTP/2 says first; no method of HTTP/1 begins so.
const HTTP2: [u8; 3] = *b"PRI";

/// A listener and what is told there.
#[derive(Debug)]
pub struct Http {
    /// Where connections come from.
    pub listener: TcpListener,
    /// Who may come and what they are told.
    pub open: Open,
}

/// Who is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// Everybody, without credentials: whether levels are ready.
    Gates,
    /// Everybody, without credentials, and they are told everything.
    Everything,
    /// Readers and agents, by their certificates, over TLS: everything.
    Tls,
}

/// Serves until `stopped` has no sender any more.
pub(crate) async fn serve(
    http: Http,
    surface: Surface,
    trust: (Arc<Tls>, Lanes),
    stopped: watch::Receiver<()>,
) {
    let Http { listener, open } = http;
    let details = match open {
        Open::Gates => Details::Hidden,
        Open::Everything | Open::Tls => Details::Told,
    };
    let counters = Arc::clone(&surface.counters);
    let mut router = router(surface, details);
    let here = listener.local_addr();
    if open == Open::Everything && here.is_ok_and(|here| here.ip().is_loopback()) {
        router = router.layer(middleware::from_fn(host::own));
    }
    if open == Open::Tls {
        serve_tls(listener, trust, router, &counters, stopped).await;
    } else {
        serve_plain(listener, router, &counters, stopped).await;
    }
}

async fn serve_plain(
    listener: TcpListener,
    router: axum::Router,
    counters: &Counters,
    mut stopped: watch::Receiver<()>,
) {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, from)) = accepted else {
            // Out of descriptors, most likely: give the others time to end.
            sleep(limits::ACCEPT_AGAIN).await;
            continue;
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            counters.http_connections_refused.add();
            warn!(
                limit = limits::CONNECTIONS,
                "too many HTTP connections, one was closed"
            );
            continue;
        };
        let service = router.clone().layer(Extension(From(from)));
        tokio::spawn(plain(stream, service, stopped.clone(), place));
    }
}

async fn plain(
    stream: TcpStream,
    router: axum::Router,
    stopped: watch::Receiver<()>,
    place: OwnedSemaphorePermit,
) {
    let first = timeout(limits::HEADER_TIME, begins_with_http2(&stream)).await;
    match first {
        Ok(Ok(is_http2)) => connection(stream, is_http2, router, stopped).await,
        Ok(Err(error)) => debug!(%error, "HTTP connection ended before its first request"),
        Err(_) => debug!("HTTP connection said nothing"),
    }
    drop(place);
}

async fn begins_with_http2(stream: &TcpStream) -> io::Result<bool> {
    loop {
        let mut bytes = [0; HTTP2.len()];
        let read = stream.peek(&mut bytes).await?;
        let said = bytes.get(..read).unwrap_or_default();
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if read == HTTP2.len() || !HTTP2.starts_with(said) {
            return Ok(said == HTTP2);
        }
        // What is peeked at again is there at once; the rest of three bytes is on its way.
        sleep(limits::PEEK_AGAIN).await;
    }
}

async fn serve_tls(
    listener: TcpListener,
    (tls, lanes): (Arc<Tls>, Lanes),
    router: axum::Router,
    counters: &Arc<Counters>,
    mut stopped: watch::Receiver<()>,
) {
    let handshakes = Arc::clone(&counters.handshakes);
    let incoming = transport::incoming_with(listener, tls.https.clone(), handshakes, lanes);
    let callers = Arc::clone(&tls.callers);
    let connections = bounded(incoming, limits::BOUNDS, callers, Arc::clone(counters));
    tokio::pin!(connections);
    loop {
        let accepted = tokio::select! {
            _ = stopped.changed() => return,
            accepted = connections.next() => accepted,
        };
        let stream = match accepted {
            Some(Ok(stream)) => stream,
            Some(Err(_)) => continue,
            None => return,
        };
        let remote = stream.connect_info();
        if access::may_read(Some(&remote), counters).is_err() {
            continue;
        }
        let is_http2 = stream.speaks(b"h2");
        let router = match remote.address {
            Some(from) => router.clone().layer(Extension(From(from))),
            None => router.clone(),
        };
        tokio::spawn(connection(stream, is_http2, router, stopped.clone()));
    }
}

/// Serves one connection until it ends, its time is over, or the collector stops.
async fn connection<S>(
    stream: S,
    is_http2: bool,
    router: axum::Router,
    mut stopped: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = TowerToHyperService::new(router);
    let io = TokioIo::new(stream);
    let over = async move {
        tokio::select! {
            _ = stopped.changed() => {}
            () = sleep(limits::LIFETIME) => {}
        }
    };
    tokio::pin!(over);
    // The two builders have no type in common.
    macro_rules! until_over {
        ($connection:expr) => {{
            let connection = $connection;
            tokio::pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => told(ended),
                () = &mut over => {
                    connection.as_mut().graceful_shutdown();
                    if let Ok(ended) = timeout(limits::DRAIN, connection).await {
                        told(ended);
                    }
                }
            }
        }};
    }
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits::STREAMS)
            .max_header_list_size(limits::HEADER_LIST)
            .keep_alive_interval(limits::KEEPALIVE)
            .keep_alive_timeout(limits::KEEPALIVE);
        until_over!(builder.serve_connection(io, service));
    } else {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(limits::HEADER_TIME)
            .max_headers(limits::HEADERS)
            .max_buf_size(limits::REQUEST_BYTES);
        until_over!(builder.serve_connection(io, service));
    }
}

/// What a client does wrong on its own connection concerns nobody else.
fn told(ended: Result<(), hyper::Error>) {
    if let Err(error) = ended {
        debug!(%error, "HTTP connection ended");
    }
}
