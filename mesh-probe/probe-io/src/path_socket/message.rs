//! The bytes of an echo request, and of what comes back.

use std::net::IpAddr;

const IPV4_HEADER: u16 = 20;
const IPV6_HEADER: u16 = 40;
const UDP_HEADER: u16 = 8;
const ICMP_HEADER: usize = 8;
const NONCE: usize = 8;

/// Echo of one family: request and reply types, an identifier, and random bytes that a reply repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Echo {
    is_ipv4: bool,
    identifier: [u8; 2],
    nonce: [u8; NONCE],
}

impl Echo {
    pub(super) const fn new(is_ipv4: bool, random: u64) -> Self {
        let nonce = random.to_be_bytes();
        Self {
            is_ipv4,
            identifier: [nonce[0], nonce[7]],
            nonce,
        }
    }

    /// Of an IP packet of this size; the token is the sequence number.
    pub(super) fn request(&self, token: u16, size: u16) -> Vec<u8> {
        let length = usize::from(size.saturating_sub(ip_header(self.is_ipv4)));
        let mut bytes = vec![0; length.max(ICMP_HEADER + NONCE)];
        bytes[0] = if self.is_ipv4 { 8 } else { 128 };
        bytes[4..6].copy_from_slice(&self.identifier);
        bytes[6..8].copy_from_slice(&token.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.nonce);
        // For ICMPv6 the kernel does it: it alone knows the addresses, which are covered too.
        if self.is_ipv4 {
            let checksum = checksum(&bytes);
            bytes[2..4].copy_from_slice(&checksum.to_be_bytes());
        }
        bytes
    }

    /// Token and size of the IP packet of a reply to us.
    pub(super) fn reply(&self, bytes: &[u8], with_identifier: bool) -> Option<(u16, u16)> {
        let kind = if self.is_ipv4 { 0 } else { 129 };
        let (head, rest) = bytes.split_first_chunk::<ICMP_HEADER>()?;
        let is_ours = head[..2] == [kind, 0]
            && (!with_identifier || head[4..6] == self.identifier)
            && rest.starts_with(&self.nonce);
        let size = u16::try_from(bytes.len())
            .ok()?
            .checked_add(ip_header(self.is_ipv4))?;
        is_ours.then_some((u16::from_be_bytes([head[6], head[7]]), size))
    }

    /// The same of what a raw socket reads, which in IPv4 begins with the IP header.
    pub(super) fn raw_reply(&self, bytes: &[u8]) -> Option<(u16, u16)> {
        if !self.is_ipv4 {
            return self.reply(bytes, true);
        }
        let header = usize::from(bytes.first()? & 0x0f) * 4;
        self.reply(bytes.get(header..)?, true)
    }

    /// The token of a request that an error quotes.
    pub(super) fn quoted(&self, bytes: &[u8], with_identifier: bool) -> Option<u16> {
        let head = bytes.first_chunk::<ICMP_HEADER>()?;
        let kind = if self.is_ipv4 { 8 } else { 128 };
        let is_ours = head[0] == kind && (!with_identifier || head[4..6] == self.identifier);
        is_ours.then(|| u16::from_be_bytes([head[6], head[7]]))
    }
}

/// The payload of a UDP datagram in an IP packet of this size. All zero: no program takes it for a request.
pub(super) fn closed_port(to: IpAddr, size: u16) -> Vec<u8> {
    let headers = ip_header(to.is_ipv4()) + UDP_HEADER;
    vec![0; usize::from(size.saturating_sub(headers))]
}

const fn ip_header(is_ipv4: bool) -> u16 {
    if is_ipv4 { IPV4_HEADER } else { IPV6_HEADER }
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |byte| u32::from(*byte) << 8);
    let mut sum = pairs
        .iter()
        .map(|pair| u32::from(u16::from_be_bytes(*pair)))
        .sum::<u32>()
        + last;
    while sum > u32::from(u16::MAX) {
        sum = (sum & u32::from(u16::MAX)) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANDOM: u64 = 0x0102_0304_0506_0708;

    #[test]
    fn a_request_has_the_size_that_was_asked_for_and_a_valid_checksum() {
        let request = Echo::new(true, RANDOM).request(258, 1400);
        assert_eq!(request.len(), 1380);
        assert_eq!(request[4..8], [1, 8, 1, 2]);
        assert_eq!(checksum(&request), 0);
        assert_eq!(Echo::new(false, RANDOM).request(1, 1400).len(), 1360);
    }

    #[test]
    fn only_the_reply_to_our_own_request_is_one() {
        let echo = Echo::new(true, RANDOM);
        let mut reply = echo.request(7, 600);
        assert_eq!(echo.reply(&reply, false), None, "it is a request");
        reply[0] = 0;
        assert_eq!(echo.reply(&reply, true), Some((7, 600)));
        assert_eq!(Echo::new(true, 1).reply(&reply, false), None);
        for length in 0..ICMP_HEADER + NONCE {
            assert_eq!(echo.reply(&reply[..length], true), None, "{length}");
        }
    }

    #[test]
    fn a_raw_socket_sees_the_ip_header_of_ipv4_before_it() {
        let echo = Echo::new(true, RANDOM);
        let mut reply = echo.request(7, 600);
        reply[0] = 0;
        let mut packet = vec![0; 24];
        packet[0] = 0x46;
        packet.extend(reply);
        assert_eq!(echo.raw_reply(&packet), Some((7, 600)));
        assert_eq!(echo.raw_reply(&packet[..23]), None);
        assert_eq!(echo.raw_reply(&[]), None);
    }

    #[test]
    fn eight_quoted_bytes_name_the_request() {
        let echo = Echo::new(true, RANDOM);
        let request = echo.request(7, 600);
        assert_eq!(echo.quoted(&request[..8], true), Some(7));
        assert_eq!(echo.quoted(&request[..7], true), None);
        assert_eq!(Echo::new(true, 9).quoted(&request[..8], true), None);
    }
}
