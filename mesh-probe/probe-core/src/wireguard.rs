//! Headers of `WireGuard` handshake datagrams, and whom an initiation is for.
//!
//! Nothing is decrypted. What can be read without a secret is the kind, the two session indices, and `mac1`, which is
//! keyed with the *public* key of the responder.

use std::fmt;

use blake2::{
    Blake2s256, Blake2sMac, Digest,
    digest::{FixedOutput, KeyInit, Update, consts::U16},
};
use evidence::PublicKey;
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::cursor::Cursor;

/// Bytes of a handshake initiation (type 1).
pub const INITIATION_LENGTH: usize = 148;
/// Bytes of a handshake response (type 2).
pub const RESPONSE_LENGTH: usize = 92;
/// Bytes of a cookie reply (type 3).
pub const COOKIE_REPLY_LENGTH: usize = 64;

/// Leading bytes of an initiation that `mac1` covers.
pub const MAC1_COVERS: usize = 116;
/// Set before the responder's key when the `mac1` key is made (`WireGuard` paper, section 5.4.4).
const MAC1_LABEL: &[u8] = b"mac1----";

/// A datagram of the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The first message, from the side that wants a session.
    Initiation(Initiation),
    /// The answer to an initiation.
    Response {
        /// Index that the responder chose for itself.
        sender_index: u32,
        /// Index of the initiation that is answered.
        receiver_index: u32,
    },
    /// The answer of a responder under load: come again with this cookie.
    CookieReply {
        /// Index of the message that is answered.
        receiver_index: u32,
    },
}

/// A handshake initiation, with what is needed to check its `mac1`.
#[derive(Clone, PartialEq, Eq)]
pub struct Initiation {
    sender_index: u32,
    covered: [u8; MAC1_COVERS],
    mac1: [u8; 16],
}

/// Why a datagram is not one of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// Too short to have a type.
    #[error("datagram has {0} bytes, a message type needs 4")]
    TooShort(usize),
    /// Data, or nothing of `WireGuard`.
    #[error("message type {0:#010x} is not one of the handshake")]
    NotHandshake(u32),
    /// A known type with a length that it never has.
    #[error("message of type {kind} has {found} bytes, expected {expected}")]
    Length {
        /// The message type.
        kind: u32,
        /// Bytes that came.
        found: usize,
        /// Bytes of that type.
        expected: usize,
    },
}

/// The key with which initiations towards one public key are marked. Made once per peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Mac1Key([u8; 32]);

impl Handshake {
    /// Reads a UDP payload. Lengths are exact: `WireGuard` drops everything else.
    pub fn parse(payload: &[u8]) -> Result<Self, HandshakeError> {
        let mut cursor = Cursor::new(payload);
        let kind = cursor
            .u32_le()
            .ok_or(HandshakeError::TooShort(payload.len()))?;
        let expected = length_of(kind).ok_or(HandshakeError::NotHandshake(kind))?;
        let wrong_length = HandshakeError::Length {
            kind,
            found: payload.len(),
            expected,
        };
        if payload.len() != expected {
            return Err(wrong_length);
        }
        fields(kind, &mut cursor, payload).ok_or(wrong_length)
    }
}

impl Initiation {
    /// Index that the initiator chose for itself; the answer carries it as its receiver index.
    pub const fn sender_index(&self) -> u32 {
        self.sender_index
    }

    /// Whether the sender dialled this public key.
    pub fn is_for(&self, responder: &PublicKey) -> bool {
        self.matches(&Mac1Key::of(responder))
    }

    /// The same as [`Initiation::is_for`] with the key made beforehand. Compares in constant time.
    pub fn matches(&self, key: &Mac1Key) -> bool {
        key.mark(&self.covered).ct_eq(&self.mac1).into()
    }

    fn read(cursor: &mut Cursor<'_>, payload: &[u8]) -> Option<Self> {
        let sender_index = cursor.u32_le()?;
        let mut whole = Cursor::new(payload);
        Some(Self {
            sender_index,
            covered: whole.take()?,
            mac1: whole.take()?,
        })
    }
}

impl Mac1Key {
    /// The key for initiations towards `responder`.
    pub fn of(responder: &PublicKey) -> Self {
        let hash = Blake2s256::new()
            .chain_update(MAC1_LABEL)
            .chain_update(responder.as_bytes());
        Self(hash.finalize().into())
    }

    /// What marks an initiation that begins with `covered`.
    pub fn mark(&self, covered: &[u8; MAC1_COVERS]) -> [u8; 16] {
        let mut mac = Blake2sMac::<U16>::new((&self.0).into());
        Update::update(&mut mac, covered);
        mac.finalize_fixed().into()
    }
}

