//! Circles in a graph, and the edge of each that is cheapest to do without.

use std::{collections::BTreeSet, fmt};

use super::Level;

/// A circle of levels of which none could ever be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    /// The levels in the order of their dependencies; the last rests on the first.
    pub path: Vec<String>,
    /// Index of the level whose dependency is cheapest to cut.
    pub level: usize,
    /// Index of that dependency.
    pub dependency: usize,
    /// That edge: who rests on whom.
    pub cut: (String, String),
    /// What it costs.
    pub cost: u32,
}

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.path.first().map_or("", String::as_str);
        let (from, to) = &self.cut;
        write!(
            f,
            "circular: {} -> {first}; cheapest to cut: {from} -> {to} (cost {})",
            self.path.join(" -> "),
            self.cost
        )
    }
}

/// An edge: a level, and which of its dependencies.
type Edge = (usize, usize);

/// Circles until none is left, each cut at its cheapest edge before the next is looked for. Of edges that cost the same,
/// the one declared last: what was written first is more likely what was meant.
pub(super) fn find(levels: &[Level]) -> Vec<Cycle> {
    let mut cut = BTreeSet::new();
    let mut found = Vec::new();
    // Each round cuts an edge, so there is an end.
    while let Some(edges) = first(levels, &cut) {
        let cheapest = edges
            .iter()
            .copied()
            .rev()
            .min_by_key(|edge| (cost(levels, *edge), std::cmp::Reverse(*edge)));
        let Some(edge) = cheapest else {
            break;
        };
        cut.insert(edge);
        let name = |at: usize| {
            levels
                .get(at)
                .map_or_else(String::new, |level| level.name.clone())
        };
        found.push(Cycle {
            path: edges.iter().map(|(level, _)| name(*level)).collect(),
            level: edge.0,
            dependency: edge.1,
            cut: (
                name(edge.0),
                target(levels, edge).map_or_else(String::new, name),
            ),
            cost: cost(levels, edge),
        });
    }
    found
}

fn cost(levels: &[Level], (level, dependency): Edge) -> u32 {
    let level = levels.get(level);
    level
        .and_then(|level| level.depends_on.get(dependency))
        .map_or(0, |dependency| dependency.cost)
}

fn target(levels: &[Level], (level, dependency): Edge) -> Option<usize> {
    let name = &levels.get(level)?.depends_on.get(dependency)?.level;
    levels.iter().position(|other| other.name == *name)
}

/// The edges of a circle, if there is one. Depth first, with a stack of its own: a file may be as deep as it likes.
fn first(levels: &[Level], cut: &BTreeSet<Edge>) -> Option<Vec<Edge>> {
    let mut done = vec![false; levels.len()];
    for start in 0..levels.len() {
        // The way from `start`: each level, and which of its dependencies is looked at.
        let mut way: Vec<Edge> = vec![(start, 0)];
        while let Some(edge) = way.last().copied() {
            let (level, dependency) = edge;
            let all = levels.get(level).map_or(0, |level| level.depends_on.len());
            if done.get(level).copied().unwrap_or(true) || dependency >= all {
                if let Some(done) = done.get_mut(level) {
                    *done = true;
                }
                way.pop();
                if let Some((_, dependency)) = way.last_mut() {
                    *dependency += 1;
                }
                continue;
            }
            let next = target(levels, edge).filter(|_| !cut.contains(&edge));
            let Some(next) = next else {
                if let Some((_, dependency)) = way.last_mut() {
                    *dependency += 1;
                }
                continue;
            };
            if let Some(at) = way.iter().position(|(level, _)| *level == next) {
                return Some(way.split_off(at));
            }
            way.push((next, 0));
        }
    }
    None
}
