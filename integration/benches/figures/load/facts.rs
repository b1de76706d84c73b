//! What the agent of each node of a large mesh says, at the pace of real ones.
//!
//! Nothing is remembered of a pair: who asks whom, and when, follows from the time. So the load of a thousand agents fits into
//! one small program. Paces are those of the agent: echoes by its budget, facts put together at each tick, the device read
//! each second, sizes tried by their own budget.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    time::Duration,
};

use evidence::{
    Clock, Device, EchoHeard, EchoSent, EndpointWay, Fact, Facts, Health, Identity, Inert, Lag,
    Layer, Moment, NodeAsked, NodeEcho, NodeHeard, NodeName, Peer, PublicKey, Rtt, Sizes, SourceId,
    SourceState, Steered, SteeredPrefix, Steering, SteeringChains, SteeringFamily, Via, Vxlan,
    WallReading,
};
use probe_core::echo::{MAX_REQUESTS_PER_SECOND, MIN_INTERVAL, TICK};
use proto::limits;

/// Between two readings of the device.
const DEVICE: i64 = 1_000;
/// Between two readings of what steers.
const STEERING: i64 = 2_000;
/// Between two readings of the host.
const HOST: i64 = 5_000;
/// Between two looks at the own clock that are told.
const CLOCK: i64 = 10_000;
/// Full-size packets of a node in a second, and the shortest time between two to one peer.
const SIZES: (i64, i64) = (8, 5_000);
/// Between two echoes of a node to node addresses, in a mesh that is slow to go round, and between two to one peer.
const NODE_ECHOES: (i64, i64, i64) = (502, 2_008, 5_000);
/// A round of so many requests takes more than ten seconds.
const SLOW: i64 = 340;
/// Sizes are tried inside the tunnel and on the overlay's port; past the tunnel only where it has a hole.
const LAYERS: [Layer; 2] = [Layer::Tunnel, Layer::Overlay];
/// How long the mesh has been up when the load begins.
const UP: i64 = 590_000;
/// How long a request and its answer are under way.
const ROUND_TRIP: i64 = 20;

/// A mesh of public nodes in which every pair is good, until it collapses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mesh {
    nodes: i64,
    /// When the load began, on the agents' timeline.
    began: Moment,
}

impl Mesh {
    pub(crate) fn new(nodes: u16, began: Moment) -> Self {
        Self {
            nodes: i64::from(nodes),
            began,
        }
    }

    /// All that the agent of `node` knows.
    pub(crate) fn snapshot(&self, node: u16, now: Moment) -> Facts {
        let ago = |millis: i64| now.shifted(-millis);
        let mut facts: Facts = SourceId::ALL
            .into_iter()
            .map(|source| working(source, ago(200)))
            .collect();
        facts.insert(Fact::Identity(Identity {
            name: name(node),
            public_key: Some(key(node)),
            kubespan_address: Some(ula(node)),
            addresses: vec![IpAddr::V4(address(node))],
            boot_id: format!("6f0b4f0c-3c2a-4e57-9d3b-00000000{node:04x}"),
            instance: u64::from(node),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }));
        facts.insert(Fact::Device(Device {
            listen_port: Some(51_820),
            fwmark: Some(0x20),
            mtu: Some(1420),
            up: Some(true),
        }));
        let family = SteeringFamily {
            rule_priority: Some(32_500),
            default_route: true,
            undecoded: false,
        };
        facts.insert(Fact::Steering(Steering {
            since: ago(UP),
            ipv4: family,
            ipv6: family,
            chains: Some(SteeringChains {
                outgoing: true,
                prerouting: true,
            }),
        }));
        facts.insert(clock(now));
        facts.insert(health(now));
        facts.insert(Fact::Vxlan(Vxlan {
            since: ago(UP),
            devices: Vec::new(),
            left_out: 0,
        }));
        for peer in (0..self.nodes).filter_map(|peer| u16::try_from(peer).ok()) {
            if peer != node {
                self.insert_pair(&mut facts, (node, peer), now);
            }
        }
        facts
    }

