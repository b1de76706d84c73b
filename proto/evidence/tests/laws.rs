//! What holds for all facts: of differences between snapshots, and of shifting to another timeline.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[path = "laws/time.rs"]
mod time;

use std::net::{Ipv4Addr, SocketAddr};

use evidence::discovery::{
    Affiliate, Affiliates, DiscoveryAddress, DiscoveryEndpoint, DiscoveryNames, DiscoveryStage,
    NameAnswer, NameOutcome, Rivals, Stage,
};
use evidence::{
    Arrival, Bracket, Conntrack, DataMessages, DataSeen, Delta, Device, Discovery, Drops,
    EchoHeard, EchoSent, EndpointWay, Fact, Facts, Gap, Health, Identity, Inert, InertReplies,
    Initiated, Layer, Moment, NodeAsked, NodeEcho, NodeHeard, NodeName, Peer, PublicKey, Rtt,
    Sizes, SourceId, SourceState, Steered, Steering, SteeringFamily, Talos, TalosPeer,
    TalosPeerStatus, TooBig, Via, Vxlan, WallReading,
};
use proptest::prelude::*;

/// A quarter of time: two of them added stay away from its ends.
const FAR: i64 = i64::MAX / 4;

const KINDS: usize = 22;

/// Facts with all fields set; no two moments of one are the same, and all lie at fixed distances from `at`. Written out
/// whole, so that a new field does not compile until somebody decides whether it is a moment.
fn fact(kind: usize, peer: u8, at: i64) -> Fact {
    let key = PublicKey::from_bytes([peer; 32]);
    let after = |millis: i64| Moment::from_millis(at + millis);
    match kind {
        0 => identity(),
        1 => Fact::Source(
            SourceId::ALL[usize::from(peer) % SourceId::ALL.len()],
            SourceState {
                read_at: after(2),
                since: after(1),
                gap: Some(Gap {
                    reason: "not permitted".to_owned(),
                }),
            },
        ),
        2 => Fact::Device(Device {
            listen_port: Some(51_820),
            fwmark: Some(0x20),
            mtu: Some(1420),
            up: Some(true),
        }),
        3 => Fact::Peer(key, wireguard_peer(after)),
        4 => Fact::EchoSent(key, echo_sent(after)),
        5 => Fact::EchoHeard(
            key,
            EchoHeard {
                heard: 9,
                last_heard: Some(after(1)),
                window: 10,
                window_missing: 1,
            },
        ),
        6 => Fact::Inert(key, Box::new(inert(after))),
        7 => Fact::Initiated(
            key,
            vec![Initiated {
                sender_index: 1,
                sent_at: after(1),
                to: endpoint(),
                response_at: Some(after(2)),
            }],
        ),
        8 => Fact::Sizes(key, vec![sizes(after)]),
        9 => Fact::Steering(Steering {
            since: after(1),
            ipv4: SteeringFamily::default(),
            ipv6: SteeringFamily::default(),
            chains: None,
        }),
        10 => Fact::Steered(
            key,
            Steered {
                since: after(1),
                prefixes: Vec::new(),
                left_out: 0,
                endpoint: Some(EndpointWay {
                    to: endpoint(),
                    via: None,
                    mtu: None,
                    looped: Some(after(2)),
                }),
            },
        ),
        11 => Fact::Vxlan(Vxlan {
            since: after(1),
            devices: Vec::new(),
            left_out: 0,
        }),
        12 => Fact::Health(health(after)),
        13 => Fact::Talos(Box::new(Talos {
            since: after(1),
            ..Talos::default()
        })),
        14 => Fact::TalosPeer(key, Box::new(talos_peer(after))),
        15 => Fact::Discovery(discovery(after)),
        16 => Fact::DataSeen(key, data_seen(after)),
        17 => Fact::Clock(time::clock(after)),
        18 => Fact::Ntp(time::ntp(after)),
        19 => Fact::Host(Box::new(time::host(after))),
        20 => Fact::NodeEcho(key, Box::new(node_echo(after))),
        _ => Fact::Arrivals(vec![Arrival {
            sender_index: 1,
            at: after(1),
            from: endpoint(),
            for_us: Some(true),
            answered_at: Some(after(2)),
        }]),
    }
}

