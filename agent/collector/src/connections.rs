//! A bound on the connections that are open. The transport's own bound ends with the TLS handshake.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use proto::transport::Incoming;
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

/// A connection that holds its place among the bounded ones until it is closed.
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

/// Passes connections on; closes and counts those over `limit`.
pub(crate) fn bounded(
    incoming: Incoming,
    limit: usize,
    counters: Arc<Counters>,
) -> impl Stream<Item = io::Result<Connection>> {
    let places = Arc::new(Semaphore::new(limit));
    ReceiverStream::new(incoming).filter_map(move |accepted| {
        let place = Arc::clone(&places).try_acquire_owned();
        match (accepted, place) {
            (Ok(stream), Ok(place)) => Some(Ok(Connection {
                stream,
                _place: place,
            })),
            (Ok(_), Err(_)) => {
                counters.connections_refused.add();
                warn!(limit, "too many connections, one was closed");
                None
            }
            (Err(error), _) => Some(Err(error)),
        }
    })
}

impl Connection {
    /// Whether TLS has agreed on that protocol.
    pub(crate) fn speaks(&self, protocol: &[u8]) -> bool {
        self.stream.get_ref().1.alpn_protocol() == Some(protocol)
    }
}

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        let (tcp, session) = self.stream.get_ref();
        let chain = session.peer_certificates().unwrap_or_default();
        Remote {
            address: tcp.peer_addr().ok().map(plain),
            certificate: chain.first().cloned(),
        }
    }
}

/// The address of IPv4 that a socket of both families shows as one of IPv6.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proto::{
        transport::{Mark, dial, incoming, listen},
        trust::MeshKey,
    };
    use tokio::time::timeout;

    use super::*;

    const BOUND: Duration = Duration::from_secs(20);

    #[test]
    fn an_address_of_ipv4_is_told_as_one_on_a_socket_of_both_families() {
        for (seen, told) in [
            ("[::ffff:192.0.2.1]:5", "192.0.2.1:5"),
            ("[2001:db8::1]:5", "[2001:db8::1]:5"),
        ] {
            assert_eq!(plain(seen.parse().unwrap()).to_string(), told);
        }
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_is_closed_and_a_closed_one_makes_room() {
        let key = MeshKey::from_bytes([1; 32].into());
        let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let tls = Arc::new(key.reader_config().unwrap());
        let counters = Arc::new(Counters::default());
        let connections = incoming(listener, Arc::new(key.server_config().unwrap()));
        let mut connections = Box::pin(bounded(connections, 1, Arc::clone(&counters)));
        let dialled = || dial(&target, Mark::None, Arc::clone(&tls));

        let _a = dialled().await;
        let first = timeout(BOUND, connections.next()).await.unwrap();
        assert!(first.is_some());
        let _b = dialled().await;
        timeout(BOUND, async {
            while counters.connections_refused.get() == 0 {
                let passed = timeout(Duration::from_millis(20), connections.next()).await;
                assert!(passed.is_err(), "a second connection was passed on");
            }
        })
        .await
        .unwrap();
        drop(first);
        let _c = dialled().await;
        assert!(timeout(BOUND, connections.next()).await.unwrap().is_some());
    }
}
