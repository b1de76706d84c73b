//! A field that is wrong is refused by its name.

use evidence::{Fact, NodeEcho};
use proto::{
    convert::{ConvertError, Incoming, incoming, peers_from_wire},
    wire::{self, fact::Fact as WireFact},
};

use crate::sample;

fn refused(fact: WireFact) -> ConvertError {
    sample::fact(fact).unwrap_err()
}

fn with_identity(spoil: impl FnOnce(&mut wire::Identity)) -> ConvertError {
    let mut identity = sample::identity();
    spoil(&mut identity);
    refused(WireFact::Identity(identity))
}

fn with_peer(spoil: impl FnOnce(&mut wire::Peer)) -> ConvertError {
    let mut peer = sample::peer();
    spoil(&mut peer);
    refused(WireFact::Peer(peer))
}

fn with_inert(spoil: impl FnOnce(&mut wire::Inert)) -> ConvertError {
    let mut inert = sample::inert();
    spoil(&mut inert);
    refused(WireFact::Inert(inert))
}

fn with_replies(spoil: impl FnOnce(&mut wire::InertReplies)) -> ConvertError {
    let mut replies = sample::inert_replies();
    spoil(&mut replies);
    with_inert(|inert| inert.replies = Some(replies))
}

fn with_initiated(spoil: impl FnOnce(&mut wire::Initiated)) -> ConvertError {
    let mut initiated = sample::initiated();
    spoil(&mut initiated);
    refused(WireFact::Initiated(initiated))
}

fn with_arrival(spoil: impl FnOnce(&mut wire::Arrival)) -> ConvertError {
    let mut arrival = sample::arrival();
    spoil(&mut arrival);
    let arrivals = vec![arrival];
    refused(WireFact::Arrivals(wire::Arrivals { arrivals }))
}

fn with_sizes(spoil: impl FnOnce(&mut wire::LayerSizes)) -> ConvertError {
    let mut layer = sample::layer_sizes();
    spoil(&mut layer);
    refused(WireFact::Sizes(wire::Sizes {
        layers: vec![layer],
        ..sample::sizes()
    }))
}

fn with_peer_identity(spoil: impl FnOnce(&mut wire::PeerIdentity)) -> ConvertError {
    let mut peer = sample::peer_identity();
    spoil(&mut peer);
    peers_from_wire(wire::PeerList { peers: vec![peer] }).unwrap_err()
}

fn with_removed(kind: wire::FactKind, public_key: Vec<u8>, source: i32) -> ConvertError {
    let key = wire::FactKey {
        kind: kind.into(),
        public_key,
        source,
    };
    sample::delta(wire::Delta {
        removed: vec![key],
        ..wire::Delta::default()
    })
    .unwrap_err()
}

#[test]
fn the_samples_are_taken_as_they_are() {
    assert!(sample::snapshot(sample::facts()).is_ok());
    let peers = vec![sample::peer_identity()];
    assert!(peers_from_wire(wire::PeerList { peers }).is_ok());
}

