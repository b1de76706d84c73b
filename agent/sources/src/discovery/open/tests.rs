//! The golden values were made with another implementation (OpenSSL, and Python's cryptography).

use evidence::PublicKey;

use super::*;

const BLOB: &str = "000102030405060708090a0b4d2ee163f4b6b758b504f0ee84ab3f35e797e160b51d394951368be94a334cd47729c6cde3865fe035960fb4e3c43a3c2ef1638940d1c5b550b9497675c1f68c914eec76b0be48156e3bc61e83ee608d02c0c34e262f0326bf99faa12c97f1c7a38c2ed6d239a46eef2d64f02c257146e8292deeb6a110d027b50db7c0b43733a942fd9639b7896b6be3b0f61e25b2e3e714f93d3f1599be8f5ef86fb8d1e145a114f546c093dcc0618d5b47cb681ff9fa";

fn key() -> Key {
    let counted = std::array::from_fn(|at| u8::try_from(at).unwrap());
    Key::new(&Zeroizing::new(counted)).unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let pairs = (0..hex.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn an_affiliate_is_opened_with_all_that_it_says() {
    let Opened(open) = key().affiliate(&bytes(BLOB)).unwrap();
    assert_eq!(open.node_id, "7x1SuC8Ege5BGXdAfTEff5iQnlWZLfv9h1LGMxA2pYkC");
    assert_eq!(open.hostname, "foo.com");
    assert_eq!(open.nodename, "bar");
    assert_eq!(open.machine_type, "controlplane");
    assert_eq!(open.control_plane.unwrap().api_server_port, 6443);
    assert_eq!(open.addresses, [vec![0xc0, 0xa8, 3, 4]]);
    assert_eq!(
        address(&open.addresses[0]),
        Some(IpAddr::from([192, 168, 3, 4]))
    );
    let kubespan = open.kubespan.unwrap();
    let public: PublicKey = kubespan.public_key.parse().unwrap();
    assert_eq!(
        public.to_string(),
        "PLPNBddmTgHJhtw0vxltq1ZBdPP9RNOEUd5JjJZzBRY="
    );
    assert_eq!(
        address(&kubespan.address),
        Some("fd50:8d60:4238:6302:f857:23ff:fe21:d1e0".parse().unwrap())
    );
    assert_eq!(kubespan.additional_addresses[0].bits, 24);
}

#[test]
fn endpoints_of_both_families_are_opened() {
    let golden = [
        ("45c55198f8ad5b07dd423e192f7e13e8", "10.0.0.2:51820"),
        ("59d7f1e9a9136d8604e7631c7f8071b4", "192.168.3.4:51820"),
        (
            "e2702633ca89239d5ee036a316dde237d604c19a74d2f45c1e624c2d38c4cca0",
            "[2001:db8::1]:51820",
        ),
    ];
    for (sealed, expected) in golden {
        let open = key().endpoint(&bytes(sealed)).unwrap();
        assert_eq!(open.to_string(), expected);
    }
}

#[test]
fn what_another_key_sealed_stays_closed() {
    let other = Key::new(&Zeroizing::new([7; 32])).unwrap();
    assert_eq!(other.affiliate(&bytes(BLOB)), Err(OpenError::Key));
    let endpoint = other.endpoint(&bytes("45c55198f8ad5b07dd423e192f7e13e8"));
    assert!(endpoint.is_err(), "{endpoint:?}");
}

#[test]
fn what_cannot_be_sealed_data_is_refused_by_its_length() {
    for length in [0, 1, 15, 17, 48] {
        let refused = key().endpoint(&vec![0; length]);
        assert_eq!(refused, Err(OpenError::Length(length)));
    }
    for length in [0, 11, MAX_DATA + 1] {
        let refused = key().affiliate(&vec![0; length]);
        assert_eq!(refused, Err(OpenError::Length(length)));
    }
}

#[test]
fn a_length_that_points_behind_the_end_is_refused() {
    assert_eq!(framed(&[16; 16]), None);
    assert_eq!(framed(&[]), None);
    assert_eq!(framed(&[1, 2, 0]), Some((&[2][..], &[0][..])));
}

#[test]
fn a_cluster_is_named_alike_by_one_key_and_not_by_another() {
    let other = Key::new(&Zeroizing::new([7; 32])).unwrap();
    assert_eq!(key().cluster("a"), key().cluster("a"));
    assert_ne!(key().cluster("a"), key().cluster("b"));
    assert_ne!(key().cluster("a"), other.cluster("a"));
}

#[test]
fn a_key_does_not_show_itself() {
    assert_eq!(format!("{:?}", key()), "Key(..)");
}
