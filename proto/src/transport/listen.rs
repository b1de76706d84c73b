//! The server's side.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::UNDERLAY_MARK;
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
pub type Incoming = mpsc::Receiver<io::Result<TlsStream<TcpStream>>>;

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

/// Accepts until the receiver is dropped. Handshakes run beside each other, each with a time limit, so one slow client
/// delays nobody; over [`limits::HANDSHAKES`] of them at once, new clients wait in the kernel. Connections that are done
/// with the handshake are not bounded here: that is for whoever receives and holds them.
pub fn incoming(listener: TcpListener, tls: Arc<ServerConfig>) -> Incoming {
    incoming_few(listener, tls, limits::HANDSHAKES)
}

/// The same with another bound on handshakes at a time.
pub fn incoming_few(listener: TcpListener, tls: Arc<ServerConfig>, handshakes: usize) -> Incoming {
    let (sender, receiver) = mpsc::channel(ACCEPTED.min(handshakes));
    tokio::spawn(accept(listener, TlsAcceptor::from(tls), handshakes, sender));
    receiver
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    handshakes: usize,
    sender: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
) {
    let handshakes = Arc::new(Semaphore::new(handshakes));
    while let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await {
        let accepted = tokio::select! {
            () = sender.closed() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: give the others time to end.
            sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let (tls, sender) = (tls.clone(), sender.clone());
        tokio::spawn(async move {
            drop(stream.set_nodelay(true));
            // A failed handshake concerns only that client; it learns why by the TLS alert.
            if let Ok(Ok(stream)) = timeout(limits::TLS_HANDSHAKE, tls.accept(stream)).await {
                drop(sender.send(Ok(stream)).await);
            }
            drop(permit);
        });
    }
}
