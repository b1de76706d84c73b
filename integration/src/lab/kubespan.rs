//! `KubeSpan` on every node as Talos makes it: identities, peers, endpoints, and the steering of node addresses into the tunnel.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE};
use evidence::NodeName;
use rand::Rng as _;
use wireguard_control::Key;

use crate::lab::{
    address::{ClusterPrefix, Mac, PREFIX_LENGTH},
    plan::{DevicePlan, HostPlan, PeerPlan, Secret},
    topology::{Implementation, Node, Topology},
};

/// The device's name on every node.
pub const LINK: &str = "kubespan";
/// UDP port of every node.
pub const PORT: u16 = 51820;
/// MTU of the device and of the routes through it.
pub const MTU: u16 = 1420;
/// Seconds between keepalives to a silent peer.
const KEEPALIVE: u16 = 25;
/// Mark of packets that the device itself sends: they never go into the tunnel.
const MARK_OUTER: u32 = 0x20;
/// Mark of packets that are to go into the tunnel.
const MARK_INTO_TUNNEL: u32 = 0x40;
/// The bits of the packet mark that belong to `KubeSpan`.
const MARK_MASK: u32 = 0x60;
const TABLE: u16 = 180;
const RULE_PRIORITY: u16 = 32500;
/// Locally administered first bytes, as QEMU uses them.
const MAC_VENDOR: [u8; 3] = [0x52, 0x54, 0x00];

/// What one node of the cluster is known by.
#[derive(Debug)]
pub struct Identity {
    pub mac: Mac,
    pub address: Ipv6Addr,
    pub public_key: String,
    private_key: Secret,
}

/// The cluster's secrets and the identities of its nodes; new for every lab.
#[derive(Debug)]
pub struct Mesh {
    secret: Secret,
    cluster_id: String,
    identities: BTreeMap<NodeName, Identity>,
}

impl Mesh {
    pub fn generate(topology: &Topology) -> Self {
        let mut random = rand::rng();
        let cluster_id = URL_SAFE.encode(random.random::<[u8; 32]>());
        let prefix = ClusterPrefix::of_cluster(&cluster_id);
        let identity = |node: &Node| (node.name.clone(), Identity::generate(prefix));
        Self {
            secret: Secret(Key::generate_preshared().to_base64()),
            identities: topology.nodes.iter().map(identity).collect(),
            cluster_id,
        }
    }

    /// The cluster secret in base64: the preshared key of all peers, and the mesh key.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// The cluster's identifier, of which its prefix is made.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The identity of a node of the topology that the mesh was generated for.
    pub fn identity(&self, node: &Node) -> &Identity {
        &self.identities[&node.name]
    }

    /// The device with all its peers, and the routes that live and die with it. Nothing is dialled yet, except by
    /// boringtun, which cannot change a peer afterwards and panics when asked to.
    pub fn device(&self, topology: &Topology, node: &Node) -> HostPlan {
        let own = self.identity(node);
        let mut plan = HostPlan {
            device: Some(DevicePlan {
                name: LINK.to_owned(),
                in_kernel: node.wireguard == Implementation::Kernel,
                private_key: Some(own.private_key.clone()),
                listen_port: Some(PORT),
                fwmark: Some(MARK_OUTER),
                peers: self.peers(topology, node),
            }),
            ..HostPlan::default()
        };
        plan.ip(format_args!("link set {LINK} mtu {MTU}"));
        plan.ip(format_args!(
            "addr add {}/{PREFIX_LENGTH} dev {LINK} nodad",
            own.address
        ));
        plan.ip(format_args!("link set {LINK} up"));
        let default = format!("route add default dev {LINK} table {TABLE} metric 1 mtu {MTU}\n");
        plan.ip.push_str(&default);
        plan.ip6 = default;
        plan
    }

    /// Switches keepalives on, which is what makes a device dial, towards the peers that `wanted` says. All devices must
    /// be up by then: an initiation that meets no listener is repeated only after five seconds.
    pub fn dial(
        &self,
        topology: &Topology,
        node: &Node,
        wanted: impl Fn(&Node) -> bool,
    ) -> HostPlan {
        if node.wireguard == Implementation::Boringtun {
            return HostPlan::default();
        }
        let peers = others(topology, node).filter(|peer| wanted(peer));
        let peers = peers.map(|peer| PeerPlan {
            public_key: self.identity(peer).public_key.clone(),
            preshared_key: None,
            endpoint: None,
            allowed_ips: Vec::new(),
            keepalive: Some(KEEPALIVE),
        });
        HostPlan {
            device: Some(DevicePlan {
                name: LINK.to_owned(),
                in_kernel: node.wireguard == Implementation::Kernel,
                private_key: None,
                listen_port: None,
                fwmark: None,
                peers: peers.collect(),
            }),
            ..HostPlan::default()
        }
    }

    fn peers(&self, topology: &Topology, node: &Node) -> Vec<PeerPlan> {
        let peer = |peer: &Node| PeerPlan {
            public_key: self.identity(peer).public_key.clone(),
            preshared_key: Some(self.secret.clone()),
            endpoint: endpoint(topology, node, peer),
            allowed_ips: vec![
                (IpAddr::V6(self.identity(peer).address), 128),
                (IpAddr::V4(peer.address), 32),
            ],
            keepalive: (node.wireguard == Implementation::Boringtun).then_some(KEEPALIVE),
        };
        let mut peers: Vec<_> = others(topology, node).map(peer).collect();
        // boringtun gives a peer without an endpoint that of the peer before it.
        peers.sort_by_key(|peer| peer.endpoint.is_some());
        peers
    }
}