    fn insert_pair(&self, facts: &mut Facts, (node, peer): (u16, u16), now: Moment) {
        let ago = |millis: i64| now.shifted(-millis);
        facts.insert(self.peer(peer, now, now));
        let asked = self.began.shifted(-ROUND_TRIP);
        facts.insert(Fact::EchoSent(
            key(peer),
            answered(0, asked.min(ago(ROUND_TRIP))),
        ));
        facts.insert(heard(peer, 0, asked));
        facts.insert(sizes(peer, ago(1000)));
        facts.insert(node_echo(node, peer, 0, ago(1000)));
        facts.insert(Fact::Steered(
            key(peer),
            Steered {
                since: ago(UP),
                prefixes: vec![SteeredPrefix {
                    prefix: format!("{}/32", address(peer)),
                    outgoing: Some(true),
                    prerouting: Some(true),
                    marked_via: Some("kubespan".to_owned()),
                    source: Some(IpAddr::V4(address(node))),
                }],
                left_out: 0,
                endpoint: Some(EndpointWay {
                    to: endpoint(peer),
                    via: Some("eth0".to_owned()),
                    mtu: Some(1500),
                    looped: None,
                }),
            },
        ));
    }

    /// What has changed for the agent of `node` since it last said something.
    pub(crate) fn changes(&self, node: u16, last: Moment, now: Moment) -> Vec<Fact> {
        let mut facts = Vec::new();
        let crossed = |every: i64| self.since(last) / every != self.since(now) / every;
        // What is tried at each tick is told with the moment.
        for source in [
            SourceId::Echo,
            SourceId::Inert,
            SourceId::Overlay,
            SourceId::NodeEcho,
            SourceId::Tap,
        ] {
            facts.push(working(source, now));
        }
        self.push_echoes(&mut facts, node, (last, now));
        for turn in self.sizes_between(last, now) {
            facts.push(sizes(self.peer_at(node, turn), now));
        }
        for turn in self.node_echoes_between(last, now) {
            let round = self.round(turn);
            for peer in [self.peer_at(node, turn), self.asker_at(node, turn)] {
                facts.push(node_echo(node, peer, round, now));
            }
        }
        if crossed(DEVICE) {
            facts.push(working(SourceId::WireGuard, now));
            facts.push(health(now));
            let second = now.shifted(-DEVICE);
            for turn in self.turns(second, now) {
                facts.push(self.peer(self.peer_at(node, turn), now, now));
                facts.push(self.peer(self.asker_at(node, turn), now, now));
            }
        }
        if crossed(STEERING) {
            facts.extend([SourceId::Routes, SourceId::Nftables].map(|id| working(id, now)));
        }
        if crossed(HOST) {
            facts.push(working(SourceId::Host, now));
        }
        if crossed(CLOCK) {
            facts.extend([working(SourceId::Clock, now), clock(now)]);
        }
        facts
    }

    /// A request is told at the tick at which it left, its answer at the next.
    fn push_echoes(&self, facts: &mut Vec<Fact>, node: u16, (last, now): (Moment, Moment)) {
        let tick = i64::try_from(TICK.as_millis()).unwrap_or(i64::MAX);
        let (told, decided) = (self.turn(last), self.turn(now.shifted(-tick)));
        for turn in self.turns(last.shifted(-tick), now) {
            let peer = key(self.peer_at(node, turn));
            let round = self.round(turn);
            let left = self.leaves(turn);
            if turn <= decided {
                facts.push(Fact::EchoSent(peer, answered(round, left)));
            } else if turn > told {
                let before = answered(round - 1, self.leaves(turn - (self.nodes - 1)));
                facts.push(Fact::EchoSent(
                    peer,
                    EchoSent {
                        sent: before.sent + 1,
                        last_sent: Some(left),
                        ..before
                    },
                ));
            }
        }
        for turn in self.turns(last, now) {
            let asker = self.asker_at(node, turn);
            facts.push(heard(asker, self.round(turn), self.leaves(turn)));
        }
    }

