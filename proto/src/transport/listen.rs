//! The server's side.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Accepted, UNDERLAY_MARK,
    suspects::{Suspects, network},
};
use crate::limits;

/// Finished handshakes that wait to be served.
const ACCEPTED: usize = 64;
/// Connections that the kernel holds for us.
const BACKLOG: i32 = 1024;

/// Why a collector cannot listen.
#[derive(Debug, Error)]
#[error("failed to listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// Connections whose TLS handshake is done.
pub type Incoming = mpsc::Receiver<io::Result<TlsStream<Accepted>>>;

/// Listens on `address`. The socket carries the underlay mark if the process may set it, because answers to a node
/// address must not be pulled into the tunnel; accepted connections inherit it. Returns whether the mark is set.
pub fn listen(address: SocketAddr) -> Result<(TcpListener, bool), ListenError> {
    open(address).map_err(|source| ListenError { address, source })
}

fn open(address: SocketAddr) -> io::Result<(TcpListener, bool)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        // Both families, whatever the machine has as its default.
        socket.set_only_v6(false)?;
    }
    let marked = socket.set_mark(UNDERLAY_MARK).is_ok();
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok((TcpListener::from_std(socket.into())?, marked))
}

/// What became of connections that were never served, since the start.
#[derive(Debug, Default)]
pub struct Unserved {
    /// Handshakes that failed: no TLS, no certificate, or that of somebody else.
    pub failed: AtomicU64,
    /// Handshakes that were not done in time.
    pub late: AtomicU64,
    /// Handshakes that had to make room for newer ones.
    pub displaced: AtomicU64,
    /// Handshakes that were made in the last lane, because one of their network had been wrong a short while ago.
    pub last: AtomicU64,
}

/// Where handshakes are made. What makes them slow is computing, so who makes them may let others go first: threads that stand
/// back, and served connections stay where the listener is.
#[derive(Clone, Debug)]
pub struct Lanes {
    /// Of networks of which none was wrong of late: no TLS, or the certificate of somebody else.
    pub first: Handle,
    /// Of the others.
    pub last: Handle,
}

impl Lanes {
    /// All of them here, beside everything else.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub fn here() -> Self {
        Self {
            first: Handle::current(),
            last: Handle::current(),
        }
    }
}

/// Accepts until the receiver is dropped. Handshakes run beside each other, each with a time limit, so one slow client
/// delays nobody; over [`limits::HANDSHAKES`] of them at once, the oldest one of the address that has most is given up for
/// each new one: so whoever opens connections and says nothing keeps no one else out. Connections that are done
/// with the handshake are not bounded here: that is for whoever receives and holds them.
pub fn incoming(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    unserved: Arc<Unserved>,
) -> Incoming {
    incoming_with(listener, watch::channel(tls).1, unserved, Lanes::here())
}

/// The same with another bound on handshakes at a time, and without counts.
pub fn incoming_few(listener: TcpListener, tls: Arc<ServerConfig>, handshakes: usize) -> Incoming {
    let tls = watch::channel(tls).1;
    start(listener, tls, handshakes, Arc::default(), Lanes::here())
}

/// The same with a configuration that may change, each handshake begins with the newest; and with places to make them. The
/// connections are served where this is called.
pub fn incoming_with(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    unserved: Arc<Unserved>,
    lanes: Lanes,
) -> Incoming {
    start(listener, tls, limits::HANDSHAKES, unserved, lanes)
}

fn start(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    most: usize,
    unserved: Arc<Unserved>,
    lanes: Lanes,
) -> Incoming {
    let (sender, receiver) = mpsc::channel(ACCEPTED.min(most));
    let handshakes = Handshakes {
        tls,
        most,
        running: JoinSet::new(),
        places: Places::default(),
        suspects: Suspects::default(),
        unserved,
        lanes,
    };
    tokio::spawn(accept(listener, handshakes, sender));
    receiver
}