#[test]
fn a_key_that_is_not_32_bytes_is_refused_by_its_field() {
    let short = vec![1; 31];
    let cases = [
        (
            "identity.public_key",
            with_identity(|identity| identity.public_key.push(1)),
        ),
        ("peer.public_key", with_peer(|peer| peer.public_key.clear())),
        (
            "inert.public_key",
            with_inert(|inert| inert.public_key.push(1)),
        ),
        (
            "initiated.public_key",
            with_initiated(|list| list.public_key.clear()),
        ),
        (
            "peer.public_key",
            with_peer_identity(|peer| peer.public_key.clear()),
        ),
        (
            "echo_sent.public_key",
            refused(WireFact::EchoSent(wire::EchoSent::default())),
        ),
        (
            "echo_heard.public_key",
            refused(WireFact::EchoHeard(wire::EchoHeard::default())),
        ),
        (
            "fact_key.public_key",
            with_removed(wire::FactKind::Peer, short, 0),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(
            error.expected.starts_with("a public key of 32 bytes, got "),
            "{error}"
        );
    }
}

#[test]
fn an_address_that_is_neither_ipv4_nor_ipv6_is_refused_by_its_field() {
    let bad = || {
        Some(wire::Endpoint {
            address: vec![1; 5],
            port: 1,
        })
    };
    let cases = [
        (
            "identity.addresses",
            with_identity(|identity| identity.addresses.push(vec![1; 5])),
        ),
        (
            "identity.kubespan_address",
            with_identity(|identity| identity.kubespan_address.truncate(5)),
        ),
        ("sizes.to", with_sizes(|sizes| sizes.to.push(1))),
        (
            "peer.kubespan_address",
            with_peer_identity(|peer| peer.kubespan_address.truncate(5)),
        ),
        ("peer.endpoint", with_peer(|peer| peer.endpoint = bad())),
        ("inert.to", with_inert(|inert| inert.to = bad())),
        (
            "inert.heard_from",
            with_inert(|inert| inert.heard_from = bad()),
        ),
        (
            "inert_replies.mapped",
            with_replies(|replies| replies.mapped = bad()),
        ),
        (
            "initiation.to",
            with_initiated(|list| list.initiations[0].to = bad()),
        ),
        ("arrival.from", with_arrival(|arrival| arrival.from = bad())),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert_eq!(error.expected, "4 or 16 bytes of an IP address, got 5");
    }
}

#[test]
fn a_kubespan_address_is_ipv6() {
    let own = with_identity(|identity| identity.kubespan_address.truncate(4));
    assert_eq!(
        own.to_string(),
        "field identity.kubespan_address: expected an IPv6 address"
    );
    let told = with_peer_identity(|peer| peer.kubespan_address.truncate(4));
    assert_eq!(
        told.to_string(),
        "field peer.kubespan_address: expected an IPv6 address"
    );
}

#[test]
fn a_number_of_more_than_16_bits_is_refused_by_its_field() {
    let port = || {
        Some(wire::Endpoint {
            port: 65_536,
            ..sample::endpoint()
        })
    };
    let device = wire::Device {
        listen_port: Some(65_536),
        ..sample::device()
    };
    let cases = [
        ("device.listen_port", refused(WireFact::Device(device))),
        (
            "peer.keepalive_seconds",
            with_peer(|peer| peer.keepalive_seconds = Some(65_536)),
        ),
        ("peer.endpoint", with_peer(|peer| peer.endpoint = port())),
        ("inert.to", with_inert(|inert| inert.to = port())),
        (
            "inert.heard_from",
            with_inert(|inert| inert.heard_from = port()),
        ),
        (
            "inert_replies.mapped",
            with_replies(|replies| replies.mapped = port()),
        ),
        (
            "initiation.to",
            with_initiated(|list| list.initiations[0].to = port()),
        ),
        (
            "arrival.from",
            with_arrival(|arrival| arrival.from = port()),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
        assert!(error.expected.contains("16 bits"), "{error}");
    }
}

#[test]
fn replies_without_a_mapping_or_with_a_long_hop_limit_are_refused_by_their_field() {
    let cases = [
        (
            "inert_replies.mapped",
            with_replies(|replies| replies.mapped = None),
        ),
        (
            "inert_replies.hop_limit_there",
            with_replies(|replies| replies.hop_limit_there = 256),
        ),
        (
            "inert_replies.hop_limit_back",
            with_replies(|replies| replies.hop_limit_back = u32::MAX),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
    }
}

#[test]
fn a_name_that_no_host_can_have_is_refused_by_its_field() {
    for name in ["", "a b", "vps_1", "vps-1\n", &"a".repeat(254)] {
        let own = with_identity(|identity| identity.name = name.to_owned());
        assert_eq!(own.field, "identity.name");
        let told = with_peer_identity(|peer| peer.name = name.to_owned());
        assert_eq!(told.field, "peer.name");
    }
}

/// What an agent says is shown on terminals and in logs.
#[test]
fn a_control_character_is_refused_in_every_text() {
    for character in ['\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}'] {
        let text = || format!("before{character}after");
        let gap = wire::Source {
            gap: Some(text()),
            ..sample::source()
        };
        let cases = [
            ("source.gap", refused(WireFact::Source(gap))),
            (
                "identity.boot_id",
                with_identity(|identity| identity.boot_id = text()),
            ),
            (
                "identity.version",
                with_identity(|identity| identity.version = text()),
            ),
            (
                "peer.allowed_ips",
                with_peer(|peer| peer.allowed_ips.push(text())),
            ),
        ];
        for (field, error) in cases {
            assert_eq!(error.field, field, "{character:?}");
            assert!(!error.to_string().contains(character), "{error:?}");
        }
    }
}

#[test]
fn what_must_be_there_is_missed_by_its_field() {
    let cases = [
        ("body", incoming(None).unwrap_err()),
        (
            "initiation.to",
            with_initiated(|list| list.initiations[0].to = None),
        ),
        ("arrival.from", with_arrival(|arrival| arrival.from = None)),
        (
            "fact_key.kind",
            with_removed(wire::FactKind::Unspecified, Vec::new(), 0),
        ),
        (
            "fact_key.source",
            with_removed(wire::FactKind::Source, Vec::new(), 0),
        ),
        (
            "source.id",
            refused(WireFact::Source(wire::Source::default())),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
    }
}

#[test]
fn a_size_that_no_packet_can_have_and_a_layer_that_is_not_known_are_refused_by_their_field() {
    let cases = [
        ("sizes.full", with_sizes(|sizes| sizes.full = 65_536)),
        (
            "sizes.bracket.passed",
            with_sizes(|sizes| sizes.bracket.as_mut().unwrap().passed = Some(65_536)),
        ),
        (
            "sizes.bracket.failed",
            with_sizes(|sizes| sizes.bracket.as_mut().unwrap().failed = 65_536),
        ),
        ("sizes.layer", with_sizes(|sizes| sizes.layer = 0)),
        (
            "sizes.layers",
            refused(WireFact::Sizes(wire::Sizes {
                layers: vec![sample::layer_sizes(); 2],
                ..sample::sizes()
            })),
        ),
    ];
    for (field, error) in cases {
        assert_eq!(error.field, field);
    }
}

/// What is kept of each pair of a large mesh has no room to spare.
#[test]
fn lists_of_facts_take_no_more_room_than_they_need() {
    let facts = [
        WireFact::Peer(sample::peer()),
        WireFact::Sizes(sample::sizes()),
        WireFact::NodeEcho(crate::node_echo::sample()),
        WireFact::Steered(sample::steered()),
    ];
    for fact in facts {
        let Ok(Incoming::Snapshot(facts)) = sample::fact(fact) else {
            panic!("a sample is taken");
        };
        let spare = facts.iter().map(|fact| match fact {
            Fact::Peer(_, peer) => peer.allowed_ips.capacity() - peer.allowed_ips.len(),
            Fact::Sizes(_, layers) => layers.capacity() - layers.len(),
            Fact::NodeEcho(_, echo) => {
                let NodeEcho { asked, heard } = &**echo;
                asked.capacity() - asked.len() + heard.capacity() - heard.len()
            }
            Fact::Steered(_, steered) => steered.prefixes.capacity() - steered.prefixes.len(),
            other => panic!("{other:?}"),
        });
        assert_eq!(spare.collect::<Vec<_>>(), [0]);
    }
}
