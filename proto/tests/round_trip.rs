//! What goes onto the wire comes off it the same, and what comes off it is checked.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "round_trip/clock.rs"]
mod clock;
#[path = "round_trip/discovery.rs"]
mod discovery;
#[path = "round_trip/host.rs"]
mod host;
#[path = "round_trip/node.rs"]
mod node;
#[path = "round_trip/sizes.rs"]
mod sizes;
#[path = "round_trip/talos.rs"]
mod talos;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use evidence::{
    Arrival, Delta, Device, EchoHeard, EchoSent, EndpointWay, Fact, FactKey, Facts, Gap, Identity,
    Inert, InertReplies, Initiated, Moment, NodeName, Peer, PublicKey, Rtt, SourceId, SourceState,
    Steered, SteeredPrefix, Steering, SteeringChains, SteeringFamily, limits,
};
use proptest::prelude::*;
use prost::Message as _;
use proto::{
    convert::{ConvertError, Incoming, delta_to_wire, incoming, snapshot_to_wire},
    wire::{self, report_request::Body},
};

fn key() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_map(PublicKey::from_bytes)
}

fn moment() -> impl Strategy<Value = Moment> {
    any::<i64>().prop_map(Moment::from_millis)
}

fn maybe() -> impl Strategy<Value = Option<Moment>> {
    prop::option::of(moment())
}

fn ip() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from(bits))),
    ]
}

