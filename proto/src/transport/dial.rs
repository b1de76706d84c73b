//! The client's side.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, ServerName},
};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use super::UNDERLAY_MARK;
use crate::{
    limits,
    trust::{AGENT_NAME, COLLECTOR_NAME, Caller, CallerError, caller},
};

/// Which way a connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The underlay, past the tunnel: needs `CAP_NET_ADMIN`.
    Underlay,
    /// Whatever the routes say.
    None,
}

/// A collector, reached.
#[derive(Clone, Debug)]
pub struct Reached {
    /// For calls.
    pub channel: Channel,
    /// Which address answered.
    pub address: SocketAddr,
}

/// An agent, reached over TLS.
#[derive(Clone, Debug)]
pub struct ReachedAgent {
    /// For calls.
    pub channel: Channel,
    /// Who it is, as its certificate says.
    pub who: Caller,
}

/// Why nobody could be reached: each stage has its own error.
#[derive(Debug, Error)]
pub enum DialError {
    /// The name has no address.
    #[error("failed to resolve {target}")]
    Resolve {
        /// `host:port`.
        target: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The name resolved to nothing.
    #[error("{0} has no address")]
    NoAddress(String),
    /// The mark could not be set.
    #[error("failed to set mark 0x20 on the socket (needs CAP_NET_ADMIN)")]
    Mark(#[source] io::Error),
    /// TCP failed.
    #[error("failed to connect to {address}")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TCP took too long.
    #[error("no answer from {0} within 3 s")]
    ConnectTimeout(SocketAddr),
    /// Somebody took the connection, and then said nothing.
    #[error("{0} took the connection and was not done with the TLS handshake within 5 s")]
    TlsTimeout(SocketAddr),
    /// TLS failed, here or at the collector: most often another mesh key.
    #[error(
        "failed the TLS handshake with {address} (is it the same mesh key? with own certificates: the same authority and trust domain?)"
    )]
    Tls {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What answers there speaks something else.
    #[error("{address} does not speak TLS")]
    NotTls {
        /// Where.
        address: SocketAddr,
        /// What rustls made of its first bytes.
        #[source]
        source: io::Error,
    },
    /// The collector took the connection and ended it without a reason: it is stopping, or has too many.
    #[error("{address} closed the connection before it said anything")]
    Closed {
        /// Where.
        address: SocketAddr,
        /// How.
        #[source]
        source: io::Error,
    },
    /// The local socket of an agent.
    #[error("failed to connect to the socket {}", path.display())]
    Socket {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificate of an agent does not say which node it is.
    #[error("failed to learn which node {address} is")]
    Node {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: CallerError,
    },
    /// HTTP/2 failed.
    #[error("failed to start HTTP/2 with {address}")]
    Http {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
}

impl DialError {
    /// Whether nobody was there: no answer, a refusal by the kernel of a host or by somebody on the way, or no route. Another way
    /// may lead to who is meant. Who has taken the connection is there, and would say the same by any way.
    pub const fn is_unanswered(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::ConnectTimeout(_))
    }
}

/// Connects to a collector at `host:port`, trying each of its addresses.
pub async fn dial(target: &str, mark: Mark, tls: Arc<ClientConfig>) -> Result<Channel, DialError> {
    let (stream, address) = dial_each(target, mark, &tls, COLLECTOR_NAME).await?;
    over(stream, address).await
}

/// Connects to a collector at one address.
pub async fn dial_collector(
    address: SocketAddr,
    mark: Mark,
    tls: Arc<ClientConfig>,
) -> Result<Reached, DialError> {
    let stream = dial_address(address, mark, tls, COLLECTOR_NAME).await?;
    let channel = over(stream, address).await?;
    Ok(Reached { channel, address })
}

/// The addresses of `host:port`, in the order of the resolver; at least one.
pub async fn resolve(target: &str) -> Result<Vec<SocketAddr>, DialError> {
    let found = lookup_host(target)
        .await
        .map_err(|source| DialError::Resolve {
            target: target.to_owned(),
            source,
        })?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(DialError::NoAddress(target.to_owned()));
    }
    Ok(addresses)
}

/// Connects to an agent at `host:port`, trying each of its addresses; `tls` trusts agents
/// ([`reader_of_agents_config`](crate::trust::MeshKey::reader_of_agents_config)).
pub async fn dial_agent(
    target: &str,
    mark: Mark,
    tls: Arc<ClientConfig>,
) -> Result<ReachedAgent, DialError> {
    let (stream, address) = dial_each(target, mark, &tls, AGENT_NAME).await?;
    let chain = stream.get_ref().1.peer_certificates();
    let first = chain.and_then(|chain| chain.first());
    let who = caller(first.map_or(&[], CertificateDer::as_ref))
        .map_err(|source| DialError::Node { address, source })?;
    let channel = over(stream, address).await?;
    Ok(ReachedAgent { channel, who })
}

/// Connects to the agent of this machine. Who may open its socket may read; there are no certificates.
pub async fn dial_socket(path: &Path) -> Result<Channel, DialError> {
    let failed = |source| DialError::Socket {
        path: path.to_owned(),
        source,
    };
    let connected = timeout(limits::CONNECT, UnixStream::connect(path)).await;
    let stream = connected
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        .map_err(failed)?;
    over(stream, path.display()).await
}

async fn dial_each(
    target: &str,
    mark: Mark,
    tls: &Arc<ClientConfig>,
    name: &'static str,
) -> Result<(TlsStream<TcpStream>, SocketAddr), DialError> {
    let mut last = DialError::NoAddress(target.to_owned());
    for address in resolve(target).await? {
        match dial_address(address, mark, Arc::clone(tls), name).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn dial_address(
    address: SocketAddr,
    mark: Mark,
    tls: Arc<ClientConfig>,
    name: &'static str,
) -> Result<TlsStream<TcpStream>, DialError> {
    let stream = timeout(limits::CONNECT, connect_tcp(address, mark))
        .await
        .map_err(|_| DialError::ConnectTimeout(address))??;
    let mut stream = timeout(limits::TLS_HANDSHAKE, connect_tls(stream, tls, name))
        .await
        .map_err(|_| DialError::TlsTimeout(address))?
        .map_err(|source| failed(address, source))?;
    // A server that is slow to say something has not refused us.
    if let Ok(heard) = timeout(limits::FIRST_BYTES, first_bytes(&mut stream)).await {
        heard.map_err(|source| ended(address, source))?;
    }
    Ok(stream)
}

async fn connect_tcp(address: SocketAddr, mark: Mark) -> Result<TcpStream, DialError> {
    let connect = |source| DialError::Connect { address, source };
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )
    .map_err(connect)?;
    if mark == Mark::Underlay {
        socket.set_mark(UNDERLAY_MARK).map_err(DialError::Mark)?;
    }
    socket.set_nonblocking(true).map_err(connect)?;
    socket.set_tcp_nodelay(true).map_err(connect)?;
    // On a path that swallows large packets in silence the reports must still come through: they tell of it.
    socket.set_tcp_mss(limits::SEGMENT).map_err(connect)?;
    // A path that died must end the connection in seconds, not in the kernel's quarter of an hour.
    socket
        .set_tcp_user_timeout(Some(limits::TLS_HANDSHAKE))
        .map_err(connect)?;
    socket
        .set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(limits::TLS_HANDSHAKE)
                .with_interval(limits::CONNECT),
        )
        .map_err(connect)?;
    TcpSocket::from_std_stream(socket.into())
        .connect(address)
        .await
        .map_err(connect)
}

async fn connect_tls(
    stream: TcpStream,
    tls: Arc<ClientConfig>,
    name: &'static str,
) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    TlsConnector::from(tls).connect(name, stream).await
}

