//! Views that no real mesh would give: any fact, of any key, at any moment.

#[path = "chaos/discovery.rs"]
mod discovery;
#[path = "chaos/host.rs"]
mod host;
#[path = "chaos/node_echo.rs"]
mod node_echo;
#[path = "chaos/talos.rs"]
mod talos;

use std::net::SocketAddr;

use diagnosis::{Conflict, Expectation, History, NodeView, Stream, View};
use evidence::{
    Arrival, Bracket, Conntrack, DataMessages, DataSeen, Drops, EchoHeard, EchoSent, EndpointWay,
    Fact, Facts, Gap, Health, Identity, Inert, InertReplies, Initiated, Layer, Moment, Peer,
    PublicKey, Rtt, Sizes, SourceId, SourceState, Steered, SteeredPrefix, Steering, SteeringChains,
    SteeringFamily, TooBig, Vxlan, VxlanDevice,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::support::{NODES, NOW, name};

/// Any view of up to four nodes.
pub(crate) fn any_view() -> impl Strategy<Value = View> {
    let nodes = vec((select(NODES.to_vec()), any_node()), 0..5);
    let declared = vec(select(NODES.to_vec()), 0..2);
    (any_moment(), nodes, 0..5_usize, declared).prop_map(|(started, nodes, min_nodes, names)| {
        let nodes = nodes.into_iter();
        View {
            started,
            nodes: nodes.map(|(node, view)| (name(node), view)).collect(),
            expectation: Expectation {
                min_nodes,
                names: names.into_iter().map(name).collect(),
                ..Expectation::default()
            },
            history: History::default(),
        }
    })
}

/// Mostly lately, sometimes at the ends of time.
pub(crate) fn any_moment() -> impl Strategy<Value = Moment> {
    let near = NOW.as_millis();
    prop_oneof![
        12 => near - 30_000..near,
        3 => near - 300_000..near + 20_000,
        1 => any::<i64>(),
        1 => select(vec![i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX]),
    ]
    .prop_map(Moment::from_millis)
}

fn any_node() -> impl Strategy<Value = NodeView> {
    let stream = option::of(any_moment());
    let conflict = option::weighted(0.1, any_moment());
    let facts = vec(any_fact(), 0..40);
    let times = (any_moment(), any_moment(), any_moment());
    (facts, stream, times, conflict).prop_map(
        |(facts, closed, (since, last_report, steady_since), conflict)| NodeView {
            facts: facts.into_iter().collect::<Facts>(),
            stream: closed.map_or(Stream::Open, Stream::Closed),
            since,
            last_report,
            steady_since,
            conflict: conflict.map(|at| Conflict {
                at,
                what: "another boot id".to_owned(),
            }),
        },
    )
}

/// The keys of the four nodes, and two that nobody claims.
fn any_key() -> impl Strategy<Value = PublicKey> {
    (1..7_u8).prop_map(|byte| PublicKey::from_bytes([byte; 32]))
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (0..4_u8, 0..3_u16)
        .prop_map(|(host, port)| SocketAddr::from(([198, 51, 100, host], 51820 + port)))
}

pub(crate) fn any_fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        2 => any_identity(),
        4 => any_source(),
        3 => any_peer(),
        3 => any_echo_sent(),
        3 => any_echo_heard(),
        2 => any_inert(),
        2 => any_initiated(),
        1 => any_arrivals(),
        2 => any_sizes(),
        1 => any_data_seen(),
        3 => node_echo::any_node_echo(),
        2 => any_steering(),
        3 => any_steered(),
        1 => any_vxlan(),
        1 => any_health(),
        2 => host::any_clock(),
        2 => host::any_ntp(),
        1 => talos::any_talos(),
        3 => talos::any_talos_peer(),
        2 => discovery::any_discovery(),
        2 => host::any_host(),
    ]
}

fn any_identity() -> impl Strategy<Value = Fact> {
    (
        option::weighted(0.9, any_key()),
        vec(any_address(), 0..2),
        select(NODES.to_vec()),
    )
        .prop_map(|(public_key, addresses, node)| {
            Fact::Identity(Identity {
                name: name(node),
                public_key,
                kubespan_address: None,
                addresses: addresses.iter().map(SocketAddr::ip).collect(),
                boot_id: "boot".to_owned(),
                instance: 1,
                version: "0.1.0".to_owned(),
            })
        })
}

fn any_source() -> impl Strategy<Value = Fact> {
    let id = select(SourceId::ALL.to_vec());
    (id, any_moment(), any_moment(), any::<u8>()).prop_map(|(id, read_at, since, luck)| {
        let gap = (luck < 40).then(|| Gap {
            reason: "no permission".to_owned(),
        });
        let state = SourceState {
            read_at,
            since,
            gap,
        };
        Fact::Source(id, state)
    })
}