impl fmt::Debug for Initiation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiation")
            .field("sender_index", &self.sender_index)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Mac1Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mac1Key(..)")
    }
}

const fn length_of(kind: u32) -> Option<usize> {
    match kind {
        1 => Some(INITIATION_LENGTH),
        2 => Some(RESPONSE_LENGTH),
        3 => Some(COOKIE_REPLY_LENGTH),
        _ => None,
    }
}

fn fields(kind: u32, cursor: &mut Cursor<'_>, payload: &[u8]) -> Option<Handshake> {
    match kind {
        1 => Initiation::read(cursor, payload).map(Handshake::Initiation),
        2 => Some(Handshake::Response {
            sender_index: cursor.u32_le()?,
            receiver_index: cursor.u32_le()?,
        }),
        _ => Some(Handshake::CookieReply {
            receiver_index: cursor.u32_le()?,
        }),
    }
}

#[cfg(test)]
mod tests {
    use boringtun::{
        noise::{Tunn, TunnResult},
        x25519::{PublicKey as Public, StaticSecret},
    };
    use proptest::prelude::*;

    use super::*;

    fn public(secret: [u8; 32]) -> PublicKey {
        PublicKey::from_bytes(Public::from(&StaticSecret::from(secret)).to_bytes())
    }

    fn tunnel(own: [u8; 32], peer: [u8; 32], index: u32) -> Tunn {
        let peer = Public::from(&StaticSecret::from(peer));
        Tunn::new(StaticSecret::from(own), peer, None, None, index, None)
    }

    fn written(result: TunnResult<'_>) -> Vec<u8> {
        match result {
            TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
            other => unreachable!("no datagram: {other:?}"),
        }
    }

    #[test]
    fn an_initiation_of_another_implementation_is_for_the_key_it_dialled_and_no_other() {
        let mut buffer = [0; 256];
        let datagram =
            written(tunnel([1; 32], [2; 32], 7).format_handshake_initiation(&mut buffer, false));
        let Ok(Handshake::Initiation(initiation)) = Handshake::parse(&datagram) else {
            unreachable!("not an initiation")
        };
        assert!(initiation.is_for(&public([2; 32])));
        assert!(!initiation.is_for(&public([1; 32])));
        assert!(!initiation.is_for(&public([3; 32])));
    }

    #[test]
    fn a_response_of_another_implementation_carries_the_index_of_the_initiation() {
        let (mut one, mut two) = ([0; 256], [0; 256]);
        let initiation =
            written(tunnel([1; 32], [2; 32], 7).format_handshake_initiation(&mut one, false));
        let response =
            written(tunnel([2; 32], [1; 32], 9).decapsulate(None, &initiation, &mut two));
        let Ok(Handshake::Initiation(first)) = Handshake::parse(&initiation) else {
            unreachable!("not an initiation")
        };
        let Ok(Handshake::Response {
            receiver_index,
            sender_index,
        }) = Handshake::parse(&response)
        else {
            unreachable!("not a response")
        };
        assert_eq!(receiver_index, first.sender_index());
        assert_ne!(sender_index, receiver_index);
    }

    #[test]
    fn a_changed_initiation_is_for_nobody() {
        let mut buffer = [0; 256];
        let mut datagram =
            written(tunnel([1; 32], [2; 32], 7).format_handshake_initiation(&mut buffer, false));
        datagram[40] ^= 1;
        let Ok(Handshake::Initiation(initiation)) = Handshake::parse(&datagram) else {
            unreachable!("not an initiation")
        };
        assert!(!initiation.is_for(&public([2; 32])));
    }

    #[test]
    fn a_cookie_reply_is_told_by_type_and_length() {
        let mut datagram = [0; COOKIE_REPLY_LENGTH];
        datagram[0] = 3;
        datagram[4] = 5;
        assert_eq!(
            Handshake::parse(&datagram),
            Ok(Handshake::CookieReply { receiver_index: 5 })
        );
    }

    #[test]
    fn what_wireguard_would_drop_is_refused_with_the_reason() {
        assert_eq!(Handshake::parse(&[1, 0]), Err(HandshakeError::TooShort(2)));
        assert_eq!(
            Handshake::parse(&[4, 0, 0, 0]),
            Err(HandshakeError::NotHandshake(4))
        );
        let mut long = [0; 149];
        long[0] = 1;
        assert_eq!(
            Handshake::parse(&long),
            Err(HandshakeError::Length {
                kind: 1,
                found: 149,
                expected: 148
            })
        );
        long[1] = 1;
        assert_eq!(
            Handshake::parse(&long[..148]),
            Err(HandshakeError::NotHandshake(0x0101))
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_read_but_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Handshake::parse(&bytes);
        }
    }
}
