//! The sockets of a resolver's client.
//!
//! They are connected, unlike the library's own: so the kernel tells of a port that is closed, which is not silence.

use std::{
    future::{Future, pending},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use tokio::{io::ReadBuf, net::UdpSocket};

use crate::refusal;

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

/// Opens the sockets of one resolver's client.
#[derive(Clone, Default)]
pub(super) struct Asking(TokioRuntimeProvider);

/// A socket that hears one resolver, and what the network says of it.
pub(super) struct Connected {
    socket: Arc<UdpSocket>,
    resolver: SocketAddr,
    /// Ends when the network has said something: an error alone does not make a socket readable.
    failed: Mutex<Opening<()>>,
}

impl RuntimeProvider for Asking {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Connected;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> Self::Handle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        to: SocketAddr,
        from: Option<SocketAddr>,
        within: Option<Duration>,
    ) -> Opening<Self::Tcp> {
        self.0.connect_tcp(to, from, within)
    }

    fn bind_udp(&self, local: SocketAddr, resolver: SocketAddr) -> Opening<Self::Udp> {
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            socket.connect(resolver).await?;
            let socket = Arc::new(socket);
            let failed = Mutex::new(Box::pin(failed(Arc::clone(&socket))) as Opening<()>);
            Ok(Connected {
                socket,
                resolver,
                failed,
            })
        })
    }
}

impl DnsUdpSocket for Connected {
    type Time = TokioTime;

    fn poll_recv_from(
        &self,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Poll::Ready(Err(error)) = failed.as_mut().poll(context) {
            // What has ended must not be asked again.
            *failed = Box::pin(pending());
            return Poll::Ready(Err(error));
        }
        let mut bytes = ReadBuf::new(bytes);
        ready!(self.socket.poll_recv(context, &mut bytes))?;
        Poll::Ready(Ok((bytes.filled().len(), self.resolver)))
    }

    fn poll_send_to(
        &self,
        context: &mut Context<'_>,
        bytes: &[u8],
        _resolver: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.socket.poll_send(context, bytes)
    }
}

/// Never ends well.
async fn failed(socket: Arc<UdpSocket>) -> io::Result<()> {
    Err(refusal::of(&socket).await)
}
