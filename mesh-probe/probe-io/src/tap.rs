//! Sees the datagrams of the handshake, and inert probes, as they pass the interfaces.

use std::{io, net::IpAddr};

use probe_core::{
    Stamp,
    packet::{self, PacketError},
    sightings::Direction,
};
use socket2::{Domain, SockFilter, Socket, Type};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    clock,
    filter::{self, SNAP_LENGTH},
    sys,
};

/// Kernel memory for packets that wait to be read: some hundred; beyond it they are dropped and counted.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// A packet that the tap saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighted {
    /// Whether it left this node or came to it.
    pub direction: Direction,
    /// Index of the interface. One packet is seen on each that it passes: a bridge and its port, for example.
    pub interface: u32,
    /// When it was read, microseconds after it passed.
    pub seen_at: Stamp,
    /// From the IP header on, at most [`SNAP_LENGTH`] bytes.
    pub packet: Vec<u8>,
}

/// Packets that the filter let through, since the tap was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TapStatistics {
    /// All of them.
    pub passed: u64,
    /// Those that found the buffer full: what the tap did not see is then no evidence.
    pub dropped: u64,
}

/// Why there is no tap, or nothing from it.
#[derive(Debug, Error)]
pub enum TapError {
    /// The capability is missing.
    #[error(
        "open a packet socket: not permitted; run as root, or give the program the capability CAP_NET_RAW \
         (as a service: in its capability list; as a file: setcap cap_net_raw+ep)"
    )]
    Permission,
    /// The kernel refused a step of the opening.
    #[error("open a packet socket: {step}")]
    Open {
        /// Which one.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Reading failed.
    #[error("read from the packet socket")]
    Read(#[source] io::Error),
}

/// A packet socket on all interfaces behind a filter in the kernel.
///
/// It sees what arrives before the host's firewall drops it, and what leaves. It never captures data of the tunnel: the
/// filter lets through handshake messages and our own probes only, or the headers before data messages, and is in place before
/// the first packet.
#[derive(Debug)]
pub struct Tap {
    socket: AsyncFd<Socket>,
    statistics: TapStatistics,
}

impl Tap {
    /// Begins to watch datagrams from or to this UDP port. Needs `CAP_NET_RAW` and a tokio runtime.
    pub fn open(port: u16) -> Result<Self, TapError> {
        Self::behind(&filter::tap(port))
    }

    /// Begins to watch data messages between this UDP port and any of these addresses, the first [`crate::MAX_REMOTES`] of them.
    /// Of a message only the headers before it are taken. For a short look: a busy peer sends many.
    pub fn open_for_data(port: u16, remotes: &[IpAddr]) -> Result<Self, TapError> {
        Self::behind(&filter::data(port, remotes))
    }

    fn behind(filter: &[SockFilter]) -> Result<Self, TapError> {
        // Protocol 0: the socket gets no packet at all until it is bound, behind its filter.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, None).map_err(refused("create"))?;
        socket
            .set_nonblocking(true)
            .map_err(refused("make it non-blocking"))?;
        socket
            .set_recv_buffer_size(RECEIVE_BUFFER)
            .map_err(refused("limit its buffer"))?;
        socket
            .attach_filter(filter)
            .map_err(refused("attach the filter"))?;
        socket.bind(&sys::every_packet()).map_err(refused("bind"))?;
        let socket = sys::register(socket, Interest::READABLE).map_err(refused("register"))?;
        Ok(Self {
            socket,
            statistics: TapStatistics::default(),
        })
    }

    /// The next packet. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Sighted, TapError> {
        loop {
            let mut ready = self.socket.readable().await.map_err(TapError::Read)?;
            match ready.try_io(|socket| read(socket.get_ref())) {
                Ok(Ok(Some(sighted))) => return Ok(sighted),
                Ok(Err(error)) if !is_passing(&error) => return Err(TapError::Read(error)),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// The next packet, if one is waiting.
    pub fn try_next(&mut self) -> Result<Option<Sighted>, TapError> {
        match read(self.socket.get_ref()) {
            Ok(sighted) => Ok(sighted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_passing(&error) => {
                Ok(None)
            }
            Err(error) => Err(TapError::Read(error)),
        }
    }

    /// How much passed the filter and how much of it was lost.
    pub fn statistics(&mut self) -> Result<TapStatistics, TapError> {
        let (passed, dropped) =
            sys::packet_statistics(self.socket.get_ref()).map_err(TapError::Read)?;
        self.statistics.passed += u64::from(passed);
        self.statistics.dropped += u64::from(dropped);
        Ok(self.statistics)
    }
}

impl Sighted {
    /// The UDP datagram in it; of a longer one than [`SNAP_LENGTH`] permits, the beginning.
    pub fn datagram(&self) -> Result<packet::Datagram<'_>, PacketError> {
        packet::parse_cut(&self.packet)
    }
}

/// `None` is a packet that says nothing about where it was seen.
fn read(socket: &Socket) -> io::Result<Option<Sighted>> {
    let mut buffer = sys::buffer::<SNAP_LENGTH>();
    let (length, address) = socket.recv_from(&mut buffer)?;
    let seen_at = clock::stamp();
    Ok(sys::link_address(&address).map(|link| Sighted {
        direction: if link.packet_type == libc::PACKET_OUTGOING {
            Direction::Out
        } else {
            Direction::In
        },
        interface: link.interface,
        seen_at,
        packet: sys::filled(&buffer, length).to_vec(),
    }))
}

/// An interface went down, or a signal came: the next read may well succeed.
fn is_passing(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENETDOWN) || error.kind() == io::ErrorKind::Interrupted
}

fn refused(step: &'static str) -> impl FnOnce(io::Error) -> TapError {
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => TapError::Permission,
        _ => TapError::Open { step, source },
    }
}
