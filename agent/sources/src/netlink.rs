//! Asking the kernel over netlink: dumps, and nothing else.
//!
//! This is smaller than a general netlink client on purpose. The receive buffer is ours, so that a dump with keys in
//! it can be overwritten, and a message that cannot be decoded is the caller's to count instead of being lost.

mod ask;
mod family;

use std::io;

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer,
    NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};

use crate::wiped::Wiped;

pub(crate) use ask::Conversation;
pub(crate) use family::{GENERIC_HEADER, family};

/// Most bytes that one dump may have.
pub(crate) const MAX_DUMP: usize = 4 << 20;

/// How often a dump is started when the kernel says that its subject changed meanwhile.
pub(crate) const MAX_ATTEMPTS: u32 = 3;

/// The kernel makes dump datagrams of at most 32 KiB.
pub(crate) const DATAGRAM: usize = 64 << 10;

const SEQUENCE: u32 = 1;
const ATTRIBUTE_HEADER: usize = 4;
const ATTRIBUTE_KIND: u16 = 0x3fff;

#[derive(Debug)]
pub(crate) enum NetlinkError {
    Io {
        operation: &'static str,
        source: io::Error,
    },
    /// The kernel's own error number.
    Refused(io::Error),
    Malformed {
        message: usize,
        what: &'static str,
    },
    TooLarge,
    /// What was dumped changed during the dump.
    Interrupted,
}

/// One dump: opens a socket, sends `request` and hands each payload of the reply to `each` as (message type, payload).
///
/// `each` may overwrite the payload. The whole buffer is overwritten at the end in any case.
pub(crate) async fn dump<P: NetlinkSerializable>(
    protocol: isize,
    filter: Filter,
    request: P,
    mut each: impl FnMut(u16, &mut [u8]) -> Result<(), &'static str>,
) -> Result<(), NetlinkError> {
    let mut socket = open(protocol, filter)?;
    send(&mut socket, request).await?;
    let mut buffer = Wiped::zeros(DATAGRAM);
    let mut progress = Progress::default();
    while !progress.done {
        let length = receive(&mut socket, &mut buffer).await?;
        progress.bytes += length;
        if progress.bytes > MAX_DUMP {
            return Err(NetlinkError::TooLarge);
        }
        progress.datagram(&mut buffer[..length], &mut each)?;
    }
    if progress.interrupted {
        return Err(NetlinkError::Interrupted);
    }
    Ok(())
}

/// Hands each payload in `messages` to `each`, as [`dump`] does with what it receives.
pub(crate) fn take_apart(
    messages: &mut [u8],
    mut each: impl FnMut(u16, &mut [u8]) -> Result<(), &'static str>,
) -> Result<(), NetlinkError> {
    Progress::default().datagram(messages, &mut each)
}

/// Whether the kernel filters a dump by the fields of its request, as iproute2 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filter {
    ByRequest,
    Nothing,
}

/// Hands each netlink attribute in `rest` to `each` as (kind without flags, value).
pub(crate) fn each_attribute(
    mut rest: &mut [u8],
    mut each: impl FnMut(u16, &mut [u8]) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    while rest.len() >= ATTRIBUTE_HEADER {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & ATTRIBUTE_KIND;
        if length < ATTRIBUTE_HEADER || length > rest.len() {
            return Err("the length of a netlink attribute fits its message");
        }
        let end = length.next_multiple_of(4).min(rest.len());
        let (attribute, after) = rest.split_at_mut(end);
        each(kind, &mut attribute[ATTRIBUTE_HEADER..length])?;
        rest = after;
    }
    Ok(())
}

#[derive(Default)]
struct Progress {
    bytes: usize,
    messages: usize,
    interrupted: bool,
    done: bool,
}

impl Progress {
    fn datagram(
        &mut self,
        mut rest: &mut [u8],
        each: &mut impl FnMut(u16, &mut [u8]) -> Result<(), &'static str>,
    ) -> Result<(), NetlinkError> {
        while !rest.is_empty() && !self.done {
            self.messages += 1;
            let length = match NetlinkBuffer::new_checked(&*rest) {
                Ok(message) => usize::try_from(message.length()).unwrap_or(usize::MAX),
                Err(_) => return Err(self.malformed("a whole netlink message")),
            };
            let end = length.next_multiple_of(4).min(rest.len());
            let (message, after) = rest.split_at_mut(end);
            self.message(&mut NetlinkBuffer::new(&mut message[..length]), each)?;
            rest = after;
        }
        Ok(())
    }

    fn message(
        &mut self,
        message: &mut NetlinkBuffer<&mut [u8]>,
        each: &mut impl FnMut(u16, &mut [u8]) -> Result<(), &'static str>,
    ) -> Result<(), NetlinkError> {
        if message.sequence_number() != SEQUENCE {
            return Ok(());
        }
        self.interrupted |= message.flags() & NLM_F_DUMP_INTR != 0;
        match message.message_type() {
            NLMSG_NOOP => Ok(()),
            NLMSG_DONE | NLMSG_ERROR => {
                self.done = true;
                refusal(message.payload_mut())
            }
            kind => each(kind, message.payload_mut()).map_err(|what| self.malformed(what)),
        }
    }

