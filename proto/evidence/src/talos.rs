//! Facts that Talos itself states: how far the node has come, and what it wants of each `KubeSpan` peer.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::Moment;

/// The node as Talos sees it. What Talos does not say, or this version of it does not know, is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Talos {
    /// Since when it has been as it is now, as far as this agent has seen.
    pub since: Moment,
    /// The version of Talos.
    pub version: Option<String>,
    /// The host name.
    pub hostname: Option<String>,
    /// How far the machine has come.
    pub stage: Option<Stage>,
    /// Whether it is ready in that stage.
    pub ready: Option<bool>,
    /// Why it is not ready, at most [`crate::limits::CONDITIONS`].
    pub unmet: Vec<Condition>,
    /// The addresses that it advertises to others, at most [`crate::limits::ADDRESSES`].
    pub addresses: Vec<IpAddr>,
    /// The addresses by which Kubernetes is to know it, at most [`crate::limits::ADDRESSES`]; none before its kubelet is set up.
    pub node_ips: Vec<IpAddr>,
    /// Its public addresses as the discovery service saw them, at most [`crate::limits::ADDRESSES`].
    pub discovered: Vec<IpAddr>,
    /// A fingerprint of the cluster's identity: equal on nodes of one cluster.
    pub cluster: Option<[u8; 8]>,
    /// How many members it knows, itself included.
    pub members: Option<u32>,
    /// How many affiliates it knows, itself included.
    pub affiliates: Option<u32>,
    /// What it says of its clock.
    pub time: Option<TalosTime>,
    /// What it says of its network.
    pub network: Option<TalosNetwork>,
    /// Whether its local balancer reaches an API server; `None` where there is no balancer.
    pub kubeprism: Option<bool>,
    /// Its services, at most [`crate::limits::SERVICES`].
    pub services: Vec<TalosService>,
    /// What its own diagnostics found, at most [`crate::limits::CONDITIONS`]: the identifier, and the message.
    pub diagnostics: Vec<Condition>,
    /// How many conditions, addresses, services and diagnostics are left out.
    pub left_out: u32,
}

/// A machine's stages, in Talos' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Stage {
    /// It does not say, or it is one of a later version.
    #[default]
    Unknown,
    /// It starts.
    Booting,
    /// It writes itself to a disk.
    Installing,
    /// It has no configuration yet.
    Maintenance,
    /// It has started.
    Running,
    /// It is about to start again.
    Rebooting,
    /// It is about to end.
    ShuttingDown,
    /// It forgets its state.
    Resetting,
    /// It changes its version.
    Upgrading,
}

impl Stage {
    /// All stages.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Booting,
        Self::Installing,
        Self::Maintenance,
        Self::Running,
        Self::Rebooting,
        Self::ShuttingDown,
        Self::Resetting,
        Self::Upgrading,
    ];

    /// Talos' word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Booting => "booting",
            Self::Installing => "installing",
            Self::Maintenance => "maintenance",
            Self::Running => "running",
            Self::Rebooting => "rebooting",
            Self::ShuttingDown => "shutting down",
            Self::Resetting => "resetting",
            Self::Upgrading => "upgrading",
        }
    }
}

/// Something that Talos names, and what it says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Its name.
    pub name: String,
    /// One sentence.
    pub reason: String,
}

/// What Talos says of the node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalosTime {
    /// Whether it is in step with a time server.
    pub synced: bool,
    /// Whether the configuration says that it need not be.
    pub disabled: bool,
}

/// What Talos says of the node's network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are Talos' four answers, and none follows from another"
)]
pub struct TalosNetwork {
    /// Whether there is an address.
    pub addresses: bool,
    /// Whether its probes succeed, or else whether there is a default route; a route into the tunnel counts too.
    pub connectivity: bool,
    /// Whether there is a host name.
    pub hostname: bool,
    /// Whether the files of the resolver are written.
    pub etc_files: bool,
}

/// One service of Talos.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalosService {
    /// Its identifier.
    pub name: String,
    /// Whether it runs.
    pub running: bool,
    /// Whether it says that it is well; `None` if it has no such check.
    pub healthy: Option<bool>,
}

/// One `KubeSpan` peer as Talos wants it, and what Talos thinks of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalosPeer {
    /// Since when it has been as it is now, as far as this agent has seen.
    pub since: Moment,
    /// The node's name.
    pub label: String,
    /// Its `KubeSpan` address.
    pub address: Option<Ipv6Addr>,
    /// What the device should hold as its allowed IPs, as `address/length`, at most [`crate::limits::ALLOWED_IPS`].
    pub allowed_ips: Vec<String>,
    /// Where Talos may dial it, in the order in which it does, at most [`crate::limits::CANDIDATES`].
    pub candidates: Vec<Candidate>,
    /// How many more there are.
    pub left_out: u32,
    /// What Talos thinks of it; `None` before it has looked.
    pub status: Option<TalosPeerStatus>,
}

/// An address at which a peer may be dialled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// The address and port.
    pub to: SocketAddr,
    /// How encrypted packets to it would leave here; `None` if that was not asked.
    pub way: Option<CandidateWay>,
}

/// The kernel's answer for a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateWay {
    /// The link; `None` if there is no way.
    pub via: Option<String>,
    /// Whether it is on the link itself and not behind a gateway.
    pub on_link: bool,
}

/// What Talos thinks of a peer. Renewed every 30 seconds, and so up to 30 seconds old.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalosPeerStatus {
    /// Up or down.
    pub state: TalosPeerState,
    /// The endpoint that the device had.
    pub endpoint: Option<SocketAddr>,
    /// The candidate that Talos set last; `None` if it never set one.
    pub last_used: Option<SocketAddr>,
    /// When it did.
    pub last_change: Option<Moment>,
}

/// The states of a peer, in Talos' words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TalosPeerState {
    /// Not yet decided.
    #[default]
    Unknown,
    /// There was a handshake.
    Up,
    /// There was none for too long.
    Down,
}

impl TalosPeerState {
    /// Talos' word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The candidate that Talos sets next when the peer is down or was never dialled: the one after the last, from the beginning
/// after the end or when the last is not in the list any more. None if that changes nothing.
pub fn next_candidate(candidates: &[SocketAddr], last: Option<SocketAddr>) -> Option<SocketAddr> {
    let at = candidates.iter().position(|to| Some(*to) == last);
    let after = at.and_then(|at| candidates.get(at.saturating_add(1)));
    let next = after.or_else(|| candidates.first()).copied();
    next.filter(|next| Some(*next) != last)
}

impl TalosPeer {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    pub(crate) fn shift(&mut self, offset: i64) {
        self.since = self.since.shifted(offset);
        if let Some(status) = &mut self.status {
            status.last_change = status.last_change.map(|at| at.shifted(offset));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Talos' own test of its rotation (`PickNewEndpoint` in adapters/kubespan).
    #[test]
    fn the_candidates_are_gone_round_and_a_single_one_is_not_set_again() {
        let [a, b, other] = [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        assert_eq!(next_candidate(&[a, b], None), Some(a));
        assert_eq!(next_candidate(&[a, b], Some(a)), Some(b));
        assert_eq!(next_candidate(&[a, b], Some(b)), Some(a));
        assert_eq!(next_candidate(&[a], Some(a)), None);
        assert_eq!(next_candidate(&[a, b], Some(other)), Some(a));
        assert_eq!(next_candidate(&[], None), None);
    }
}
