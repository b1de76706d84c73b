//! The gate graph as data: which levels there are, what each rests on, and what proves it.
//!
//! A graph that exists is sound: names are unique, every dependency is declared, nothing rests on itself.
//! [`parse`] makes one of a file, [`Graph::new`] of levels, [`Graph::of_told`] of what another program told; all tell all that is wrong at once.

mod cycle;
mod file;
mod told;

use std::{fmt, sync::Arc, time::Duration};

use evidence::{NodeName, limits};

use crate::levels::{self, Check};

pub use cycle::Cycle;
pub use file::{FIELDS, Field, File, LARGEST_FILE, Problem, Problems, parse};

/// Most levels of one graph.
pub const LEVELS: usize = limits::GATE_LEVELS;
/// Longest name of a level.
pub const NAME: usize = 63;
/// Words after `mesh-probe gate` that are no levels.
const RESERVED: [&str; 1] = ["graph"];

/// One level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its name, as `mesh-probe gate NAME` takes it.
    pub name: String,
    /// What it stands for.
    pub title: String,
    /// The levels directly below it.
    pub depends_on: Vec<Dependency>,
    /// What proves it.
    pub check: Check,
    /// It is ready only after its check was good without a break for so long; zero: at once.
    pub stable_for: Duration,
    /// How old the last report of a node may be, and a node's last look at the discovery service. `None`: as old as
    /// [`crate::timing`] lets it be.
    pub fresh_within: Option<Duration>,
    /// Fewer fresh reporters than this: not ready, whatever the mesh as a whole expects.
    pub min_nodes: usize,
    /// Nodes without which it is not ready.
    pub nodes: Vec<NodeName>,
    /// Whether it rests on certificates, so that wrong clocks shut it.
    pub needs_clocks: bool,
}

/// That one level rests on another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// The lower one.
    pub level: String,
    /// What it costs to do without: of a cycle the cheapest edge is proposed to be cut.
    pub cost: u32,
}

/// The cost of a dependency that names none.
pub const COST: u32 = 1;

impl Level {
    /// A level with a check and nothing else said of it.
    pub fn new(name: &str, below: &[&str], check: Check) -> Self {
        let depends_on = below.iter().map(|level| Dependency {
            level: (*level).to_owned(),
            cost: COST,
        });
        Self {
            name: name.to_owned(),
            title: String::new(),
            depends_on: depends_on.collect(),
            check,
            stable_for: Duration::ZERO,
            fresh_within: None,
            min_nodes: 0,
            nodes: Vec::new(),
            needs_clocks: check == Check::Discovery,
        }
    }
}

/// A sound graph. Cheap to clone: it is part of every view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph(Arc<[Level]>);

/// What is wrong with levels that make no graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    /// Where.
    pub at: At,
    /// What, and what was expected.
    pub text: String,
}

/// A place in a list of levels, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// The list itself.
    List,
    /// A level, as it was told.
    Level(usize),
    /// The name of a level.
    Name(usize),
    /// A dependency of a level.
    Dependency(usize, usize),
}

impl Graph {
    /// Takes levels whose graph is sound.
    pub fn new(levels: Vec<Level>) -> Result<Self, Vec<Flaw>> {
        let mut flaws = Vec::new();
        if levels.is_empty() || levels.len() > LEVELS {
            flaws.push(Flaw {
                at: At::List,
                text: format!("expected 1 to {LEVELS} levels, got {}", levels.len()),
            });
        }
        for (index, level) in levels.iter().enumerate() {
            flaws.extend(name_flaw(&levels, index).map(|text| Flaw {
                at: At::Name(index),
                text,
            }));
            flaws.extend(dependency_flaws(&levels, index, level));
        }
        flaws.extend(cycle::find(&levels).into_iter().map(|cycle| Flaw {
            at: At::Dependency(cycle.level, cycle.dependency),
            text: cycle.to_string(),
        }));
        if flaws.is_empty() {
            return Ok(Self(levels.into()));
        }
        flaws.sort_by_key(|flaw| flaw.at);
        Err(flaws)
    }

    pub(crate) fn empty() -> Self {
        Self(Arc::new([]))
    }

    /// All levels, as they were declared.
    pub fn levels(&self) -> &[Level] {
        &self.0
    }

    /// A level by name.
    pub fn level(&self, name: &str) -> Option<&Level> {
        self.0.iter().find(|level| level.name == name)
    }

    /// All levels below `level`, nearest first, each once.
    pub fn below(&self, level: &Level) -> Vec<&Level> {
        let mut found: Vec<&Level> = Vec::new();
        let mut open: Vec<&Dependency> = level.depends_on.iter().collect();
        while !open.is_empty() {
            let next = open.remove(0);
            let Some(next) = self.level(&next.level) else {
                continue;
            };
            if !found.contains(&next) {
                found.push(next);
                open.extend(&next.depends_on);
            }
        }
        found
    }
}

impl Default for Graph {
    fn default() -> Self {
        levels::default_graph()
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn name_flaw(levels: &[Level], index: usize) -> Option<String> {
    let name = &levels.get(index)?.name;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > NAME || name.starts_with('-') || !name.bytes().all(letter) {
        return Some(format!(
            "expected 1 to {NAME} lower-case letters, digits and -, and no - first, got {name:?}"
        ));
    }
    if RESERVED.contains(&name.as_str()) {
        return Some(format!("{name:?} is a command of `mesh-probe gate`"));
    }
    let twice = levels.iter().take(index).any(|level| level.name == *name);
    twice.then(|| format!("there is a level {name:?} already"))
}

fn dependency_flaws<'a>(
    levels: &'a [Level],
    index: usize,
    level: &'a Level,
) -> impl Iterator<Item = Flaw> + 'a {
    let flaw = move |place: usize, dependency: &Dependency| {
        let name = &dependency.level;
        if !levels.iter().any(|other| other.name == *name) {
            let known: Vec<&str> = levels.iter().map(|level| level.name.as_str()).collect();
            return Some(format!(
                "there is no level {name:?}; known levels: {}",
                known.join(", ")
            ));
        }
        let twice = level
            .depends_on
            .iter()
            .take(place)
            .any(|other| other.level == *name);
        twice.then(|| format!("{name:?} is named already"))
    };
    let dependencies = level.depends_on.iter().enumerate();
    dependencies.filter_map(move |(place, dependency)| {
        Some(Flaw {
            at: At::Dependency(index, place),
            text: flaw(place, dependency)?,
        })
    })
}

#[cfg(test)]
mod tests;
