//! What affiliates say of themselves is sealed with the cluster secret.
//!
//! Data is AES-256-GCM: a nonce of 12 bytes, the sealed message, a tag of 16. An endpoint is AES-256-ECB, so that the same
//! endpoint is the same bytes for everybody: one byte of length, the message, zeros up to a whole block. It has no tag, so a
//! wrong key gives garbage that must be looked at with suspicion (github.com/siderolabs/discovery-client pkg/client/client.go).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use aws_lc_rs::{
    aead::{self, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{self, DecryptingKey, DecryptionContext, UnboundCipherKey},
    hmac,
};
use prost::Message as _;
use thiserror::Error;
use upstream::affiliate;
use zeroize::Zeroizing;

/// Longest data that the service takes (`limits.AffiliateDataMax`).
const MAX_DATA: usize = 2048;
/// Longest endpoint that the service takes (`limits.AffiliateEndpointMax`).
const MAX_ENDPOINT: usize = 32;
const NONCE: usize = 12;
const BLOCK: usize = 16;

/// The cluster secret, ready to open what it sealed. It does not show itself.
pub struct Key {
    data: LessSafeKey,
    endpoints: DecryptingKey,
    names: hmac::Key,
}

/// Why something could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// It cannot have been sealed.
    #[error("{0} bytes cannot be sealed data")]
    Length(usize),
    /// It was sealed with another key, or changed since.
    #[error("it was sealed with another key")]
    Key,
    /// It is not what it should be once it is open.
    #[error("it is open and makes no sense")]
    Content,
}

/// An affiliate's own words.
#[derive(Clone, Debug, PartialEq)]
pub struct Opened(pub affiliate::Affiliate);

impl Key {
    /// From the 32 bytes of the cluster secret; `None` if there are not as many.
    pub fn new(secret: &Zeroizing<[u8; 32]>) -> Option<Self> {
        let bytes = secret.as_slice();
        let data = UnboundKey::new(&aead::AES_256_GCM, bytes).ok()?;
        let endpoints = UnboundCipherKey::new(&cipher::AES_256, bytes).ok()?;
        Some(Self {
            data: LessSafeKey::new(data),
            endpoints: DecryptingKey::ecb(endpoints).ok()?,
            names: hmac::Key::new(hmac::HMAC_SHA256, bytes),
        })
    }

    /// What an affiliate says.
    pub fn affiliate(&self, sealed: &[u8]) -> Result<Opened, OpenError> {
        let length = sealed.len();
        let (nonce, rest) = sealed
            .split_first_chunk::<NONCE>()
            .filter(|_| length <= MAX_DATA)
            .ok_or(OpenError::Length(length))?;
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let open = self.data.open_in_place(nonce, Aad::empty(), &mut rest);
        let open = open.map_err(|_| OpenError::Key)?;
        let open = affiliate::Affiliate::decode(&*open).map_err(|_| OpenError::Content)?;
        Ok(Opened(open))
    }

    /// An endpoint of an affiliate.
    pub fn endpoint(&self, sealed: &[u8]) -> Result<SocketAddr, OpenError> {
        let length = sealed.len();
        if length == 0 || !length.is_multiple_of(BLOCK) || length > MAX_ENDPOINT {
            return Err(OpenError::Length(length));
        }
        let mut open = sealed.to_vec();
        let none = DecryptionContext::None;
        self.endpoints
            .decrypt(&mut open, none)
            .map_err(|_| OpenError::Key)?;
        let (message, padding) = framed(&open).ok_or(OpenError::Key)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(OpenError::Key);
        }
        let endpoint = affiliate::Endpoint::decode(message).map_err(|_| OpenError::Content)?;
        socket(&endpoint).ok_or(OpenError::Content)
    }

    /// A short name for a cluster, by which only holders of the key can compare it.
    pub fn cluster(&self, id: &str) -> [u8; 8] {
        let mut context = hmac::Context::with_key(&self.names);
        context.update(b"talos-mesh v1 cluster id\0");
        context.update(id.as_bytes());
        let mut short = [0; 8];
        let tag = context.sign();
        short
            .iter_mut()
            .zip(tag.as_ref())
            .for_each(|(to, from)| *to = *from);
        short
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// An IP address of 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = || <[u8; 4]>::try_from(bytes).map(|bytes| Ipv4Addr::from(bytes).into());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|bytes| Ipv6Addr::from(bytes).into());
    v4().or_else(|_| v6()).ok()
}

/// The message behind its length, and the padding behind the message.
fn framed(open: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = open.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

fn socket(endpoint: &affiliate::Endpoint) -> Option<SocketAddr> {
    let port = u16::try_from(endpoint.port).ok().filter(|port| *port > 0)?;
    Some(SocketAddr::new(address(&endpoint.ip)?, port))
}

#[cfg(test)]
mod tests;
