//! The gate graph as it is shown: of a collector with the states of its levels, or of a file without.

use std::{fs::File, io::Read as _, path::Path};

use diagnosis::graph::{File as GraphFile, LARGEST_FILE, parse};
use evidence::Gate;
use proto::{
    convert::{gate_from_wire, level_to_wire},
    wire,
};
use serde::Serialize;

use crate::{document::API_VERSION, error::ProbeError};

/// One level.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphLevel {
    pub name: String,
    pub title: String,
    pub depends_on: Vec<Edge>,
    /// As the collector names it: a later one may have checks that we do not know.
    pub check: String,
    pub stable_ms: u64,
    pub fresh_ms: Option<u64>,
    pub min_nodes: u32,
    pub nodes: Vec<String>,
    pub needs_clocks: bool,
    /// `None` for a file.
    pub state: Option<Gate>,
}

/// What a level rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    pub level: String,
    /// What it costs to do without.
    pub cost: u32,
}

/// The whole graph as a document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    levels: &'a [GraphLevel],
}

impl<'a> GraphDocument<'a> {
    pub const fn new(levels: &'a [GraphLevel]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "GateGraph",
            levels,
        }
    }
}

impl GraphLevel {
    pub(crate) fn from_wire(level: wire::GraphLevel) -> Self {
        let wire::GraphLevel {
            name,
            title,
            depends_on,
            check,
            stable_ms,
            fresh_ms,
            min_nodes,
            nodes,
            needs_clocks,
            state,
        } = level;
        let edge = |wire::Dependency { level, cost }| Edge { level, cost };
        Self {
            name,
            title,
            depends_on: depends_on.into_iter().map(edge).collect(),
            check,
            stable_ms,
            fresh_ms,
            min_nodes,
            nodes,
            needs_clocks,
            state: state.map(gate_from_wire),
        }
    }
}

/// Reads and checks a file as a collector would, to be shown.
pub fn read(path: &Path) -> Result<Vec<GraphLevel>, ProbeError> {
    let levels = file(path)?.graph.told();
    let shown = |level| GraphLevel::from_wire(level_to_wire(level));
    Ok(levels.iter().map(shown).collect())
}

/// Reads and checks a file as a collector would.
pub fn file(path: &Path) -> Result<GraphFile, ProbeError> {
    // One byte over the limit is enough to be told that it is too large.
    let most = u64::try_from(LARGEST_FILE + 1).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(most).read_to_string(&mut text))
        .map_err(|source| ProbeError::GraphFile {
            path: path.to_owned(),
            source,
        })?;
    parse(&path.display().to_string(), &text).map_err(ProbeError::Graph)
}
