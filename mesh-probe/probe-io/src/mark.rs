//! Firewall marks.

use std::{io, os::fd::AsFd};

use socket2::SockRef;

/// The mark with which `KubeSpan` lets packets pass beside the tunnel (mask 0x60): its own encrypted ones, and ours.
pub const UNDERLAY_MARK: u32 = 0x20;

/// Sets `SO_MARK` on a socket, a listening one included. Needs `CAP_NET_ADMIN`.
pub fn mark_socket(fd: impl AsFd, mark: u32) -> io::Result<()> {
    SockRef::from(&fd).set_mark(mark)
}
