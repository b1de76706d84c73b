//! Control messages: what the kernel says beside a datagram, and what it is told.
//!
//! Written and read as bytes. The kernel copies them, so alignment of the buffer does not matter.

use std::{
    ffi::c_int,
    mem::size_of,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

/// Bytes of a `cmsghdr`: a length of word size, and two integers.
const HEADER: usize = size_of::<usize>() + 8;

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) level: c_int,
    pub(crate) kind: c_int,
    pub(crate) data: &'a [u8],
}

/// A `sock_extended_err` (linux/errqueue.h) and the address of who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    pub(crate) errno: i32,
    pub(crate) origin: u8,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    /// Of "packet too big": the MTU that was named.
    pub(crate) info: u32,
    pub(crate) offender: Option<IpAddr>,
}

/// A buffer with this one message.
pub(crate) fn message(level: c_int, kind: c_int, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + aligned(data.len()));
    bytes.extend((HEADER + data.len()).to_ne_bytes());
    bytes.extend(level.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(data);
    bytes.resize(HEADER + aligned(data.len()), 0);
    bytes
}

/// The messages of a buffer; ends at the first that is cut off.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::from_ne_bytes(*length);
        let (level, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let data = rest.get(..length.checked_sub(HEADER)?)?;
        bytes = rest.get(aligned(data.len())..).unwrap_or_default();
        Some(Message {
            level: c_int::from_ne_bytes(*level),
            kind: c_int::from_ne_bytes(*kind),
            data,
        })
    })
}

/// When the kernel took a datagram in, by the wall clock: a `SO_TIMESTAMPNS` (socket(7)) with seconds of 64 bits.
pub(crate) fn arrival(control: &[u8]) -> Option<Duration> {
    let stamp = |message: &Message<'_>| {
        (message.level, message.kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS)
    };
    let data = messages(control).find(stamp)?.data;
    let (seconds, rest) = data.split_first_chunk()?;
    let nanos = u64::try_from(i64::from_ne_bytes(*rest.first_chunk()?)).ok()?;
    let seconds = u64::try_from(i64::from_ne_bytes(*seconds)).ok()?;
    Some(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos)))
}

/// By which interface a datagram came in, and to which address: an `in_pktinfo` (ip(7)) or an `in6_pktinfo` (ipv6(7)).
pub(crate) fn came_in(control: &[u8]) -> Option<(u32, IpAddr)> {
    messages(control).find_map(|message| match (message.level, message.kind) {
        (libc::SOL_IP, libc::IP_PKTINFO) => {
            let (index, rest) = message.data.split_first_chunk()?;
            let (_local, rest) = rest.split_first_chunk::<4>()?;
            let to = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some((u32::from_ne_bytes(*index), to.into()))
        }
        (libc::SOL_IPV6, libc::IPV6_PKTINFO) => {
            let (to, rest) = message.data.split_first_chunk::<16>()?;
            let index = u32::from_ne_bytes(*rest.first_chunk()?);
            Some((index, Ipv6Addr::from(*to).into()))
        }
        _ => None,
    })
}

/// The message by which a datagram leaves from this address of the node, by any interface.
pub(crate) fn leaves_from(source: IpAddr) -> Vec<u8> {
    match source {
        IpAddr::V4(source) => {
            let mut info = [0; 12];
            info[4..8].copy_from_slice(&source.octets());
            message(libc::SOL_IP, libc::IP_PKTINFO, &info)
        }
        IpAddr::V6(source) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&source.octets());
            message(libc::SOL_IPV6, libc::IPV6_PKTINFO, &info)
        }
    }
}

impl ExtendedError {
    /// Reads the message of the error queue of either family; `None` if it is another message.
    pub(crate) fn read(message: &Message<'_>) -> Option<Self> {
        match (message.level, message.kind) {
            (libc::SOL_IP, libc::IP_RECVERR) | (libc::SOL_IPV6, libc::IPV6_RECVERR) => {}
            _ => return None,
        }
        let (errno, rest) = message.data.split_first_chunk()?;
        let ([origin, kind, code, _], rest) = rest.split_first_chunk()?;
        let (info, rest) = rest.split_first_chunk()?;
        let (_data, offender) = rest.split_first_chunk::<4>()?;
        Some(Self {
            errno: i32::from_ne_bytes(*errno),
            origin: *origin,
            kind: *kind,
            code: *code,
            info: u32::from_ne_bytes(*info),
            offender: address(offender),
        })
    }
}