fn talos_peer(after: impl Fn(i64) -> Moment) -> TalosPeer {
    TalosPeer {
        since: after(1),
        label: String::new(),
        address: None,
        allowed_ips: Vec::new(),
        candidates: Vec::new(),
        left_out: 0,
        status: Some(TalosPeerStatus {
            last_change: Some(after(2)),
            ..TalosPeerStatus::default()
        }),
    }
}

fn health(after: impl Fn(i64) -> Moment) -> Health {
    let drops = |last| {
        Some(Drops {
            count: 1,
            last: Some(after(last)),
        })
    };
    Health {
        lag: None,
        stalled: Some(after(1)),
        tap: drops(2),
        echo: drops(3),
        backlog: drops(4),
        squeezed: drops(5),
        conntrack: Some(Conntrack {
            at: after(6),
            count: 1,
            max: 2,
        }),
    }
}

fn discovery(after: impl Fn(i64) -> Moment) -> Discovery {
    let affiliate = |since| Affiliate {
        name: "vps-1".to_owned(),
        key: PublicKey::from_bytes([1; 32]),
        since: after(since),
        endpoints: vec![endpoint()],
    };
    let affiliates = Affiliates {
        at: after(3),
        count: 2,
        most_endpoints: 1,
        garbled: 0,
        digest: [1; 8],
        decrypted: Some(2),
        sealed: Vec::new(),
        own: Some(true),
        unknown: vec![affiliate(4)],
        rivals: vec![Rivals {
            address: endpoint().ip(),
            one: affiliate(5),
            other: affiliate(6),
        }],
        unlisted: Vec::new(),
    };
    let endpoint = DiscoveryEndpoint {
        host: "discovery.example".to_owned(),
        port: 443,
        tls: true,
        at: after(2),
        names: Some(discovery_names(after(7))),
        proxy: None,
        addresses: vec![discovery_address(&after)],
        left_out: 0,
        public: None,
        redirect: None,
        affiliates: Some(affiliates),
    };
    Discovery {
        registry_off: false,
        since: after(1),
        cluster: Some([2; 8]),
        endpoints: vec![endpoint],
    }
}

fn discovery_names(failed_since: Moment) -> DiscoveryNames {
    let answer = NameAnswer {
        outcome: NameOutcome::Silent,
        took_us: 1,
        text: "no answer".to_owned(),
    };
    DiscoveryNames {
        resolvers: vec![endpoint()],
        ipv4: answer.clone(),
        ipv6: answer,
        failed: 2,
        failed_since: Some(failed_since),
    }
}

fn discovery_address(after: &impl Fn(i64) -> Moment) -> DiscoveryAddress {
    let stage = |stage, at| DiscoveryStage {
        stage,
        at: after(at),
        took_us: 1,
        failure: None,
    };
    DiscoveryAddress {
        address: endpoint().ip(),
        stages: vec![stage(Stage::Tcp, 8)],
        failed: 1,
        failed_since: Some(after(9)),
        hello: Some(stage(Stage::Hello, 10)),
        calls_failed: 0,
        list: Some(stage(Stage::List, 11)),
        certificate: None,
    }
}
fn data_seen(after: impl Fn(i64) -> Moment) -> DataSeen {
    let messages = |last| DataMessages {
        data: 2,
        keepalives: 1,
        last: Some(after(last)),
    };
    DataSeen {
        since: after(1),
        until: after(4),
        from_peer: messages(2),
        to_peer: messages(3),
        missed: 1,
    }
}

fn node_echo(after: impl Fn(i64) -> Moment) -> NodeEcho {
    NodeEcho {
        asked: vec![NodeAsked {
            to: endpoint().ip(),
            answered: 3,
            last_answered: Some(after(1)),
            back: Some(Via::Tunnel),
            through: Some(true),
            lost: 1,
            lost_since: Some(after(2)),
            beside: Some(after(3)),
            mended: Some(after(6)),
        }],
        heard: vec![NodeHeard {
            at: endpoint().ip(),
            heard: 2,
            last: after(4),
            via: Some(Via::Link("eth0".to_owned())),
            around: 1,
            around_since: Some(after(5)),
        }],
    }
}

