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