fn any_peer() -> impl Strategy<Value = Fact> {
    let when = || option::of(any_moment());
    let allowed = vec(any_prefix(), 0..3);
    (
        any_key(),
        option::of(any_address()),
        (when(), when(), any_moment()),
        allowed,
    )
        .prop_map(|(key, endpoint, moments, allowed_ips)| {
            let (last_handshake, rx_moved, since) = moments;
            let peer = Peer {
                endpoint,
                allowed_ips,
                last_handshake,
                rx_bytes: 1,
                tx_bytes: 1,
                rx_moved,
                since,
                keepalive: Some(25),
                endpoint_changes: Vec::new(),
            };
            Fact::Peer(key, peer)
        })
}

/// Node addresses of the lab among them, and what is no prefix.
fn any_prefix() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => (0..4_u8, 24..34_u8).prop_map(|(host, length)| format!("198.51.100.{host}/{length}")),
        4 => select(vec!["203.0.113.11/32", "203.0.113.12/32", "192.168.50.11/32", "::/0", "x"])
            .prop_map(str::to_owned),
    ]
}

fn any_link() -> impl Strategy<Value = Option<String>> {
    option::of(select(vec!["kubespan", "eth0"]).prop_map(str::to_owned))
}

fn any_steering() -> impl Strategy<Value = Fact> {
    let family = || {
        any::<(Option<u32>, bool, bool)>().prop_map(|(rule_priority, default_route, undecoded)| {
            SteeringFamily {
                rule_priority,
                default_route,
                undecoded,
            }
        })
    };
    let chains = any::<Option<(bool, bool)>>();
    (any_moment(), family(), family(), chains).prop_map(|(since, ipv4, ipv6, chains)| {
        let chains = chains.map(|(outgoing, prerouting)| SteeringChains {
            outgoing,
            prerouting,
        });
        Fact::Steering(Steering {
            since,
            ipv4,
            ipv6,
            chains,
        })
    })
}

fn any_steered() -> impl Strategy<Value = Fact> {
    let marks = any::<(Option<bool>, Option<bool>)>();
    let source = option::of(any_address());
    let prefix = (any_prefix(), marks, any_link(), source).prop_map(
        |(prefix, (outgoing, prerouting), marked_via, source)| SteeredPrefix {
            prefix,
            outgoing,
            prerouting,
            marked_via,
            source: source.map(|source| source.ip()),
        },
    );
    let endpoint = (
        any_address(),
        any_link(),
        option::of(0..3000_u32),
        option::of(any_moment()),
    )
        .prop_map(|(to, via, mtu, looped)| EndpointWay {
            to,
            via,
            mtu,
            looped,
        });
    (
        any_key(),
        any_moment(),
        vec(prefix, 0..4),
        option::of(endpoint),
    )
        .prop_map(|(key, since, prefixes, endpoint)| {
            let steered = Steered {
                since,
                prefixes,
                left_out: 0,
                endpoint,
            };
            Fact::Steered(key, steered)
        })
}

fn any_health() -> impl Strategy<Value = Fact> {
    let when = || option::weighted(0.2, any_moment());
    let table = (any_moment(), any::<u32>(), any::<u32>());
    (when(), when(), when(), option::weighted(0.2, table)).prop_map(
        |(stalled, tap, echo, table)| {
            let drops = |last| Some(Drops { count: 1, last });
            Fact::Health(Health {
                stalled,
                tap: drops(tap),
                echo: drops(echo),
                conntrack: table.map(|(at, count, max)| Conntrack { at, count, max }),
                ..Health::default()
            })
        },
    )
}

fn any_vxlan() -> impl Strategy<Value = Fact> {
    let port = select(vec![8472, 4789, 0]);
    let flags = any::<(bool, bool)>();
    let end = || option::of(any_address().prop_map(|address| address.ip()));
    let mtu = prop_oneof![Just(1370), Just(1450), any::<u32>()];
    let device =
        (port, flags, end(), end(), mtu).prop_map(|(port, (external, up), local, remote, mtu)| {
            VxlanDevice {
                name: "vxlan1".to_owned(),
                id: 1,
                port,
                external,
                local,
                remote,
                mtu,
                up,
            }
        });
    (any_moment(), vec(device, 0..4), 0..2_u32).prop_map(|(since, devices, left_out)| {
        Fact::Vxlan(Vxlan {
            since,
            devices,
            left_out,
        })
    })
}

fn any_data_seen() -> impl Strategy<Value = Fact> {
    let messages = || {
        let counts = (0..3_u32, 0..3_u32, option::of(any_moment()));
        counts.prop_map(|(data, keepalives, last)| DataMessages {
            data,
            keepalives,
            last,
        })
    };
    let moments = [any_moment(), any_moment()];
    (any_key(), moments, messages(), messages(), 0..2_u32).prop_map(
        |(key, [since, until], from_peer, to_peer, missed)| {
            let seen = DataSeen {
                since,
                until,
                from_peer,
                to_peer,
                missed,
            };
            Fact::DataSeen(key, seen)
        },
    )
}