fn sizes(after: impl Fn(i64) -> Moment) -> Sizes {
    Sizes {
        layer: Layer::Overlay,
        to: Ipv4Addr::LOCALHOST.into(),
        full: 1420,
        full_arrived: Some(after(1)),
        seen_arriving: Some(after(5)),
        lost: 3,
        lost_since: Some(after(2)),
        mended: None,
        bracket: Some(Bracket {
            at: after(3),
            passed: Some(1300),
            failed: 1301,
        }),
        too_big: Some(TooBig {
            at: after(4),
            reporter: None,
            mtu: 1300,
        }),
        in_fragments: Some(after(6)),
    }
}

fn endpoint() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 51_820))
}

fn identity() -> Fact {
    Fact::Identity(Identity {
        name: NodeName::parse("vps-1").unwrap(),
        public_key: Some(PublicKey::from_bytes([1; 32])),
        kubespan_address: Some("fd00::1".parse().unwrap()),
        addresses: vec![endpoint().ip()],
        boot_id: "boot".to_owned(),
        instance: 1,
        version: "0.1.0".to_owned(),
    })
}

fn wireguard_peer(after: impl Fn(i64) -> Moment) -> Peer {
    Peer {
        endpoint: Some(endpoint()),
        allowed_ips: vec!["fd00::1/128".to_owned()],
        last_handshake: Some(after(1)),
        rx_bytes: 1,
        tx_bytes: 2,
        rx_moved: Some(after(2)),
        since: after(3),
        keepalive: Some(25),
        endpoint_changes: Vec::new(),
    }
}

fn echo_sent(after: impl Fn(i64) -> Moment) -> EchoSent {
    EchoSent {
        sent: 10,
        answered: 9,
        consecutive_lost: 1,
        short_losses: 1,
        loss_since: Some(after(1)),
        last_sent: Some(after(2)),
        last_answered: Some(after(3)),
        rtt: Some(Rtt {
            last_us: 1,
            min_us: 1,
            mean_us: 2,
            max_us: 3,
        }),
        window: 10,
        window_lost: 1,
        refused: Some(after(4)),
        clock: Some(WallReading {
            at: after(5),
            wall_ms: 1,
            error_us: 2,
        }),
    }
}

fn inert(after: impl Fn(i64) -> Moment) -> Inert {
    Inert {
        sent: 2,
        last_sent: Some(after(2)),
        sent_times: vec![after(1), after(2)],
        to: Some(endpoint()),
        heard: 1,
        last_heard: Some(after(3)),
        heard_from: Some(endpoint()),
        replies: Some(InertReplies {
            count: 1,
            last: after(5),
            sent_at: after(4),
            rtt_us: 850,
            mapped: endpoint(),
            hop_limit_there: 61,
            hop_limit_back: 62,
            there_us: -7,
        }),
        unsolicited_sent: Some(after(6)),
        unsolicited_heard: Some(after(7)),
    }
}

/// Few peers and few moments, so that two snapshots share keys, with the same facts and with changed ones.
fn facts() -> impl Strategy<Value = Facts> {
    let one = (0..KINDS, 0..3_u8, 0..3_i64);
    let one = one.prop_map(|(kind, peer, at)| fact(kind, peer, at));
    prop::collection::vec(one, 0..20).prop_map(|facts| facts.into_iter().collect())
}

fn all_kinds(at: i64) -> Vec<Fact> {
    (0..KINDS).map(|kind| fact(kind, 1, at)).collect()
}

