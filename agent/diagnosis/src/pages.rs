//! The runbook: one page per finding code.

/// The runbook page of a finding code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Stable code.
    pub code: &'static str,
    /// One line.
    pub title: &'static str,
    /// Markdown.
    pub text: &'static str,
}

macro_rules! pages {
    ($($code:literal: $title:literal,)*) => {
        [$(Page { code: $code, title: $title, text: include_str!(concat!("../pages/", $code, ".md")) }),*]
    };
}

static PAGES: &[Page] = &pages! {
    "address-overlap": "two nodes have the same address",
    "affiliate-stale": "the discovery service lists a machine that is gone",
    "agent-not-reporting": "the agent of a node does not report",
    "allowed-ip-missing": "a node's device lacks an address of another node",
    "checksums-wrong": "datagrams arrive at a node with wrong checksums",
    "clock-impossible": "a node's clock shows a time that cannot be",
    "clock-skew": "the clocks of the nodes differ",
    "cluster-id-differs": "a node asks the discovery service for another cluster",
    "cluster-secret-differs": "a machine seals with another cluster secret",
    "data-dropped-handshakes-pass": "handshakes pass, data does not",
    "discovery-ipv6-broken": "the discovery service is reached over IPv4 only",
    "discovery-rate-limited": "the discovery service limits a site",
    "discovery-unreachable": "the discovery service cannot be reached or does not serve",
    "dns-failing": "the resolvers of a node give no address",
    "endpoint-cannot-work": "a node dials another where it cannot be reached",
    "endpoint-elsewhere": "a node dials another where that is not",
    "endpoint-hairpin": "neighbours dial each other at their own public address",
    "endpoint-overwritten": "something rewrites the endpoint of a peer",
    "endpoint-shared-behind-nat": "two nodes behind one NAT advertise one endpoint",
    "endpoint-without-ipv6-route": "a node dials IPv6 and has no IPv6 route",
    "machine-cloned": "two nodes are copies of one machine",
    "nat-mapping-moved": "a node is dialled where a NAT had it before",
    "nat-symmetric-both-ends": "two nodes behind two NATs can never meet",
    "nft-set-lacks-peer": "a node's chains do not mark the address of a peer",
    "node-ip-ambiguous": "Kubernetes knows a node by one of several addresses, by chance",
    "ntp-unreachable": "no time server of a node tells it the time",
    "ntp-wrong-time": "a time server tells another time than the nodes have",
    "node-address-changed": "others know a node by an address that it had before",
    "observer-overloaded": "a node is too busy to be a witness",
    "one-way-loss": "datagrams of one direction are lost",
    "overlay-mtu-too-small": "the overlay's way is narrower than the tunnel",
    "overlay-port-blocked": "the overlay's port is blocked",
    "path-broken": "datagrams between two nodes are lost, both ways",
    "path-flapping": "a path comes and goes",
    "peer-missing": "a node does not have another as a WireGuard peer",
    "peer-never-connected": "a tunnel never came up",
    "peer-silent": "a node is silent to everybody",
    "pmtu-black-hole": "large packets are lost inside the tunnel",
    "port-51820-taken": "another program has KubeSpan's port",
    "reports-stale": "a node's reports have stopped, its connection is open",
    "reverse-path-filter": "a node drops what comes out of the tunnel",
    "second-machine": "two machines claim one node name",
    "steering-bypassed": "another rule takes marked traffic before KubeSpan's",
    "steering-rule-missing": "nothing sends marked traffic of a node to table 180",
    "steering-table-empty": "table 180 of a node does not lead into the tunnel",
    "tls-intercepted": "something opens the TLS to the discovery service",
    "too-few-nodes": "fewer nodes report than expected",
    "tunnel-in-tunnel": "a node's encrypted packets are routed into the tunnel itself",
    "tunnel-silent": "nothing passes inside a tunnel",
    "udp-51820-blocked-both-ways": "UDP 51820 is dropped both ways outside a node or site",
    "udp-51820-blocked-inbound": "UDP 51820 is dropped on its way in to a node or site",
    "udp-51820-blocked-outbound": "UDP 51820 is dropped on its way out of a node or site",
    "udp-51820-dropped-by-host": "UDP 51820 arrives at a node and its own firewall drops it",
    "uplink-mtu-too-small": "a node's own link is too narrow for its tunnel",
    "virtual-device-recursion": "what a device encapsulates is routed into it again",
    "vxlan-mtu-too-large": "a VXLAN device takes longer packets than the tunnel carries",
    "vxlan-port-taken-twice": "two VXLAN devices of a node want one port",
    "wireguard-psk-mismatch": "the preshared keys of two ends differ",
    "wireguard-unreadable": "a node has no readable WireGuard device",
    "wireguard-wrong-key": "a node dials another with a key that is not its own",
};

/// All pages, by code.
pub fn pages() -> &'static [Page] {
    PAGES
}

/// The page of a code.
pub fn explain(code: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.code == code)
}
