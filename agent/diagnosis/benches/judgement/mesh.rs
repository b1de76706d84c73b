//! Meshes of any size: half of the nodes public, the others at sites of eight behind a NAT.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use diagnosis::{Expectation, NodeView, Stream, View};
use evidence::{
    Clock, Device, EchoHeard, EchoSent, EndpointWay, Fact, FactKey, Facts, Identity, Inert, Layer,
    Moment, NodeAsked, NodeEcho, NodeHeard, NodeName, Peer, PublicKey, Rtt, Sizes, SourceId,
    SourceState, Steered, SteeredPrefix, Steering, SteeringChains, SteeringFamily, Via, Vxlan,
    WallReading,
};

/// The moment of judgement.
pub(crate) const NOW: Moment = Moment::from_millis(10_000_000);

const SITE: usize = 8;

/// What is wrong with a mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// Nothing arrives at the last node from outside of its site.
    Inbound,
    /// Nothing passes the router of the last site, either way; its agents report by another way.
    Site,
    /// Nothing passes any tunnel.
    Everything,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Nothing, Self::Inbound, Self::Site, Self::Everything];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "healthy",
            Self::Inbound => "one-node-inbound",
            Self::Site => "one-site",
            Self::Everything => "collapse",
        }
    }

    fn hits(self, size: usize, from: usize, to: usize) -> bool {
        let last = size - 1;
        match self {
            Self::Nothing => false,
            Self::Inbound => to == last && site(size, from) != site(size, to),
            Self::Site => {
                (site(size, from) == site(size, last)) != (site(size, to) == site(size, last))
            }
            Self::Everything => true,
        }
    }
}

/// The view of so many nodes.
pub(crate) fn view(size: usize, fault: Fault) -> View {
    View {
        history: diagnosis::History::default(),
        started: ago(600_000),
        nodes: (0..size)
            .map(|node| (name(node), node_view(size, node, fault)))
            .collect(),
        expectation: Expectation::default(),
    }
}

/// A node reports: its sources have been read again, and echoes with so many of its peers have come, from one on.
pub(crate) fn report(
    view: &mut View,
    size: usize,
    (node, first): (usize, usize),
    peers: usize,
    now: Moment,
) {
    let Some(node_view) = view.nodes.get_mut(&name(node)) else {
        return;
    };
    let later = now.as_millis() - NOW.as_millis();
    for source in SourceId::ALL {
        if let Fact::Source(_, mut state) = working(source) {
            state.read_at = state.read_at.shifted(later);
            node_view.facts.insert(Fact::Source(source, state));
        }
    }
    let peers = (first..first + peers)
        .map(|peer| peer % size)
        .filter(|peer| *peer != node);
    for peer in peers {
        for asked in [FactKey::EchoSent(key(peer)), FactKey::EchoHeard(key(peer))] {
            let fact = node_view.facts.get(&asked).cloned();
            if let Some(fact) = fact {
                node_view.facts.insert(fact.shifted(200));
            }
        }
    }
}

/// All nodes give a sign of life.
pub(crate) fn speak(view: &mut View, now: Moment) {
    for node in view.nodes.values_mut() {
        node.last_report = now.shifted(-100);
    }
}

fn name(node: usize) -> NodeName {
    NodeName::parse(&format!("node-{node:04}")).expect("a host name")
}

fn ago(millis: i64) -> Moment {
    NOW.shifted(-millis)
}

fn number(node: usize) -> u16 {
    u16::try_from(node).expect("a small mesh")
}

