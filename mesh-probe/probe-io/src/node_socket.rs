//! The UDP sockets of the echo to node addresses: ordinary ones, on every address of the node.

use std::{
    io,
    io::IoSlice,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use probe_core::node_echo::LENGTH;
use socket2::{Domain, MaybeUninitSlice, MsgHdr, MsgHdrMut, Protocol, SockAddr, Socket, Type};
use thiserror::Error;

use crate::{
    control::{came_in, leaves_from},
    error_queue::is_about_the_network,
    filter, sys,
};

/// Kernel memory for datagrams that wait for the next tick: those of a mesh of full size, many times over. Beyond it they are dropped.
const RECEIVE_BUFFER: usize = 128 * 1024;
/// Bytes that are read of a datagram: one more than any of ours has, so that a longer one shows.
const READ: usize = LENGTH + 1;
/// Room for the control message that tells the interface.
const CONTROL: usize = 64;
/// Errors and datagrams of no use that are passed over in one call.
const MAX_PASSED_OVER: usize = 64;

/// A datagram that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDatagram {
    /// Who sent it.
    pub from: SocketAddr,
    /// The address of this node that it came to.
    pub at: IpAddr,
    /// The kernel's number of the interface by which it came in.
    pub interface: u32,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// Why there is no socket, or nothing from it.
#[derive(Debug, Error)]
pub enum NodeSocketError {
    /// The kernel refused a step of the opening.
    #[error("open the socket of the echo to node addresses on {address}: {step}")]
    Open {
        /// Where it should listen.
        address: SocketAddr,
        /// Which step.
        step: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// Reading failed.
    #[error("read from the socket of the echo to node addresses")]
    Receive(#[source] io::Error),
    /// Sending failed, on this node.
    #[error("send an echo to the node address {to}")]
    Send {
        /// Where to.
        to: SocketAddr,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// There is no socket of this family.
    #[error("send an echo to the node address {to}: there is no socket of its family")]
    NoFamily {
        /// Where to.
        to: SocketAddr,
    },
}

/// A socket of each family, without any mark: what steers the packets of other programs steers theirs.
///
/// Nobody is woken by what comes to them; they are read when there is time.
#[derive(Debug)]
pub struct NodeSockets {
    port: u16,
    v4: Socket,
    v6: Option<Socket>,
}

impl NodeSockets {
    /// Listens on this port of every address of IPv4. Fails where another program has it.
    pub fn bind(port: u16) -> Result<Self, NodeSocketError> {
        let v4 = open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?;
        let local = v4.local_addr().ok().and_then(|local| local.as_socket());
        Ok(Self {
            port: local.map_or(port, |local| local.port()),
            v4,
            v6: None,
        })
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Listens on every address of IPv6 as well, beside whoever in this program has the port on one of them and shares it
    /// ([`crate::EchoSocket::bind_with_replies`]): what is for that address goes there.
    pub fn bind_v6(&mut self) -> Result<(), NodeSocketError> {
        if self.v6.is_none() {
            self.v6 = Some(open(SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port)))?);
        }
        Ok(())
    }

    /// Whether it listens on IPv6.
    pub const fn has_v6(&self) -> bool {
        self.v6.is_some()
    }

    /// Listens on IPv6 no more, so that an address of it can be bound alone.
    pub fn close_v6(&mut self) {
        self.v6 = None;
    }

    /// The next datagram, if one is waiting.
    pub fn try_next(&self) -> Result<Option<NodeDatagram>, NodeSocketError> {
        for socket in [Some(&self.v4), self.v6.as_ref()].into_iter().flatten() {
            for _ in 0..MAX_PASSED_OVER {
                match read(socket) {
                    Ok(Some(datagram)) => return Ok(Some(datagram)),
                    Ok(None) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_about_the_network(&error) => {}
                    Err(error) => return Err(NodeSocketError::Receive(error)),
                }
            }
        }
        Ok(None)
    }

    /// Sends one datagram, without waiting: from this address of the node, or from the one that the kernel chooses.
    pub fn send(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), NodeSocketError> {
        let socket = if to.is_ipv4() {
            Some(&self.v4)
        } else {
            self.v6.as_ref()
        };
        let socket = socket.ok_or(NodeSocketError::NoFamily { to })?;
        let address = SockAddr::from(to);
        let buffers = [IoSlice::new(bytes)];
        let control = from.map(leaves_from).unwrap_or_default();
        let message = MsgHdr::new().with_addr(&address).with_buffers(&buffers);
        let message = if control.is_empty() {
            message
        } else {
            message.with_control(&control)
        };
        let sent = socket.sendmsg(&message, 0).map(drop);
        sent.map_err(|source| NodeSocketError::Send { to, source })
    }
}

fn open(address: SocketAddr) -> Result<Socket, NodeSocketError> {
    let refused = |step| {
        move |source| NodeSocketError::Open {
            address,
            step,
            source,
        }
    };
    let domain = Domain::for_address(address);
    let socket =
        Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(refused("create"))?;
    socket
        .set_nonblocking(true)
        .map_err(refused("make it non-blocking"))?;
    socket
        .set_recv_buffer_size(RECEIVE_BUFFER)
        .map_err(refused("limit its buffer"))?;
    socket
        .attach_filter(&filter::node_echoes())
        .map_err(refused("attach the filter"))?;
    let (level, option) = if address.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    } else {
        socket
            .set_only_v6(true)
            .map_err(refused("keep it to IPv6"))?;
        // The echo to the KubeSpan address has this port on one address, and shares it.
        socket
            .set_reuse_port(true)
            .map_err(refused("share the port"))?;
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    };
    sys::set_option(&socket, level, option, 1).map_err(refused("ask for interfaces"))?;
    socket.bind(&address.into()).map_err(refused("bind"))?;
    Ok(socket)
}

/// `None` is one of which nobody can make anything.
fn read(socket: &Socket) -> io::Result<Option<NodeDatagram>> {
    let mut payload = sys::buffer::<READ>();
    let mut control = sys::buffer::<CONTROL>();
    // Long enough for both families.
    let mut address = SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
    let mut buffers = [MaybeUninitSlice::new(&mut payload)];
    let mut message = MsgHdrMut::new()
        .with_addr(&mut address)
        .with_buffers(&mut buffers)
        .with_control(&mut control);
    let length = socket.recvmsg(&mut message, 0)?;
    let said = message.control_len();
    let came = came_in(sys::filled(&control, said));
    let told = address.as_socket().zip(came);
    Ok(told.map(|(from, (interface, at))| NodeDatagram {
        from,
        at,
        interface,
        bytes: sys::filled(&payload, length).to_vec(),
    }))
}
