//! A UDP header with its checksum.

use std::net::{Ipv4Addr, SocketAddr};

use thiserror::Error;

/// Bytes of a UDP header.
pub const UDP_HEADER_LENGTH: usize = 8;
/// Largest payload that is built: what fits into a jumbo frame. Only probes of size are longer than any path carries.
pub const MAX_PAYLOAD: usize = 9216 - 40 - UDP_HEADER_LENGTH;

/// Why no datagram can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BuildError {
    /// The two ends are of different families.
    #[error("source {source_address} and destination {destination} are of different families")]
    Families {
        /// One end.
        source_address: SocketAddr,
        /// The other.
        destination: SocketAddr,
    },
    /// More than [`MAX_PAYLOAD`] bytes.
    #[error("payload has {0} bytes, at most {MAX_PAYLOAD} are allowed")]
    TooLong(usize),
}

/// UDP header and payload.
///
/// For IPv4 the checksum is complete. For IPv6 it is zero, for the kernel to fill in (`IPV6_CHECKSUM` at offset 6): it alone
/// knows the source address that it will choose.
pub fn build_udp(
    source: SocketAddr,
    destination: SocketAddr,
    payload: &[u8],
) -> Result<Vec<u8>, BuildError> {
    let length = match u16::try_from(payload.len() + UDP_HEADER_LENGTH) {
        Ok(length) if payload.len() <= MAX_PAYLOAD => length,
        _ => return Err(BuildError::TooLong(payload.len())),
    };
    let mut segment = Vec::with_capacity(usize::from(length));
    segment.extend(source.port().to_be_bytes());
    segment.extend(destination.port().to_be_bytes());
    segment.extend(length.to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    match (source, destination) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            let checksum = ipv4_checksum(*from.ip(), *to.ip(), length, &segment);
            segment[6..8].copy_from_slice(&checksum.to_be_bytes());
        }
        (SocketAddr::V6(_), SocketAddr::V6(_)) => {}
        _ => {
            return Err(BuildError::Families {
                source_address: source,
                destination,
            });
        }
    }
    Ok(segment)
}

/// The checksum over pseudo header and segment (RFC 768); a sum of zero is sent as all ones, as zero means "none".
fn ipv4_checksum(source: Ipv4Addr, destination: Ipv4Addr, length: u16, segment: &[u8]) -> u16 {
    let pseudo = words(&source.octets()) + words(&destination.octets()) + 17 + u64::from(length);
    match !fold(pseudo + words(segment)) {
        0 => u16::MAX,
        sum => sum,
    }
}

fn words(bytes: &[u8]) -> u64 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs
        .iter()
        .map(|pair| u64::from(u16::from_be_bytes(*pair)))
        .sum::<u64>()
        + last
}

fn fold(mut sum: u64) -> u16 {
    while sum > u64::from(u16::MAX) {
        sum = (sum & u64::from(u16::MAX)) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v4(last: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([192, 168, 50, last], port))
    }

    /// A receiver's check: the sum over everything, checksum included, is all ones.
    fn is_valid(segment: &[u8]) -> bool {
        let addresses = words(&[192, 168, 50, 11]) + words(&[192, 168, 50, 12]);
        fold(addresses + 17 + u64::try_from(segment.len()).unwrap() + words(segment)) == u16::MAX
    }

    #[test]
    fn the_header_carries_ports_and_length() {
        let segment = build_udp(v4(11, 51820), v4(12, 40000), b"hello").unwrap();
        assert_eq!(segment[..6], [0xca, 0x6c, 0x9c, 0x40, 0, 13]);
        assert_eq!(segment[8..], *b"hello");
    }

    #[test]
    fn the_checksum_of_ipv6_is_left_to_the_kernel() {
        let end = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 51820));
        assert_eq!(build_udp(end, end, b"hello").unwrap()[6..8], [0, 0]);
    }

    #[test]
    fn mixed_families_and_long_payloads_are_refused() {
        let v6 = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 1));
        assert!(matches!(
            build_udp(v4(11, 1), v6, b""),
            Err(BuildError::Families { .. })
        ));
        assert_eq!(
            build_udp(v6, v6, &[0; MAX_PAYLOAD + 1]),
            Err(BuildError::TooLong(MAX_PAYLOAD + 1))
        );
        assert!(build_udp(v6, v6, &[0; MAX_PAYLOAD]).is_ok());
    }

    proptest! {
        #[test]
        fn a_receiver_finds_the_checksum_valid(from: u16, to: u16, payload in prop::collection::vec(any::<u8>(), 0..200)) {
            let segment = build_udp(v4(11, from), v4(12, to), &payload).unwrap();
            prop_assert!(is_valid(&segment));
            prop_assert_ne!(&segment[6..8], &[0, 0]);
        }
    }
}
