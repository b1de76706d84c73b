//! Bounds on the connections that are open. The transport's own bound ends with the TLS handshake.
//!
//! Readers have places of their own, and an agent has a few: so whoever holds the credentials of a reader, or of one node, can keep
//! no other agent out.

use std::{
    collections::BTreeMap,
    io::{self, IoSlice},
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use proto::{
    limits,
    transport::{self, Accepted, Incoming},
    trust::{Callers, Role},
};
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Sleep, sleep},
};
use tokio_rustls::server::TlsStream;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::transport::server::Connected;
use tracing::{debug, warn};

use crate::counters::Counters;

/// A connection that holds its place among the bounded ones until it is closed.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TlsStream<Accepted>,
    /// Whether nothing was said on it yet.
    is_silent: bool,
    /// When something must have been said. It begins where the connection is served, whose clock goes as long as that.
    silent_until: Option<Pin<Box<Sleep>>>,
    callers: Arc<Callers>,
    counters: Arc<Counters>,
    place: Place,
}

/// The other end of a connection; every request carries it.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) address: Option<SocketAddr>,
    /// The client certificate that TLS has verified.
    pub(crate) certificate: Option<CertificateDer<'static>>,
    /// By what its holder is known.
    pub(crate) callers: Arc<Callers>,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) agents: usize,
    /// Of one agent.
    pub(crate) each: usize,
    /// Readers, and whoever else TLS has let in.
    pub(crate) readers: usize,
    /// Of these, from one network.
    pub(crate) network: usize,
}

impl Bounds {
    /// Those of the gRPC listener.
    pub(crate) const fn of_reports() -> Self {
        Self {
            agents: limits::CONNECTIONS_OF_AGENTS,
            each: limits::CONNECTIONS_OF_AN_AGENT,
            readers: limits::READER_CONNECTIONS,
            network: limits::READER_CONNECTIONS_OF_A_NETWORK,
        }
    }
}

/// Who is on the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    /// An agent, by what is pinned of it.
    Agent([u8; 32]),
    /// Anybody else, by the network.
    Network(IpAddr),
}

/// The places that are left.
#[derive(Debug)]
struct Places {
    bounds: Bounds,
    agents: Arc<Semaphore>,
    readers: Arc<Semaphore>,
    /// Of those that have a connection.
    each: BTreeMap<Whose, Weak<Semaphore>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
struct Place {
    _shared: OwnedSemaphorePermit,
    /// One of the few of its holder.
    _own: OwnedSemaphorePermit,
    is_agent: bool,
}

impl Places {
    fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            agents: Arc::new(Semaphore::new(bounds.agents)),
            readers: Arc::new(Semaphore::new(bounds.readers)),
            each: BTreeMap::new(),
        }
    }

    /// A place for a connection; else which bound is reached.
    fn take(&mut self, whose: Whose) -> Result<Place, (&'static str, usize)> {
        let Bounds {
            agents,
            each,
            readers,
            network,
        } = self.bounds;
        let is_agent = matches!(whose, Whose::Agent(_));
        let (all, bound, own, own_bound) = if is_agent {
            (&self.agents, ("agents", agents), "one agent", each)
        } else {
            let own = "readers of one network";
            (&self.readers, ("readers", readers), own, network)
        };
        self.each.retain(|_, places| places.strong_count() > 0);
        let known = self.each.get(&whose).and_then(Weak::upgrade);
        let few = known.unwrap_or_else(|| Arc::new(Semaphore::new(own_bound)));
        self.each.insert(whose, Arc::downgrade(&few));
        let few = few.try_acquire_owned().map_err(|_| (own, own_bound))?;
        let shared = Arc::clone(all).try_acquire_owned().map_err(|_| bound)?;
        Ok(Place {
            _shared: shared,
            _own: few,
            is_agent,
        })
    }
}

/// Passes connections on; closes and counts those over a bound.
pub(crate) fn bounded(
    incoming: Incoming,
    bounds: Bounds,
    callers: Arc<Callers>,
    counters: Arc<Counters>,
) -> impl Stream<Item = io::Result<Connection>> {
    let mut places = Places::new(bounds);
    ReceiverStream::new(incoming).filter_map(move |accepted| {
        let stream = match accepted {
            Ok(stream) => stream,
            Err(error) => return Some(Err(error)),
        };
        match places.take(whose(&stream, &callers)) {
            Ok(place) => Some(Ok(Connection {
                stream,
                is_silent: true,
                silent_until: None,
                callers: Arc::clone(&callers),
                counters: Arc::clone(&counters),
                place,
            })),
            Err((of, limit)) => {
                counters.connections_refused.add();
                warn!(of, limit, "too many connections, one was closed");
                None
            }
        }
    })
}

