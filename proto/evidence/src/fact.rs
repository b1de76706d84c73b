//! Facts: what one agent saw on its node, each with the moment it was seen.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    Clock, DataSeen, Discovery, Health, Host, Moment, NodeEcho, NodeName, Ntp, PublicKey, Sizes,
    SourceId, SourceState, Steered, Steering, Talos, TalosPeer, Vxlan, WallReading,
};

/// Who reports: the node as it knows itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The node's host name.
    pub name: NodeName,
    /// The public key of the `kubespan` device, once it could be read.
    pub public_key: Option<PublicKey>,
    /// The node's `KubeSpan` address (a ULA, RFC 4193).
    pub kubespan_address: Option<Ipv6Addr>,
    /// Global addresses of the node outside the tunnel.
    pub addresses: Vec<IpAddr>,
    /// The kernel's boot id: two at once under one name are two machines.
    pub boot_id: String,
    /// Random per agent process: an agent restart is not a reboot.
    pub instance: u64,
    /// Version of the agent.
    pub version: String,
}

/// The `kubespan` device itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// UDP port the device listens on.
    pub listen_port: Option<u16>,
    /// Firewall mark of outer packets (0x20 on Talos).
    pub fwmark: Option<u32>,
    /// MTU of the link.
    pub mtu: Option<u32>,
    /// Whether the link is administratively up.
    pub up: Option<bool>,
}

/// One `WireGuard` peer as the device holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Endpoint in use; roams with authenticated packets.
    pub endpoint: Option<SocketAddr>,
    /// Allowed IPs as `address/length`.
    pub allowed_ips: Vec<String>,
    /// When the last handshake completed; `None` = never.
    pub last_handshake: Option<Moment>,
    /// Authenticated bytes received.
    pub rx_bytes: u64,
    /// Bytes handed to the socket, answered or not.
    pub tx_bytes: u64,
    /// When `rx_bytes` was last seen to grow.
    pub rx_moved: Option<Moment>,
    /// Since when this agent has known the device to have this peer. What a peer that it does not know sends, it does not
    /// count: so it can have missed nothing of it before.
    pub since: Moment,
    /// Persistent keepalive in seconds.
    pub keepalive: Option<u16>,
    /// The newest changes of the endpoint that this agent saw, oldest first, at most
    /// [`crate::limits::ENDPOINT_CHANGES`].
    #[serde(default)]
    pub endpoint_changes: Vec<EndpointChange>,
}

/// A change of the endpoint of a peer: it roamed, or somebody set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointChange {
    /// When it was seen.
    pub at: Moment,
    /// What it was.
    pub from: SocketAddr,
    /// What it became.
    pub to: SocketAddr,
}

/// What the in-tunnel echo towards one peer gave, seen from the asking side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoSent {
    /// Requests sent by this agent process.
    pub sent: u64,
    /// Replies received.
    pub answered: u64,
    /// Requests lost in a row, up to now.
    pub consecutive_lost: u32,
    /// When the first request of the present run of lost ones was sent.
    pub loss_since: Option<Moment>,
    /// When the last request was sent.
    pub last_sent: Option<Moment>,
    /// When the last reply came.
    pub last_answered: Option<Moment>,
    /// Round-trip times over the recent window.
    pub rtt: Option<Rtt>,
    /// Requests in the recent window that are decided (answered or lost).
    pub window: u32,
    /// How many of them were lost.
    pub window_lost: u32,
    /// Runs of one or two lost requests among the last 300 decided ones: how often chance loses one. An outage is none.
    #[serde(default)]
    pub short_losses: u32,
    /// When the peer's kernel last said "port unreachable" through the tunnel: the tunnel carries, no agent listens.
    pub refused: Option<Moment>,
    /// The peer's wall clock, as the quickest of the recent answers told it.
    pub clock: Option<WallReading>,
}

/// Round-trip times in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rtt {
    /// The newest.
    pub last_us: u32,
    /// The least of the window.
    pub min_us: u32,
    /// The mean of the window.
    pub mean_us: u32,
    /// The greatest of the window.
    pub max_us: u32,
}

/// What this node heard of one peer's echo requests: proof of the direction peer -> here, by another path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EchoHeard {
    /// Authentic requests heard.
    pub heard: u64,
    /// When the last one was heard.
    pub last_heard: Option<Moment>,
    /// Sequence numbers expected in the recent window.
    pub window: u32,
    /// How many of them never came.
    pub window_missing: u32,
}