    /// What the agent of `node` says when no tunnel has carried anything for eight seconds before `at`.
    pub(crate) fn collapse(&self, node: u16, at: Moment) -> Vec<Fact> {
        let ago = |millis: i64| at.shifted(-millis);
        let peers = (0..self.nodes).filter_map(|peer| u16::try_from(peer).ok());
        let lost = |peer: u16| {
            [
                Fact::EchoSent(
                    key(peer),
                    EchoSent {
                        consecutive_lost: 8,
                        loss_since: Some(ago(8_000)),
                        last_sent: Some(ago(20)),
                        last_answered: Some(ago(9_000)),
                        window_lost: 8,
                        ..answered(0, ago(9_000))
                    },
                ),
                Fact::Inert(
                    key(peer),
                    Box::new(Inert {
                        sent: 5,
                        last_sent: Some(ago(3_000)),
                        sent_times: [7, 6, 5, 4, 3].map(|s| ago(s * 1_000)).to_vec(),
                        to: Some(endpoint(peer)),
                        ..Inert::default()
                    }),
                ),
            ]
        };
        peers.filter(|peer| *peer != node).flat_map(lost).collect()
    }

    fn peer(&self, peer: u16, moved: Moment, now: Moment) -> Fact {
        let packets = 200 + u64::try_from(self.since(now)).unwrap_or(0) / 1_000;
        Fact::Peer(
            key(peer),
            Peer {
                endpoint: Some(endpoint(peer)),
                allowed_ips: vec![
                    format!("{}/128", ula(peer)),
                    format!("{}/32", address(peer)),
                ],
                last_handshake: Some(self.began.shifted(-60_000)),
                rx_bytes: packets * 136,
                tx_bytes: packets * 136,
                rx_moved: Some(moved),
                since: self.began.shifted(-UP),
                keepalive: Some(25),
                endpoint_changes: Vec::new(),
            },
        )
    }

    fn since(&self, at: Moment) -> i64 {
        at.as_millis().saturating_sub(self.began.as_millis())
    }

    /// Microseconds from one request of a node to its next.
    fn step(&self) -> i64 {
        let least = i64::try_from(MIN_INTERVAL.as_micros()).unwrap_or(i64::MAX) / (self.nodes - 1);
        least.max(1_000_000 / i64::from(MAX_REQUESTS_PER_SECOND))
    }

    /// The number of the last request that a node has sent at `at`.
    fn turn(&self, at: Moment) -> i64 {
        (self.since(at) * 1_000).div_euclid(self.step())
    }

    /// The requests that leave between the two moments; of each peer the last one counts.
    fn turns(&self, last: Moment, now: Moment) -> RangeInclusive<i64> {
        let newest = self.turn(now);
        let oldest = (self.turn(last) + 1).max(newest - (self.nodes - 2));
        oldest..=newest
    }

    fn sizes_between(&self, last: Moment, now: Moment) -> RangeInclusive<i64> {
        let of_all = i64::try_from(LAYERS.len()).unwrap_or(1) * 1_000 / SIZES.0;
        let every = of_all.max(SIZES.1 / (self.nodes - 1));
        let turn = |at: Moment| self.since(at).div_euclid(every);
        turn(last) + 1..=turn(now).min(turn(last) + self.nodes - 1)
    }

    fn node_echoes_between(&self, last: Moment, now: Moment) -> RangeInclusive<i64> {
        let (quick, slow, of_one) = NODE_ECHOES;
        let others = self.nodes - 1;
        let of_all = if others > SLOW { slow } else { quick };
        let every = of_all.max(of_one / others);
        let turn = |at: Moment| self.since(at).div_euclid(every);
        turn(last) + 1..=turn(now).min(turn(last) + others)
    }

    fn leaves(&self, turn: i64) -> Moment {
        self.began.shifted(turn * self.step() / 1_000)
    }

    fn round(&self, turn: i64) -> i64 {
        turn.div_euclid(self.nodes - 1)
    }

    /// Whom a node asks at a turn.
    fn peer_at(&self, node: u16, turn: i64) -> u16 {
        let place = turn.rem_euclid(self.nodes - 1);
        self.number(i64::from(node) + 1 + place)
    }

    /// Who asks a node at a turn.
    fn asker_at(&self, node: u16, turn: i64) -> u16 {
        let place = turn.rem_euclid(self.nodes - 1);
        self.number(i64::from(node) - 1 - place)
    }

    fn number(&self, node: i64) -> u16 {
        u16::try_from(node.rem_euclid(self.nodes)).unwrap_or(0)
    }
}

