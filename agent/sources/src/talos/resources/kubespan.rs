//! What Talos wants of each `KubeSpan` peer, and what it thinks of it. The identifier is the peer's public key.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use evidence::TalosPeerState;
use upstream::talos::{KubeSpanEndpoint as EndpointBody, KubeSpanPeerSpec, KubeSpanPeerStatus};

use crate::{
    talos::{
        Kind, Malformed,
        address::{endpoint, endpoints, ip, prefixes, text, wall},
    },
    wireguard::AllowedIp,
};

const NAMESPACE: &str = "kubespan";

/// A peer as Talos wants it: `KubeSpanPeerSpecs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSpec {
    /// Its `KubeSpan` address.
    pub address: Option<IpAddr>,
    /// What the device is to hold as its allowed IPs.
    pub allowed_ips: Vec<AllowedIp>,
    /// Where it may be dialled, in this order.
    pub endpoints: Vec<SocketAddr>,
    /// The node's name.
    pub label: String,
}

impl Kind for PeerSpec {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "KubeSpanPeerSpecs.kubespan.talos.dev";
    type Body = KubeSpanPeerSpec;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            address: ip("address", body.address.as_ref())?,
            allowed_ips: prefixes("allowed_ips", &body.allowed_ips)?,
            endpoints: endpoints("endpoints", &body.endpoints)?,
            label: text("label", body.label)?,
        })
    }
}

/// What Talos thinks of a peer, renewed every 30 seconds: `KubeSpanPeerStatuses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The endpoint that the device had.
    pub endpoint: Option<SocketAddr>,
    /// The node's name.
    pub label: String,
    /// Up or down.
    pub state: TalosPeerState,
    /// Bytes received and accepted.
    pub receive_bytes: u64,
    /// Bytes sent.
    pub transmit_bytes: u64,
    /// Wall-clock time of the last handshake since the Unix epoch; none if there never was one.
    pub last_handshake: Option<Duration>,
    /// The endpoint that Talos set last; none if it never set one.
    pub last_used_endpoint: Option<SocketAddr>,
    /// Wall-clock time at which it did.
    pub last_endpoint_change: Option<Duration>,
}

impl Kind for PeerStatus {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "KubeSpanPeerStatuses.kubespan.talos.dev";
    type Body = KubeSpanPeerStatus;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        use upstream::talos::KubeSpanPeerState as State;
        let count = |field, count| {
            u64::try_from(count).map_err(|_| Malformed::new(field, "a count that is not negative"))
        };
        Ok(Self {
            endpoint: endpoint("endpoint", body.endpoint.as_ref())?,
            state: match body.state() {
                State::Unknown => TalosPeerState::Unknown,
                State::Up => TalosPeerState::Up,
                State::Down => TalosPeerState::Down,
            },
            receive_bytes: count("receive_bytes", body.receive_bytes)?,
            transmit_bytes: count("transmit_bytes", body.transmit_bytes)?,
            last_handshake: wall(body.last_handshake_time),
            last_used_endpoint: endpoint("last_used_endpoint", body.last_used_endpoint.as_ref())?,
            last_endpoint_change: wall(body.last_endpoint_change),
            label: text("label", body.label)?,
        })
    }
}

/// An endpoint that this node harvested for the others: `KubeSpanEndpoints`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubeSpanEndpoint {
    /// The affiliate that it belongs to.
    pub affiliate: String,
    /// Where it was reached.
    pub endpoint: Option<SocketAddr>,
}

impl Kind for KubeSpanEndpoint {
    const NAMESPACE: &'static str = NAMESPACE;
    const TYPE: &'static str = "KubeSpanEndpoints.kubespan.talos.dev";
    type Body = EndpointBody;

    fn check(body: Self::Body) -> Result<Self, Malformed> {
        Ok(Self {
            affiliate: text("affiliate_id", body.affiliate_id)?,
            endpoint: endpoint("endpoint", body.endpoint.as_ref())?,
        })
    }
}
