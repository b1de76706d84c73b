//! Places by numbers: which of them a direction passes, and what each is called.

use std::collections::BTreeMap;

use evidence::{End, NodeRef};

use super::{
    Place,
    lan::{Network, networks},
};
use crate::{
    directions::Way,
    mesh::{Member, Mesh},
};

/// A place by numbers: what a mesh of 1,024 nodes has of them is gone through some thousand times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Spot {
    /// A place that more than one direction passes, by its rank among [`Places`].
    Wide(usize),
    /// The way between two ends, of which at least one is a site; by [`Places::end`].
    Ends(usize, usize),
    Single(Way),
}

/// The wide places by number, in the order of [`Place`]: ways into sites, out of sites, into nodes, out of nodes.
pub(super) struct Places<'m, 'a> {
    mesh: &'m Mesh<'a>,
    pub(super) sites: &'m [(String, Vec<NodeRef>)],
    pub(super) site_of: &'m [Option<usize>],
}

/// The sites of a mesh. They are found once for all that is asked about places.
#[derive(Debug)]
pub(crate) struct Sites {
    /// What sites are called, and their nodes: those behind one public address, or of one network.
    list: Vec<(String, Vec<NodeRef>)>,
    /// The site of each node.
    of_node: Vec<Option<usize>>,
}

impl Sites {
    fn of(mesh: &Mesh<'_>) -> Self {
        let mut nodes: BTreeMap<String, Vec<NodeRef>> = BTreeMap::new();
        let names: Vec<Option<String>> = site_names(mesh);
        for (member, name) in mesh.members.values().zip(&names) {
            if let Some(name) = name {
                let node = member.node.clone();
                nodes.entry(name.clone()).or_default().push(node);
            }
        }
        let sites: Vec<(String, Vec<NodeRef>)> = nodes.into_iter().collect();
        let rank = |name: Option<String>| {
            let name = name?;
            sites.binary_search_by(|(known, _)| known.cmp(&name)).ok()
        };
        let of_node = names.into_iter().map(rank).collect();
        Self {
            list: sites,
            of_node,
        }
    }
}

impl<'m, 'a> Places<'m, 'a> {
    pub(super) fn of(mesh: &'m Mesh<'a>) -> Self {
        let sites = mesh.sites.get_or_init(|| Sites::of(mesh));
        Self {
            mesh,
            sites: &sites.list,
            site_of: &sites.of_node,
        }
    }

    pub(super) fn count(&self) -> usize {
        2 * (self.sites.len() + self.site_of.len())
    }

    pub(super) fn site(&self, node: usize) -> Option<usize> {
        self.site_of.get(node).copied().flatten()
    }

    /// Whether a direction leaves its site.
    pub(super) fn crosses(&self, (from, to): Way) -> bool {
        self.site(from).is_none() || self.site(from) != self.site(to)
    }

    /// The end that a node is, or belongs to: its site, if it has more than one node; after the sites the nodes.
    pub(super) fn end(&self, node: usize) -> usize {
        let site = self.site(node).filter(|site| {
            let known = self.sites.get(*site);
            known.is_some_and(|(_, nodes)| nodes.len() >= 2)
        });
        site.unwrap_or(self.sites.len() + node)
    }

    /// The nodes of an end.
    pub(super) fn nodes_at(&self, end: usize) -> Vec<usize> {
        if let Some(node) = end.checked_sub(self.sites.len()) {
            return vec![node];
        }
        let nodes = self.site_of.iter().enumerate();
        let here = nodes.filter(|(_, site)| **site == Some(end));
        here.map(|(node, _)| node).collect()
    }

    pub(super) fn end_of(&self, end: usize) -> End {
        match self.sites.get(end) {
            Some((address, nodes)) => End {
                address: Some(address.clone()),
                nodes: nodes.clone(),
            },
            None => End {
                address: None,
                nodes: vec![self.named(end - self.sites.len())],
            },
        }
    }

    /// The way out of the one node, and into the other.
    pub(super) fn ends(&self, (from, to): Way) -> [usize; 2] {
        let first = 2 * self.sites.len();
        [first + self.site_of.len() + from, first + to]
    }

    /// Whether what stands in front of the whole site of both nodes translates nothing: in front of a single one of them, it is not
    /// told from what stands in front of a node that has no site.
    fn is_routed(&self, (from, _): Way) -> bool {
        let member = self.mesh.members.at(from);
        member.is_some_and(|member| member.site.is_none())
    }

