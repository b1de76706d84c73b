//! A bound on the connections that are open. The transport's own bound ends with the TLS handshake.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use proto::{limits, transport::Incoming};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::server::Connected;
use tracing::warn;

use crate::counters::Counters;

/// A connection that holds its place among [`limits::CONNECTIONS`] until it is closed.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    _place: OwnedSemaphorePermit,
}

/// The other end of a connection; every request carries it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) address: Option<SocketAddr>,
    /// The client certificate that TLS has verified.
    pub(crate) certificate: Option<CertificateDer<'static>>,
}

/// Passes connections on; closes and counts those over the limit.
pub(crate) fn bounded(
    incoming: Incoming,
    counters: Arc<Counters>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(limits::CONNECTIONS));
    ReceiverStream::new(incoming).filter_map(move |accepted| {
        let place = Arc::clone(&places).try_acquire_owned();
        match (accepted, place) {
            (Ok(stream), Ok(place)) => Some(Ok(Connection {
                stream,
                _place: place,
            })),
            (Ok(_), Err(_)) => {
                counters.connections_refused.add();
                warn!(
                    limit = limits::CONNECTIONS,
                    "too many connections, one was closed"
                );
                None
            }
            (Err(error), _) => Some(Err(error)),
        }
    })
}

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        let (tcp, session) = self.stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        Remote {
            address: tcp.peer_addr().ok(),
            certificate: chain.first().cloned(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