fn endpoint() -> impl Strategy<Value = SocketAddr> {
    (ip(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

fn identity() -> impl Strategy<Value = Fact> {
    let names = "[a-z0-9]{1,20}(-[a-z0-9]{1,20}){0,2}";
    let addresses = prop::collection::vec(ip(), 0..4);
    (
        names,
        prop::option::of(key()),
        prop::option::of(any::<u128>()),
        addresses,
        any::<u64>(),
    )
        .prop_map(|(name, public_key, address, addresses, instance)| {
            Fact::Identity(Identity {
                name: NodeName::parse(&name).unwrap(),
                public_key,
                kubespan_address: address.map(Ipv6Addr::from),
                addresses,
                boot_id: "b".to_owned(),
                instance,
                version: "0.1.0".to_owned(),
            })
        })
}

fn source() -> impl Strategy<Value = Fact> {
    let ids = prop::sample::select(SourceId::ALL.to_vec());
    let gap = prop::option::of("[ -~]{0,40}".prop_map(|reason| Gap { reason }));
    (ids, moment(), moment(), gap).prop_map(|(id, read_at, since, gap)| {
        Fact::Source(
            id,
            SourceState {
                read_at,
                since,
                gap,
            },
        )
    })
}

fn device() -> impl Strategy<Value = Fact> {
    any::<(Option<u16>, Option<u32>, Option<u32>, Option<bool>)>().prop_map(
        |(listen_port, fwmark, mtu, up)| {
            Fact::Device(Device {
                listen_port,
                fwmark,
                mtu,
                up,
            })
        },
    )
}

fn peer() -> impl Strategy<Value = Fact> {
    let counters = any::<(u64, u64, Option<u16>)>();
    (
        key(),
        prop::option::of(endpoint()),
        (maybe(), maybe(), moment()),
        counters,
    )
        .prop_map(
            |(key, endpoint, moments, (rx_bytes, tx_bytes, keepalive))| {
                let (last_handshake, rx_moved, since) = moments;
                let allowed_ips = vec!["10.0.0.1/32".to_owned()];
                Fact::Peer(
                    key,
                    Peer {
                        endpoint,
                        allowed_ips,
                        last_handshake,
                        rx_bytes,
                        tx_bytes,
                        rx_moved,
                        since,
                        endpoint_changes: Vec::new(),
                        keepalive,
                    },
                )
            },
        )
}

fn echo_sent() -> impl Strategy<Value = Fact> {
    let rtt = any::<Option<(u32, u32, u32, u32)>>();
    (
        key(),
        any::<(u64, u64, u32, u32, u32, u32)>(),
        [maybe(), maybe(), maybe(), maybe()],
        rtt,
        prop::option::of(clock::reading()),
    )
        .prop_map(
            |(
                key,
                (sent, answered, consecutive_lost, window, window_lost, short_losses),
                at,
                rtt,
                clock,
            )| {
                let [loss_since, last_sent, last_answered, refused] = at;
                let rtt = rtt.map(|(last_us, min_us, mean_us, max_us)| Rtt {
                    last_us,
                    min_us,
                    mean_us,
                    max_us,
                });
                Fact::EchoSent(
                    key,
                    EchoSent {
                        sent,
                        answered,
                        consecutive_lost,
                        loss_since,
                        last_sent,
                        last_answered,
                        rtt,
                        window,
                        window_lost,
                        short_losses,
                        refused,
                        clock,
                    },
                )
            },
        )
}

fn echo_heard() -> impl Strategy<Value = Fact> {
    (key(), any::<(u64, u32, u32)>(), maybe()).prop_map(
        |(key, (heard, window, window_missing), last_heard)| {
            Fact::EchoHeard(
                key,
                EchoHeard {
                    heard,
                    last_heard,
                    window,
                    window_missing,
                },
            )
        },
    )
}

fn inert() -> impl Strategy<Value = Fact> {
    let times = prop::collection::vec(moment(), 0..=limits::INERT_TIMES);
    let ends = [prop::option::of(endpoint()), prop::option::of(endpoint())];
    let replies = prop::option::of(inert_replies());
    let moments = [maybe(), maybe(), maybe(), maybe()];
    (key(), any::<(u64, u64)>(), moments, times, ends, replies).prop_map(
        |(key, (sent, heard), moments, sent_times, [to, heard_from], replies)| {
            let [last_sent, last_heard, unsolicited_sent, unsolicited_heard] = moments;
            Fact::Inert(
                key,
                Box::new(Inert {
                    sent,
                    last_sent,
                    sent_times,
                    to,
                    heard,
                    last_heard,
                    heard_from,
                    replies,
                    unsolicited_sent,
                    unsolicited_heard,
                }),
            )
        },
    )
}

fn inert_replies() -> impl Strategy<Value = InertReplies> {
    let numbers = any::<(u64, u32, u8, u8, i64)>();
    ([moment(), moment()], endpoint(), numbers).prop_map(
        |([last, sent_at], mapped, (count, rtt_us, hop_limit_there, hop_limit_back, there_us))| {
            InertReplies {
                count,
                last,
                sent_at,
                rtt_us,
                mapped,
                hop_limit_there,
                hop_limit_back,
                there_us,
            }
        },
    )
}

fn handshakes() -> impl Strategy<Value = Fact> {
    let sent = (any::<u32>(), moment(), endpoint(), maybe()).prop_map(
        |(sender_index, sent_at, to, response_at)| Initiated {
            sender_index,
            sent_at,
            to,
            response_at,
        },
    );
    let came = (
        any::<u32>(),
        moment(),
        endpoint(),
        any::<Option<bool>>(),
        maybe(),
    )
        .prop_map(|(sender_index, at, from, for_us, answered_at)| Arrival {
            sender_index,
            at,
            from,
            for_us,
            answered_at,
        });
    prop_oneof![
        (key(), prop::collection::vec(sent, 0..=limits::INITIATED))
            .prop_map(|(key, list)| Fact::Initiated(key, list)),
        prop::collection::vec(came, 0..8).prop_map(Fact::Arrivals),
    ]
}

fn steering() -> impl Strategy<Value = Fact> {
    let family = || {
        any::<(Option<u32>, bool, bool)>().prop_map(|(rule_priority, default_route, undecoded)| {
            SteeringFamily {
                rule_priority,
                default_route,
                undecoded,
            }
        })
    };
    let chains = any::<Option<(bool, bool)>>().prop_map(|chains| {
        chains.map(|(outgoing, prerouting)| SteeringChains {
            outgoing,
            prerouting,
        })
    });
    (moment(), family(), family(), chains).prop_map(|(since, ipv4, ipv6, chains)| {
        Fact::Steering(Steering {
            since,
            ipv4,
            ipv6,
            chains,
        })
    })
}

fn link() -> impl Strategy<Value = Option<String>> {
    prop::option::of("[a-z0-9.-]{1,15}")
}

fn steered() -> impl Strategy<Value = Fact> {
    let marks = any::<(Option<bool>, Option<bool>)>();
    let prefix = (
        "[0-9a-f:.]{1,20}/[0-9]{1,3}",
        marks,
        link(),
        prop::option::of(ip()),
    )
        .prop_map(
            |(prefix, (outgoing, prerouting), marked_via, source)| SteeredPrefix {
                prefix,
                outgoing,
                prerouting,
                marked_via,
                source,
            },
        );
    let prefixes = prop::collection::vec(prefix, 0..=limits::STEERED);
    let endpoint =
        (endpoint(), link(), any::<Option<u32>>(), maybe()).prop_map(|(to, via, mtu, looped)| {
            EndpointWay {
                to,
                via,
                mtu,
                looped,
            }
        });
    let endpoint = prop::option::of(endpoint);
    (key(), moment(), prefixes, any::<u32>(), endpoint).prop_map(
        |(key, since, prefixes, left_out, endpoint)| {
            Fact::Steered(
                key,
                Steered {
                    since,
                    prefixes,
                    left_out,
                    endpoint,
                },
            )
        },
    )
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    let any_fact = prop_oneof![
        identity(),
        source(),
        device(),
        peer(),
        echo_sent(),
        echo_heard(),
        inert(),
        handshakes(),
        sizes::sizes(),
        steering(),
        steered(),
        node::vxlan(),
        node::health(),
        talos::node(),
        talos::peer(),
        discovery::discovery(),
        node::data_seen(),
        node::node_echo(),
        clock::clock(),
        clock::ntp(),
        host::host(),
    ];
    prop::collection::vec(any_fact, 0..12)
}

/// Over the wire and back.
fn carried(request: &wire::ReportRequest) -> Result<Incoming, ConvertError> {
    let bytes = request.encode_to_vec();
    let body = wire::ReportRequest::decode(bytes.as_slice()).map_or(None, |request| request.body);
    incoming(body).map(|taken| taken.said)
}

proptest! {
    #[test]
    fn a_snapshot_comes_off_the_wire_as_it_went_on(facts in facts()) {
        let facts: Facts = facts.into_iter().collect();
        let request = snapshot_to_wire(1, Moment::ZERO, &facts);
        prop_assert_eq!(carried(&request), Ok(Incoming::Snapshot(facts)));
    }

    #[test]
    fn a_delta_comes_off_the_wire_as_it_went_on(upserts in facts(), gone in facts(), routine in any::<bool>()) {
        let removed: Vec<FactKey> = gone.iter().map(Fact::key).collect();
        // What is gone is always news.
        let routine = routine && removed.is_empty();
        let delta = Delta { upserts, removed, routine, ..Delta::default() };
        let request = delta_to_wire(2, Moment::ZERO, &delta);
        prop_assert_eq!(carried(&request), Ok(Incoming::Delta(delta)));
    }

    #[test]
    fn a_difference_turns_the_older_facts_into_the_newer(older in facts(), newer in facts()) {
        let (mut older, newer): (Facts, Facts) = (older.into_iter().collect(), newer.into_iter().collect());
        older.apply(newer.difference_from(&older)).unwrap();
        prop_assert_eq!(older, newer);
    }

    #[test]
    fn any_bytes_are_taken_or_refused_and_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(request) = wire::ReportRequest::decode(bytes.as_slice()) {
            drop(incoming(request.body));
        }
        if let Ok(verdict) = wire::Verdict::decode(bytes.as_slice()) {
            drop(proto::convert::verdict_from_wire(verdict));
        }
        if let Ok(list) = wire::PeerList::decode(bytes.as_slice()) {
            drop(proto::convert::peers_from_wire(list));
        }
    }
}

fn refused(fact: wire::fact::Fact) -> ConvertError {
    let facts = vec![wire::Fact { fact: Some(fact) }];
    incoming(Some(Body::Snapshot(wire::Snapshot { facts }))).unwrap_err()
}

#[test]
fn a_field_that_is_wrong_is_named_with_what_was_expected() {
    let short_key = wire::EchoHeard {
        public_key: vec![1; 31],
        ..Default::default()
    };
    let error = refused(wire::fact::Fact::EchoHeard(short_key));
    assert_eq!(
        error.to_string(),
        "field echo_heard.public_key: expected a public key of 32 bytes, got 31"
    );

    let bad_name = wire::Identity {
        name: "a b".to_owned(),
        ..Default::default()
    };
    assert_eq!(
        refused(wire::fact::Fact::Identity(bad_name)).field,
        "identity.name"
    );

    let control = wire::Source {
        id: 1,
        gap: Some("\u{1b}[2J".to_owned()),
        ..Default::default()
    };
    assert_eq!(
        refused(wire::fact::Fact::Source(control)).field,
        "source.gap"
    );

    let port = wire::Device {
        listen_port: Some(70_000),
        ..Default::default()
    };
    assert_eq!(
        refused(wire::fact::Fact::Device(port)).field,
        "device.listen_port"
    );
}

#[test]
fn one_over_a_limit_is_refused_by_the_name_of_the_limit() {
    let addresses = vec![vec![10, 0, 0, 1]; limits::ADDRESSES + 1];
    let identity = wire::Identity {
        name: "n".to_owned(),
        addresses,
        ..Default::default()
    };
    let error = refused(wire::fact::Fact::Identity(identity));
    assert_eq!(
        error.to_string(),
        "field identity.addresses: expected at most 64 entries, got 65"
    );

    let facts = vec![
        wire::Fact {
            fact: Some(wire::fact::Fact::Device(wire::Device::default()))
        };
        limits::FACTS + 1
    ];
    let error = incoming(Some(Body::Snapshot(wire::Snapshot { facts }))).unwrap_err();
    assert_eq!(error.field, "snapshot.facts");
}