/// Inert datagrams exchanged with one peer on the true five-tuple (51820 to 51820).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inert {
    /// Sent to the peer.
    pub sent: u64,
    /// When the last one was sent.
    pub last_sent: Option<Moment>,
    /// Moments of the most recent ones sent, oldest first, at most [`crate::limits::INERT_TIMES`].
    pub sent_times: Vec<Moment>,
    /// Where to.
    pub to: Option<SocketAddr>,
    /// Heard from the peer by the tap.
    pub heard: u64,
    /// When the last one was heard.
    pub last_heard: Option<Moment>,
    /// The source address that it arrived with: the peer's NAT mapping as seen here.
    pub heard_from: Option<SocketAddr>,
    /// What the peer's agent answered, if it ever did.
    pub replies: Option<InertReplies>,
    /// When the last one from a fresh port was sent: no NAT and no firewall knows its five-tuple.
    pub unsolicited_sent: Option<Moment>,
    /// When the last such one of the peer was heard by the tap.
    pub unsolicited_heard: Option<Moment>,
}

/// The answers of a peer's agent to inert datagrams, and what the newest said.
///
/// It proves that the datagram arrived where it was sent, and that the answer came back to where it had come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InertReplies {
    /// Replies heard.
    pub count: u64,
    /// When the newest came.
    pub last: Moment,
    /// When the datagram that it answers was sent.
    pub sent_at: Moment,
    /// Microseconds between the two, without the time the peer took.
    pub rtt_us: u32,
    /// The source address that the datagram arrived with there: this node's NAT mapping as the peer sees it.
    pub mapped: SocketAddr,
    /// The TTL or hop limit that was left to the datagram.
    pub hop_limit_there: u8,
    /// The TTL or hop limit that was left to the reply.
    pub hop_limit_back: u8,
    /// Microseconds on the peer's clock when the datagram arrived, less those on this node's when it left. The clocks have
    /// nothing in common: only the variation means something.
    pub there_us: i64,
}

/// A handshake initiation that this node sent, as its own tap saw it leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Initiated {
    /// The sender index: random per initiation, in clear, so both ends can name the same datagram.
    pub sender_index: u32,
    /// When it left.
    pub sent_at: Moment,
    /// Where to.
    pub to: SocketAddr,
    /// When the response arrived here.
    pub response_at: Option<Moment>,
}

/// A handshake initiation that arrived at this node, as its own tap saw it before any firewall of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The sender index of the initiation.
    pub sender_index: u32,
    /// When it arrived.
    pub at: Moment,
    /// Where from, after all NATs.
    pub from: SocketAddr,
    /// Whether its mac1 is made for our public key; `None` while our key is not known.
    pub for_us: Option<bool>,
    /// When this node's response left.
    pub answered_at: Option<Moment>,
}

/// What a fact is about. One value of a key replaces the older one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FactKey {
    /// [`Fact::Identity`].
    Identity,
    /// [`Fact::Source`].
    Source(SourceId),
    /// [`Fact::Device`].
    Device,
    /// [`Fact::Peer`].
    Peer(PublicKey),
    /// [`Fact::EchoSent`].
    EchoSent(PublicKey),
    /// [`Fact::EchoHeard`].
    EchoHeard(PublicKey),
    /// [`Fact::Inert`].
    Inert(PublicKey),
    /// [`Fact::Initiated`].
    Initiated(PublicKey),
    /// [`Fact::Arrivals`].
    Arrivals,
    /// [`Fact::Sizes`].
    Sizes(PublicKey),
    /// [`Fact::Steering`].
    Steering,
    /// [`Fact::Steered`].
    Steered(PublicKey),
    /// [`Fact::Vxlan`].
    Vxlan,
    /// [`Fact::Health`].
    Health,
    /// [`Fact::Talos`].
    Talos,
    /// [`Fact::TalosPeer`].
    TalosPeer(PublicKey),
    /// [`Fact::Discovery`].
    Discovery,
    /// [`Fact::DataSeen`].
    DataSeen(PublicKey),
    /// [`Fact::NodeEcho`].
    NodeEcho(PublicKey),
    /// [`Fact::Clock`].
    Clock,
    /// [`Fact::Ntp`].
    Ntp,
    /// [`Fact::Host`].
    Host,
}

