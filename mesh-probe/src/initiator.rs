//! One side of a real handshake, with a key that is for diagnosis only.

use std::fmt;

use boringtun::{
    noise::{Tunn, TunnResult, errors::WireGuardError},
    x25519,
};
use evidence::PublicKey;
use probe_core::wireguard::{Handshake, INITIATION_LENGTH};

use crate::secret::SecretKey;

/// Room for any message of the handshake.
const BUFFER: usize = 256;

/// Makes initiations and judges what comes back. It never confirms a session, and sends no data.
pub struct Initiator {
    /// Large, and held across waits.
    tunnel: Box<Tunn>,
    latest_index: Option<u32>,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// A response to the latest initiation that only the peer could make, with the same preshared key or none on both sides.
    Response,
    /// The peer read the initiation and answered; its answer does not open, which leaves the preshared key.
    OtherPresharedKey,
    /// The peer is under load and asks to come again with a cookie; the next initiation has it.
    Cookie,
    /// Nothing of this handshake.
    Stray,
}

impl Initiator {
    pub fn new(own: &SecretKey, peer: PublicKey, preshared: Option<&SecretKey>) -> Self {
        Self {
            tunnel: Box::new(Tunn::new(
                x25519::StaticSecret::from(own.expose()),
                x25519::PublicKey::from(*peer.as_bytes()),
                preshared.map(SecretKey::expose),
                None,
                rand::random(),
                None,
            )),
            latest_index: None,
        }
    }

    /// The public key that belongs to a private one.
    pub fn public_key(own: &SecretKey) -> PublicKey {
        let secret = x25519::StaticSecret::from(own.expose());
        PublicKey::from_bytes(x25519::PublicKey::from(&secret).to_bytes())
    }

    /// The next initiation, which replaces the one before.
    pub fn initiation(&mut self) -> Option<Vec<u8>> {
        let mut buffer = [0; INITIATION_LENGTH];
        let TunnResult::WriteToNetwork(bytes) =
            self.tunnel.format_handshake_initiation(&mut buffer, true)
        else {
            return None;
        };
        if let Ok(Handshake::Initiation(initiation)) = Handshake::parse(bytes) {
            self.latest_index = Some(initiation.sender_index());
        }
        Some(bytes.to_vec())
    }

    /// Judges a datagram.
    pub fn receive(&mut self, bytes: &[u8]) -> Received {
        let receiver = match Handshake::parse(bytes) {
            Ok(
                Handshake::Response { receiver_index, .. }
                | Handshake::CookieReply { receiver_index },
            ) => receiver_index,
            Ok(Handshake::Initiation(_)) | Err(_) => return Received::Stray,
        };
        if self.latest_index != Some(receiver) {
            return Received::Stray;
        }
        let mut buffer = [0; BUFFER];
        match self.tunnel.decapsulate(None, bytes, &mut buffer) {
            // What it would send is the confirmation of the session: nobody needs it here.
            TunnResult::WriteToNetwork(_) => Received::Response,
            TunnResult::Done => Received::Cookie,
            TunnResult::Err(WireGuardError::InvalidAeadTag) => Received::OtherPresharedKey,
            _ => Received::Stray,
        }
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator")
            .field("latest_index", &self.latest_index)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 32] = [0x11; 32];
    const PEER: [u8; 32] = [0x22; 32];

    fn secret(bytes: [u8; 32]) -> SecretKey {
        SecretKey::of(bytes)
    }

    fn public(bytes: [u8; 32]) -> PublicKey {
        Initiator::public_key(&secret(bytes))
    }

    fn responder(preshared: Option<[u8; 32]>) -> Tunn {
        let initiator = x25519::PublicKey::from(*public(OWN).as_bytes());
        let own = x25519::StaticSecret::from(PEER);
        Tunn::new(own, initiator, preshared, None, 7, None)
    }

    fn answer(responder: &mut Tunn, initiation: &[u8]) -> Vec<u8> {
        let mut buffer = [0; BUFFER];
        match responder.decapsulate(None, initiation, &mut buffer) {
            TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    fn shake(ours: Option<[u8; 32]>, theirs: Option<[u8; 32]>) -> Received {
        let preshared = ours.map(secret);
        let mut initiator = Initiator::new(&secret(OWN), public(PEER), preshared.as_ref());
        let initiation = initiator.initiation().unwrap();
        initiator.receive(&answer(&mut responder(theirs), &initiation))
    }

    #[test]
    fn equal_preshared_keys_complete_and_others_are_told_apart() {
        assert_eq!(shake(None, None), Received::Response);
        assert_eq!(shake(Some([3; 32]), Some([3; 32])), Received::Response);
        for theirs in [None, Some([4; 32])] {
            let received = shake(Some([3; 32]), theirs);
            assert_eq!(received, Received::OtherPresharedKey);
        }
    }

    #[test]
    fn an_answer_to_an_earlier_initiation_or_of_another_is_a_stray() {
        let mut initiator = Initiator::new(&secret(OWN), public(PEER), None);
        let first = initiator.initiation().unwrap();
        let late = answer(&mut responder(None), &first);
        initiator.initiation().unwrap();
        assert_eq!(initiator.receive(&late), Received::Stray);
        assert_eq!(initiator.receive(&first), Received::Stray);
        assert_eq!(initiator.receive(b""), Received::Stray);
        assert_eq!(initiator.receive(&[2; 92]), Received::Stray);
    }
}
