//! A graph as one program tells it another: by the same limits as a file.

use std::time::Duration;

use evidence::{GateDependency, GateLevel, limits};

use super::{
    At, Dependency, Flaw, Graph, LEVELS, Level,
    file::{HIGHEST_COST, LONGEST, SHORTEST, TITLE},
};
use crate::{levels::Check, timing};

impl Graph {
    /// The levels as they are told.
    pub fn told(&self) -> Vec<GateLevel> {
        self.levels().iter().map(told).collect()
    }

    /// Takes levels that were told, if they make a sound graph within the limits of a file.
    pub fn of_told(levels: Vec<GateLevel>) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        // What is too large is not looked at more closely: names of levels are in the text of each flaw.
        if levels.len() > LEVELS {
            let text = format!("expected 1 to {LEVELS} levels, got {}", levels.len());
            let at = At::List;
            return Err(vec![Flaw { at, text }]);
        }
        let mut taken = Vec::new();
        for (index, level) in levels.into_iter().enumerate() {
            let at = At::Level(index);
            flaws.extend(level_flaws(&level).map(|text| Flaw { at, text }));
            taken.extend(taken_level(level));
        }
        if flaws.is_empty() {
            return Self::new(taken);
        }
        Err(flaws)
    }
}

impl Flaw {
    /// The flaw with its place, levels counted from 1.
    pub fn placed(&self) -> String {
        let text = &self.text;
        match self.at {
            At::List => text.clone(),
            At::Level(index) | At::Name(index) | At::Dependency(index, _) => {
                format!("level {}: {text}", index + 1)
            }
        }
    }
}

fn told(level: &Level) -> GateLevel {
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
    let dependency = |Dependency { level, cost }: &Dependency| GateDependency {
        level: level.clone(),
        cost: *cost,
    };
    GateLevel {
        name: name.clone(),
        title: title.clone(),
        depends_on: depends_on.iter().map(dependency).collect(),
        check: check.as_str().to_owned(),
        stable_ms: millis(*stable_for),
        fresh_ms: fresh_within.map(millis),
        min_nodes: u32::try_from(*min_nodes).unwrap_or(u32::MAX),
        nodes: nodes.clone(),
        needs_clocks: *needs_clocks,
    }
}

/// `None` if nobody knows its check.
fn taken_level(level: GateLevel) -> Option<Level> {
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
    let dependency = |GateDependency { level, cost }| Dependency { level, cost };
    Some(Level {
        name,
        title,
        depends_on: depends_on.into_iter().map(dependency).collect(),
        check: Check::parse(&check)?,
        stable_for: Duration::from_millis(stable_ms),
        fresh_within: fresh_ms.map(Duration::from_millis),
        min_nodes: usize::try_from(min_nodes).unwrap_or(usize::MAX),
        nodes,
        needs_clocks,
    })
}

/// What is wrong with a level alone; its name and its place in the graph are looked at with the others.
fn level_flaws(level: &GateLevel) -> impl Iterator<Item = String> {
    let most = timing::DISCOVERY_FRESH;
    let time = Duration::from_millis;
    let depends_on = level.depends_on.len();
    let cost = level.depends_on.iter().map(|below| below.cost);
    let cost = cost
        .map(u64::from)
        .find(|cost| !(1..=HIGHEST_COST).contains(cost));
    let least = usize::try_from(level.min_nodes).unwrap_or(usize::MAX);
    let mut nodes: Vec<_> = level.nodes.iter().collect();
    nodes.sort();
    let twice = nodes.windows(2).find(|two| two[0] == two[1]);
    let fresh = level
        .fresh_ms
        .filter(|fresh| !(SHORTEST..=most).contains(&time(*fresh)));
    let is_line =
        level.title.chars().count() <= TITLE && !level.title.chars().any(char::is_control);
    let flaws = [
        Check::parse(&level.check).is_none().then(|| {
            let known = Check::ALL.map(Check::as_str).join(", ");
            format!("check: expected one of {known}, got {:?}", level.check)
        }),
        (!is_line).then(|| format!("title: expected one line of at most {TITLE} characters")),
        (depends_on > LEVELS)
            .then(|| format!("depends_on: expected at most {LEVELS} levels, got {depends_on}")),
        cost.map(|cost| format!("cost: expected a number from 1 to {HIGHEST_COST}, got {cost}")),
        (time(level.stable_ms) > LONGEST).then(|| {
            format!(
                "stable_for: expected at most 1h, got {} ms",
                level.stable_ms
            )
        }),
        fresh.map(|fresh| format!("fresh_within: expected 2s to 4m, got {fresh} ms")),
        (least > limits::NODES || nodes.len() > limits::NODES).then(|| {
            let (most, named) = (limits::NODES, nodes.len());
            format!("expect: at most {most} nodes, got {least} and {named} names")
        }),
        twice.map(|two| format!("nodes: {:?} is named already", two[0].as_str())),
    ];
    flaws.into_iter().flatten()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