proptest! {
    #[test]
    fn a_difference_turns_the_older_facts_into_the_newer(older in facts(), newer in facts()) {
        let delta = newer.difference_from(&older);
        let mut turned = older;
        turned.apply(delta).unwrap();
        prop_assert_eq!(turned, newer);
    }

    #[test]
    fn a_difference_says_nothing_twice(older in facts(), newer in facts()) {
        let Delta { upserts, removed, .. } = newer.difference_from(&older);
        prop_assert!(upserts.iter().all(|fact| older.get(&fact.key()) != Some(fact)));
        prop_assert!(removed.iter().all(|key| older.get(key).is_some()));
        prop_assert!(upserts.iter().all(|fact| !removed.contains(&fact.key())));
        prop_assert!(older.difference_from(&older).is_empty());
    }

    #[test]
    fn an_edition_stays_as_long_as_the_facts_do(mut facts in facts(), delta in facts()) {
        let (kept, before) = (facts.edition().clone(), facts.clone());
        prop_assert!(before.edition().is(&kept));
        let delta = delta.difference_from(&Facts::new());
        let touched = !delta.is_empty();
        facts.apply(delta).unwrap();
        prop_assert_eq!(facts.edition().is(&kept), !touched);
        prop_assert!(before.edition().is(&kept));
        let count = facts.iter().count();
        prop_assert_eq!(facts.len(), count);
    }

    #[test]
    fn what_is_said_of_a_peer_is_shared_until_it_changes(older in facts(), newer in facts()) {
        let mut turned = older.clone();
        turned.apply(newer.difference_from(&older)).unwrap();
        for (key, said) in older.of_peers() {
            let same = newer.of_peer(key) == Some(said);
            let shared = turned.of_peer(key).is_some_and(|after| std::sync::Arc::ptr_eq(after, said));
            prop_assert_eq!(shared, same);
        }
    }

    #[test]
    fn deltas_in_sequence_end_at_the_last_snapshot(states in prop::collection::vec(facts(), 1..8)) {
        let mut received = states[0].clone();
        for next in states.windows(2) {
            received.apply(next[1].difference_from(&next[0])).unwrap();
        }
        prop_assert_eq!(Some(&received), states.last());
    }

    #[test]
    fn shifting_moves_all_moments_of_all_facts_and_nothing_else(at in -FAR..FAR, by in -FAR..FAR) {
        let shifted: Vec<_> = all_kinds(at).into_iter().map(|fact| fact.shifted(by)).collect();
        prop_assert_eq!(shifted, all_kinds(at + by));
    }

    #[test]
    fn shifting_all_facts_shifts_each_and_no_other_holder_sees_it(facts in facts(), by in -FAR..FAR) {
        let before: Vec<_> = facts.iter().cloned().collect();
        let each: Facts = facts.iter().map(|fact| fact.clone().shifted(by)).collect();
        prop_assert_eq!(facts.clone().shifted(by), each);
        prop_assert!(facts.iter().eq(&before));
    }

    #[test]
    fn nothing_of_a_fact_shows_in_the_one_that_takes_its_place(
        (older, newer) in (0..3_i64, 0..3_i64), (before, after) in (0..3_usize, 0..3_usize), is_kept in any::<bool>()
    ) {
        let some = |at, number: usize| {
            let mut facts = all_kinds(at);
            for fact in &mut facts {
                match fact {
                    Fact::Peer(_, peer) => peer.allowed_ips = vec![format!("10.0.0.{number}/32"); number],
                    Fact::Sizes(_, layers) => layers.resize(number, layers[0]),
                    _ => {}
                }
            }
            facts
        };
        let mut facts = Facts::from_iter(some(older, before));
        let others = is_kept.then(|| facts.clone());
        for fact in some(newer, after) {
            facts.insert(fact);
        }
        prop_assert_eq!(facts, Facts::from_iter(some(newer, after)));
        prop_assert!(others.is_none_or(|others| others == Facts::from_iter(some(older, before))));
    }

    #[test]
    fn shifting_there_and_back_changes_nothing(facts in facts(), by in -FAR..FAR) {
        for fact in facts.iter() {
            prop_assert_eq!(&fact.clone().shifted(by).shifted(-by), fact);
        }
    }

    #[test]
    fn shifting_by_any_offset_stays_on_the_timeline(at in -FAR..FAR, by in any::<i64>()) {
        for fact in all_kinds(at) {
            let key = fact.key();
            prop_assert_eq!(fact.shifted(by).key(), key);
        }
    }
}
