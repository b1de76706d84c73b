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
    let first = *packet.first().ok_or(PacketError::Truncated {
        header: "IP",
        found: 0,
        expected: 1,
    })?;
    match first >> 4 {
        4 => ipv4(packet, usize::from(first & 0x0f) * 4),
        6 => ipv6(packet),
        version => Err(PacketError::Version(version)),
    }
}

fn ipv4(packet: &[u8], header_length: usize) -> Result<Datagram<'_>, PacketError> {
    if header_length < MIN_IPV4_HEADER {
        return Err(PacketError::Length {
            header: "IPv4",
            found: header_length,
        });
    }
    let (header, _) = split("IPv4", packet, header_length)?;
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
    let (_, rest) = split("IPv4", packet, header_length)?;
    let (body, _) = split("IPv4", rest, length)?;
    udp(
        body,
        hop_limit,
        Ipv4Addr::from(source).into(),
        Ipv4Addr::from(destination).into(),
    )
}

fn ipv6(packet: &[u8]) -> Result<Datagram<'_>, PacketError> {
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
    let (body, _) = split("IPv6", rest, usize::from(length))?;
    udp(
        body,
        hop_limit,
        Ipv6Addr::from(source).into(),
        Ipv6Addr::from(destination).into(),
    )
}

/// The IPv6 extension header of a fragment (RFC 8200 section 4.5).
const FRAGMENT_HEADER: u8 = 44;

fn udp(
    body: &[u8],
    hop_limit: u8,
    source: IpAddr,
    destination: IpAddr,
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
    let (datagram, _) = split("UDP", body, length)?;
    let (_, payload) = split("UDP", datagram, UDP_HEADER_LENGTH)?;
    Ok(Datagram {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        hop_limit,
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    const V4: ([u8; 4], [u8; 4]) = ([203, 0, 113, 11], [198, 51, 100, 2]);

    fn segment(payload: &[u8]) -> Vec<u8> {
        let (source, destination) = (
            SocketAddr::from((V4.0, 51820)),
            SocketAddr::from((V4.1, 40000)),
        );
        build_udp(source, destination, payload).unwrap()
    }

    fn v4(options: &[u8], body: &[u8]) -> Vec<u8> {
        let header = 20 + options.len();
        let mut packet = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
        packet.extend(u16::try_from(header + body.len()).unwrap().to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 61, 17, 0, 0]);
        packet.extend(V4.0);
        packet.extend(V4.1);
        packet.extend(options);
        packet.extend(body);
        packet
    }

    fn v6(next_header: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0];
        packet.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        packet.extend([next_header, 62]);
        packet.extend(Ipv6Addr::LOCALHOST.octets());
        packet.extend(Ipv6Addr::UNSPECIFIED.octets());
        packet.extend(body);
        packet
    }

    #[test]
    fn an_ipv4_datagram_is_read_with_and_without_options() {
        for options in [&[][..], &[1; 4], &[1; 40]] {
            let packet = v4(options, &segment(b"hello"));
            let datagram = parse(&packet).unwrap();
            assert_eq!(datagram.source, SocketAddr::from((V4.0, 51820)));
            assert_eq!(datagram.destination, SocketAddr::from((V4.1, 40000)));
            assert_eq!((datagram.hop_limit, datagram.payload), (61, &b"hello"[..]));
        }
    }

    #[test]
    fn an_ipv6_datagram_is_read() {
        let packet = v6(UDP, &segment(b"hello"));
        let datagram = parse(&packet).unwrap();
        assert_eq!(
            datagram.source,
            SocketAddr::from((Ipv6Addr::LOCALHOST, 51820))
        );
        assert_eq!((datagram.hop_limit, datagram.payload), (62, &b"hello"[..]));
    }

    #[test]
    fn padding_of_the_link_is_not_payload() {
        let mut packet = v4(&[], &segment(b"x"));
        packet.extend([0; 17]);
        assert_eq!(parse(&packet).unwrap().payload, b"x");
    }

    #[test]
    fn fragments_are_refused_in_both_families() {
        for (at, value) in [(6, 0x20), (7, 1)] {
            let mut packet = v4(&[], &segment(b"x"));
            packet[at] = value;
            assert_eq!(parse(&packet), Err(PacketError::Fragment));
        }
        assert_eq!(
            parse(&v6(FRAGMENT_HEADER, &[0; 16])),
            Err(PacketError::Fragment)
        );
    }

    #[test]
    fn a_captured_head_of_a_longer_packet_is_truncated() {
        let packet = v4(&[], &segment(&[7; 300]));
        assert_eq!(
            parse(&packet[..200]),
            Err(PacketError::Truncated {
                header: "IPv4",
                found: 180,
                expected: 308
            })
        );
    }

    #[test]
    fn lengths_that_contradict_their_header_are_refused() {
        let mut packet = v4(&[], &segment(b"x"));
        packet[0] = 0x44;
        assert_eq!(
            parse(&packet),
            Err(PacketError::Length {
                header: "IPv4",
                found: 16
            })
        );
        let mut packet = v4(&[], &segment(b"x"));
        packet[3] = 19;
        assert_eq!(
            parse(&packet),
            Err(PacketError::Length {
                header: "IPv4",
                found: 19
            })
        );
        let mut packet = v4(&[], &segment(b"x"));
        packet[25] = 7;
        assert_eq!(
            parse(&packet),
            Err(PacketError::Length {
                header: "UDP",
                found: 7
            })
        );
        packet[25] = 200;
        assert_eq!(
            parse(&packet),
            Err(PacketError::Truncated {
                header: "UDP",
                found: 9,
                expected: 200
            })
        );
    }

    #[test]
    fn what_is_not_udp_is_refused() {
        assert_eq!(
            parse(&[]),
            Err(PacketError::Truncated {
                header: "IP",
                found: 0,
                expected: 1
            })
        );
        assert_eq!(parse(&[0x50]), Err(PacketError::Version(5)));
        assert_eq!(parse(&v6(6, &[0; 20])), Err(PacketError::NotUdp(6)));
        assert_eq!(
            parse(&v6(UDP, &[0; 5])),
            Err(PacketError::Truncated {
                header: "UDP",
                found: 5,
                expected: 8
            })
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn any_change_of_a_real_packet_is_read_or_refused_without_a_panic(
            at in 0_usize..48, value: u8, cut in 0_usize..60,
        ) {
            for mut packet in [v4(&[1; 4], &segment(&[7; 20])), v6(UDP, &segment(&[7; 20]))] {
                packet[at] = value;
                packet.truncate(cut);
                let _ = parse(&packet);
            }
        }
    }
}
