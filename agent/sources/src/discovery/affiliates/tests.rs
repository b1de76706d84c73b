//! Lists as a service gives them, sealed here.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use prost::Message as _;
use upstream::affiliate;
use zeroize::Zeroizing;

use super::*;

const SECRET: [u8; 32] = [9; 32];

fn public(byte: u8) -> PublicKey {
    PublicKey::from_bytes([byte; 32])
}

fn sealed(id: &str, key: u8, address: [u8; 4], secret: [u8; 32]) -> wire::Affiliate {
    let words = affiliate::Affiliate {
        node_id: id.to_owned(),
        nodename: format!("node-{key}"),
        addresses: vec![address.to_vec()],
        kubespan: Some(affiliate::KubeSpan {
            public_key: public(key).to_string(),
            ..affiliate::KubeSpan::default()
        }),
        ..affiliate::Affiliate::default()
    };
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &secret).unwrap());
    let mut data = words.encode_to_vec();
    let nonce = Nonce::assume_unique_for_key([1; 12]);
    key.seal_in_place_append_tag(nonce, Aad::empty(), &mut data)
        .unwrap();
    wire::Affiliate {
        id: id.to_owned(),
        data: [[1; 12].as_slice(), &data].concat(),
        endpoints: vec![vec![0; 7]],
    }
}

fn sum(list: &[wire::Affiliate], seen: &mut BTreeMap<PublicKey, Moment>, at: i64) -> Affiliates {
    let key = Key::new(&Zeroizing::new(SECRET)).unwrap();
    let known = Known {
        own: Some(public(1)),
        peers: Some([public(2), public(8)].into()),
    };
    summary(list, Some(&key), &known, seen, Moment::from_millis(at))
}

#[test]
fn a_list_is_held_against_the_device() {
    let list = [
        sealed("a", 1, [10, 0, 0, 1], SECRET),
        sealed("b", 2, [10, 0, 0, 2], SECRET),
        sealed("c", 3, [10, 0, 0, 3], SECRET),
        sealed("d", 4, [10, 0, 0, 4], [1; 32]),
    ];
    let sum = sum(&list, &mut BTreeMap::new(), 5);
    assert_eq!(
        (sum.count, sum.decrypted, sum.own),
        (4, Some(3), Some(true))
    );
    assert_eq!(sum.sealed, ["d"]);
    assert_eq!(sum.garbled, 3);
    let unknown: Vec<_> = sum.unknown.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(unknown, ["node-3"]);
    assert_eq!(sum.unlisted, [public(8)]);
    assert!(sum.rivals.is_empty());
}

#[test]
fn two_that_claim_one_address_are_rivals_with_the_moments_they_came() {
    let mut seen = BTreeMap::new();
    let old = sealed("a", 3, [10, 0, 0, 3], SECRET);
    sum(std::slice::from_ref(&old), &mut seen, 5);
    let both = [old, sealed("b", 2, [10, 0, 0, 3], SECRET)];
    let sum = sum(&both, &mut seen, 9);
    let [rivals] = sum.rivals.as_slice() else {
        panic!("{:?}", sum.rivals)
    };
    assert_eq!(rivals.address, IpAddr::from([10, 0, 0, 3]));
    let of = |affiliate: &Affiliate| (affiliate.key, affiliate.since.as_millis());
    assert_eq!(of(&rivals.one), (public(3), 5));
    assert_eq!(of(&rivals.other), (public(2), 9));
}

#[test]
fn the_set_of_ids_has_one_digest_in_whatever_order() {
    let one = sealed("a", 1, [10, 0, 0, 1], SECRET);
    let two = sealed("b", 2, [10, 0, 0, 2], SECRET);
    let digest = |list: &[wire::Affiliate]| sum(list, &mut BTreeMap::new(), 0).digest;
    assert_eq!(
        digest(&[one.clone(), two.clone()]),
        digest(&[two.clone(), one.clone()])
    );
    assert_ne!(digest(&[one.clone(), two]), digest(&[one]));
}

#[test]
fn without_the_key_only_what_is_in_clear_is_told() {
    let list = [sealed("a", 1, [10, 0, 0, 1], SECRET)];
    let known = Known::default();
    let sum = summary(&list, None, &known, &mut BTreeMap::new(), Moment::ZERO);
    assert_eq!((sum.count, sum.decrypted, sum.own), (1, None, None));
}

#[test]
fn a_flood_of_affiliates_fills_no_report() {
    let list = vec![sealed("x", 5, [10, 0, 0, 1], [1; 32]); 5000];
    let sum = sum(&list, &mut BTreeMap::new(), 0);
    assert_eq!(sum.count, 5000);
    assert_eq!(sum.sealed.len(), limits::AFFILIATES);
}
