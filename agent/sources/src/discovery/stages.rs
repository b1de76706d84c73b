//! One connection to one address, stage by stage.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use evidence::{
    Moment,
    discovery::{DiscoveryCertificate, DiscoveryStage, FailureKind, Stage, StageFailure},
};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::timeout,
};
use tonic::transport::{Channel, Uri};
use tower::service_fn;

use super::{
    Endpoint, Roots, UNDERLAY_MARK,
    first_bytes::{Beginning, FirstBytes},
    proxy::Proxy,
    text::{chain, tame},
    tls,
};

/// How long each stage of a connection may take: three tries of SYN (1 s, 3 s) and their answers.
const WITHIN: Duration = Duration::from_secs(5);

/// Where to.
pub(super) struct Way<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// Of the endpoint, or of the proxy in front of it.
    pub(super) address: IpAddr,
    pub(super) proxy: Option<&'a Proxy>,
    pub(super) roots: &'a Roots,
}

/// How far one came.
pub(super) struct Connected {
    pub(super) stages: Stages,
    pub(super) certificate: Option<DiscoveryCertificate>,
    /// What calls go over, if one came so far.
    pub(super) channel: Option<Channel>,
}

/// Times the stages.
pub(super) struct Stages {
    clock: fn() -> Moment,
    pub(super) done: Vec<DiscoveryStage>,
}

/// Connects, and is done with whatever comes within twenty seconds.
pub(super) async fn connect(way: &Way<'_>, clock: fn() -> Moment) -> Connected {
    let mut connected = Connected {
        stages: Stages {
            clock,
            done: Vec::new(),
        },
        certificate: None,
        channel: None,
    };
    connected.channel = connected.through(way).await;
    connected
}

impl Connected {
    async fn through(&mut self, way: &Way<'_>) -> Option<Channel> {
        let port = way.proxy.map_or(way.endpoint.port, |proxy| proxy.port);
        let address = SocketAddr::new(way.address, port);
        let tcp = self.stages.step(Stage::Tcp, WITHIN, tcp(address));
        let mut stream = tcp.await?;
        if let Some(proxy) = way.proxy {
            let authority = way.endpoint.authority();
            let opened = proxy.open(&mut stream, &authority);
            self.stages.step(Stage::Proxy, WITHIN, opened).await?;
        }
        if !way.endpoint.tls {
            let started = Box::pin(http2(stream, way.endpoint));
            return self.stages.step(Stage::Http2, WITHIN, started).await;
        }
        let certificate = &mut self.certificate;
        let shake = async {
            // On the heap: it holds the buffers of a handshake.
            let shaken = Box::pin(tls::shake(stream, &way.endpoint.host, way.roots)).await;
            *certificate = shaken.certificate;
            shaken.stream
        };
        let stream = self.stages.step(Stage::Tls, WITHIN, shake).await?;
        let started = Box::pin(http2(stream, way.endpoint));
        self.stages.step(Stage::Http2, WITHIN, started).await
    }
}

impl Stages {
    /// Takes one more step, and notes how it went.
    pub(super) async fn step<T>(
        &mut self,
        stage: Stage,
        within: Duration,
        doing: impl Future<Output = Result<T, StageFailure>>,
    ) -> Option<T> {
        let (done, value) = timed(stage, within, self.clock, doing).await;
        self.done.push(done);
        value
    }
}

/// Does something that may take so long, and says how it went.
pub(super) async fn timed<T>(
    stage: Stage,
    within: Duration,
    clock: fn() -> Moment,
    doing: impl Future<Output = Result<T, StageFailure>>,
) -> (DiscoveryStage, Option<T>) {
    let begun = Instant::now();
    let result = timeout(within, doing).await.unwrap_or_else(|_| {
        let text = format!("nothing came within {} s", within.as_secs());
        Err(failure(FailureKind::Silent, &text))
    });
    let took_us = u32::try_from(begun.elapsed().as_micros()).unwrap_or(u32::MAX);
    let (value, failure) = match result {
        Ok(value) => (Some(value), None),
        Err(failure) => (None, Some(failure)),
    };
    let done = DiscoveryStage {
        stage,
        at: clock(),
        took_us,
        failure,
    };
    (done, value)
}

pub(super) fn failure(kind: FailureKind, text: &str) -> StageFailure {
    StageFailure {
        kind,
        text: tame(text),
    }
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, StageFailure> {
    let refused = |error: io::Error| failure(errno(&error), &error.to_string());
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(refused)?;
    // Without CAP_NET_ADMIN the routes decide, as they do for Talos' own client.
    let _unmarked = socket.set_mark(UNDERLAY_MARK);
    socket.set_nonblocking(true).map_err(refused)?;
    socket.set_tcp_nodelay(true).map_err(refused)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(address).await.map_err(refused)
}

fn errno(error: &io::Error) -> FailureKind {
    match Errno::from_io_error(error) {
        Some(Errno::CONNREFUSED) => FailureKind::Refused,
        Some(
            Errno::HOSTUNREACH
            | Errno::NETUNREACH
            | Errno::ADDRNOTAVAIL
            | Errno::AFNOSUPPORT
            | Errno::INVAL
            | Errno::PERM
            | Errno::ACCESS,
        ) => FailureKind::Unreachable,
        Some(Errno::TIMEDOUT) => FailureKind::Silent,
        Some(Errno::CONNRESET | Errno::PIPE) => FailureKind::Reset,
        _ => FailureKind::Other,
    }
}

/// HTTP/2 is spoken when the far end has begun to.
async fn http2<S>(stream: S, endpoint: &Endpoint) -> Result<Channel, StageFailure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let other = |error: &dyn std::error::Error| failure(FailureKind::Other, &chain(error));
    let scheme = if endpoint.tls { "https" } else { "http" };
    let origin = format!("{scheme}://{}", endpoint.authority()).parse::<Uri>();
    let origin = origin.map_err(|error| other(&error))?;
    let (stream, beginning) = FirstBytes::new(stream);
    let mut stream = Some(stream);
    let connector = service_fn(move |_: Uri| {
        let next = stream.take();
        async move {
            let next = next.ok_or_else(|| io::Error::other("the connection has ended"));
            next.map(TokioIo::new)
        }
    });
    let channel = Channel::from_static("http://discovery.internal")
        .origin(origin)
        .connect_with_connector(connector)
        .await
        .map_err(|error| other(&error))?;
    match beginning.await {
        Ok(Beginning::Settings) => Ok(channel),
        Ok(Beginning::Other(bytes)) => {
            let text = format!("it begins with \"{}\"", bytes.escape_ascii());
            Err(failure(FailureKind::Garbage, &text))
        }
        Ok(Beginning::End) | Err(_) => {
            let text = "the far end hung up before it said anything";
            Err(failure(FailureKind::Reset, text))
        }
    }
}
