//! What a node of the healthy lab has seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use diagnosis::{NodeView, Stream};
use evidence::{
    Clock, Device, Drops, EchoHeard, EchoSent, EndpointWay, Fact, Facts, Fingerprint, Host,
    HostLink, Identity, KernelClock, Layer, NodeAsked, NodeEcho, NodeHeard, Peer, Ports,
    ReversePath, Rtt, Sizes, SourceId, SourceState, Steered, SteeredPrefix, Steering,
    SteeringChains, SteeringFamily, Via, Vxlan, WallReading,
};

use super::{ago, key, name};

/// The public address of the home.
const HOME: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);

pub(super) fn healthy_node(node: &str, nodes: &[&str]) -> NodeView {
    let mut facts: Facts = SourceId::ALL
        .into_iter()
        .map(|source| working(source, 590_000))
        .collect();
    facts.insert(Fact::Identity(identity(node)));
    facts.insert(Fact::Device(Device {
        listen_port: Some(51820),
        fwmark: Some(0x20),
        mtu: Some(1420),
        up: Some(true),
    }));
    facts.insert(Fact::Steering(steering()));
    facts.insert(Fact::Clock(clock()));
    facts.insert(Fact::Host(Box::new(host(node))));
    facts.insert(Fact::Vxlan(Vxlan {
        since: ago(590_000),
        devices: Vec::new(),
        left_out: 0,
    }));
    for other in nodes.iter().filter(|other| **other != node) {
        facts.insert(Fact::Steered(key(other), steered(node, other)));
        facts.insert(Fact::Peer(key(other), healthy_peer(node, other)));
        facts.insert(Fact::EchoSent(key(other), answered_echo()));
        let heard = EchoHeard {
            heard: 100,
            last_heard: Some(ago(1010)),
            window: 30,
            window_missing: 0,
        };
        facts.insert(Fact::EchoHeard(key(other), heard));
        facts.insert(Fact::NodeEcho(key(other), Box::new(node_echo(node, other))));
        facts.insert(Fact::Sizes(key(other), Layer::ALL.map(full_size).to_vec()));
    }
    NodeView {
        facts,
        stream: Stream::Open,
        since: ago(590_000),
        last_report: ago(300),
        steady_since: ago(590_000),
        conflict: None,
    }
}

/// A wall clock that was read so long ago, and is right.
pub(crate) fn reading(since: i64, error_us: u32) -> WallReading {
    let at = ago(since);
    WallReading {
        at,
        wall_ms: 1_795_000_000_000 + at.as_millis(),
        error_us,
    }
}

fn clock() -> Clock {
    Clock {
        reading: reading(5000, 0),
        booted: ago(600_000),
        kernel: Some(KernelClock {
            synchronized: true,
            max_error_us: 20_000,
            estimated_error_us: 500,
        }),
        stepped: None,
    }
}

/// A host with a tunnel, and a strict filter that has nothing to drop.
pub(crate) fn host(node: &str) -> Host {
    Host {
        machine_id: Some(Fingerprint([key(node).as_bytes()[0]; 16])),
        system_uuid: Some(Fingerprint([key(node).as_bytes()[1]; 16])),
        links: vec![link("kubespan"), link("eth0")],
        reverse_path: Some(ReversePath {
            all: 1,
            src_valid_mark: false,
            dropped: Some(Drops::default()),
        }),
        ports: Some(Ports {
            tunnel_sockets: 2,
            ..Ports::default()
        }),
        ..Host::default()
    }
}

fn link(name: &str) -> HostLink {
    HostLink {
        name: name.to_owned(),
        kind: None,
        address: None,
        up: true,
        mtu: 1420,
        rp_filter: Some(0),
        offload: None,
        rx_dropped: None,
        tx_dropped: None,
        rx_errors: None,
        tx_errors: None,
    }
}

/// Full-size packets arrive.
fn full_size(layer: Layer) -> Sizes {
    Sizes {
        layer,
        to: IpAddr::from([10, 0, 0, 1]),
        full: 1420,
        full_arrived: Some(ago(3000)),
        seen_arriving: None,
        lost: 0,
        lost_since: None,
        mended: None,
        bracket: None,
        too_big: None,
        in_fragments: None,
    }
}

