//! Echo: a request to a peer's agent and its reply of the same size.
//!
//! Start with [`Prober`], which asks, and [`Responder`], which answers.

mod clock;
mod prober;
mod responder;
mod schedule;
mod stats;
mod ticks;

use evidence::PublicKey;

pub use clock::ClockSample;
pub use prober::{
    Event, Input, MAX_EVENTS, MAX_OUTSTANDING, Output, Prober, ProberCounters, Reason,
};
pub use responder::{Answer, Reject, Responder, ResponderCounters};
pub use schedule::{
    CONFIRMING_LOSSES, JITTER_LIMIT, JITTER_SHARE, MAX_REQUESTS_PER_SECOND, MIN_INTERVAL,
    NODE_SHARE, REPLY_TIMEOUT, RETRY_INTERVAL, SMALL_NODE_SHARE,
};
pub use stats::{EchoStats, RoundTrip};
pub use ticks::{TICK, tick_from};

use crate::{
    ProbeKey, TAG_LENGTH, Wall, WireError,
    cursor::Cursor,
    wire::{self, HEAD_LENGTH, Head},
};

/// First bytes of every echo datagram.
pub const MAGIC: [u8; 4] = *b"mPe2";
/// Bytes of a request, and of a reply: nobody is amplified.
pub const LENGTH: usize = HEAD_LENGTH + BODY_LENGTH + TAG_LENGTH;

const BODY_LENGTH: usize = 32;
const REQUEST: u8 = 1;
/// The byte that tells a request from a reply.
pub const KIND_AT: usize = 5;
/// What it is in a reply.
pub const KIND_OF_REPLY: u8 = REPLY;
const REPLY: u8 = 2;

/// What both directions carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The node that sent this datagram.
    pub sender: PublicKey,
    /// The node it is meant for.
    pub receiver: PublicKey,
    /// Chosen at random by the asking process; the reply repeats it.
    pub session: u64,
    /// Counts the requests of that session to that receiver, from zero; the reply repeats it.
    pub sequence: u64,
}

/// The answer to a [`Request`], with what the responder heard of this session so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answers whom; sender is the responder.
    pub answers: Request,
    /// Lowest sequence number the responder heard in this session.
    pub first: u64,
    /// How many requests of this session it heard since, this one included.
    pub heard: u64,
    /// The responder's wall clock at both ends of its work.
    pub wall: Walls,
}

/// A responder's wall clock, before and after: with the asking side's two stamps these are the four of NTP (RFC 5905).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walls {
    /// When the request came.
    pub received: Wall,
    /// When the reply left.
    pub sent: Wall,
}

/// An authentic echo datagram.
///
/// All integers are big-endian; the four behind `sequence` are zero in a request, which so has the length of its reply.
/// `mPe1` was the same without wall clocks.
///
/// ```text
///  0               4       5      6          8
///  +---------------+-------+------+----------+
///  | magic "mPe2"  | ver 1 | kind | reserved |
///  +---------------+-------+------+----------+  8
///  | sender public key (32)                  |
///  +-----------------------------------------+ 40
///  | receiver public key (32)                |
///  +--------------------+--------------------+ 72
///  | session (8)        | sequence (8)       |
///  +--------------------+--------------------+ 88
///  | first (8)          | heard (8)          |
///  +--------------------+--------------------+ 104
///  | wall received (8)  | wall sent (8)      |
///  +--------------------+--------------------+ 120
///  | HMAC-SHA256 over bytes 0..120, left 16  |
///  +-----------------------------------------+ 136
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A question.
    Request(Request),
    /// An answer.
    Reply(Reply),
}

impl Datagram {
    /// The bytes to send.
    pub fn encode(&self, key: &ProbeKey) -> [u8; LENGTH] {
        let mut body = [0; BODY_LENGTH];
        let (kind, request) = match self {
            Self::Request(request) => (REQUEST, request),
            Self::Reply(reply) => {
                body[..8].copy_from_slice(&reply.first.to_be_bytes());
                body[8..16].copy_from_slice(&reply.heard.to_be_bytes());
                body[16..24].copy_from_slice(&reply.wall.received.as_micros().to_be_bytes());
                body[24..].copy_from_slice(&reply.wall.sent.as_micros().to_be_bytes());
                (REPLY, &reply.answers)
            }
        };
        let Request {
            sender,
            receiver,
            session,
            sequence,
        } = *request;
        wire::seal(
            &Head {
                magic: MAGIC,
                kind,
                sender,
                receiver,
                session,
                sequence,
            },
            &body,
            key,
        )
    }

    /// Reads a datagram that was made with the same key; everything else is refused with the reason.
    pub fn decode(bytes: &[u8], key: &ProbeKey) -> Result<Self, WireError> {
        let (head, body) = wire::open::<LENGTH>(MAGIC, bytes, key)?;
        let Head {
            sender,
            receiver,
            session,
            sequence,
            ..
        } = head;
        let request = Request {
            sender,
            receiver,
            session,
            sequence,
        };
        match head.kind {
            REQUEST => Ok(Self::Request(request)),
            REPLY => reply(request, body).ok_or(WireError::Length {
                found: bytes.len(),
                expected: LENGTH,
            }),
            kind => Err(WireError::Kind(kind)),
        }
    }
}

