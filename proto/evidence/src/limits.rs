//! Every bound on what one node may say, in one place. Over a bound a message is refused, not cut.

/// Peers of one node: the discovery service holds at most 1024 affiliates per cluster.
pub const PEERS: usize = 1024;
/// Facts in one snapshot: eight per peer, and the node's own.
pub const FACTS: usize = 8 * PEERS + 64;
/// Sources whose moves are told in one message; later versions have more of them.
pub const MOVED_SOURCES: usize = 64;
/// Numbers of one fact that can move: sizes have three for each layer, an echo fourteen.
pub const MOVED_NUMBERS: usize = 16;
/// The layout of these numbers ([`crate::Moved`]). Another one has another number, and who knows only one of them is told whole facts.
pub const MOVED_LAYOUT: u32 = 1;
/// Addresses of one node.
pub const ADDRESSES: usize = 64;
/// Changes of the endpoint of one peer that are told.
pub const ENDPOINT_CHANGES: usize = 8;
/// Changes of an ordered pair between good and failed that are remembered.
pub const PAIR_CHANGES: usize = 16;
/// Ordered pairs whose changes are remembered. In a collapse of a large mesh single pairs say nothing.
pub const PAIR_PASTS: usize = 4096;
/// Transitions that are remembered, over restarts too where there is a store.
pub const TRANSITIONS: usize = 2048;
/// Allowed IPs of one peer.
pub const ALLOWED_IPS: usize = 256;
/// Allowed IPs of one peer that are told with their way; a node has an address or two per family.
pub const STEERED: usize = 16;
/// Addresses of one peer that the echo to node addresses asks: one of each family.
pub const NODE_ADDRESSES: usize = 2;
/// Bytes of a link's name (`IFNAMSIZ` with its end).
pub const LINK_NAME: usize = 16;
/// VXLAN devices of one node that are told; an overlay needs one.
pub const VXLAN_DEVICES: usize = 16;
/// Endpoint candidates of one peer that are told; the discovery service keeps at most 64 for each.
pub const CANDIDATES: usize = 16;
/// Unmet conditions, and findings of Talos' own diagnostics, that are told of one node.
pub const CONDITIONS: usize = 16;
/// Services of Talos that are told of one node.
pub const SERVICES: usize = 32;
/// Endpoints of the discovery service of one node; a second one is for moving from the first.
pub const DISCOVERY_ENDPOINTS: usize = 4;
/// Addresses of one endpoint of the discovery service that are tried.
pub const DISCOVERY_ADDRESSES: usize = 8;
/// Resolvers of one node; resolv.conf(5) allows three, Talos a few more.
pub const RESOLVERS: usize = 8;
/// Names of a certificate that are told.
pub const CERTIFICATE_NAMES: usize = 4;
/// Affiliates of each kind that are told by name; the rest is in the counts.
pub const AFFILIATES: usize = 8;
/// Endpoints of one affiliate that are told.
pub const AFFILIATE_ENDPOINTS: usize = 4;
/// Time servers of one node that are told; Talos asks them in turn, and one is enough.
pub const NTP_SERVERS: usize = 8;
/// Links of one node that are told; each pod has one more on a node with a bridge.
pub const HOST_LINKS: usize = 32;
/// Kinds of complaints of a kernel that are told, each for one link.
pub const COMPLAINTS: usize = 16;
/// Newest initiations kept per peer.
pub const INITIATED: usize = 8;
/// Newest arrivals kept per node.
pub const ARRIVALS: usize = 128;
/// Newest send times kept of inert datagrams per peer.
pub const INERT_TIMES: usize = 8;
/// Bytes of any text in a report (a reason, a version, a boot id).
pub const TEXT: usize = 512;
/// Ladders in one verdict: all of 32 nodes. Of more nodes it tells those that are not good first, and the others are asked for.
pub const LADDERS: usize = 1024;
/// Ladders in one page.
pub const PAGE: usize = 256;
/// Findings in one verdict, roots first.
pub const FINDINGS: usize = 512;
/// Pairs that one finding names of those that it explains; the others it counts.
pub const EXPLAINED: usize = 64;
/// Levels of one gate graph: every surface lists them all, and each is judged ten times a second.
pub const GATE_LEVELS: usize = 64;
/// Collectors that one agent reports to.
pub const UPLINKS: usize = 32;
/// Nodes in one view.
pub const NODES: usize = 1024;
