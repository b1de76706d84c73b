//! Sends datagrams from a UDP port that somebody else owns.

use std::{
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use probe_core::packet::{BuildError, build_udp};
use rustix::net::connect_unspec;
use socket2::{Domain, MsgHdr, Protocol, SockAddr, Socket, Type};
use thiserror::Error;

use crate::{
    control, filter,
    mark::{UNDERLAY_MARK, mark_socket},
    sys,
};

/// Where the kernel puts the checksum of an IPv6 datagram: bytes 6 and 7 of the UDP header (RFC 768).
const CHECKSUM_OFFSET: i32 = 6;
/// `IPV6_CHECKSUM` (linux/in6.h).
const IPV6_CHECKSUM: i32 = 7;

/// Why nothing was sent.
#[derive(Debug, Error)]
pub enum RawError {
    /// A capability is missing.
    #[error(
        "open a raw socket: not permitted; run as root, or give the program the capabilities CAP_NET_RAW and CAP_NET_ADMIN"
    )]
    Permission,
    /// The kernel refused a step of the opening.
    #[error("open a raw {family} socket: {step}")]
    Open {
        /// Which of the two sockets.
        family: &'static str,
        /// Which step.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// This node has no IPv6.
    #[error("send to {0}: this node has no IPv6")]
    NoIpv6(SocketAddr),
    /// There is no way there.
    #[error("find the source address for {to}")]
    Route {
        /// Where to.
        to: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The payload is too long.
    #[error("build a datagram for {to}")]
    Build {
        /// Where to.
        to: SocketAddr,
        /// Why not.
        #[source]
        source: BuildError,
    },
    /// The kernel would not send it.
    #[error("send a datagram to {to}")]
    Send {
        /// Where to.
        to: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// Two raw sockets that send UDP beside `KubeSpan`, from the port of the tunnel.
///
/// They carry [`UNDERLAY_MARK`], do not forbid fragmentation, and receive nothing. A payload for `WireGuard`'s port must not
/// begin with one of its message types; [`probe_core::inert`] makes such payloads.
#[derive(Debug)]
pub struct InertSender {
    port: u16,
    v4: Socket,
    routes: Socket,
    v6: Option<Socket>,
}

impl InertSender {
    /// `port` is the source port of all that is sent. Needs `CAP_NET_RAW` and `CAP_NET_ADMIN`.
    pub fn open(port: u16) -> Result<Self, RawError> {
        Ok(Self {
            port,
            v4: open_v4()?,
            routes: open_routes()?,
            v6: open_v6()?,
        })
    }

    /// Sends one datagram, without waiting: a full buffer is an error.
    pub fn send(&self, to: SocketAddr, payload: &[u8]) -> Result<(), RawError> {
        match to.ip().to_canonical() {
            IpAddr::V4(ip) => self.send_v4(SocketAddr::from((ip, to.port())), payload),
            IpAddr::V6(_) => self.send_v6(to, payload),
        }
    }

    /// The checksum covers the source address, so that one is looked up first and then demanded.
    fn send_v4(&self, to: SocketAddr, payload: &[u8]) -> Result<(), RawError> {
        let source =
            source_towards(&self.routes, to).map_err(|source| RawError::Route { to, source })?;
        let from = SocketAddr::from((source, self.port));
        let segment =
            build_udp(from, to, payload).map_err(|source| RawError::Build { to, source })?;
        send_from(&self.v4, source, to, &segment)
    }

    fn send_v6(&self, to: SocketAddr, payload: &[u8]) -> Result<(), RawError> {
        let socket = self.v6.as_ref().ok_or(RawError::NoIpv6(to))?;
        let from = SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port));
        let segment =
            build_udp(from, to, payload).map_err(|source| RawError::Build { to, source })?;
        // A raw IPv6 socket takes the port of an address for a protocol number; zero means its own.
        let mut address = to;
        address.set_port(0);
        socket
            .send_to(&segment, &SockAddr::from(address))
            .map_err(|source| RawError::Send { to, source })?;
        Ok(())
    }
}

impl RawError {
    /// Whether this node has no such family of addresses at all.
    pub(crate) fn is_no_such_family(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.raw_os_error() == Some(libc::EAFNOSUPPORT))
    }
}