fn whose(stream: &TlsStream<Accepted>, callers: &Callers) -> Whose {
    let (tcp, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(|chain| chain.first());
    let caller = certificate.and_then(|certificate| callers.caller(certificate).ok());
    match caller.filter(|caller| caller.role == Role::Agent) {
        Some(agent) => Whose::Agent(agent.key),
        None => Whose::Network(address(tcp).map_or(
            // One that has gone already.
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            |address| transport::network(address.ip()),
        )),
    }
}

fn address(accepted: &Accepted) -> Option<SocketAddr> {
    accepted
        .tcp()
        .and_then(TcpStream::peer_addr)
        .ok()
        .map(plain)
}

impl Connection {
    fn is_agent(&self) -> bool {
        self.place.is_agent
    }

    /// From now on the runtime in which this is called looks after it.
    pub(crate) fn go_over(mut self) -> io::Result<Self> {
        self.stream.get_mut().0.go_over()?;
        Ok(self)
    }

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
            address: address(tcp),
            certificate: chain.first().cloned(),
            callers: Arc::clone(&self.callers),
        }
    }
}

/// Parts connections of agents from those of everybody else.
pub(crate) fn parted(
    connections: impl Stream<Item = io::Result<Connection>> + Send + 'static,
    bounds: Bounds,
) -> Parted {
    // Who waits holds a place, so there is always room: none keeps another kind waiting.
    let (to_agents, agents) = mpsc::channel(bounds.agents);
    let (to_readers, readers) = mpsc::channel(bounds.readers);
    tokio::spawn(async move {
        tokio::pin!(connections);
        loop {
            // When nobody serves any more, nobody is let in.
            let accepted = tokio::select! {
                () = to_agents.closed() => return,
                () = to_readers.closed() => return,
                accepted = connections.next() => accepted,
            };
            let Some(accepted) = accepted else { return };
            let is_agent = accepted.as_ref().is_ok_and(Connection::is_agent);
            let to = if is_agent { &to_agents } else { &to_readers };
            if to.send(accepted).await.is_err() {
                return;
            }
        }
    });
    Parted {
        agents: ReceiverStream::new(agents),
        readers: ReceiverStream::new(readers),
    }
}

/// Connections by who has made them.
#[derive(Debug)]
pub(crate) struct Parted {
    pub(crate) agents: ReceiverStream<io::Result<Connection>>,
    /// Of readers, and of whoever else TLS has let in.
    pub(crate) readers: ReceiverStream<io::Result<Connection>>,
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
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if !self.is_silent {
            return read;
        }
        if buffer.filled().len() > before {
            self.is_silent = false;
            self.silent_until = None;
            return read;
        }
        let silent_until = self
            .silent_until
            .get_or_insert_with(|| Box::pin(sleep(limits::FIRST_WORD)));
        if read.is_pending() && silent_until.as_mut().poll(cx).is_ready() {
            self.counters.connections_silent.add();
            debug!("a connection on which nothing was said is closed");
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
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

    const FEW: Bounds = Bounds {
        agents: 3,
        each: 2,
        readers: 2,
        network: 1,
    };

    #[test]
    fn readers_take_no_place_of_an_agent_and_one_client_leaves_room_for_others() {
        let mut places = Places::new(FEW);
        let [one, other] = [1, 2].map(|key| Whose::Agent([key; 32]));
        let [here, there, beyond] = [1, 2, 3].map(|host| Whose::Network([192, 0, 2, host].into()));
        let reader = places.take(here).unwrap();
        let of_network = ("readers of one network", 1);
        assert_eq!(places.take(here).unwrap_err(), of_network);
        let second_reader = places.take(there).unwrap();
        assert_eq!(places.take(beyond).unwrap_err(), ("readers", 2));
        let first = places.take(one).unwrap();
        let second = places.take(one).unwrap();
        assert_eq!(places.take(one).unwrap_err(), ("one agent", 2));
        let third = places.take(other).unwrap();
        assert_eq!(places.take(other).unwrap_err(), ("agents", 3));
        drop((reader, second_reader, first));
        assert!(places.take(beyond).is_ok());
        let again = places.take(one).unwrap();
        drop((second, third, again));
        assert!(places.take(other).is_ok());
        assert_eq!(places.each.len(), 1, "who is gone is forgotten");
    }

    #[tokio::test]
    async fn a_connection_over_the_limit_is_closed_and_a_closed_one_makes_room() {
        let key = MeshKey::from_bytes([1; 32].into());
        let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let target = listener.local_addr().unwrap().to_string();
        let tls = Arc::new(key.reader_config().unwrap());
        let counters = Arc::new(Counters::default());
        let server = Arc::new(key.server_config().unwrap());
        let connections = incoming(listener, server, Arc::default());
        let mut connections = Box::pin(bounded(
            connections,
            FEW,
            Arc::new(Callers::Derived),
            Arc::clone(&counters),
        ));
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