    const fn malformed(&self, what: &'static str) -> NetlinkError {
        NetlinkError::Malformed {
            message: self.messages,
            what,
        }
    }
}

/// Both the end of a dump and an error start with a negated error number; 0 is success.
fn refusal(payload: &[u8]) -> Result<(), NetlinkError> {
    let code = payload.first_chunk().map_or(0, |b| i32::from_ne_bytes(*b));
    if code == 0 {
        return Ok(());
    }
    let errno = code.checked_neg().unwrap_or(0);
    Err(NetlinkError::Refused(io::Error::from_raw_os_error(errno)))
}

fn open(protocol: isize, filter: Filter) -> Result<TokioSocket, NetlinkError> {
    let open = || {
        let mut socket = TokioSocket::new(protocol)?;
        let plain = socket.socket_mut();
        plain.bind_auto()?;
        if filter == Filter::ByRequest {
            plain.set_netlink_get_strict_chk(true)?;
        }
        Ok(socket)
    };
    open().map_err(io_error("open a netlink socket"))
}

async fn send<P: NetlinkSerializable>(
    socket: &mut TokioSocket,
    request: P,
) -> Result<(), NetlinkError> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = SEQUENCE;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    let kernel = SocketAddr::new(0, 0);
    let sent = socket.send_to(&bytes, &kernel).await;
    sent.map_err(io_error("ask over netlink")).map(|_| ())
}

/// The next datagram of the kernel; what another process sent is ignored.
async fn receive(socket: &mut TokioSocket, buffer: &mut [u8]) -> Result<usize, NetlinkError> {
    loop {
        let capacity = buffer.len();
        let mut space = &mut *buffer;
        let received = socket.recv_from(&mut space).await;
        let left = space.len();
        let sender = received.map_err(io_error("read from netlink"))?;
        if sender.port_number() == 0 {
            return Ok(capacity - left);
        }
    }
}

fn io_error(operation: &'static str) -> impl Fn(io::Error) -> NetlinkError {
    move |source| NetlinkError::Io { operation, source }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(SEQUENCE.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The payloads of a datagram, and how far the dump came.
    fn take(mut datagram: Vec<u8>) -> (Vec<Vec<u8>>, Progress, Result<(), NetlinkError>) {
        let mut payloads = Vec::new();
        let mut progress = Progress::default();
        let result = progress.datagram(&mut datagram, &mut |_, payload| {
            payloads.push(payload.to_vec());
            Ok(())
        });
        (payloads, progress, result)
    }

    #[test]
    fn a_datagram_of_several_messages_is_taken_apart_until_the_end_of_the_dump() {
        let end = message(NLMSG_DONE, 0, &[0; 4]);
        let parts = [
            message(30, 0, b"abc"),
            message(30, 0, b"defg"),
            end,
            message(30, 0, b"x"),
        ];
        let (payloads, progress, result) = take(parts.concat());
        assert_eq!(payloads, [b"abc".to_vec(), b"defg".to_vec()]);
        assert!(result.is_ok() && progress.done && !progress.interrupted);
    }

    #[test]
    fn a_dump_that_the_kernel_calls_inconsistent_is_remembered_as_such() {
        let (_, progress, result) = take(message(30, NLM_F_DUMP_INTR, b"abcd"));
        assert!(result.is_ok() && progress.interrupted && !progress.done);
    }

    #[test]
    fn a_refusal_carries_the_kernels_error_number() {
        for kind in [NLMSG_ERROR, NLMSG_DONE] {
            let (_, _, result) = take(message(kind, 0, &(-19_i32).to_ne_bytes()));
            let Err(NetlinkError::Refused(error)) = result else {
                panic!("{result:?}")
            };
            assert_eq!(error.raw_os_error(), Some(19));
        }
    }

    #[test]
    fn a_message_longer_than_its_datagram_is_malformed() {
        let mut datagram = [message(30, 0, b"abcd"), message(30, 0, b"efgh")].concat();
        datagram.truncate(datagram.len() - 1);
        let (payloads, _, result) = take(datagram);
        assert_eq!(payloads.len(), 1);
        assert!(matches!(
            result,
            Err(NetlinkError::Malformed { message: 2, .. })
        ));
    }

    proptest! {
        #[test]
        fn any_datagram_is_taken_apart_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(take(bytes));
        }

        #[test]
        fn attributes_never_hold_more_than_their_message(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let whole = bytes.len();
            let mut held = 0;
            let walked = each_attribute(&mut bytes, |_, value| {
                held += ATTRIBUTE_HEADER + value.len();
                Ok(())
            });
            prop_assert!(held <= whole, "{walked:?}");
        }
    }
}
