//! What nodes publish, sealed as they seal it (github.com/siderolabs/discovery-client pkg/client/client.go).

use anyhow::{Context as _, anyhow};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_256, EncryptingKey, UnboundCipherKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost::Message as _;
use upstream::{affiliate, discovery::Affiliate};

use super::Published;

const BLOCK: usize = 16;

/// A cluster secret.
pub(super) struct Seal([u8; 32]);

impl Seal {
    pub(super) fn of(secret: &str) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(secret).context("decode the secret")?;
        let bytes = bytes.try_into();
        bytes
            .map(Self)
            .map_err(|_| anyhow!("a secret has 32 bytes"))
    }

    pub(super) fn drawn_by_lot() -> Self {
        Self(rand::random())
    }

    /// One entry of the service.
    pub(super) fn affiliate(&self, id: &str, published: &Published) -> anyhow::Result<Affiliate> {
        let words = affiliate::Affiliate {
            node_id: id.to_owned(),
            addresses: vec![bytes(published.address)],
            hostname: published.name.clone(),
            nodename: published.name.clone(),
            machine_type: "worker".to_owned(),
            operating_system: "Talos (v1.13.9)".to_owned(),
            kubespan: Some(affiliate::KubeSpan {
                public_key: published.public_key.clone(),
                ..affiliate::KubeSpan::default()
            }),
            control_plane: None,
        };
        let endpoints = published.endpoint.iter().map(|endpoint| {
            self.endpoint(&affiliate::Endpoint {
                ip: bytes(endpoint.ip()),
                port: u32::from(endpoint.port()),
            })
        });
        Ok(Affiliate {
            id: id.to_owned(),
            data: self.data(&words.encode_to_vec())?,
            endpoints: endpoints.collect::<Result<_, _>>()?,
        })
    }

    fn data(&self, words: &[u8]) -> anyhow::Result<Vec<u8>> {
        let failed = |_| anyhow!("sealing failed");
        let key = UnboundKey::new(&AES_256_GCM, &self.0).map_err(failed)?;
        let nonce: [u8; 12] = rand::random();
        let mut sealed = words.to_vec();
        LessSafeKey::new(key)
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::empty(),
                &mut sealed,
            )
            .map_err(failed)?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn endpoint(&self, endpoint: &affiliate::Endpoint) -> anyhow::Result<Vec<u8>> {
        let failed = |_| anyhow!("sealing failed");
        let words = endpoint.encode_to_vec();
        let length = u8::try_from(words.len()).context("frame an endpoint")?;
        let mut sealed = [&[length], words.as_slice()].concat();
        sealed.resize(sealed.len().next_multiple_of(BLOCK), 0);
        let key = UnboundCipherKey::new(&AES_256, &self.0).map_err(failed)?;
        let key = EncryptingKey::ecb(key).map_err(failed)?;
        key.encrypt(&mut sealed).map_err(failed)?;
        Ok(sealed)
    }
}

fn bytes(address: std::net::IpAddr) -> Vec<u8> {
    match address {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .filter_map(|digit| char::from_digit(digit.into(), 16))
            .collect()
    }

    #[test]
    fn endpoints_are_sealed_as_talos_does() {
        let counted = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let sealed = |ip: &str| {
            let endpoint = affiliate::Endpoint {
                ip: bytes(ip.parse().unwrap()),
                port: 51_820,
            };
            hex(&Seal(counted).endpoint(&endpoint).unwrap())
        };
        assert_eq!(sealed("10.0.0.2"), "45c55198f8ad5b07dd423e192f7e13e8");
        assert_eq!(
            sealed("2001:db8::1"),
            "e2702633ca89239d5ee036a316dde237d604c19a74d2f45c1e624c2d38c4cca0"
        );
    }
}