pub(super) fn working(source: SourceId, since: i64) -> Fact {
    let state = SourceState {
        read_at: ago(500),
        since: ago(since),
        gap: None,
    };
    Fact::Source(source, state)
}

fn identity(node: &str) -> Identity {
    Identity {
        name: name(node),
        public_key: Some(key(node)),
        kubespan_address: Some(ula(node)),
        addresses: vec![IpAddr::V4(own_address(node))],
        boot_id: format!("boot-of-{node}"),
        instance: 1,
        version: "0.1.0".to_owned(),
    }
}

fn healthy_peer(node: &str, other: &str) -> Peer {
    Peer {
        endpoint: Some(endpoint(node, other)),
        allowed_ips: vec![
            format!("{}/128", ula(other)),
            format!("{}/32", own_address(other)),
        ],
        last_handshake: Some(ago(60_000)),
        rx_bytes: 10_000,
        tx_bytes: 10_000,
        rx_moved: Some(ago(1000)),
        since: ago(590_000),
        keepalive: Some(25),
        endpoint_changes: Vec::new(),
    }
}

fn steering() -> Steering {
    let family = SteeringFamily {
        rule_priority: Some(32_500),
        default_route: true,
        undecoded: false,
    };
    Steering {
        since: ago(590_000),
        ipv4: family,
        ipv6: family,
        chains: Some(SteeringChains {
            outgoing: true,
            prerouting: true,
        }),
    }
}

fn steered(node: &str, other: &str) -> Steered {
    let prefix = SteeredPrefix {
        prefix: format!("{}/32", own_address(other)),
        outgoing: Some(true),
        prerouting: Some(true),
        marked_via: Some("kubespan".to_owned()),
        source: Some(IpAddr::V4(own_address(node))),
    };
    Steered {
        since: ago(590_000),
        prefixes: vec![prefix],
        left_out: 0,
        endpoint: Some(EndpointWay {
            to: endpoint(node, other),
            via: Some("eth0".to_owned()),
            mtu: Some(1500),
            looped: None,
        }),
    }
}

fn answered_echo() -> EchoSent {
    EchoSent {
        sent: 100,
        answered: 100,
        consecutive_lost: 0,
        loss_since: None,
        last_sent: Some(ago(1020)),
        last_answered: Some(ago(1000)),
        rtt: Some(Rtt {
            last_us: 20_000,
            min_us: 19_000,
            mean_us: 20_500,
            max_us: 25_000,
        }),
        window: 30,
        window_lost: 0,
        short_losses: 0,
        refused: None,
        clock: Some(reading(1000, 9_500)),
    }
}

/// Echoes to the node addresses of both come out of the tunnel.
fn node_echo(node: &str, other: &str) -> NodeEcho {
    NodeEcho {
        asked: vec![NodeAsked {
            to: IpAddr::V4(own_address(other)),
            answered: 100,
            last_answered: Some(ago(2000)),
            back: Some(Via::Tunnel),
            through: Some(true),
            lost: 0,
            lost_since: None,
            beside: None,
            mended: None,
        }],
        heard: vec![NodeHeard {
            at: IpAddr::V4(own_address(node)),
            heard: 100,
            last: ago(2100),
            via: Some(Via::Tunnel),
            around: 0,
            around_since: None,
        }],
    }
}

fn is_home(node: &str) -> bool {
    node.starts_with("home")
}

pub(crate) fn own_address(node: &str) -> Ipv4Addr {
    match node {
        "vps-1" => Ipv4Addr::new(203, 0, 113, 11),
        "vps-2" => Ipv4Addr::new(203, 0, 113, 12),
        "home-cp" => Ipv4Addr::new(192, 168, 50, 11),
        _ => Ipv4Addr::new(192, 168, 50, 12),
    }
}

fn ula(node: &str) -> Ipv6Addr {
    let host = u16::from(key(node).as_bytes()[0]);
    Ipv6Addr::new(0xfd7f, 0x175a, 0xb97c, 0x5602, 0, 0, 0, host)
}

/// Where `from` sees `to`: the NAT of the home keeps the port of the first node and gives the second another.
pub(crate) fn endpoint(from: &str, to: &str) -> SocketAddr {
    if is_home(to) && !is_home(from) {
        let port = if to == "home-cp" { 51820 } else { 40112 };
        return SocketAddr::from((HOME, port));
    }
    SocketAddr::from((own_address(to), 51820))
}