/// The IP address in a `sockaddr_in` or `sockaddr_in6`.
fn address(bytes: &[u8]) -> Option<IpAddr> {
    let (family, rest) = bytes.split_first_chunk()?;
    let (_port, rest) = rest.split_first_chunk::<2>()?;
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => rest
            .first_chunk()
            .map(|octets| Ipv4Addr::from(*octets).into()),
        libc::AF_INET6 => {
            let (_flow, rest) = rest.split_first_chunk::<4>()?;
            rest.first_chunk()
                .map(|octets| Ipv6Addr::from(*octets).into())
        }
        _ => None,
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(size_of::<usize>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive_the_round_trip_one_behind_the_other() {
        let bytes = [message(1, 2, b"hello"), message(3, 4, b"")].concat();
        let expected = [
            Message {
                level: 1,
                kind: 2,
                data: b"hello",
            },
            Message {
                level: 3,
                kind: 4,
                data: b"",
            },
        ];
        assert_eq!(messages(&bytes).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_arrival_is_read_from_among_other_messages_and_never_from_half_a_message() {
        let stamp = [7_i64.to_ne_bytes(), 9_i64.to_ne_bytes()].concat();
        let kind = (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS);
        let bytes = [message(1, 2, b"other"), message(kind.0, kind.1, &stamp)].concat();
        assert_eq!(arrival(&bytes), Some(Duration::new(7, 9)));
        assert_eq!(arrival(&message(kind.0, kind.1, &stamp[..12])), None);
        let before_1970 = [(-1_i64).to_ne_bytes(), 9_i64.to_ne_bytes()].concat();
        assert_eq!(arrival(&message(kind.0, kind.1, &before_1970)), None);
    }

    #[test]
    fn the_interface_and_the_address_are_read_of_both_families_and_never_of_half_a_message() {
        let mut v4 = 7_u32.to_ne_bytes().to_vec();
        v4.extend([192, 0, 2, 1, 203, 0, 113, 11]);
        let v4 = message(libc::SOL_IP, libc::IP_PKTINFO, &v4);
        assert_eq!(came_in(&v4), Some((7, [203, 0, 113, 11].into())));
        let address: Ipv6Addr = "2001:db8::11".parse().unwrap();
        let mut v6 = address.octets().to_vec();
        v6.extend(9_u32.to_ne_bytes());
        let other = message(1, 2, b"other");
        let v6 = [other, message(libc::SOL_IPV6, libc::IPV6_PKTINFO, &v6)].concat();
        assert_eq!(came_in(&v6), Some((9, address.into())));
        for bytes in [&v4[..], &v6[..]] {
            for length in 0..HEADER + 12 {
                assert_eq!(came_in(&bytes[..length]), None, "{length}");
            }
        }
    }

    #[test]
    fn a_source_is_demanded_as_it_would_be_told() {
        for (source, index_at) in [("203.0.113.11", 0), ("2001:db8::11", 16)] {
            let source: IpAddr = source.parse().unwrap();
            let bytes = leaves_from(source);
            let told = messages(&bytes).next().unwrap();
            assert_eq!(told.data[index_at..index_at + 4], [0; 4], "any interface");
        }
    }

    #[test]
    fn a_message_that_is_cut_off_or_lies_about_its_length_ends_the_list() {
        let mut bytes = message(1, 2, b"hello");
        for length in 0..HEADER + 5 {
            assert_eq!(messages(&bytes[..length]).count(), 0, "{length}");
        }
        for lie in [0, HEADER - 1, usize::MAX] {
            bytes[..size_of::<usize>()].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(messages(&bytes).count(), 0, "{lie}");
        }
    }

    #[test]
    fn an_error_of_either_family_names_its_offender() {
        let mut data = 111_u32.to_ne_bytes().to_vec();
        data.extend([2, 3, 3, 0]);
        data.extend(1400_u32.to_ne_bytes());
        data.extend([0; 4]);
        data.extend(u16::try_from(libc::AF_INET).unwrap().to_ne_bytes());
        data.extend([0, 0, 203, 0, 113, 1, 0, 0]);
        let message = Message {
            level: libc::SOL_IP,
            kind: libc::IP_RECVERR,
            data: &data,
        };
        let offender = Some([203, 0, 113, 1].into());
        let expected = ExtendedError {
            errno: 111,
            origin: 2,
            kind: 3,
            code: 3,
            info: 1400,
            offender,
        };
        assert_eq!(ExtendedError::read(&message), Some(expected));
        let other = Message {
            level: libc::SOL_IP,
            kind: libc::IP_PKTINFO,
            data: &data,
        };
        assert_eq!(ExtendedError::read(&other), None);
    }
}