impl std::fmt::Display for FactKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity => f.write_str("identity"),
            Self::Source(source) => write!(f, "source/{}", source.as_str()),
            Self::Device => f.write_str("device"),
            Self::Peer(key) => write!(f, "wireguard-peer/{}", key.short()),
            Self::EchoSent(key) => write!(f, "echo-sent/{}", key.short()),
            Self::EchoHeard(key) => write!(f, "echo-heard/{}", key.short()),
            Self::Inert(key) => write!(f, "inert/{}", key.short()),
            Self::Initiated(key) => write!(f, "handshakes-initiated/{}", key.short()),
            Self::Arrivals => f.write_str("handshakes-arrived"),
            Self::Sizes(key) => write!(f, "sizes/{}", key.short()),
            Self::Steering => f.write_str("steering"),
            Self::Steered(key) => write!(f, "steered/{}", key.short()),
            Self::Vxlan => f.write_str("vxlan-devices"),
            Self::Health => f.write_str("health"),
            Self::Talos => f.write_str("talos"),
            Self::TalosPeer(key) => write!(f, "talos-peer/{}", key.short()),
            Self::Discovery => f.write_str("discovery"),
            Self::DataSeen(key) => write!(f, "data-seen/{}", key.short()),
            Self::NodeEcho(key) => write!(f, "node-echo/{}", key.short()),
            Self::Clock => f.write_str("clock"),
            Self::Ntp => f.write_str("ntp"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// Who reports.
    Identity(Identity),
    /// Whether a source can be read.
    Source(SourceId, SourceState),
    /// The `kubespan` device.
    Device(Device),
    /// One `WireGuard` peer.
    Peer(PublicKey, Peer),
    /// Echo requests towards one peer.
    EchoSent(PublicKey, EchoSent),
    /// Echo requests heard from one peer.
    EchoHeard(PublicKey, EchoHeard),
    /// Inert datagrams exchanged with one peer.
    Inert(PublicKey, Box<Inert>),
    /// The newest handshake initiations sent to one peer, oldest first.
    Initiated(PublicKey, Vec<Initiated>),
    /// The newest handshake initiations that arrived here, oldest first.
    Arrivals(Vec<Arrival>),
    /// What full-size packets to one peer gave, at most once per layer.
    Sizes(PublicKey, Vec<Sizes>),
    /// What steers traffic for node addresses into the tunnel.
    Steering(Steering),
    /// How traffic towards one peer's addresses leaves.
    Steered(PublicKey, Steered),
    /// The VXLAN devices.
    Vxlan(Vxlan),
    /// How the agent itself fares.
    Health(Health),
    /// The node as Talos sees it.
    Talos(Box<Talos>),
    /// One peer as Talos wants it.
    TalosPeer(PublicKey, Box<TalosPeer>),
    /// The discovery service as this node sees it.
    Discovery(Discovery),
    /// Data messages of one peer's tunnel, at this node's interfaces.
    DataSeen(PublicKey, DataSeen),
    /// Echoes between the node addresses of one peer and this node's.
    NodeEcho(PublicKey, Box<NodeEcho>),
    /// The node's own clock.
    Clock(Clock),
    /// The time servers that it is configured with.
    Ntp(Ntp),
    /// What the host says of itself.
    Host(Box<Host>),
}

impl Fact {
    /// What the fact is about.
    pub fn key(&self) -> FactKey {
        match self {
            Self::Identity(_) => FactKey::Identity,
            Self::Source(id, _) => FactKey::Source(*id),
            Self::Device(_) => FactKey::Device,
            Self::Peer(key, _) => FactKey::Peer(*key),
            Self::EchoSent(key, _) => FactKey::EchoSent(*key),
            Self::EchoHeard(key, _) => FactKey::EchoHeard(*key),
            Self::Inert(key, _) => FactKey::Inert(*key),
            Self::Initiated(key, _) => FactKey::Initiated(*key),
            Self::Arrivals(_) => FactKey::Arrivals,
            Self::Sizes(key, _) => FactKey::Sizes(*key),
            Self::Steering(_) => FactKey::Steering,
            Self::Steered(key, _) => FactKey::Steered(*key),
            Self::Vxlan(_) => FactKey::Vxlan,
            Self::Health(_) => FactKey::Health,
            Self::Talos(_) => FactKey::Talos,
            Self::TalosPeer(key, _) => FactKey::TalosPeer(*key),
            Self::Discovery(_) => FactKey::Discovery,
            Self::DataSeen(key, _) => FactKey::DataSeen(*key),
            Self::NodeEcho(key, _) => FactKey::NodeEcho(*key),
            Self::Clock(_) => FactKey::Clock,
            Self::Ntp(_) => FactKey::Ntp,
            Self::Host(_) => FactKey::Host,
        }
    }