fn reply(answers: Request, body: &[u8]) -> Option<Datagram> {
    let mut cursor = Cursor::new(body);
    Some(Datagram::Reply(Reply {
        answers,
        first: cursor.u64_be()?,
        heard: cursor.u64_be()?,
        wall: Walls {
            received: Wall::from_micros(i64::from_be_bytes(cursor.take()?)),
            sent: Wall::from_micros(i64::from_be_bytes(cursor.take()?)),
        },
    }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computed with another implementation: `hmac.new(key, head, "sha256").digest()[:16]` in Python.
    const GOLDEN_TAG: [u8; 16] =
        *b"\x3f\x08\x69\xeb\x0a\x8e\xdf\x67\xb2\xfa\x66\x4b\x34\x35\x41\x58";

    fn key() -> ProbeKey {
        ProbeKey::from_bytes([0x42; 32])
    }

    fn request() -> Request {
        Request {
            sender: PublicKey::from_bytes([0xaa; 32]),
            receiver: PublicKey::from_bytes([0xbb; 32]),
            session: 0x0102_0304_0506_0708,
            sequence: 9,
        }
    }

    #[test]
    fn a_request_has_the_documented_bytes() {
        let bytes = Datagram::Request(request()).encode(&key());
        assert_eq!(bytes[..8], *b"mPe2\x01\x01\x00\x00");
        assert_eq!(bytes[8..40], [0xaa; 32]);
        assert_eq!(bytes[40..72], [0xbb; 32]);
        assert_eq!(
            bytes[72..88],
            [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9]
        );
        assert_eq!(bytes[88..120], [0; 32]);
        assert_eq!(bytes[120..], GOLDEN_TAG);
    }

    #[test]
    fn a_reply_has_the_size_of_its_request() {
        let reply = Datagram::Reply(Reply {
            answers: request(),
            first: 3,
            heard: 7,
            wall: Walls {
                received: Wall::from_micros(-5),
                sent: Wall::from_micros(1_700_000_000_000_000),
            },
        });
        assert_eq!(
            reply.encode(&key()).len(),
            Datagram::Request(request()).encode(&key()).len()
        );
        assert_eq!(Datagram::decode(&reply.encode(&key()), &key()), Ok(reply));
    }

    #[test]
    fn each_way_to_be_wrong_has_its_error() {
        let good = Datagram::Request(request()).encode(&key());
        let with = |at: usize, value: u8| {
            let mut bytes = good;
            bytes[at] = value;
            Datagram::decode(&bytes, &key())
        };
        assert_eq!(
            Datagram::decode(&good[1..], &key()),
            Err(WireError::Length {
                found: 135,
                expected: 136
            })
        );
        assert_eq!(with(0, 0), Err(WireError::Magic));
        assert_eq!(with(4, 2), Err(WireError::Version(2)));
        assert_eq!(with(5, 2), Err(WireError::Tag));
        assert_eq!(
            Datagram::decode(&good, &ProbeKey::from_bytes([0; 32])),
            Err(WireError::Tag)
        );
        let Request {
            sender,
            receiver,
            session,
            sequence,
        } = request();
        let head = Head {
            magic: MAGIC,
            kind: 9,
            sender,
            receiver,
            session,
            sequence,
        };
        let odd: [u8; LENGTH] = wire::seal(&head, &[0; BODY_LENGTH], &key());
        assert_eq!(Datagram::decode(&odd, &key()), Err(WireError::Kind(9)));
    }

    fn any_datagram() -> impl Strategy<Value = Datagram> {
        let request = (
            any::<[u8; 32]>(),
            any::<[u8; 32]>(),
            any::<u64>(),
            any::<u64>(),
        )
            .prop_map(|(sender, receiver, session, sequence)| Request {
                sender: PublicKey::from_bytes(sender),
                receiver: PublicKey::from_bytes(receiver),
                session,
                sequence,
            });
        (request, any::<Option<(u64, u64, i64, i64)>>()).prop_map(
            |(answers, counts)| match counts {
                None => Datagram::Request(answers),
                Some((first, heard, received, sent)) => Datagram::Reply(Reply {
                    answers,
                    first,
                    heard,
                    wall: Walls {
                        received: Wall::from_micros(received),
                        sent: Wall::from_micros(sent),
                    },
                }),
            },
        )
    }

    proptest! {
        #[test]
        fn every_datagram_survives_the_round_trip(datagram in any_datagram()) {
            prop_assert_eq!(Datagram::decode(&datagram.encode(&key()), &key()), Ok(datagram));
        }

        #[test]
        fn a_flipped_bit_anywhere_is_refused(datagram in any_datagram(), bit in 0..LENGTH * 8) {
            let mut bytes = datagram.encode(&key());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Datagram::decode(&bytes, &key()).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            prop_assert!(Datagram::decode(&bytes, &key()).is_err());
        }
    }
}