fn any_echo_sent() -> impl Strategy<Value = Fact> {
    let when = || option::of(any_moment());
    let lost = prop_oneof![Just(0), 1..3_u32, 3..30_u32, Just(u32::MAX)];
    let clock = option::of(host::any_wall());
    let lost = (lost, prop_oneof![Just(0), 1..40_u32, Just(u32::MAX)]);
    (any_key(), lost, when(), when(), when(), clock).prop_map(
        |(key, (consecutive_lost, short_losses), loss_since, last_answered, refused, clock)| {
            let echo = EchoSent {
                consecutive_lost,
                short_losses,
                loss_since,
                last_answered,
                refused,
                clock,
                rtt: Some(Rtt {
                    last_us: u32::MAX,
                    min_us: 0,
                    mean_us: 1,
                    max_us: 2,
                }),
                ..EchoSent::default()
            };
            Fact::EchoSent(key, echo)
        },
    )
}

fn any_echo_heard() -> impl Strategy<Value = Fact> {
    (any_key(), option::of(any_moment()), 0..40_u32, any::<u32>()).prop_map(
        |(key, last_heard, window, window_missing)| {
            let heard = EchoHeard {
                heard: 1,
                last_heard,
                window,
                window_missing,
            };
            Fact::EchoHeard(key, heard)
        },
    )
}

fn any_inert() -> impl Strategy<Value = Fact> {
    let when = || option::of(any_moment());
    let address = || option::of(any_address());
    (
        any_key(),
        vec(any_moment(), 0..8),
        address(),
        when(),
        address(),
        option::of(any_replies()),
    )
        .prop_map(|(key, sent_times, to, last_heard, heard_from, replies)| {
            let inert = Inert {
                sent_times,
                to,
                last_heard,
                heard_from,
                replies,
                ..Inert::default()
            };
            Fact::Inert(key, Box::new(inert))
        })
}

fn any_replies() -> impl Strategy<Value = InertReplies> {
    (any_moment(), any_moment(), any_address()).prop_map(|(last, sent_at, mapped)| InertReplies {
        count: 1,
        last,
        sent_at,
        rtt_us: 850,
        mapped,
        hop_limit_there: 61,
        hop_limit_back: 61,
        there_us: 0,
    })
}

fn any_initiated() -> impl Strategy<Value = Fact> {
    let one = (
        0..6_u32,
        any_moment(),
        any_address(),
        option::of(any_moment()),
    );
    let one = one.prop_map(|(sender_index, sent_at, to, response_at)| Initiated {
        sender_index,
        sent_at,
        to,
        response_at,
    });
    (any_key(), vec(one, 0..5)).prop_map(|(key, list)| Fact::Initiated(key, list))
}

fn any_arrivals() -> impl Strategy<Value = Fact> {
    let one = (
        0..6_u32,
        any_moment(),
        any_address(),
        option::of(any_moment()),
    );
    let one = one.prop_map(|(sender_index, at, from, answered_at)| Arrival {
        sender_index,
        at,
        from,
        for_us: None,
        answered_at,
    });
    vec(one, 0..6).prop_map(Fact::Arrivals)
}

fn any_sizes() -> impl Strategy<Value = Fact> {
    let bracket = (any_moment(), option::of(any::<u16>()), any::<u16>());
    let bracket = bracket.prop_map(|(at, passed, failed)| Bracket { at, passed, failed });
    let too_big = (any_moment(), option::of(any_address()), any::<u32>());
    let too_big = too_big.prop_map(|(at, from, mtu)| TooBig {
        at,
        reporter: from.map(|from| from.ip()),
        mtu,
    });
    let when = || option::of(any_moment());
    let moments = [when(), when(), when(), when(), when()];
    let one = (
        select(Layer::ALL.to_vec()),
        any::<u16>(),
        moments,
        0..6_u32,
        option::of(bracket),
        option::of(too_big),
    );
    let one = one.prop_map(|(layer, full, moments, lost, bracket, too_big)| {
        let [
            full_arrived,
            seen_arriving,
            lost_since,
            mended,
            in_fragments,
        ] = moments;
        Sizes {
            layer,
            to: [10, 0, 0, 1].into(),
            full,
            full_arrived,
            seen_arriving,
            lost,
            lost_since,
            mended,
            bracket,
            too_big,
            in_fragments,
        }
    });
    (any_key(), vec(one, 0..3)).prop_map(|(key, layers)| Fact::Sizes(key, layers))
}
