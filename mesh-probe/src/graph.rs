//! The gate graph as it is shown: of a collector with the states of its levels, or of a file without.

use std::{fs::File, io::Read as _, path::Path, time::Duration};

use diagnosis::graph::{Dependency, LARGEST_FILE, Level, parse};
use evidence::Gate;
use proto::{convert::gate_from_wire, wire};
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

    fn of(level: &Level) -> Self {
        let Level {
            name,
            title,
            depends_on,
            check,
            stable_for,
            fresh_within,
            min_nodes,
            nodes,
            needs_clocks,
        } = level;
        let edge = |Dependency { level, cost }: &Dependency| Edge {
            level: level.clone(),
            cost: *cost,
        };
        Self {
            name: name.clone(),
            title: title.clone(),
            depends_on: depends_on.iter().map(edge).collect(),
            check: check.to_string(),
            stable_ms: millis(*stable_for),
            fresh_ms: fresh_within.map(millis),
            min_nodes: u32::try_from(*min_nodes).unwrap_or(u32::MAX),
            nodes: nodes.iter().map(ToString::to_string).collect(),
            needs_clocks: *needs_clocks,
            state: None,
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Reads and checks a file as a collector would.
pub fn read(path: &Path) -> Result<Vec<GraphLevel>, ProbeError> {
    // One byte over the limit is enough to be told that it is too large.
    let most = u64::try_from(LARGEST_FILE + 1).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(most).read_to_string(&mut text))
        .map_err(|source| ProbeError::GraphFile {
            path: path.to_owned(),
            source,
        })?;
    let file = parse(&path.display().to_string(), &text).map_err(ProbeError::Graph)?;
    Ok(file.graph.levels().iter().map(GraphLevel::of).collect())
}
