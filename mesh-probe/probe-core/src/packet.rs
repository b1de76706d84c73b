//! IP and UDP headers: off a captured packet, and onto one that a raw socket sends.
//!
//! Captured packets begin with the network header, as an AF_PACKET socket of type `SOCK_DGRAM` gives them. Checksums are
//! not checked: packets of this host are captured before the device has computed them.

mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use thiserror::Error;

pub use udp::{BuildError, MAX_PAYLOAD, UDP_HEADER_LENGTH, build_udp};

use crate::cursor::Cursor;

/// The protocol number of UDP, in both families.
const UDP: u8 = 17;
/// Bytes of an IPv4 header without options.
const MIN_IPV4_HEADER: usize = 20;
/// Bytes of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;
/// "More fragments" and the fragment offset (RFC 791 section 3.1): all zero in a packet that is whole.
const FRAGMENT_BITS: u16 = 0x3fff;

/// A UDP datagram in a captured packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Address and port it comes from.
    pub source: SocketAddr,
    /// Address and port it goes to.
    pub destination: SocketAddr,
    /// TTL (IPv4) or hop limit (IPv6), as captured.
    pub hop_limit: u8,
    /// Bytes of the whole IP packet, as its header says.
    pub packet_length: usize,
    /// What follows the UDP header, without padding of the link.
    pub payload: &'a [u8],
}

/// Why a packet is not a whole UDP datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// No bytes at all, or fewer than the headers or the lengths in them ask for.
    #[error("packet has {found} bytes, its {header} header asks for {expected}")]
    Truncated {
        /// Whose demand it is.
        header: &'static str,
        /// Bytes that are there.
        found: usize,
        /// Bytes that should be.
        expected: usize,
    },
    /// Neither 4 nor 6.
    #[error("packet has IP version {0}")]
    Version(u8),
    /// A length field that is less than its own header.
    #[error("length field of the {header} header says {found}")]
    Length {
        /// Which header.
        header: &'static str,
        /// What it says.
        found: usize,
    },
    /// A part of a datagram: the rest of it travels elsewhere.
    #[error("packet is a fragment")]
    Fragment,
    /// Something else than UDP, or an IPv6 extension header.
    #[error("packet carries protocol {0}, not UDP")]
    NotUdp(u8),
}

/// Reads a packet that begins with its IPv4 or IPv6 header.
pub fn parse(packet: &[u8]) -> Result<Datagram<'_>, PacketError> {
    read(packet, End::There)
}

/// As [`parse`], of a packet whose end may have been cut off by the capture: the payload is what is left of it.
pub fn parse_cut(packet: &[u8]) -> Result<Datagram<'_>, PacketError> {
    read(packet, End::MayBeCut)
}

/// Bytes of the IP and UDP headers before a payload that goes to or comes from this address.
pub const fn headers_length(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => MIN_IPV4_HEADER + UDP_HEADER_LENGTH,
        IpAddr::V6(_) => IPV6_HEADER + UDP_HEADER_LENGTH,
    }
}

/// Whether all of a packet has to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    There,
    MayBeCut,
}

impl End {
    fn split<'a>(
        self,
        header: &'static str,
        bytes: &'a [u8],
        length: usize,
    ) -> Result<&'a [u8], PacketError> {
        match self {
            Self::MayBeCut => Ok(bytes.get(..length).unwrap_or(bytes)),
            Self::There => split(header, bytes, length).map(|(body, _)| body),
        }
    }
}

fn read(packet: &[u8], end: End) -> Result<Datagram<'_>, PacketError> {
    let first = *packet.first().ok_or(PacketError::Truncated {
        header: "IP",
        found: 0,
        expected: 1,
    })?;
    match first >> 4 {
        4 => ipv4(packet, usize::from(first & 0x0f) * 4, end),
        6 => ipv6(packet, end),
        version => Err(PacketError::Version(version)),
    }
}