/// An echo that was answered at each round up to this one, whose request left at that moment.
fn answered(round: i64, left: Moment) -> EchoSent {
    let count = 100_u64.saturating_add_signed(round);
    EchoSent {
        sent: count,
        answered: count,
        consecutive_lost: 0,
        loss_since: None,
        last_sent: Some(left),
        last_answered: Some(left.shifted(ROUND_TRIP)),
        rtt: Some(Rtt {
            last_us: 20_000 + u32::try_from(round.rem_euclid(100)).unwrap_or(0),
            min_us: 19_000,
            mean_us: 20_500,
            max_us: 25_000,
        }),
        window: 30,
        window_lost: 0,
        short_losses: 0,
        refused: None,
        clock: Some(reading(left.shifted(ROUND_TRIP))),
    }
}

fn heard(asker: u16, round: i64, at: Moment) -> Fact {
    Fact::EchoHeard(
        key(asker),
        EchoHeard {
            heard: 100_u64.saturating_add_signed(round),
            last_heard: Some(at.shifted(ROUND_TRIP / 2)),
            window: 30,
            window_missing: 0,
        },
    )
}

fn node_echo(node: u16, peer: u16, round: i64, at: Moment) -> Fact {
    let count = 100_u64.saturating_add_signed(round);
    let echo = NodeEcho {
        asked: vec![NodeAsked {
            to: IpAddr::V4(address(peer)),
            answered: count,
            last_answered: Some(at),
            back: Some(Via::Tunnel),
            through: Some(true),
            lost: 0,
            lost_since: None,
            beside: None,
            mended: None,
        }],
        heard: vec![NodeHeard {
            at: IpAddr::V4(address(node)),
            heard: count,
            last: at,
            via: Some(Via::Tunnel),
            around: 0,
            around_since: None,
        }],
    };
    Fact::NodeEcho(key(peer), Box::new(echo))
}

fn sizes(peer: u16, arrived: Moment) -> Fact {
    let one = |layer| Sizes {
        layer,
        to: match layer {
            Layer::Tunnel => IpAddr::V6(ula(peer)),
            Layer::Overlay | Layer::Underlay => IpAddr::V4(address(peer)),
        },
        full: 1420,
        full_arrived: Some(arrived),
        seen_arriving: None,
        lost: 0,
        lost_since: None,
        mended: None,
        bracket: None,
        too_big: None,
        in_fragments: None,
    };
    Fact::Sizes(key(peer), LAYERS.map(one).to_vec())
}

fn working(source: SourceId, read_at: Moment) -> Fact {
    Fact::Source(
        source,
        SourceState {
            read_at,
            since: Moment::from_millis(0),
            gap: None,
        },
    )
}

fn clock(now: Moment) -> Fact {
    Fact::Clock(Clock {
        reading: reading(now),
        booted: Moment::from_millis(0),
        ..Clock::default()
    })
}

fn health(now: Moment) -> Fact {
    Fact::Health(Health {
        lag: Some(Lag {
            mean_us: 80 + u32::try_from(now.as_millis() % 40).unwrap_or(0),
            max_us: 900,
        }),
        ..Health::default()
    })
}

/// All nodes go by one clock.
fn reading(at: Moment) -> WallReading {
    WallReading {
        at,
        wall_ms: 1_795_000_000_000 + at.as_millis(),
        error_us: 9_500,
    }
}

pub(crate) fn name(node: u16) -> NodeName {
    NodeName::parse(&format!("node-{node:04}")).expect("a host name")
}

/// Keys are as good as random, and so is their order.
fn key(node: u16) -> PublicKey {
    let mut bytes = [0x5a; 32];
    bytes[..2].copy_from_slice(&node.wrapping_mul(40_503).to_le_bytes());
    bytes[2..4].copy_from_slice(&node.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn address(node: u16) -> Ipv4Addr {
    let [high, low] = node.to_be_bytes();
    Ipv4Addr::new(203, 0, high, low)
}

fn endpoint(node: u16) -> SocketAddr {
    SocketAddr::from((address(node), 51_820))
}

fn ula(node: u16) -> Ipv6Addr {
    Ipv6Addr::new(0xfd7f, 0x175a, 0xb97c, 0x5602, 0, 0, 0, node)
}

/// The time between two messages of an agent to whom nothing happens, in a mesh of so many. Facts are put together at each tick.
pub(crate) fn spacing(nodes: u16) -> Duration {
    limits::routine_spacing(usize::from(nodes).saturating_sub(1)).max(TICK)
}
