//! Sends datagrams from a UDP port that somebody else owns, and lets nobody fragment them.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use probe_core::packet::build_udp;
use socket2::{Domain, SockAddr, Socket};

use crate::{
    error_queue::{self, Entry, is_about_the_network},
    raw::{RawError, open_routes, open_udp, refused, send_from, source_towards},
};

/// Entries of the error queue that are passed over in one call: other programs' datagrams have some too.
const MAX_PASSED_OVER: usize = 64;

/// Word that a datagram was too long for a link on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Where it was sent; the port is not known where this node itself refused it.
    pub to: IpAddr,
    /// The port it was sent to.
    pub port: Option<u16>,
    /// The MTU of that link.
    pub mtu: u32,
    /// Who says so; `None` if it is this node itself.
    pub reporter: Option<IpAddr>,
}

/// Two raw sockets that send UDP beside `KubeSpan`, from the port of the tunnel, with "don't fragment", and hear who objects.
#[derive(Debug)]
pub struct WholeSender {
    port: u16,
    v4: Socket,
    routes: Socket,
    v6: Option<Socket>,
}

impl WholeSender {
    /// `port` is the source port of all that is sent. Needs `CAP_NET_RAW` and `CAP_NET_ADMIN`.
    pub fn open(port: u16) -> Result<Self, RawError> {
        let v4 = open_udp(Domain::IPV4, "IPv4")?;
        error_queue::prepare(&v4, true)
            .map_err(refused("IPv4", "forbid fragmentation and ask for errors"))?;
        let v6 = match open_udp(Domain::IPV6, "IPv6") {
            Ok(socket) => {
                error_queue::prepare(&socket, false)
                    .map_err(refused("IPv6", "forbid fragmentation and ask for errors"))?;
                Some(socket)
            }
            Err(error) if error.is_no_such_family() => None,
            Err(error) => return Err(error),
        };
        Ok(Self {
            port,
            v4,
            routes: open_routes()?,
            v6,
        })
    }

    /// Sends one datagram, without waiting. One that is too long for the interface is told of by [`Self::next_word`].
    pub fn send(&self, to: SocketAddr, payload: &[u8]) -> Result<(), RawError> {
        let sent = match self.try_send(to, payload) {
            // An error of an earlier datagram is returned once by whatever call comes next. The queue has it too.
            Err(RawError::Send { source, .. }) if is_about_the_network(&source) => {
                self.try_send(to, payload)
            }
            sent => sent,
        };
        match sent {
            Err(RawError::Send { source, .. }) if source.raw_os_error() == Some(libc::EMSGSIZE) => {
                Ok(())
            }
            sent => sent,
        }
    }

    /// Word about datagrams sent before, if there is any.
    pub fn next_word(&self) -> io::Result<Option<TooLong>> {
        for socket in [Some(&self.v4), self.v6.as_ref()].into_iter().flatten() {
            for _ in 0..MAX_PASSED_OVER {
                match error_queue::read(socket) {
                    Ok(entry) => {
                        if let Some(word) = entry.and_then(|entry| self.word(&entry)) {
                            return Ok(Some(word));
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(None)
    }

    fn try_send(&self, to: SocketAddr, payload: &[u8]) -> Result<(), RawError> {
        let to = SocketAddr::new(to.ip().to_canonical(), to.port());
        let build =
            |from| build_udp(from, to, payload).map_err(|source| RawError::Build { to, source });
        if to.is_ipv4() {
            let source = source_towards(&self.routes, to)
                .map_err(|source| RawError::Route { to, source })?;
            let segment = build(SocketAddr::from((source, self.port)))?;
            return send_from(&self.v4, source, to, &segment);
        }
        let socket = self.v6.as_ref().ok_or(RawError::NoIpv6(to))?;
        let segment = build(SocketAddr::from((Ipv6Addr::UNSPECIFIED, self.port)))?;
        let mut address = to;
        address.set_port(0);
        socket
            .send_to(&segment, &SockAddr::from(address))
            .map(drop)
            .map_err(|source| RawError::Send { to, source })
    }

    /// A raw socket hears of every UDP datagram of the node: what did not leave our port is none of ours.
    fn word(&self, entry: &Entry) -> Option<TooLong> {
        let to = entry.to.ip().to_canonical();
        let (mtu, reporter) = (entry.error.info, entry.refusal().reporter);
        if entry.is_too_big_here() {
            return Some(TooLong {
                to,
                port: None,
                mtu,
                reporter: None,
            });
        }
        let (source, rest) = entry.quoted.split_first_chunk()?;
        let port = u16::from_be_bytes(*rest.first_chunk()?);
        let ours = u16::from_be_bytes(*source) == self.port;
        (ours && entry.error.errno == libc::EMSGSIZE).then_some(TooLong {
            to,
            port: Some(port),
            mtu,
            reporter,
        })
    }
}
