//! Questions with one answer each, over one socket.

use netlink_packet_core::{
    NLM_F_REQUEST, NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_sys::{AsyncSocketExt as _, SocketAddr, TokioSocket};

use super::{DATAGRAM, Filter, NetlinkError, io_error, open, receive, refusal};

/// A socket over which one question after the other is asked.
pub(crate) struct Conversation {
    socket: TokioSocket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Conversation {
    pub(crate) fn open(protocol: isize) -> Result<Self, NetlinkError> {
        Ok(Self {
            socket: open(protocol, Filter::Nothing)?,
            sequence: 0,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// The type and the payload of the answer; a refusal is an error with the kernel's number.
    pub(crate) async fn ask<P: NetlinkSerializable>(
        &mut self,
        request: P,
    ) -> Result<(u16, &[u8]), NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = question(request, self.sequence);
        let kernel = SocketAddr::new(0, 0);
        let sent = self.socket.send_to(&bytes, &kernel).await;
        sent.map_err(io_error("ask over netlink"))?;
        loop {
            let length = receive(&mut self.socket, &mut self.buffer).await?;
            if let Some((kind, start, end)) = answer(&self.buffer[..length], self.sequence)? {
                return Ok((kind, &self.buffer[start..end]));
            }
        }
    }
}

fn question<P: NetlinkSerializable>(request: P, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The type of the answer and where its payload is; `None` for a late answer to an earlier question.
fn answer(datagram: &[u8], sequence: u32) -> Result<Option<(u16, usize, usize)>, NetlinkError> {
    const HEADER: usize = 16;
    let malformed = |_| NetlinkError::Malformed {
        message: 1,
        what: "a whole netlink message",
    };
    let message = NetlinkBuffer::new_checked(datagram).map_err(malformed)?;
    if message.sequence_number() != sequence {
        return Ok(None);
    }
    let end = usize::try_from(message.length()).unwrap_or(usize::MAX);
    match message.message_type() {
        NLMSG_NOOP => Ok(None),
        NLMSG_ERROR => {
            refusal(&datagram[HEADER..end])?;
            Ok(None)
        }
        kind => Ok(Some((kind, HEADER, end))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(16 + payload.len()).unwrap();
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }

    #[test]
    fn an_answer_is_taken_by_its_sequence_number() {
        let datagram = message(24, 7, b"abcd");
        let (kind, start, end) = answer(&datagram, 7).unwrap().unwrap();
        assert_eq!((kind, &datagram[start..end]), (24, &b"abcd"[..]));
        assert!(answer(&datagram, 8).unwrap().is_none());
    }

    #[test]
    fn a_refusal_carries_the_kernels_error_number() {
        let datagram = message(NLMSG_ERROR, 7, &(-101_i32).to_ne_bytes());
        let Err(NetlinkError::Refused(error)) = answer(&datagram, 7) else {
            panic!("a refusal")
        };
        assert_eq!(error.raw_os_error(), Some(101));
    }

    #[test]
    fn half_a_message_is_malformed() {
        let datagram = message(24, 7, b"abcd");
        assert!(answer(&datagram[..18], 7).is_err());
    }
}
