//! Inert probes: datagrams on the true five-tuple of the tunnel that `WireGuard` drops without a trace.
//!
//! They refresh NAT and conntrack state on their way, so they are sent only on suspicion, and sparingly. Start with
//! [`InertProber`], which sends, and [`InertTracker`], which counts what the tap saw.

mod prober;
mod tracker;

use evidence::PublicKey;

pub use prober::{
    InertCounters, InertProber, InertStats, Input, MAX_PER_SECOND, Output, QUICK_PROBES,
    QUICK_SPACING, Reason, SLOW_SPACING,
};
pub use tracker::{InertHeard, InertReject, InertTracker, TrackerCounters};

use crate::{
    ProbeKey, TAG_LENGTH, WireError,
    wire::{self, HEAD_LENGTH, Head},
};

/// First bytes of every inert datagram. The first is none of `WireGuard`'s message types 1 to 4, so it drops the rest.
pub const MAGIC: [u8; 4] = *b"\0mPi";
/// Bytes of an inert datagram.
pub const LENGTH: usize = HEAD_LENGTH + TAG_LENGTH;

const PROBE: u8 = 1;

/// An authentic inert datagram. It is never answered: the receiving agent reports what it heard.
///
/// All integers are big-endian.
///
/// ```text
///  0               4       5      6          8
///  +---------------+-------+------+----------+
///  | magic "\0mPi" | ver 1 | kind | reserved |
///  +---------------+-------+------+----------+  8
///  | sender public key (32)                  |
///  +-----------------------------------------+ 40
///  | receiver public key (32)                |
///  +--------------------+--------------------+ 72
///  | session (8)        | sequence (8)       |
///  +--------------------+--------------------+ 88
///  | HMAC-SHA256 over bytes 0..88, left 16   |
///  +-----------------------------------------+ 104
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The node that sent it.
    pub sender: PublicKey,
    /// The node it is meant for.
    pub receiver: PublicKey,
    /// Chosen at random by the sending process.
    pub session: u64,
    /// Counts the datagrams of that session to that receiver, from zero.
    pub sequence: u64,
}

impl Datagram {
    /// The bytes to send.
    pub fn encode(&self, key: &ProbeKey) -> [u8; LENGTH] {
        let Self {
            sender,
            receiver,
            session,
            sequence,
        } = *self;
        wire::seal(
            &Head {
                magic: MAGIC,
                kind: PROBE,
                sender,
                receiver,
                session,
                sequence,
            },
            &[],
            key,
        )
    }

    /// Reads a datagram that was made with the same key; everything else is refused with the reason.
    pub fn decode(bytes: &[u8], key: &ProbeKey) -> Result<Self, WireError> {
        let (head, _) = wire::open::<LENGTH>(MAGIC, bytes, key)?;
        let Head {
            kind,
            sender,
            receiver,
            session,
            sequence,
            ..
        } = head;
        if kind == PROBE {
            Ok(Self {
                sender,
                receiver,
                session,
                sequence,
            })
        } else {
            Err(WireError::Kind(kind))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{echo, wireguard::Handshake};

    /// Computed with another implementation: `hmac.new(key, head, "sha256").digest()[:16]` in Python.
    const GOLDEN_TAG: [u8; 16] =
        *b"\x04\x3e\x36\x3f\x1c\x10\xb9\x3f\x7c\x91\xfb\xa0\xa3\xf0\x2e\x1d";

    fn key() -> ProbeKey {
        ProbeKey::from_bytes([0x42; 32])
    }

    fn datagram(session: u64, sequence: u64) -> Datagram {
        Datagram {
            sender: PublicKey::from_bytes([0xaa; 32]),
            receiver: PublicKey::from_bytes([0xbb; 32]),
            session,
            sequence,
        }
    }

    #[test]
    fn a_datagram_has_the_documented_bytes() {
        let bytes = datagram(0x0102_0304_0506_0708, 9).encode(&key());
        assert_eq!(bytes[..8], *b"\0mPi\x01\x01\x00\x00");
        assert_eq!(bytes[8..40], [0xaa; 32]);
        assert_eq!(bytes[40..72], [0xbb; 32]);
        assert_eq!(
            bytes[72..88],
            [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9]
        );
        assert_eq!(bytes[88..], GOLDEN_TAG);
    }

    #[test]
    fn wireguard_takes_it_for_no_message_of_its_own() {
        let bytes = datagram(1, 1).encode(&key());
        assert!(!(1..=4).contains(&bytes[0]));
        assert!(Handshake::parse(&bytes).is_err());
    }

    #[test]
    fn an_echo_datagram_is_not_an_inert_one() {
        let Datagram {
            sender,
            receiver,
            session,
            sequence,
        } = datagram(1, 1);
        let request = echo::Datagram::Request(echo::Request {
            sender,
            receiver,
            session,
            sequence,
        });
        assert!(Datagram::decode(&request.encode(&key()), &key()).is_err());
    }

    proptest! {
        #[test]
        fn every_datagram_survives_the_round_trip(session: u64, sequence: u64) {
            let datagram = datagram(session, sequence);
            prop_assert_eq!(Datagram::decode(&datagram.encode(&key()), &key()), Ok(datagram));
        }

        #[test]
        fn a_flipped_bit_anywhere_is_refused(sequence: u64, bit in 0..LENGTH * 8) {
            let mut bytes = datagram(1, sequence).encode(&key());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Datagram::decode(&bytes, &key()).is_err());
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
            prop_assert!(Datagram::decode(&bytes, &key()).is_err());
        }
    }
}