impl Identity {
    fn generate(prefix: ClusterPrefix) -> Self {
        let mut mac = Mac(rand::rng().random());
        mac.0[..MAC_VENDOR.len()].copy_from_slice(&MAC_VENDOR);
        let private = Key::generate_private();
        Self {
            mac,
            address: prefix.address_of(mac),
            public_key: private.get_public().to_base64(),
            private_key: Secret(private.to_base64()),
        }
    }
}

/// The rules of Talos' own table, the policy rule and the mark: what sends traffic for node addresses into the tunnel.
/// The addresses inside the tunnel are not in the set: their /64 is on the link.
pub fn steering(topology: &Topology, node: &Node) -> HostPlan {
    let routed: Vec<_> = others(topology, node)
        .map(|peer| peer.address.to_string())
        .collect();
    let routed = routed.join(", ");
    let keep = !MARK_MASK;
    let segment = u32::from(MTU) - 20 - 20 - 12;
    let nft = format!(
        "table inet talos {{
           chain kubespan_prerouting {{
             type filter hook prerouting priority filter; policy accept
             meta mark & {MARK_MASK:#x} == {MARK_OUTER:#x} accept
             ip daddr {{ {routed} }} meta mark set meta mark & {keep:#x} ^ {MARK_INTO_TUNNEL:#x} accept
           }}
           chain kubespan_outgoing {{
             type route hook output priority filter; policy accept
             meta mark & {MARK_MASK:#x} == {MARK_OUTER:#x} accept
             oifname lo accept
             ip daddr {{ {routed} }} tcp flags & (syn | rst) == syn tcp option maxseg size > {segment} tcp option maxseg size set {segment}
             ip daddr {{ {routed} }} meta mark set meta mark & {keep:#x} ^ {MARK_INTO_TUNNEL:#x} accept
           }}
         }}"
    );
    let rule = format!(
        "rule add fwmark {MARK_INTO_TUNNEL:#x}/{MARK_MASK:#x} table {TABLE} pref {RULE_PRIORITY}\n"
    );
    HostPlan {
        ip: rule.clone(),
        ip6: rule,
        nft,
        ..HostPlan::default()
    }
}

/// Whether one of the two can dial the other.
pub fn can_meet(topology: &Topology, one: &Node, other: &Node) -> bool {
    endpoint(topology, one, other).is_some() || endpoint(topology, other, one).is_some()
}

/// Whether `node` is the one of the two that dials first. When both dial at once, each discards the other's handshake
/// and repeats its own only after five seconds.
pub fn dials_first(topology: &Topology, node: &Node, peer: &Node) -> bool {
    let position = |node: &Node| {
        topology
            .nodes
            .iter()
            .position(|other| other.name == node.name)
    };
    let can = |from, to| endpoint(topology, from, to).is_some();
    can(node, peer) && (position(node) > position(peer) || !can(peer, node))
}

fn others<'a>(topology: &'a Topology, node: &'a Node) -> impl Iterator<Item = &'a Node> {
    let is_other = move |peer: &&Node| peer.name != node.name;
    topology.nodes.iter().filter(is_other)
}

/// Where `node` can dial `peer`: nobody can dial into a site that translates, except from within.
fn endpoint(topology: &Topology, node: &Node, peer: &Node) -> Option<SocketAddr> {
    let same_site = node.site == peer.site;
    let reachable = same_site || !topology.is_translated(peer);
    reachable.then(|| SocketAddr::from((peer.address, PORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint_of(from: &str, to: &str) -> Option<String> {
        let topology = Topology::default();
        let node = |name| topology.node(name).unwrap();
        endpoint(&topology, node(from), node(to)).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn nobody_outside_dials_into_a_site_that_translates() {
        assert_eq!(
            endpoint_of("vps-1", "vps-2").as_deref(),
            Some("203.0.113.12:51820")
        );
        assert_eq!(endpoint_of("vps-1", "home-cp"), None);
        assert_eq!(
            endpoint_of("home-cp", "vps-1").as_deref(),
            Some("203.0.113.11:51820")
        );
        assert_eq!(
            endpoint_of("home-cp", "home-worker").as_deref(),
            Some("192.168.50.12:51820")
        );
    }

    #[test]
    fn the_steered_addresses_are_those_of_the_other_nodes() {
        let topology = Topology::default();
        let plan = steering(&topology, topology.node("vps-1").unwrap());
        assert!(
            plan.nft
                .contains("{ 203.0.113.12, 192.168.50.11, 192.168.50.12 }")
        );
        assert!(
            plan.nft
                .contains("meta mark set meta mark & 0xffffff9f ^ 0x40 accept")
        );
        assert!(plan.nft.contains("maxseg size set 1368"));
        assert_eq!(plan.ip, "rule add fwmark 0x40/0x60 table 180 pref 32500\n");
    }

    #[test]
    fn a_mesh_shows_no_key_in_its_debug_output() {
        let mesh = Mesh::generate(&Topology::default());
        let shown = format!("{mesh:?}");
        assert!(!shown.contains(&mesh.secret().0), "{shown}");
    }
}
