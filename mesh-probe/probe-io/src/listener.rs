//! Hears probes of size where those who own the port would hear their packets: behind the firewall of the host, put together
//! again if they were fragmented.

use std::io;

use probe_core::packet::{self, UDP_HEADER_LENGTH};
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    filter::{self, IpFamily},
    sys,
};

/// Bytes that are read of a packet; behind what a probe says there are only zeros.
const READ: usize = 256;
/// Kernel memory for packets that wait to be read: two searches of a few peers at once.
const RECEIVE_BUFFER: usize = 256 * 1024;
/// Bytes of the IPv6 header, which the kernel takes off.
const IPV6_HEADER: usize = 40;

/// A probe that was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The beginning of its payload.
    pub payload: Vec<u8>,
    /// Bytes of the whole IP packet.
    pub packet: usize,
    /// The port that it was sent to.
    pub port: u16,
}

/// Why nobody listens.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The capability is missing.
    #[error(
        "open a raw socket: not permitted; run as root, or give the program the capability CAP_NET_RAW"
    )]
    Permission,
    /// The kernel refused a step of the opening.
    #[error("open a raw socket for UDP: {step}")]
    Open {
        /// Which one.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Reading failed.
    #[error("read from the raw socket for UDP")]
    Read(#[source] io::Error),
}

/// Raw sockets that get a copy of each probe to the overlay's port or the tunnel's.
///
/// No port is bound: a VXLAN device or WireGuard may own it, or may want to. The kernel gives raw sockets their copy after the host's
/// firewall, and before it looks for the owner of the port.
#[derive(Debug)]
pub struct SizeListener {
    v4: AsyncFd<Socket>,
    v6: Option<AsyncFd<Socket>>,
}

impl SizeListener {
    /// Begins to listen. Needs `CAP_NET_RAW` and a tokio runtime.
    pub fn open(tunnel_port: u16) -> Result<Self, ListenError> {
        let v4 = listen(Domain::IPV4, IpFamily::V4, tunnel_port)?;
        let v6 = match listen(Domain::IPV6, IpFamily::V6, tunnel_port) {
            Ok(socket) => Some(socket),
            Err(ListenError::Open { source, .. })
                if source.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        Ok(Self { v4, v6 })
    }

    /// The next probe. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Delivered, ListenError> {
        loop {
            let v6 = async {
                match &self.v6 {
                    Some(socket) => read(socket, IpFamily::V6).await,
                    None => std::future::pending().await,
                }
            };
            let came = tokio::select! {
                came = read(&self.v4, IpFamily::V4) => came,
                came = v6 => came,
            };
            if let Some(delivered) = came.map_err(ListenError::Read)? {
                return Ok(delivered);
            }
        }
    }
}

fn listen(
    domain: Domain,
    family: IpFamily,
    tunnel_port: u16,
) -> Result<AsyncFd<Socket>, ListenError> {
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::UDP)).map_err(refused("create"))?;
    socket
        .attach_filter(&filter::delivered(family, tunnel_port))
        .map_err(refused("attach the filter"))?;
    // What came before the filter was there.
    socket
        .set_nonblocking(true)
        .map_err(refused("make it non-blocking"))?;
    while socket.recv(&mut sys::buffer::<READ>()).is_ok() {}
    socket
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .map_err(refused("limit its buffer"))?;
    sys::register(socket, Interest::READABLE).map_err(refused("register"))
}

async fn read(socket: &AsyncFd<Socket>, family: IpFamily) -> io::Result<Option<Delivered>> {
    loop {
        let mut ready = socket.readable().await?;
        if let Ok(read) = ready.try_io(|socket| read_one(socket.get_ref(), family)) {
            return read;
        }
    }
}

/// `None` is a packet that makes no sense.
fn read_one(socket: &Socket, family: IpFamily) -> io::Result<Option<Delivered>> {
    let mut buffer = sys::buffer::<READ>();
    // With MSG_TRUNC the length is that of the packet, even if it did not fit.
    let (length, _from) = socket.recv_from_with_flags(&mut buffer, libc::MSG_TRUNC)?;
    let bytes = sys::filled(&buffer, length);
    Ok(match family {
        IpFamily::V4 => packet::parse_cut(bytes).ok().map(|datagram| Delivered {
            payload: datagram.payload.to_vec(),
            packet: datagram.packet_length,
            port: datagram.destination.port(),
        }),
        IpFamily::V6 => bytes.split_first_chunk::<UDP_HEADER_LENGTH>().map(
            |([_, _, high, low, ..], payload)| Delivered {
                payload: payload.to_vec(),
                packet: IPV6_HEADER + length,
                port: u16::from_be_bytes([*high, *low]),
            },
        ),
    })
}

fn refused(step: &'static str) -> impl FnOnce(io::Error) -> ListenError {
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => ListenError::Permission,
        _ => ListenError::Open { step, source },
    }
}
