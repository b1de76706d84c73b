use proptest::prelude::*;

use super::*;
use crate::{echo, wireguard::Handshake};

/// Computed with another implementation: `hmac.new(key, head + body, "sha256").digest()[:16]` in Python.
const GOLDEN_PROBE_TAG: [u8; 16] =
    *b"\x35\x10\x72\x3c\xae\x2e\xf9\x28\x23\x4a\xd0\xba\xf6\xb8\xc4\x5c";
const GOLDEN_REPLY_TAG: [u8; 16] =
    *b"\x57\x70\x6f\x11\x0f\x1a\xc0\xfb\x57\xa7\x73\x78\x58\xf6\xcb\xd6";

fn key() -> ProbeKey {
    ProbeKey::from_bytes([0x42; 32])
}

fn probe(session: u64, sequence: u64) -> Probe {
    Probe {
        sender: PublicKey::from_bytes([0xaa; 32]),
        receiver: PublicKey::from_bytes([0xbb; 32]),
        session,
        sequence,
    }
}

fn golden_reply() -> Datagram {
    Datagram::Reply(Reply {
        answers: probe(0x0102_0304_0506_0708, 9),
        mapped: SocketAddr::from(([198, 51, 100, 2], 47918)),
        hop_limit: 61,
        received: Stamp::from_micros(1000),
        answered: Stamp::from_micros(1030),
    })
}

#[test]
fn a_probe_has_the_documented_bytes() {
    let bytes = Datagram::Probe(probe(0x0102_0304_0506_0708, 9)).encode(&key());
    assert_eq!(bytes[..8], *b"\0mPi\x01\x01\x00\x00");
    assert_eq!(bytes[8..40], [0xaa; 32]);
    assert_eq!(bytes[40..72], [0xbb; 32]);
    assert_eq!(
        bytes[72..88],
        [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9]
    );
    assert_eq!(bytes[88..124], [0; 36]);
    assert_eq!(bytes[124..], GOLDEN_PROBE_TAG);
}

#[test]
fn a_reply_has_the_documented_bytes() {
    let bytes = golden_reply().encode(&key());
    assert_eq!(bytes[..8], *b"\0mPi\x01\x02\x00\x00");
    assert_eq!(
        bytes[88..104],
        *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc6\x33\x64\x02"
    );
    assert_eq!(bytes[104..108], [0xbb, 0x2e, 61, 0]);
    assert_eq!(bytes[108..116], 1000_u64.to_be_bytes());
    assert_eq!(bytes[116..124], 1030_u64.to_be_bytes());
    assert_eq!(bytes[124..], GOLDEN_REPLY_TAG);
}

#[test]
fn wireguard_takes_no_kind_for_a_message_of_its_own() {
    let all = [
        Datagram::Probe(probe(1, 1)),
        Datagram::Unsolicited(probe(1, 1)),
        golden_reply(),
    ];
    for datagram in all {
        let bytes = datagram.encode(&key());
        assert!(!(1..=4).contains(&bytes[0]));
        assert!(Handshake::parse(&bytes).is_err());
    }
}

#[test]
fn an_echo_datagram_is_not_an_inert_one() {
    let Probe {
        sender,
        receiver,
        session,
        sequence,
    } = probe(1, 1);
    let request = echo::Datagram::Request(echo::Request {
        sender,
        receiver,
        session,
        sequence,
    });
    assert!(Datagram::decode(&request.encode(&key()), &key()).is_err());
}

#[test]
fn an_unknown_kind_is_refused() {
    let Probe {
        sender,
        receiver,
        session,
        sequence,
    } = probe(1, 1);
    let head = Head {
        magic: MAGIC,
        kind: 9,
        sender,
        receiver,
        session,
        sequence,
    };
    let odd: [u8; LENGTH] = wire::seal(&head, &[0; BODY_LENGTH], &key());
    assert_eq!(Datagram::decode(&odd, &key()), Err(WireError::Kind(9)));
}

/// Without IPv4-mapped addresses, which stand for IPv4 ones.
fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>())
        .prop_map(|(address, port)| SocketAddr::new(address.to_canonical(), port))
}

fn any_datagram() -> impl Strategy<Value = Datagram> {
    let probe = (any::<u64>(), any::<u64>()).prop_map(|(session, number)| probe(session, number));
    let reply = (any_address(), any::<u8>(), any::<(u64, u64)>());
    let kind = (any::<bool>(), prop::option::of(reply));
    (probe, kind).prop_map(|(answers, kind)| match kind {
        (false, None) => Datagram::Probe(answers),
        (true, None) => Datagram::Unsolicited(answers),
        (_, Some((mapped, hop_limit, (received, answered)))) => Datagram::Reply(Reply {
            answers,
            mapped,
            hop_limit,
            received: Stamp::from_micros(received),
            answered: Stamp::from_micros(answered),
        }),
    })
}

proptest! {
    #[test]
    fn every_datagram_survives_the_round_trip(datagram in any_datagram()) {
        prop_assert_eq!(Datagram::decode(&datagram.encode(&key()), &key()), Ok(datagram));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(datagram in any_datagram(), bit in 0..LENGTH * 8) {
        let mut bytes = datagram.encode(&key());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Datagram::decode(&bytes, &key()).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Datagram::decode(&bytes, &key()).is_err());
    }
}