/// Sends a UDP segment over IPv4 from this address and no other.
pub(crate) fn send_from(
    socket: &Socket,
    source: Ipv4Addr,
    to: SocketAddr,
    segment: &[u8],
) -> Result<(), RawError> {
    let control = control::message(libc::SOL_IP, libc::IP_PKTINFO, &packet_info(source));
    let address = SockAddr::from(SocketAddr::new(to.ip(), 0));
    let buffers = [IoSlice::new(segment)];
    let message = MsgHdr::new()
        .with_addr(&address)
        .with_buffers(&buffers)
        .with_control(&control);
    socket
        .sendmsg(&message, 0)
        .map(drop)
        .map_err(|source| RawError::Send { to, source })
}

/// A raw socket for UDP that sends with the mark and receives nothing.
pub(crate) fn open_udp(domain: Domain, family: &'static str) -> Result<Socket, RawError> {
    let failed = |step| refused(family, step);
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::UDP)).map_err(failed("create"))?;
    prepare(&socket, family)?;
    if domain == Domain::IPV6 {
        sys::set_option(&socket, libc::IPPROTO_IPV6, IPV6_CHECKSUM, CHECKSUM_OFFSET)
            .map_err(failed("have the checksum filled in"))?;
    }
    Ok(socket)
}

fn open_v4() -> Result<Socket, RawError> {
    let failed = |step| refused("IPv4", step);
    let socket = open_udp(Domain::IPV4, "IPv4")?;
    sys::set_option(
        &socket,
        libc::IPPROTO_IP,
        libc::IP_MTU_DISCOVER,
        libc::IP_PMTUDISC_DONT,
    )
    .map_err(failed("permit fragmentation"))?;
    Ok(socket)
}

fn open_v6() -> Result<Option<Socket>, RawError> {
    match open_udp(Domain::IPV6, "IPv6") {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.is_no_such_family() => Ok(None),
        Err(error) => Err(error),
    }
}

fn prepare(socket: &Socket, family: &'static str) -> Result<(), RawError> {
    socket
        .set_nonblocking(true)
        .map_err(refused(family, "make it non-blocking"))?;
    // Otherwise it would get a copy of every UDP datagram of the node.
    socket
        .attach_filter(&filter::nothing())
        .map_err(refused(family, "attach the filter"))?;
    mark_socket(socket, UNDERLAY_MARK).map_err(refused(family, "mark"))
}

/// A UDP socket that never sends: connected, it shows the address that the kernel would send from.
pub(crate) fn open_routes() -> Result<Socket, RawError> {
    let failed = |step| refused("IPv4", step);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).map_err(failed("create a lookup"))?;
    mark_socket(&socket, UNDERLAY_MARK).map_err(failed("mark"))?;
    Ok(socket)
}

/// The source address towards a destination, by the routes that hold for the mark.
pub(crate) fn source_towards(routes: &Socket, to: SocketAddr) -> io::Result<Ipv4Addr> {
    routes.connect(&SockAddr::from(to))?;
    let source = routes.local_addr();
    // Otherwise the next lookup would keep this source.
    connect_unspec(routes)?;
    let source = source?
        .as_socket_ipv4()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    Ok(*source.ip())
}

/// An `in_pktinfo` (ip(7)): any interface, this source address.
fn packet_info(source: Ipv4Addr) -> [u8; 12] {
    let mut info = [0; 12];
    info[4..8].copy_from_slice(&source.octets());
    info
}

pub(crate) fn refused(
    family: &'static str,
    step: &'static str,
) -> impl FnOnce(io::Error) -> RawError {
    move |source| match source.kind() {
        io::ErrorKind::PermissionDenied => RawError::Permission,
        _ => RawError::Open {
            family,
            step,
            source,
        },
    }
}