/// Waits for the collector to speak, which HTTP/2 makes it do at once, and leaves what it says in the stream.
///
/// In TLS 1.3 a client is done before the server judges its certificate. Whoever sends first may lose the alert that
/// says why the server hung up; whoever listens first reads it.
async fn first_bytes(stream: &mut TlsStream<TcpStream>) -> io::Result<()> {
    match stream.fill_buf().await? {
        [] => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A handshake that failed: about certificates, or because the other side knows of none.
fn failed(address: SocketAddr, source: io::Error) -> DialError {
    let other = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    if by_tls(&source) == Some(&other) {
        DialError::NotTls { address, source }
    } else {
        DialError::Tls { address, source }
    }
}

fn by_tls(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// A connection that ended before the first bytes: by TLS with its reason, or without one.
fn ended(address: SocketAddr, source: io::Error) -> DialError {
    if by_tls(&source).is_some() {
        DialError::Tls { address, source }
    } else {
        DialError::Closed { address, source }
    }
}

/// One channel over one stream: when the stream ends, the channel is dead, and the caller dials again and knows it.
async fn over(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    address: impl fmt::Display,
) -> Result<Channel, DialError> {
    let mut stream = Some(stream);
    let connector = service_fn(move |_: Uri| {
        let next = stream
            .take()
            .ok_or_else(|| io::Error::other("the connection has ended"));
        async move { next.map(TokioIo::new) }
    });
    Endpoint::from_static("http://collector.mesh.internal")
        .http2_keep_alive_interval(limits::TLS_HANDSHAKE)
        .keep_alive_timeout(limits::TLS_HANDSHAKE)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(|source| DialError::Http {
            address: address.to_string(),
            source,
        })
}
