//! What a verdict speaks of: a node, a direction, a pair, a site, the way between two ends.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{NodeName, PublicKey};

/// A node as it is spoken of: by name, or by key while no agent has told its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "kind"
)]
pub enum NodeRef {
    /// A node that has told its name.
    Named {
        /// Its name.
        name: NodeName,
    },
    /// A peer in somebody's device that no agent has reported for.
    Unnamed {
        /// Its `WireGuard` public key.
        key: PublicKey,
    },
}

impl NodeRef {
    /// A node by name.
    pub fn named(name: &NodeName) -> Self {
        Self::Named { name: name.clone() }
    }
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named { name } => f.pad(name.as_str()),
            Self::Unnamed { key } => f.pad(&format!("peer {}..", key.short())),
        }
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "kind"
)]
pub enum Subject {
    /// The whole cluster.
    Cluster,
    /// One node.
    Node {
        /// Which.
        node: NodeRef,
    },
    /// The direction `from` -> `to`.
    Direction {
        /// The sending node.
        from: NodeRef,
        /// The receiving node.
        to: NodeRef,
    },
    /// Two nodes, both directions.
    Pair {
        /// One of them; the lesser.
        a: NodeRef,
        /// The other.
        b: NodeRef,
    },
    /// The nodes behind one public address.
    Site {
        /// The public address they share.
        address: String,
        /// The nodes.
        nodes: Vec<NodeRef>,
    },
    /// The way between two ends, of which at least one is a site.
    Ends {
        /// One of them; the sending one if it is not both ways.
        a: End,
        /// The other.
        b: End,
        /// Whether it is the way back as well.
        both_ways: bool,
    },
}

/// One end of a way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// The public address that its nodes share; `None` for a node that is behind no other address than its own.
    pub address: Option<String>,
    /// Its nodes.
    pub nodes: Vec<NodeRef>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = &self.address {
            return write!(f, "site {address}");
        }
        let mut nodes = self.nodes.iter();
        nodes.next().map_or(Ok(()), |node| write!(f, "{node}"))?;
        nodes.try_for_each(|node| write!(f, ", {node}"))
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Node { node } => write!(f, "{node}"),
            Self::Direction { from, to } => write!(f, "{from} -> {to}"),
            Self::Pair { a, b } => write!(f, "{a} <-> {b}"),
            Self::Site { address, .. } => write!(f, "site {address}"),
            Self::Ends { a, b, both_ways } => {
                write!(f, "{a} {} {b}", if *both_ways { "<->" } else { "->" })
            }
        }
    }
}
