//! The gate graph as it is told. Whether its levels make a sound graph is for `diagnosis` to say.

use serde::{Deserialize, Serialize};

use crate::NodeName;

/// One level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateLevel {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub title: String,
    /// The levels directly below it.
    pub depends_on: Vec<GateDependency>,
    /// What proves it, by name: a later version may know others.
    pub check: String,
    /// It is ready only after its check was good without a break for so long.
    pub stable_ms: u64,
    /// How old the last report of a node may be, if that is said.
    pub fresh_ms: Option<u64>,
    /// Fewer fresh reporters than this: not ready.
    pub min_nodes: u32,
    /// Nodes without which it is not ready.
    pub nodes: Vec<NodeName>,
    /// Whether it rests on certificates.
    pub needs_clocks: bool,
}

/// That one level rests on another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GateDependency {
    /// The lower one.
    pub level: String,
    /// What it costs to do without.
    pub cost: u32,
}
