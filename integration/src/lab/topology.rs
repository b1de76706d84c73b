//! Which hosts a lab has, as data: public nodes, sites behind a router, and how the router translates addresses.
//!
//! A scenario file may bring its own; [`Topology::default`] is the four-node cluster of the project's story.

mod validate;

use std::{fmt, net::Ipv4Addr, str::FromStr};

use evidence::NodeName;
use serde::Deserialize;

pub use validate::TopologyError;

/// The host in the middle, between all public addresses.
pub const INTERNET: &str = "internet";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    #[serde(rename = "node")]
    pub nodes: Vec<Node>,
    #[serde(rename = "site", default)]
    pub sites: Vec<Site>,
}

/// A Talos node: public when it belongs to no site.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: NodeName,
    pub address: Ipv4Addr,
    pub site: Option<String>,
    #[serde(default)]
    pub wireguard: Implementation,
    /// More arguments for the node's agent, such as `--clock-offset` and `--ntp-server`.
    #[serde(default)]
    pub agent: Vec<String>,
}

/// A LAN and the router in front of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    pub name: String,
    pub router: NodeName,
    pub wan: Ipv4Addr,
    pub lan: Lan,
    #[serde(default)]
    pub nat: Nat,
}

/// What a site's router does to the addresses of its LAN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Nat {
    /// Keeps the source port; the second node that uses a port towards one destination gets another.
    #[default]
    Masquerade,
    /// A new random port for every destination, as carrier-grade translators do.
    MasqueradeRandom,
    /// The LAN is routed and reachable from outside.
    None,
}

/// Who implements the `kubespan` device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Implementation {
    #[default]
    WireguardGo,
    Boringtun,
    /// The kernel's own: its module must be loaded.
    Kernel,
}

/// The router's address in the LAN and the prefix length, as `192.168.50.1/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Lan {
    pub gateway: Ipv4Addr,
    pub length: u8,
}

const DEFAULT: &str = r#"
node = [
  { name = "vps-1", address = "203.0.113.11" },
  { name = "vps-2", address = "203.0.113.12" },
  { name = "home-cp", address = "192.168.50.11", site = "home" },
  { name = "home-worker", address = "192.168.50.12", site = "home" },
]
site = [{ name = "home", router = "home-router", wan = "198.51.100.2", lan = "192.168.50.1/24" }]
"#;

impl Default for Topology {
    fn default() -> Self {
        toml::from_str(DEFAULT).expect("the default topology is tested")
    }
}

impl Topology {
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name.as_str() == name)
    }

    pub fn site(&self, name: &str) -> Option<&Site> {
        self.sites.iter().find(|site| site.name == name)
    }

    /// The site of a node that is behind a router.
    pub fn site_of(&self, node: &Node) -> Option<&Site> {
        node.site.as_deref().and_then(|name| self.site(name))
    }

    pub fn public_nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.site.is_none())
    }

    /// The node that hosts the collector: the first public one.
    pub fn collector(&self) -> Option<&Node> {
        self.public_nodes().next()
    }

    /// The names of all hosts: the internet, the routers, the nodes.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        let routers = self.sites.iter().map(|site| site.router.as_str());
        let nodes = self.nodes.iter().map(|node| node.name.as_str());
        std::iter::once(INTERNET).chain(routers).chain(nodes)
    }

    /// The last router that a datagram from outside passes before it reaches the node.
    pub fn router_in_front_of(&self, node: &Node) -> &str {
        self.site_of(node)
            .map_or(INTERNET, |site| site.router.as_str())
    }

    /// Whether the node's own address means nothing outside of its site.
    pub fn is_translated(&self, node: &Node) -> bool {
        self.site_of(node).is_some_and(|site| site.nat != Nat::None)
    }

    /// The address that other sites see packets of this node come from.
    pub fn outside_address(&self, node: &Node) -> Ipv4Addr {
        match self.site_of(node) {
            Some(site) if site.nat != Nat::None => site.wan,
            _ => node.address,
        }
    }
}

impl Lan {
    fn contains(self, address: Ipv4Addr) -> bool {
        let shift = 32 - u32::from(self.length);
        u32::from(self.gateway) >> shift == u32::from(address) >> shift
    }
}

impl TryFrom<String> for Lan {
    type Error = TopologyError;
    fn try_from(text: String) -> Result<Self, TopologyError> {
        text.parse()
    }
}

impl FromStr for Lan {
    type Err = TopologyError;
    fn from_str(text: &str) -> Result<Self, TopologyError> {
        let parsed = text.split_once('/').and_then(|(gateway, length)| {
            let (gateway, length) = (gateway.parse().ok()?, length.parse().ok()?);
            (8..=30)
                .contains(&length)
                .then_some(Self { gateway, length })
        });
        parsed.ok_or_else(|| TopologyError::Lan(text.to_owned()))
    }
}

impl fmt::Display for Lan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(edit: impl FnOnce(&mut Topology)) -> Result<(), TopologyError> {
        let mut topology = Topology::default();
        edit(&mut topology);
        topology.validate()
    }

    #[test]
    fn the_default_is_two_public_nodes_and_two_behind_one_router() {
        let topology = Topology::default();
        topology.validate().unwrap();
        let hosts: Vec<_> = topology.hosts().collect();
        let expected = [
            "internet",
            "home-router",
            "vps-1",
            "vps-2",
            "home-cp",
            "home-worker",
        ];
        assert_eq!(hosts, expected);
        assert_eq!(topology.collector().unwrap().name.as_str(), "vps-1");
    }

    #[test]
    fn a_node_behind_nat_is_seen_with_the_address_of_its_router() {
        let topology = Topology::default();
        let node = topology.node("home-worker").unwrap();
        assert_eq!(topology.outside_address(node).to_string(), "198.51.100.2");
        assert_eq!(topology.router_in_front_of(node), "home-router");
        assert_eq!(
            topology.router_in_front_of(topology.node("vps-2").unwrap()),
            INTERNET
        );
    }

    #[test]
    fn a_topology_that_cannot_be_built_is_refused_by_name() {
        let twice = with(|t| t.nodes[1].address = t.nodes[0].address);
        assert_eq!(
            twice,
            Err(TopologyError::DuplicateAddress(
                "203.0.113.11".parse().unwrap()
            ))
        );
        let same = with(|t| t.nodes[1].name = t.nodes[0].name.clone());
        assert_eq!(same, Err(TopologyError::DuplicateName("vps-1".to_owned())));
        let few = with(|t| t.nodes.truncate(1));
        assert_eq!(few, Err(TopologyError::NodeCount(1)));
        let outside = with(|t| t.nodes[2].address = "192.168.51.11".parse().unwrap());
        assert!(matches!(outside, Err(TopologyError::OutsideLan { .. })));
        let nowhere = with(|t| t.sites.clear());
        assert!(matches!(nowhere, Err(TopologyError::UnknownSite { .. })));
        assert!(matches!(
            with(|t| t.nodes.drain(..2).for_each(drop)),
            Err(TopologyError::NothingPublic)
        ));
    }

    #[test]
    fn a_lan_is_a_gateway_and_a_length() {
        assert_eq!(
            "192.168.50.1/24".parse::<Lan>().unwrap().to_string(),
            "192.168.50.1/24"
        );
        for bad in ["192.168.50.1", "192.168.50.1/31", "x/24", "/"] {
            assert!(bad.parse::<Lan>().is_err(), "{bad}");
        }
    }
}