/// Keys are as good as random, and so is their order.
fn key(node: usize) -> PublicKey {
    let [high, low] = number(node).wrapping_mul(40_503).to_be_bytes();
    let mut bytes = [0x5a; 32];
    bytes[..2].copy_from_slice(&[low, high]);
    bytes[2..4].copy_from_slice(&number(node).to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn site(size: usize, node: usize) -> Option<usize> {
    (node >= size / 2).then(|| node / SITE.min(size / 2))
}

fn own_address(size: usize, node: usize) -> Ipv4Addr {
    let [high, low] = number(node).to_be_bytes();
    match site(size, node) {
        None => Ipv4Addr::new(203, 0, high, low),
        Some(_) => Ipv4Addr::new(192, 168, high, low),
    }
}

fn ula(node: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd7f, 0x175a, 0xb97c, 0x5602, 0, 0, 0, number(node))
}

fn endpoint(size: usize, from: usize, to: usize) -> SocketAddr {
    match site(size, to) {
        Some(there) if site(size, from) != Some(there) => {
            let [high, low] = number(there).to_be_bytes();
            SocketAddr::from((
                Ipv4Addr::new(198, 51, high, low),
                51_820 + number(to % SITE),
            ))
        }
        _ => SocketAddr::from((own_address(size, to), 51_820)),
    }
}

fn node_view(size: usize, node: usize, fault: Fault) -> NodeView {
    let mut facts: Facts = SourceId::ALL.into_iter().map(working).collect();
    facts.insert(Fact::Identity(Identity {
        name: name(node),
        public_key: Some(key(node)),
        kubespan_address: Some(ula(node)),
        addresses: vec![IpAddr::V4(own_address(size, node))],
        boot_id: format!("boot-of-{node}"),
        instance: 1,
        version: "0.1.0".to_owned(),
    }));
    facts.insert(Fact::Device(Device {
        listen_port: Some(51820),
        fwmark: Some(0x20),
        mtu: Some(1420),
        up: Some(true),
    }));
    facts.insert(Fact::Steering(steering()));
    facts.insert(Fact::Clock(Clock {
        reading: reading(5000),
        booted: ago(600_000),
        ..Clock::default()
    }));
    facts.insert(Fact::Vxlan(Vxlan {
        since: ago(590_000),
        devices: Vec::new(),
        left_out: 0,
    }));
    for peer in (0..size).filter(|peer| *peer != node) {
        let there = fault.hits(size, node, peer);
        let back = fault.hits(size, peer, node);
        of_peer(&mut facts, size, (node, peer), (there, back));
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

fn of_peer(
    facts: &mut Facts,
    size: usize,
    (node, peer): (usize, usize),
    (there, back): (bool, bool),
) {
    let key = key(peer);
    let to = endpoint(size, node, peer);
    let lost = there || back;
    facts.insert(Fact::Peer(
        key,
        Peer {
            endpoint_changes: Vec::new(),
            endpoint: Some(to),
            allowed_ips: vec![
                format!("{}/128", ula(peer)),
                format!("{}/32", own_address(size, peer)),
            ],
            last_handshake: Some(ago(60_000)),
            rx_bytes: 10_000,
            tx_bytes: 10_000,
            rx_moved: Some(ago(if back { 8000 } else { 1000 })),
            since: ago(590_000),
            keepalive: Some(25),
        },
    ));
    facts.insert(Fact::EchoSent(
        key,
        EchoSent {
            sent: 100,
            answered: 92,
            consecutive_lost: if lost { 8 } else { 0 },
            loss_since: lost.then(|| ago(8000)),
            last_sent: Some(ago(1020)),
            last_answered: Some(ago(if lost { 9000 } else { 1000 })),
            rtt: Some(Rtt {
                last_us: 20_000,
                min_us: 19_000,
                mean_us: 20_500,
                max_us: 25_000,
            }),
            window: 30,
            window_lost: if lost { 8 } else { 0 },
            short_losses: 0,
            refused: None,
            clock: Some(reading(1000)),
        },
    ));
    facts.insert(Fact::EchoHeard(
        key,
        EchoHeard {
            heard: 100,
            last_heard: Some(ago(if back { 8500 } else { 1010 })),
            window: 30,
            window_missing: 0,
        },
    ));
    facts.insert(Fact::Sizes(key, Layer::ALL.map(full_size).to_vec()));
    facts.insert(Fact::Steered(key, steered(size, node, peer)));
    facts.insert(Fact::NodeEcho(key, Box::new(node_echo(size, node, peer))));
    if lost {
        facts.insert(Fact::Inert(
            key,
            Box::new(Inert {
                sent: 5,
                last_sent: Some(ago(3000)),
                sent_times: [7, 6, 5, 4, 3].map(|s| ago(s * 1000)).to_vec(),
                to: Some(to),
                heard: u64::from(!back) * 5,
                last_heard: (!back).then(|| ago(2900)),
                heard_from: (!back).then_some(to),
                ..Inert::default()
            }),
        ));
    }
}

/// Echoes to the node addresses come out of the tunnel.
fn node_echo(size: usize, node: usize, peer: usize) -> NodeEcho {
    NodeEcho {
        asked: vec![NodeAsked {
            to: IpAddr::V4(own_address(size, peer)),
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
            at: IpAddr::V4(own_address(size, node)),
            heard: 100,
            last: ago(2000),
            via: Some(Via::Tunnel),
            around: 0,
            around_since: None,
        }],
    }
}

fn working(source: SourceId) -> Fact {
    Fact::Source(
        source,
        SourceState {
            read_at: ago(500),
            since: ago(590_000),
            gap: None,
        },
    )
}

fn reading(since: i64) -> WallReading {
    let at = ago(since);
    WallReading {
        at,
        wall_ms: 1_795_000_000_000 + at.as_millis(),
        error_us: 9_500,
    }
}

fn steering() -> Steering {
    let family = SteeringFamily {
        rule_priority: Some(32_500),
        default_route: true,
        undecoded: false,
    };
    let chains = SteeringChains {
        outgoing: true,
        prerouting: true,
    };
    Steering {
        since: ago(590_000),
        ipv4: family,
        ipv6: family,
        chains: Some(chains),
    }
}

fn steered(size: usize, node: usize, peer: usize) -> Steered {
    Steered {
        since: ago(590_000),
        prefixes: vec![SteeredPrefix {
            prefix: format!("{}/32", own_address(size, peer)),
            outgoing: Some(true),
            prerouting: Some(true),
            marked_via: Some("kubespan".to_owned()),
            source: Some(IpAddr::V4(own_address(size, node))),
        }],
        left_out: 0,
        endpoint: Some(EndpointWay {
            to: endpoint(size, node, peer),
            via: Some("eth0".to_owned()),
            mtu: Some(1500),
            looped: None,
        }),
    }
}

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
