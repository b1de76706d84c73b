//! The types that are read, each with where Talos keeps it and how it is checked.

mod cluster;
mod kubespan;
mod machine;
mod network;

pub use cluster::{
    Affiliate, AffiliateKubeSpan, ClusterId, ClusterIdentity, ClusterInfo, DiscoveryConfig,
    MachineType, Member,
};
pub use kubespan::{KubeSpanEndpoint, PeerSpec, PeerStatus};
pub use machine::{
    Diagnostic, EtcdMember, KubePrism, MachineStatus, NodeIp, NodeStatus, Nodename, Service,
    TimeStatus, Version,
};
pub use network::{
    AddressStatus, Chain, HardwareAddress, Hostname, LinkStatus, LinkWireGuard, LinkWireGuardPeer,
    Mark, NetworkStatus, NodeAddresses, ProbeStatus, RouteStatus, RoutingRule, Rule, TimeServers,
};

use prost::Message;

use super::Malformed;

/// A type of resource.
pub trait Kind: Sized {
    /// Where resources of this type are kept.
    const NAMESPACE: &'static str;
    /// Talos' name of the type.
    const TYPE: &'static str;
    /// Whether Talos shows it to `os:admin` alone, since it holds a secret. A body must have no field for that.
    const SENSITIVE: bool = false;
    /// What is on the wire.
    type Body: Message + Default;
    /// Takes the fields apart and checks each.
    fn check(body: Self::Body) -> Result<Self, Malformed>;
}
