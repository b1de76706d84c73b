//! What makes a topology impossible, beyond what the file format can say.

use std::{collections::BTreeSet, net::Ipv4Addr};

use evidence::NodeName;
use thiserror::Error;

use super::{Lan, Node, Topology};

/// Fewest and most nodes a lab is built with.
const NODES: std::ops::RangeInclusive<usize> = 2..=8;
/// Longest host name: the internet's ports are named after hosts, and Linux limits interface names.
const MAX_HOST_NAME: usize = 15;

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TopologyError {
    #[error("{0:?} is not a LAN gateway and prefix length such as 192.168.50.1/24")]
    Lan(String),
    #[error("{0} nodes are given, a lab has {min} to {max}", min = NODES.start(), max = NODES.end())]
    NodeCount(usize),
    #[error("no node is public (without `site`), so nothing can host the collector")]
    NothingPublic,
    #[error("{0} is the name of two hosts")]
    DuplicateName(String),
    #[error("{0} is the address of two hosts")]
    DuplicateAddress(Ipv4Addr),
    #[error("host name {0} is longer than {MAX_HOST_NAME} characters")]
    LongName(String),
    #[error("node {node} is in site {site:?}, which is not described")]
    UnknownSite { node: NodeName, site: String },
    #[error("node {node} has {address}, which is not in the LAN {lan} of its site")]
    OutsideLan {
        node: NodeName,
        address: Ipv4Addr,
        lan: Lan,
    },
    #[error(
        "{0} is kept for the internet's side of a link: the last byte of a public address must not be 1"
    )]
    GatewayAddress(Ipv4Addr),
}

impl Topology {
    /// Checks what the file format cannot: counts, uniqueness, membership.
    pub fn validate(&self) -> Result<(), TopologyError> {
        if !NODES.contains(&self.nodes.len()) {
            return Err(TopologyError::NodeCount(self.nodes.len()));
        }
        if self.public_nodes().next().is_none() {
            return Err(TopologyError::NothingPublic);
        }
        self.validate_names()?;
        self.validate_addresses()?;
        self.nodes
            .iter()
            .try_for_each(|node| self.validate_membership(node))
    }

    fn validate_names(&self) -> Result<(), TopologyError> {
        let mut seen = BTreeSet::new();
        for name in self.hosts() {
            if name.len() > MAX_HOST_NAME {
                return Err(TopologyError::LongName(name.to_owned()));
            }
            if !seen.insert(name) {
                return Err(TopologyError::DuplicateName(name.to_owned()));
            }
        }
        Ok(())
    }

    fn validate_addresses(&self) -> Result<(), TopologyError> {
        let public = self.public_nodes().map(|node| node.address);
        let public: Vec<_> = public
            .chain(self.sites.iter().map(|site| site.wan))
            .collect();
        if let Some(address) = public.iter().find(|address| address.octets()[3] == 1) {
            return Err(TopologyError::GatewayAddress(*address));
        }
        let inside = self.nodes.iter().filter(|node| node.site.is_some());
        let inside = inside.map(|node| node.address);
        let gateways = self.sites.iter().map(|site| site.lan.gateway);
        let mut seen = BTreeSet::new();
        for address in public.iter().copied().chain(inside).chain(gateways) {
            if !seen.insert(address) {
                return Err(TopologyError::DuplicateAddress(address));
            }
        }
        Ok(())
    }

    fn validate_membership(&self, node: &Node) -> Result<(), TopologyError> {
        let Some(name) = &node.site else {
            return Ok(());
        };
        let site = self.site(name).ok_or_else(|| TopologyError::UnknownSite {
            node: node.name.clone(),
            site: name.clone(),
        })?;
        if site.lan.contains(node.address) {
            return Ok(());
        }
        Err(TopologyError::OutsideLan {
            node: node.name.clone(),
            address: node.address,
            lan: site.lan,
        })
    }
}
