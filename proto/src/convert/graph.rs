//! Levels of the gate graph. Whether they make a graph is checked by who judges by them.

use ::evidence::{GateDependency, GateLevel, NodeName, limits};

use super::{ConvertError, at_most, short_text};
use crate::wire;

/// What holds for every level, for the wire.
pub fn expect_to_wire(min_nodes: usize, nodes: &[NodeName]) -> wire::Expect {
    wire::Expect {
        min_nodes: u32::try_from(min_nodes).unwrap_or(u32::MAX),
        nodes: nodes.iter().map(ToString::to_string).collect(),
    }
}

/// A level for the wire, without its state.
pub fn level_to_wire(level: &GateLevel) -> wire::GraphLevel {
    let GateLevel {
        name,
        title,
        depends_on,
        check,
        stable_ms,
        fresh_ms,
        min_nodes,
        nodes,
        needs_clocks,
    } = level;
    let dependency = |dependency: &GateDependency| wire::Dependency {
        level: dependency.level.clone(),
        cost: dependency.cost,
    };
    wire::GraphLevel {
        name: name.clone(),
        title: title.clone(),
        depends_on: depends_on.iter().map(dependency).collect(),
        check: check.clone(),
        stable_ms: *stable_ms,
        fresh_ms: *fresh_ms,
        min_nodes: *min_nodes,
        nodes: nodes.iter().map(ToString::to_string).collect(),
        needs_clocks: *needs_clocks,
        state: None,
    }
}

/// A level from the wire; its state is not part of it.
pub fn level_from_wire(level: wire::GraphLevel) -> Result<GateLevel, ConvertError> {
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
        state: _,
    } = level;
    at_most("graph.depends_on", depends_on.len(), limits::GATE_LEVELS)?;
    at_most("graph.nodes", nodes.len(), limits::NODES)?;
    let dependency = |wire::Dependency { level, cost }| {
        let level = short_text("graph.depends_on.level", level)?;
        Ok(GateDependency { level, cost })
    };
    let node = |name: &String| {
        NodeName::parse(name).map_err(|error| ConvertError::new("graph.nodes", error.to_string()))
    };
    Ok(GateLevel {
        name: short_text("graph.name", name)?,
        // Its length in characters is for the graph to check.
        title,
        depends_on: depends_on
            .into_iter()
            .map(dependency)
            .collect::<Result<_, _>>()?,
        check: short_text("graph.check", check)?,
        stable_ms,
        fresh_ms,
        min_nodes,
        nodes: nodes.iter().map(node).collect::<Result<_, _>>()?,
        needs_clocks,
    })
}
