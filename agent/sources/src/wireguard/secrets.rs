//! Key material on its way through: overwritten where it stands, and only the agreed preshared key ever leaves.

use std::collections::BTreeSet;

use evidence::PublicKey;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, Zeroizing};

use super::error::WireGuardError;
use crate::netlink::each_attribute;

const DEVICE_PRIVATE_KEY: u16 = 3;
const DEVICE_PEERS: u16 = 8;
const PEER_PUBLIC_KEY: u16 = 1;
const PEER_PRESHARED_KEY: u16 = 2;

pub(super) type Key = Zeroizing<[u8; 32]>;

/// Overwrites the private key and every preshared key in the attributes of one netlink message.
///
/// Runs before anything decodes the message, so that no decoder copies a key. `witness` learns each peer before.
pub(super) fn overwrite(
    attributes: &mut [u8],
    witness: &mut Agreement,
) -> Result<(), &'static str> {
    each_attribute(attributes, |kind, value| match kind {
        DEVICE_PRIVATE_KEY => {
            value.zeroize();
            Ok(())
        }
        DEVICE_PEERS => each_attribute(value, |_, peer| overwrite_peer(peer, witness)),
        _ => Ok(()),
    })
}

fn overwrite_peer(peer: &mut [u8], witness: &mut Agreement) -> Result<(), &'static str> {
    let mut public_key = None;
    each_attribute(peer, |kind, value| {
        if kind == PEER_PUBLIC_KEY {
            public_key = PublicKey::try_from(&*value).ok();
        }
        Ok(())
    })?;
    let public_key = public_key.ok_or("a peer has a public key of 32 bytes")?;
    witness.peer(public_key);
    each_attribute(peer, |kind, value| {
        if kind == PEER_PRESHARED_KEY {
            witness.preshared_key(public_key, value);
            value.zeroize();
        }
        Ok(())
    })
}

/// The public key that belongs to a private key; none for the all-zero key, which means that none is set.
pub(super) fn public_key(private: &Key) -> Option<PublicKey> {
    if is_zero(&**private) {
        return None;
    }
    let secret = StaticSecret::from(**private);
    let public = x25519_dalek::PublicKey::from(&secret);
    Some(PublicKey::from_bytes(public.to_bytes()))
}

/// 32 bytes from 64 hexadecimal digits.
pub(super) fn from_hex(text: &str) -> Option<Key> {
    let mut key = Zeroizing::new([0; 32]);
    let digits = text.as_bytes();
    if digits.len() != 2 * key.len() {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(key)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

fn is_zero(key: &[u8]) -> bool {
    key.iter().all(|byte| *byte == 0)
}

/// Finds out whether all peers share one preshared key. Deliberately without `Debug`.
#[derive(Default)]
pub(super) struct Agreement {
    peers: BTreeSet<PublicKey>,
    keyed: BTreeSet<PublicKey>,
    shared: Option<Key>,
    different: bool,
}

impl Agreement {
    pub(super) fn peer(&mut self, peer: PublicKey) {
        self.peers.insert(peer);
    }

    /// `key` may be all zero, which is how both backends say "none".
    pub(super) fn preshared_key(&mut self, peer: PublicKey, key: &[u8]) {
        if is_zero(key) {
            return;
        }
        self.keyed.insert(peer);
        match &self.shared {
            Some(shared) => self.different |= **shared != *key,
            None => self.shared = key.try_into().ok().map(Zeroizing::new),
        }
    }

    pub(super) fn finish(self, interface: &str) -> Result<Key, WireGuardError> {
        let interface = interface.to_owned();
        if self.peers.is_empty() {
            return Err(WireGuardError::NoPeers { interface });
        }
        if self.different || (!self.keyed.is_empty() && self.keyed != self.peers) {
            return Err(WireGuardError::DifferentPresharedKeys { interface });
        }
        self.shared
            .ok_or(WireGuardError::NoPresharedKey { interface })
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    fn peer(byte: u8) -> PublicKey {
        PublicKey::from_bytes([byte; 32])
    }

    fn agreed(keys: &[Option<u8>]) -> Result<Key, WireGuardError> {
        let mut agreement = Agreement::default();
        for (number, key) in (1..).zip(keys) {
            agreement.peer(peer(number));
            if let Some(byte) = key {
                agreement.preshared_key(peer(number), &[*byte; 32]);
            }
        }
        agreement.finish("kubespan")
    }

    #[test]
    fn the_mesh_key_is_found_only_if_every_peer_has_it() {
        assert_eq!(*agreed(&[Some(7), Some(7)]).unwrap(), [7; 32]);
        assert!(matches!(agreed(&[]), Err(WireGuardError::NoPeers { .. })));
        for none in [[None, None], [Some(0), Some(0)]] {
            let error = agreed(&none).unwrap_err();
            assert!(matches!(error, WireGuardError::NoPresharedKey { .. }));
        }
        for mixed in [[Some(7), Some(8)], [Some(7), None], [Some(0), Some(7)]] {
            let error = agreed(&mixed).unwrap_err();
            assert!(matches!(
                error,
                WireGuardError::DifferentPresharedKeys { .. }
            ));
        }
    }

    #[test]
    fn the_mesh_key_does_not_show_in_debug_text() {
        let text = format!("{:?}", agreed(&[Some(0x5a)]).unwrap());
        assert!(!text.contains("90") && !text.contains("5a"), "{text}");
    }

    #[test]
    fn a_public_key_is_derived_as_wireguard_derives_it() {
        let private = STANDARD
            .decode("sF45u5ePau58WeeCUY3T8D9foEKaQ8Opx4cGC8g4XE4=")
            .unwrap();
        let private = Zeroizing::new(private.try_into().unwrap());
        let public = public_key(&private).unwrap().to_string();
        assert_eq!(public, "Oak2fBEWngBhwslBxDVgnRNHXs88OAp4kjroSX0uqUE=");
        assert_eq!(public_key(&Zeroizing::new([0; 32])), None);
    }

    #[test]
    fn only_64_hexadecimal_digits_are_a_key() {
        assert_eq!(*from_hex(&"aF".repeat(32)).unwrap(), [0xaf; 32]);
        for text in [
            "",
            "00",
            &"0".repeat(63),
            &"0".repeat(65),
            &"é".repeat(32),
            &"g0".repeat(32),
        ] {
            assert!(from_hex(text).is_none(), "{text}");
        }
    }
}
