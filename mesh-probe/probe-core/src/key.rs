//! The key that authenticates probes.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of the authentication tag at the end of every probe: HMAC-SHA256, the left half.
pub const TAG_LENGTH: usize = 16;

/// The key that all nodes of one mesh share for their probes. Wiped when dropped, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct ProbeKey([u8; 32]);

impl ProbeKey {
    /// Wraps the 32 bytes of a derived key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn tag(&self, message: &[u8]) -> [u8; TAG_LENGTH] {
        let full = self.mac(message).finalize().into_bytes();
        let mut tag = [0; TAG_LENGTH];
        tag.copy_from_slice(&full[..TAG_LENGTH]);
        tag
    }

    /// Compares in constant time.
    pub(crate) fn accepts(&self, message: &[u8], tag: &[u8; TAG_LENGTH]) -> bool {
        self.mac(message).verify_truncated_left(tag).is_ok()
    }

    fn mac(&self, message: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(message);
        mac
    }
}

impl fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProbeKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_shows_no_byte_of_the_key() {
        assert_eq!(
            format!("{:?}", ProbeKey::from_bytes([7; 32])),
            "ProbeKey(..)"
        );
    }

    #[test]
    fn a_tag_is_accepted_only_for_its_message_and_key() {
        let key = ProbeKey::from_bytes([7; 32]);
        let tag = key.tag(b"message");
        assert!(key.accepts(b"message", &tag));
        assert!(!key.accepts(b"massage", &tag));
        assert!(!ProbeKey::from_bytes([8; 32]).accepts(b"message", &tag));
    }
}