    /// The same fact on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(mut self, offset: i64) -> Self {
        self.shift(offset);
        self
    }

    /// [`Fact::shifted`], in its place.
    pub fn shift(&mut self, offset: i64) {
        let one = |moment: &mut Moment| *moment = moment.shifted(offset);
        let maybe = |moment: &mut Option<Moment>| *moment = moment.map(|at| at.shifted(offset));
        match self {
            Self::Identity(_) | Self::Device(_) => {}
            Self::Source(_, state) => {
                one(&mut state.read_at);
                one(&mut state.since);
            }
            Self::Peer(_, peer) => {
                maybe(&mut peer.last_handshake);
                maybe(&mut peer.rx_moved);
                one(&mut peer.since);
                let changes = peer.endpoint_changes.iter_mut();
                changes.for_each(|change| one(&mut change.at));
            }
            Self::EchoSent(_, echo) => {
                maybe(&mut echo.loss_since);
                maybe(&mut echo.last_sent);
                maybe(&mut echo.last_answered);
                maybe(&mut echo.refused);
                echo.clock = echo.clock.map(|clock| clock.shifted(offset));
            }
            Self::EchoHeard(_, echo) => maybe(&mut echo.last_heard),
            Self::Inert(_, inert) => {
                maybe(&mut inert.last_sent);
                maybe(&mut inert.last_heard);
                maybe(&mut inert.unsolicited_sent);
                maybe(&mut inert.unsolicited_heard);
                inert.sent_times.iter_mut().for_each(one);
                if let Some(replies) = &mut inert.replies {
                    one(&mut replies.last);
                    one(&mut replies.sent_at);
                }
            }
            Self::Initiated(_, list) => list.iter_mut().for_each(|initiated| {
                one(&mut initiated.sent_at);
                maybe(&mut initiated.response_at);
            }),
            Self::Arrivals(list) => list.iter_mut().for_each(|arrival| {
                one(&mut arrival.at);
                maybe(&mut arrival.answered_at);
            }),
            Self::Sizes(_, layers) => {
                for sizes in layers {
                    *sizes = sizes.shifted(offset);
                }
            }
            Self::Steering(steering) => one(&mut steering.since),
            Self::Steered(_, steered) => {
                one(&mut steered.since);
                if let Some(endpoint) = &mut steered.endpoint {
                    maybe(&mut endpoint.looped);
                }
            }
            Self::Vxlan(vxlan) => one(&mut vxlan.since),
            Self::Health(health) => *health = health.shifted(offset),
            Self::Talos(talos) => one(&mut talos.since),
            Self::TalosPeer(_, peer) => peer.shift(offset),
            Self::Discovery(discovery) => discovery.shift(offset),
            Self::DataSeen(_, seen) => *seen = seen.shifted(offset),
            Self::NodeEcho(_, echo) => echo.shift(offset),
            Self::Clock(clock) => *clock = clock.shifted(offset),
            Self::Ntp(ntp) => *ntp = std::mem::take(ntp).shifted(offset),
            Self::Host(host) => **host = std::mem::take(&mut **host).shifted(offset),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifting_moves_every_moment_of_a_fact() {
        let key = PublicKey::from_bytes([1; 32]);
        let fact = Fact::EchoSent(
            key,
            EchoSent {
                last_sent: Some(Moment::from_millis(10)),
                refused: Some(Moment::from_millis(20)),
                ..EchoSent::default()
            },
        );
        let Fact::EchoSent(_, moved) = fact.shifted(5) else {
            unreachable!("shifting keeps the kind")
        };
        assert_eq!(moved.last_sent, Some(Moment::from_millis(15)));
        assert_eq!(moved.refused, Some(Moment::from_millis(25)));
        assert_eq!(moved.last_answered, None);
    }
}
