//! The error queue of a socket: what the network and the kernel say of datagrams that were sent.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
};

use probe_core::sweep::Refusal;
use socket2::{MaybeUninitSlice, MsgHdrMut, SockAddr, Socket};

use crate::{
    control::{ExtendedError, messages},
    sys,
};

/// Bytes kept of the datagram that an error is about.
const QUOTED: usize = 64;
/// Room for the control messages of one entry.
const CONTROL: usize = 256;
/// `SO_EE_ORIGIN_LOCAL`, `SO_EE_ORIGIN_ICMP` and `SO_EE_ORIGIN_ICMP6` (linux/errqueue.h).
const LOCAL_ORIGIN: u8 = 1;
const ICMP_ORIGINS: [u8; 2] = [2, 3];

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Where the datagram went.
    pub(crate) to: SocketAddr,
    pub(crate) error: ExtendedError,
    /// The beginning of the datagram behind its IP header, as far as it came back.
    pub(crate) quoted: Vec<u8>,
}

impl Entry {
    /// Whether this node itself found the datagram too large for its interface.
    pub(crate) fn is_too_big_here(&self) -> bool {
        self.error.origin == LOCAL_ORIGIN && self.error.errno == libc::EMSGSIZE
    }

    /// Type and code, if an ICMP message said it.
    pub(crate) fn icmp(&self) -> Option<(u8, u8)> {
        let from_network = ICMP_ORIGINS.contains(&self.error.origin);
        from_network.then_some((self.error.kind, self.error.code))
    }

    pub(crate) fn refusal(&self) -> Refusal {
        let icmp = self.icmp();
        Refusal {
            reporter: self.error.offender.filter(|_| icmp.is_some()),
            icmp,
            errno: self.error.errno,
        }
    }
}

/// Asks for errors, and that no packet be fragmented here or under way, whatever is known of the path.
pub(crate) fn prepare(socket: &Socket, is_ipv4: bool) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    if is_ipv4 {
        sys::set_option(socket, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?;
        return sys::set_option(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE,
        );
    }
    sys::set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?;
    sys::set_option(
        socket,
        libc::IPPROTO_IPV6,
        libc::IPV6_MTU_DISCOVER,
        libc::IPV6_PMTUDISC_PROBE,
    )
}

/// The next entry; `None` inside is one that names no destination or no cause. Fails with `WouldBlock` if there is none.
pub(crate) fn read(socket: &Socket) -> io::Result<Option<Entry>> {
    let mut payload = sys::buffer::<QUOTED>();
    let mut control = sys::buffer::<CONTROL>();
    // Long enough for both families; the kernel overwrites it with the destination of the datagram.
    let mut address = SockAddr::from(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
    let mut buffers = [MaybeUninitSlice::new(&mut payload)];
    let mut message = MsgHdrMut::new()
        .with_addr(&mut address)
        .with_buffers(&mut buffers)
        .with_control(&mut control);
    let quoted = socket.recvmsg(&mut message, libc::MSG_ERRQUEUE)?;
    let length = message.control_len();
    let error = messages(sys::filled(&control, length)).find_map(|m| ExtendedError::read(&m));
    Ok(address.as_socket().zip(error).map(|(to, error)| Entry {
        to,
        error,
        quoted: sys::filled(&payload, quoted).to_vec(),
    }))
}

/// Whether an error of a call is about a datagram sent before, and so in the queue too.
pub(crate) fn is_about_the_network(error: &io::Error) -> bool {
    let network = [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::ENETDOWN,
        libc::EACCES,
        libc::EPERM,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::EMSGSIZE,
        libc::ENONET,
        libc::EINTR,
    ];
    error
        .raw_os_error()
        .is_some_and(|errno| network.contains(&errno))
}