    /// The wide places that a direction which fails may fail at, if all of `passed` are passed by one that does not. Inside of
    /// a network a node's own ways count as long as nothing at all passes there; behind a translation they never do.
    pub(super) fn failing(&self, way: Way, passed: &[bool]) -> impl Iterator<Item = usize> {
        let crosses = self.crosses(way);
        let own = !crosses && self.is_routed(way);
        let ends = self.ends(way);
        let counts = move |spot: &usize| {
            crosses || (own && ends.contains(spot) && passed.get(*spot) != Some(&true))
        };
        self.wide(way).filter(counts)
    }

    /// The wide places that a direction leads into.
    pub(super) fn into(&self, way: Way) -> impl Iterator<Item = usize> {
        let [_, end] = self.ends(way);
        std::iter::once(end).chain(self.site(way.1))
    }

    /// All wide places that a direction passes.
    pub(super) fn wide(&self, way: Way) -> impl Iterator<Item = usize> {
        let into = self.site(way.1);
        let out = self.site(way.0).map(|site| self.sites.len() + site);
        self.ends(way).into_iter().chain(into).chain(out)
    }

    /// The node of which a place is the way in or out, and whether it is the way in.
    pub(super) fn node(&self, spot: usize) -> Option<(usize, bool)> {
        let node = spot.checked_sub(2 * self.sites.len())?;
        let nodes = self.site_of.len();
        Some((node % nodes, node < nodes))
    }

    /// The other way of the same node or site.
    pub(super) fn opposite(&self, spot: Spot) -> Spot {
        match spot {
            Spot::Single((from, to)) => Spot::Single((to, from)),
            Spot::Ends(from, to) => Spot::Ends(to, from),
            Spot::Wide(spot) => {
                let (sites, nodes) = (self.sites.len(), self.site_of.len());
                let other = match (self.node(spot), spot < sites) {
                    (Some((_, true)), _) => spot + nodes,
                    (Some((_, false)), _) => spot - nodes,
                    (None, true) => spot + sites,
                    (None, false) => spot - sites,
                };
                Spot::Wide(other)
            }
        }
    }

    pub(super) fn named(&self, node: usize) -> NodeRef {
        let member = self.mesh.members.at(node);
        let unknown = || NodeRef::Unnamed {
            key: evidence::PublicKey::from_bytes([0; 32]),
        };
        member.map_or_else(unknown, |member| member.node.clone())
    }

    pub(super) fn place(&self, spot: Spot) -> Place {
        let spot = match spot {
            Spot::Single((from, to)) => {
                return Place::Direction(self.named(from), self.named(to));
            }
            Spot::Ends(from, to) => return Place::Way(self.end_of(from), self.end_of(to)),
            Spot::Wide(spot) => spot,
        };
        if let Some((node, inwards)) = self.node(spot) {
            let node = self.named(node);
            return if inwards {
                Place::NodeIn(node)
            } else {
                Place::NodeOut(node)
            };
        }
        let site = self.sites.get(spot % self.sites.len());
        let (address, nodes) = site.cloned().unwrap_or_default();
        if spot < self.sites.len() {
            Place::SiteIn(address, nodes)
        } else {
            Place::SiteOut(address, nodes)
        }
    }

    /// A place and its opposite as one.
    pub(super) fn both(&self, spot: Spot) -> Place {
        match self.place(spot) {
            Place::NodeIn(node) | Place::NodeOut(node) => Place::NodeBoth(node),
            Place::SiteIn(address, nodes) | Place::SiteOut(address, nodes) => {
                Place::SiteBoth(address, nodes)
            }
            Place::Way(a, b) if a <= b => Place::Ways(a, b),
            Place::Way(a, b) => Place::Ways(b, a),
            Place::Direction(a, b) if a <= b => Place::Between(a, b),
            Place::Direction(a, b) => Place::Between(b, a),
            place => place,
        }
    }
}

/// What the site of each node is called.
pub(crate) fn site_names(mesh: &Mesh<'_>) -> Vec<Option<String>> {
    let networks = networks(mesh);
    let name = |(member, network): (&Member<'_>, Option<Network>)| {
        let site = member.site.map(|site| site.to_string());
        site.or_else(|| network.map(|network| network.to_string()))
    };
    mesh.members.values().zip(networks).map(name).collect()
}
