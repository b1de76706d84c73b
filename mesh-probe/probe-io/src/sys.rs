//! What the safe wrappers of `socket2` lack.
#![expect(
    unsafe_code,
    reason = "packet socket addresses, a few socket options and registration have no safe wrapper"
)]

use std::{
    ffi::c_int,
    io,
    mem::{MaybeUninit, size_of},
    os::fd::{AsFd, AsRawFd},
    slice,
};

use socket2::{SockAddr, SockAddrStorage, SockFilter, Socket};
use tokio::io::{Interest, unix::AsyncFd};

/// The parts of a `sockaddr_ll` that are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkAddress {
    pub(crate) interface: u32,
    pub(crate) packet_type: u8,
}

/// A buffer for a system call to fill. Its bytes are set, so that [`filled`] may look at all of them.
pub(crate) const fn buffer<const N: usize>() -> [MaybeUninit<u8>; N] {
    [MaybeUninit::new(0); N]
}

/// The first `length` bytes of a buffer, or all of it if there are fewer.
pub(crate) fn filled<const N: usize>(buffer: &[MaybeUninit<u8>; N], length: usize) -> &[u8] {
    // SAFETY: every buffer of this crate comes from `buffer()`, which sets all its bytes; the kernel only overwrites them
    // with bytes. The length is that of the array.
    let bytes = unsafe { slice::from_raw_parts(buffer.as_ptr().cast::<u8>(), N) };
    &bytes[..length.min(N)]
}

/// Sets a socket option that is an `int`.
pub(crate) fn set_option(
    socket: impl AsFd,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let length = socklen::<c_int>();
    // SAFETY: the descriptor is borrowed for the call, the pointer is to a live `c_int` and the length is its size.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has a program choose, by its bytes, which socket of a group on one port gets a datagram: the one whose number it returns.
pub(crate) fn choose_by_program(group: impl AsFd, program: &mut [SockFilter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len: length,
        // A `SockFilter` is a `sock_filter` (socket2 says `repr(transparent)`).
        filter: program.as_mut_ptr().cast(),
    };
    // SAFETY: the descriptor is borrowed for the call, the pointer is to a live structure of that size, which points to as many
    // instructions as it says; the kernel copies them.
    let result = unsafe {
        libc::setsockopt(
            group.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_REUSEPORT_CBPF,
            (&raw const program).cast(),
            socklen::<libc::sock_fprog>(),
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Packets that a packet socket was given, dropped ones included, and those dropped, both since the last call.
pub(crate) fn packet_statistics(socket: impl AsFd) -> io::Result<(u32, u32)> {
    let mut statistics = libc::tpacket_stats {
        tp_packets: 0,
        tp_drops: 0,
    };
    let mut length = socklen::<libc::tpacket_stats>();
    // SAFETY: the descriptor is borrowed for the call, the pointers are to a live structure and to its size, and the kernel
    // writes at most that many bytes, of integers.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut statistics).cast(),
            &raw mut length,
        )
    };
    if result == 0 {
        Ok((statistics.tp_packets, statistics.tp_drops))
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What the kernel says of its clock. Only asks: with no mode set, nothing is changed, and no right is needed.
pub(crate) fn kernel_clock() -> io::Result<(c_int, libc::timex)> {
    let mut state = MaybeUninit::<libc::timex>::zeroed();
    // SAFETY: all zero is a valid `timex`, of plain integers, and means "change nothing"; the pointer is to a live one, which
    // the kernel fills.
    let (status, state) = unsafe {
        let status = libc::adjtimex(state.as_mut_ptr());
        (status, state.assume_init())
    };
    if status < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((status, state))
}

/// The address that binds a packet socket to all interfaces, for packets of every protocol.
pub(crate) fn every_packet() -> SockAddr {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: `sockaddr_ll` is plain data that fits into the storage, and all zero is a valid value of it.
    let address = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    // SAFETY: the storage holds a `sockaddr_ll` whose family says so, and the length is its size.
    unsafe { SockAddr::new(storage, socklen::<libc::sockaddr_ll>()) }
}

/// Reads the address that came with a captured packet; `None` if it is of another family.
pub(crate) fn link_address(address: &SockAddr) -> Option<LinkAddress> {
    if i32::from(address.family()) != libc::AF_PACKET {
        return None;
    }
    // SAFETY: the storage is larger than a `sockaddr_ll` and at least as aligned, it was zeroed before the kernel wrote to
    // it, and the family says that this is what the kernel wrote.
    let link = unsafe { &*address.as_ptr().cast::<libc::sockaddr_ll>() };
    let interface = u32::try_from(link.sll_ifindex).ok()?;
    Some(LinkAddress {
        interface,
        packet_type: link.sll_pkttype,
    })
}

/// Hands a socket to the runtime, which must be running.
///
/// The owner must never exchange the socket behind [`AsyncFd::get_mut`] for another; nothing in this crate calls that.
pub(crate) fn register(socket: Socket, interest: Interest) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: a `Socket` owns its descriptor: it stays open, and the same, until the `AsyncFd` drops it.
    let registered = unsafe { AsyncFd::register_with_interest(socket, interest) };
    registered.map_err(io::Error::from)
}

fn socklen<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or_default()
}