fn ipv4(packet: &[u8], header_length: usize, end: End) -> Result<Datagram<'_>, PacketError> {
    if header_length < MIN_IPV4_HEADER {
        return Err(PacketError::Length {
            header: "IPv4",
            found: header_length,
        });
    }
    let (header, rest) = split("IPv4", packet, header_length)?;
    let mut cursor = Cursor::new(header);
    let fields = (|| {
        let [_, _] = cursor.take()?;
        let total = cursor.u16_be()?;
        let [_, _] = cursor.take()?;
        let fragment = cursor.u16_be()?;
        let [hop_limit, protocol, _, _] = cursor.take()?;
        Some((
            total,
            fragment,
            hop_limit,
            protocol,
            cursor.take::<4>()?,
            cursor.take::<4>()?,
        ))
    })();
    let (total, fragment, hop_limit, protocol, source, destination) =
        fields.ok_or_else(|| short("IPv4", packet, MIN_IPV4_HEADER))?;
    if fragment & FRAGMENT_BITS != 0 {
        return Err(PacketError::Fragment);
    }
    if protocol != UDP {
        return Err(PacketError::NotUdp(protocol));
    }
    let total = usize::from(total);
    let length = total
        .checked_sub(header_length)
        .ok_or(PacketError::Length {
            header: "IPv4",
            found: total,
        })?;
    let body = end.split("IPv4", rest, length)?;
    let source = Ipv4Addr::from(source).into();
    let destination = Ipv4Addr::from(destination).into();
    udp(body, end, (source, destination)).map(|datagram| Datagram {
        hop_limit,
        packet_length: total,
        ..datagram
    })
}

fn ipv6(packet: &[u8], end: End) -> Result<Datagram<'_>, PacketError> {
    let (header, rest) = split("IPv6", packet, IPV6_HEADER)?;
    let mut cursor = Cursor::new(header);
    let fields = (|| {
        let [_, _, _, _] = cursor.take()?;
        let length = cursor.u16_be()?;
        let [next_header, hop_limit] = cursor.take()?;
        Some((
            length,
            next_header,
            hop_limit,
            cursor.take::<16>()?,
            cursor.take::<16>()?,
        ))
    })();
    let (length, next_header, hop_limit, source, destination) =
        fields.ok_or_else(|| short("IPv6", packet, IPV6_HEADER))?;
    match next_header {
        UDP => {}
        FRAGMENT_HEADER => return Err(PacketError::Fragment),
        other => return Err(PacketError::NotUdp(other)),
    }
    let length = usize::from(length);
    let body = end.split("IPv6", rest, length)?;
    let source = Ipv6Addr::from(source).into();
    let destination = Ipv6Addr::from(destination).into();
    udp(body, end, (source, destination)).map(|datagram| Datagram {
        hop_limit,
        packet_length: IPV6_HEADER + length,
        ..datagram
    })
}

/// The IPv6 extension header of a fragment (RFC 8200 section 4.5).
const FRAGMENT_HEADER: u8 = 44;

fn udp(
    body: &[u8],
    end: End,
    (source, destination): (IpAddr, IpAddr),
) -> Result<Datagram<'_>, PacketError> {
    let mut cursor = Cursor::new(body);
    let fields = (|| Some((cursor.u16_be()?, cursor.u16_be()?, cursor.u16_be()?)))();
    let (from, to, length) = fields.ok_or_else(|| short("UDP", body, UDP_HEADER_LENGTH))?;
    let length = usize::from(length);
    if length < UDP_HEADER_LENGTH {
        return Err(PacketError::Length {
            header: "UDP",
            found: length,
        });
    }
    let datagram = end.split("UDP", body, length)?;
    let (_, payload) = split("UDP", datagram, UDP_HEADER_LENGTH)?;
    Ok(Datagram {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        hop_limit: 0,
        packet_length: 0,
        payload,
    })
}

fn split<'a>(
    header: &'static str,
    bytes: &'a [u8],
    at: usize,
) -> Result<(&'a [u8], &'a [u8]), PacketError> {
    bytes
        .split_at_checked(at)
        .ok_or_else(|| short(header, bytes, at))
}

const fn short(header: &'static str, bytes: &[u8], expected: usize) -> PacketError {
    PacketError::Truncated {
        header,
        found: bytes.len(),
        expected,
    }
}

#[cfg(test)]
mod tests;
