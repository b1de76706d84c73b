//! What the discovery service lists: sealed data, and what is inside once it is open.

use std::collections::BTreeMap;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_256, EncryptingKey, UnboundCipherKey},
};
use evidence::{Moment, PublicKey, limits};
use prost::Message as _;
use sources::discovery::{Key, Known, summary};
use upstream::{affiliate, discovery::Affiliate};
use zeroize::Zeroizing;

use crate::{
    Target,
    script::{MAX_STEPS, Script},
};

pub(crate) const TARGET: Target = Target {
    name: "affiliates",
    run,
    seeds,
};

pub(crate) const ENDPOINT: Target = Target {
    name: "affiliate-endpoint",
    run: run_endpoint,
    seeds: endpoint_seeds,
};

const SECRET: [u8; 32] = [0x42; 32];
const BLOCK: usize = 16;

fn key() -> Key {
    Key::new(&Zeroizing::new(SECRET)).expect("a secret has 32 bytes")
}

/// Each step is an affiliate: data as it came or sealed here, and an endpoint.
fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut list = Vec::new();
    while let (Some(kind), true) = (script.byte(), list.len() < MAX_STEPS) {
        let Some(words) = script.chunk() else { break };
        let data = if kind & 1 == 0 {
            sealed(words)
        } else {
            words.to_vec()
        };
        let endpoint = script.chunk().unwrap_or_default();
        list.push(Affiliate {
            id: String::from_utf8_lossy(words).into_owned(),
            data,
            endpoints: vec![endpoint.to_vec(); usize::from(kind >> 1 & 3)],
        });
    }
    let known = Known {
        own: Some(PublicKey::from_bytes([1; 32])),
        peers: Some([PublicKey::from_bytes([2; 32])].into()),
    };
    let mut seen = BTreeMap::new();
    let sum = summary(&list, Some(&key()), &known, &mut seen, Moment::ZERO);
    assert_eq!(usize::try_from(sum.count), Ok(list.len()));
    assert!(sum.decrypted <= Some(sum.count));
    for told in [sum.sealed.len(), sum.unknown.len(), sum.rivals.len()] {
        assert!(told <= limits::AFFILIATES);
    }
    let names = sum.unknown.iter().map(|affiliate| &affiliate.name);
    for text in names.chain(&sum.sealed) {
        assert!(text.len() <= limits::TEXT && !text.chars().any(char::is_control));
    }
    list.reverse();
    let again = summary(&list, Some(&key()), &known, &mut seen, Moment::ZERO);
    assert_eq!((again.digest, again.decrypted), (sum.digest, sum.decrypted));
}

/// As it came, and sealed here.
fn run_endpoint(bytes: &[u8]) {
    let key = key();
    if let Ok(endpoint) = key.endpoint(bytes) {
        assert!(endpoint.port() != 0);
    }
    let mut blocks = bytes.to_vec();
    blocks.resize(bytes.len().next_multiple_of(BLOCK).min(2 * BLOCK), 0);
    let sealing = UnboundCipherKey::new(&AES_256, &SECRET).expect("a secret has 32 bytes");
    let sealing = EncryptingKey::ecb(sealing).expect("AES has this mode");
    if sealing.encrypt(&mut blocks).is_ok()
        && let Ok(endpoint) = key.endpoint(&blocks)
    {
        assert!(endpoint.port() != 0);
        assert_eq!(key.endpoint(&blocks), Ok(endpoint));
    }
}

fn sealed(words: &[u8]) -> Vec<u8> {
    let key = UnboundKey::new(&AES_256_GCM, &SECRET).expect("a secret has 32 bytes");
    let nonce = [7; 12];
    let mut data = words.to_vec();
    LessSafeKey::new(key)
        .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut data)
        .expect("so few bytes can be sealed");
    [nonce.as_slice(), &data].concat()
}

fn words(name: &str, key: u8, address: &[u8]) -> Vec<u8> {
    let kubespan = affiliate::KubeSpan {
        public_key: PublicKey::from_bytes([key; 32]).to_string(),
        ..affiliate::KubeSpan::default()
    };
    let words = affiliate::Affiliate {
        nodename: name.to_owned(),
        addresses: vec![address.to_vec()],
        kubespan: Some(kubespan),
        ..affiliate::Affiliate::default()
    };
    words.encode_to_vec()
}

fn step(kind: u8, words: &[u8], endpoint: &[u8]) -> Vec<u8> {
    let length = |part: &[u8]| u8::try_from(part.len()).expect("seeds are short");
    [&[kind, length(words)], words, &[length(endpoint)], endpoint].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let one = step(2, &words("one", 3, &[10, 0, 0, 1]), &[9; 16]);
    let rival = step(2, &words("two", 4, &[10, 0, 0, 1]), &[9; 32]);
    let odd = step(4, &words("odd", 5, &[10, 0, 0]), &[]);
    let strange = step(1, &[0; 40], &[1; 7]);
    vec![
        one.clone(),
        [one.clone(), rival].concat(),
        [odd, strange.clone(), one].concat(),
        strange,
        step(0, b"\x1b[2J", &[]),
    ]
}

fn endpoint_seeds() -> Vec<Vec<u8>> {
    let framed = |ip: &[u8], port| {
        let endpoint = affiliate::Endpoint {
            ip: ip.to_vec(),
            port,
        };
        let words = endpoint.encode_to_vec();
        let length = u8::try_from(words.len()).expect("an endpoint is short");
        [&[length], words.as_slice()].concat()
    };
    vec![
        framed(&[10, 0, 0, 2], 51_820),
        framed(&[0xfd; 16], 51_820),
        framed(&[10, 0, 0, 2], 0),
        framed(&[10, 0, 0], 70_000),
        vec![255; 16],
        vec![0; 32],
        vec![0; 33],
    ]
}
