//! What a node's machined is told of the cluster. No secret: the preshared key is read from the device, where it is anyway.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::lab::{
    kubespan::{Mesh, PORT},
    topology::{Node, Topology},
};

/// Everything that one node knows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub own: Neighbour,
    pub cluster_id: String,
    pub hardware_address: [u8; 6],
    /// The other nodes.
    pub others: Vec<Neighbour>,
}

/// One node as others know it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Neighbour {
    pub name: String,
    pub node_id: String,
    pub control_plane: bool,
    pub public_key: String,
    pub kubespan: Ipv6Addr,
    pub address: Ipv4Addr,
    /// Its address as the discovery service saw it.
    pub public: Ipv4Addr,
}

impl Plan {
    pub fn of(mesh: &Mesh, topology: &Topology, node: &Node) -> Self {
        let others = topology
            .nodes
            .iter()
            .filter(|other| other.name != node.name);
        Self {
            own: Neighbour::of(mesh, topology, node),
            cluster_id: mesh.cluster_id().to_owned(),
            hardware_address: mesh.identity(node).mac.0,
            others: others
                .map(|other| Neighbour::of(mesh, topology, other))
                .collect(),
        }
    }
}

impl Neighbour {
    fn of(mesh: &Mesh, topology: &Topology, node: &Node) -> Self {
        let identity = mesh.identity(node);
        Self {
            name: node.name.to_string(),
            node_id: format!("{:0<43}", node.name.as_str().replace('-', "0")),
            control_plane: node.name.as_str() == "home-cp",
            public_key: identity.public_key.clone(),
            kubespan: identity.address,
            address: node.address,
            public: topology.outside_address(node),
        }
    }

    /// What a node advertises: its own addresses, then the public one, each once (`local_affiliate.go`).
    pub fn candidates(&self) -> Vec<SocketAddr> {
        let own = SocketAddr::from((self.address, PORT));
        let public = SocketAddr::from((self.public, PORT));
        let mut candidates = vec![own];
        candidates.extend((public != own).then_some(public));
        candidates
    }

    /// What the device is to hold for it.
    pub fn allowed_ips(&self) -> [(IpAddr, u8); 2] {
        [(self.address.into(), 32), (self.kubespan.into(), 128)]
    }
}
