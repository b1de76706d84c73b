//! Talos' own word: the resources of COSI's state API, over machined's socket on a node or over any other gRPC channel.
//!
//! [`Talos`] asks by type: `talos.get::<MachineStatus>("machine")`, `talos.list::<PeerSpec>()`, `talos.watch::<PeerSpec>()`.
//! What comes out is checked: addresses are parsed, texts and lists are bounded, secrets have no field. Versions 1.12 to 1.14
//! are understood; what a later one adds is skipped, and a type that a version lacks is [`TalosError::is_unsupported`].

mod address;
mod connect;
mod error;
mod read;
mod resources;
mod watch;

use std::time::Duration;

pub use connect::{MACHINED_SOCKET, connect};
pub use error::{Malformed, TalosError};
pub use read::{Carrier, Listing, Resource, Talos};
pub use resources::{
    AddressStatus, Affiliate, AffiliateKubeSpan, Chain, ClusterId, ClusterIdentity, ClusterInfo,
    Diagnostic, DiscoveryConfig, EtcdMember, HardwareAddress, Hostname, Kind, KubePrism,
    KubeSpanEndpoint, LinkStatus, LinkWireGuard, LinkWireGuardPeer, MachineStatus, MachineType,
    Mark, Member, NetworkStatus, NodeAddresses, NodeIp, NodeStatus, Nodename, PeerSpec, PeerStatus,
    ProbeStatus, RouteStatus, RoutingRule, Rule, Service, TimeServers, TimeStatus, Version,
};
pub use watch::{Change, Watch};

pub(crate) use read::decode_resource;

/// The longest time for a whole answer. Talos itself takes five seconds to refuse a caller that it does not know yet.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes of one message; Talos sends at most 32 MiB, and no resource that is read here comes near this.
pub const MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// Resources of one type: twice the affiliates that a cluster can have.
pub const RESOURCES: usize = 2048;
/// Events in one message of a watch.
pub const EVENTS: usize = 4096;
/// Entries of any list in a resource.
pub const ENTRIES: usize = 1024;
/// Bytes of any text in a resource.
pub const TEXT: usize = 512;