async fn accept(
    listener: TcpListener,
    mut handshakes: Handshakes,
    sender: mpsc::Sender<io::Result<TlsStream<Accepted>>>,
) {
    loop {
        tokio::select! {
            () = sender.closed() => return,
            Some(done) = handshakes.next_done(), if !handshakes.running.is_empty() => {
                if let Some(stream) = done {
                    drop(sender.send(Ok(stream)).await);
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => handshakes.begin(stream, network(from.ip())),
                // Out of descriptors, most likely: give the others time to end.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// Handshakes that are going on.
struct Handshakes {
    tls: watch::Receiver<Arc<ServerConfig>>,
    most: usize,
    running: JoinSet<io::Result<TlsStream<Accepted>>>,
    places: Places<AbortHandle>,
    suspects: Suspects,
    unserved: Arc<Unserved>,
    lanes: Lanes,
}

impl Handshakes {
    fn begin(&mut self, stream: TcpStream, from: IpAddr) {
        if self.places.taken() >= self.most
            && let Some(oldest) = self.places.displace()
        {
            oldest.abort();
            self.unserved.displaced.fetch_add(1, Ordering::Relaxed);
        }
        let lane = if self.suspects.has(from, Instant::now().into_std()) {
            self.unserved.last.fetch_add(1, Ordering::Relaxed);
            &self.lanes.last
        } else {
            &self.lanes.first
        };
        let tls = TlsAcceptor::from(Arc::clone(&self.tls.borrow()));
        let handshake = async move {
            drop(stream.set_nodelay(true));
            let timed_out = |_| io::Error::from(io::ErrorKind::TimedOut);
            timeout(limits::TLS_HANDSHAKE, tls.accept(Accepted::new(stream)))
                .await
                .map_err(timed_out)?
        };
        let handle = self.running.spawn_on(handshake, lane);
        self.places.take(from, handle);
    }

    /// The next that has ended: a connection, if it went well. Nothing is lost when it is dropped.
    async fn next_done(&mut self) -> Option<Option<TlsStream<Accepted>>> {
        let ended = self.running.join_next_with_id().await?;
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let from = self.places.leave(|handle| handle.id() == id);
        // A failed handshake concerns only that client; it learns why by the TLS alert. A displaced one is counted already.
        Some(match ended {
            Ok((_, Ok(stream))) => Some(stream),
            Ok((_, Err(error))) => {
                let count = match error.kind() {
                    io::ErrorKind::TimedOut => &self.unserved.late,
                    _ => &self.unserved.failed,
                };
                count.fetch_add(1, Ordering::Relaxed);
                // What says no TLS, or the wrong one. Who is slow, or gives up, may have been kept waiting here.
                if let Some(from) = from.filter(|_| error.kind() == io::ErrorKind::InvalidData) {
                    self.suspects.note(from, Instant::now().into_std());
                }
                None
            }
            Err(_) => None,
        })
    }
}

/// Who holds the places, in the order in which they came.
#[derive(Debug)]
struct Places<T> {
    holders: VecDeque<(IpAddr, T)>,
}

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self {
            holders: VecDeque::new(),
        }
    }
}

impl<T> Places<T> {
    fn taken(&self) -> usize {
        self.holders.len()
    }

    fn take(&mut self, from: IpAddr, holder: T) {
        self.holders.push_back((from, holder));
    }

    /// Gives the place of a holder up; says whose it was.
    fn leave(&mut self, is_meant: impl Fn(&T) -> bool) -> Option<IpAddr> {
        let place = self.holders.iter().position(|(_, holder)| is_meant(holder));
        self.holders.remove(place?).map(|(from, _)| from)
    }

    /// Takes its place from the oldest one of the address that has most; of several such addresses, of the one that came first.
    fn displace(&mut self) -> Option<T> {
        let mut counts: BTreeMap<IpAddr, usize> = BTreeMap::new();
        for (from, _) in &self.holders {
            *counts.entry(*from).or_default() += 1;
        }
        let most = counts.values().max().copied()?;
        let oldest = self
            .holders
            .iter()
            .position(|(from, _)| counts.get(from) == Some(&most));
        self.holders.remove(oldest?).map(|(_, holder)| holder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_most_handshakes_going_makes_room() {
        let at = |last: u8| IpAddr::from([192, 0, 2, last]);
        let mut places = Places::default();
        for (from, holder) in [(1, "a"), (2, "b"), (3, "c"), (2, "d"), (3, "e")] {
            places.take(at(from), holder);
        }
        assert_eq!(places.displace(), Some("b"));
        assert_eq!(places.displace(), Some("c"));
        // One each is left: the oldest goes.
        assert_eq!(places.displace(), Some("a"));
        assert_eq!(places.leave(|holder| *holder == "d"), Some(at(2)));
        assert_eq!(places.taken(), 1);
        assert_eq!(places.displace(), Some("e"));
        assert_eq!(places.displace(), None);
    }
}
