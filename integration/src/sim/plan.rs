//! Who is where: what the network and `WireGuard` are set up from.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use evidence::{NodeName, PublicKey};

use crate::lab::topology::Topology;

use super::{nat::NatKind, orders};

/// `KubeSpan`'s port.
pub const TUNNEL_PORT: u16 = 51_820;

/// A cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    pub nodes: Vec<NodePlan>,
    pub sites: Vec<SitePlan>,
}

#[derive(Clone, Debug)]
pub struct NodePlan {
    pub name: NodeName,
    pub address: Ipv4Addr,
    pub site: Option<usize>,
}

#[derive(Clone, Debug)]
pub struct SitePlan {
    pub name: String,
    /// The name of its router.
    pub router: String,
    pub wan: Ipv4Addr,
    pub nat: NatKind,
}

impl Plan {
    /// The hosts of a scenario file.
    pub fn of(topology: &Topology) -> Self {
        let sites = topology.sites.iter().map(|site| SitePlan {
            name: site.name.clone(),
            router: site.router.to_string(),
            wan: site.wan,
            nat: orders::nat_kind(site.nat),
        });
        let place = |name: &String| topology.sites.iter().position(|site| site.name == *name);
        let nodes = topology.nodes.iter().map(|node| NodePlan {
            name: node.name.clone(),
            address: node.address,
            site: node.site.as_ref().and_then(place),
        });
        Self {
            nodes: nodes.collect(),
            sites: sites.collect(),
        }
    }

    /// `public` nodes by themselves, and sites with so many nodes each behind a translation.
    pub fn mixed(public: u8, sites: &[(NatKind, u8)]) -> Self {
        let mut nodes = Vec::new();
        for number in 1..=public {
            nodes.push(node(&format!("vps-{number}"), [203, 0, 113, number], None));
        }
        let mut routers = Vec::new();
        for (site, (nat, size)) in sites.iter().enumerate() {
            let third = u8::try_from(site).unwrap_or(u8::MAX);
            routers.push(SitePlan {
                name: format!("site-{}", site + 1),
                router: format!("site-{}-router", site + 1),
                wan: Ipv4Addr::new(198, 51, 100, third + 2),
                nat: *nat,
            });
            for number in 1..=*size {
                let name = format!("site-{}-{number}", site + 1);
                nodes.push(node(&name, [10, third, 0, number], Some(site)));
            }
        }
        Self {
            nodes,
            sites: routers,
        }
    }

    pub fn key(&self, node: usize) -> PublicKey {
        let mut bytes = [0; 32];
        let number = u32::try_from(node).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
        bytes[28..].copy_from_slice(&number.to_be_bytes());
        bytes[4] = 1;
        PublicKey::from_bytes(bytes)
    }

    /// The node's `KubeSpan` address.
    pub fn tunnel_address(&self, node: usize) -> Ipv6Addr {
        let number = u16::try_from(node + 1).unwrap_or(u16::MAX);
        Ipv6Addr::new(0xfd7f, 0x175a, 0xb97c, 0x5602, 0, 0, 0, number)
    }

    pub fn named(&self, name: &str) -> Option<usize> {
        self.nodes
            .iter()
            .position(|node| node.name.as_str() == name)
    }

    /// Where `from` may dial `to` from the start: nothing is known of what a translation makes of a node.
    pub fn endpoint(&self, from: usize, to: usize) -> Option<SocketAddr> {
        let far = self.nodes.get(to)?;
        let near = self.nodes.get(from)?;
        let translated = |site: usize| {
            self.sites
                .get(site)
                .is_some_and(|site| site.nat != NatKind::None)
        };
        let hidden = far.site.is_some_and(translated) && far.site != near.site;
        (!hidden).then(|| SocketAddr::from((far.address, TUNNEL_PORT)))
    }

    pub fn same_lan(&self, a: usize, b: usize) -> bool {
        let site = |node: usize| self.nodes.get(node).and_then(|node| node.site);
        site(a).is_some() && site(a) == site(b)
    }

    /// What the nodes of a site show it to be: their public address, or the network that others reach them in.
    pub fn known_as(&self, site: usize) -> String {
        let SitePlan { wan, nat, .. } = &self.sites[site];
        let inside = self.nodes.iter().find(|node| node.site == Some(site));
        match inside.filter(|_| *nat == NatKind::None) {
            Some(node) => {
                let [a, b, c, _] = node.address.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            None => wan.to_string(),
        }
    }

    /// All ordered pairs.
    pub fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let count = self.nodes.len();
        (0..count).flat_map(move |a| (0..count).filter(move |b| *b != a).map(move |b| (a, b)))
    }
}

fn node(name: &str, address: [u8; 4], site: Option<usize>) -> NodePlan {
    let name = NodeName::parse(name).unwrap_or_else(|_| unreachable!("names are made here"));
    NodePlan {
        name,
        address: Ipv4Addr::from(address),
        site,
    }
}
