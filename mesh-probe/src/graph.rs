//! The gate graph as it is shown: of a collector with the states of its levels, or of a file without.

use std::{fs::File, io::Read as _, path::Path};

use diagnosis::{
    Expectation,
    graph::{File as GraphFile, LARGEST_FILE, parse},
    levels::Check,
};
use evidence::Gate;
use proto::{
    convert::{expect_to_wire, gate_from_wire, level_to_wire},
    wire,
};
use serde::Serialize;

use crate::{document::API_VERSION, error::ProbeError};

/// A whole graph, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateGraph {
    pub source: Source,
    /// What holds for every level; `None` where an earlier collector does not tell it.
    pub expect: Option<Expect>,
    pub levels: Vec<GraphLevel>,
}

/// Where a graph is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    Collector,
    File,
    /// What a collector has without a file.
    BuiltIn,
}

/// What holds for every level that has a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expect {
    /// Fewer fresh reporters than this: not ready.
    pub min_nodes: u32,
    /// Nodes that must report.
    pub nodes: Vec<String>,
}

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
    /// Of this level alone.
    pub min_nodes: u32,
    /// With what holds for every level; `None` where that is not told, or the level has no check.
    pub effective_min_nodes: Option<u32>,
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
    source: Source,
    expect: Option<&'a Expect>,
    levels: &'a [GraphLevel],
}

impl<'a> GraphDocument<'a> {
    pub fn new(graph: &'a GateGraph) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "GateGraph",
            source: graph.source,
            expect: graph.expect.as_ref(),
            levels: &graph.levels,
        }
    }
}

impl GateGraph {
    pub(crate) fn from_wire(graph: wire::GraphResponse, source: Source) -> Self {
        let wire::GraphResponse { levels, expect } = graph;
        let expect = expect.map(|wire::Expect { min_nodes, nodes }| Expect { min_nodes, nodes });
        let least = expect.as_ref().map(|expect| expect.min_nodes);
        let levels = levels.into_iter();
        Self {
            levels: levels
                .map(|level| GraphLevel::from_wire(level, least))
                .collect(),
            source,
            expect,
        }
    }

    fn of(expectation: &Expectation, source: Source) -> Self {
        let levels = expectation.graph.told();
        let told = wire::GraphResponse {
            levels: levels.iter().map(level_to_wire).collect(),
            expect: Some(expect_to_wire(expectation.min_nodes, &expectation.names)),
        };
        Self::from_wire(told, source)
    }

    /// What a collector has that was given no file.
    pub fn built_in() -> Self {
        Self::of(&Expectation::default(), Source::BuiltIn)
    }
}

impl GraphLevel {
    /// `least`: what holds for every level.
    fn from_wire(level: wire::GraphLevel, least: Option<u32>) -> Self {
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
            effective_min_nodes: least
                .filter(|_| check != Check::None.as_str())
                .map(|least| least.max(min_nodes)),
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
pub fn read(path: &Path) -> Result<GateGraph, ProbeError> {
    Ok(GateGraph::of(&expectation(file(path)?), Source::File))
}

/// What a collector expects that was given this file and no flags.
pub fn expectation(file: GraphFile) -> Expectation {
    Expectation {
        min_nodes: file
            .min_nodes
            .unwrap_or_else(|| Expectation::default().min_nodes),
        names: file.nodes,
        graph: file.graph,
    }
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
