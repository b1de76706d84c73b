//! A gate graph in YAML. Everything that is wrong is told at once, each with its line and the path of its key.

mod fields;
mod tree;
mod values;

use std::{fmt, time::Duration};

use evidence::{NodeName, limits};

use super::{At, COST, Dependency, Flaw, Graph, LEVELS, Level};
use crate::{levels::Check, timing};
pub use fields::{FIELDS, Field};
use tree::{Node, Tree};

/// Largest file that is read, in bytes.
pub const LARGEST_FILE: usize = 256 * 1024;
/// Longest title of a level, in characters.
pub(super) const TITLE: usize = 200;
/// Longest stability window: a day that is waited for is a mistake.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// Shortest bound on freshness: agents speak once a second, and one word may be late.
pub(super) const SHORTEST: Duration = Duration::from_secs(2);
/// Highest cost of a dependency.
pub(super) const HIGHEST_COST: u64 = 1000;

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// The levels.
    pub graph: Graph,
    /// Fewer fresh reporters than this: nothing is ready.
    pub min_nodes: Option<usize>,
    /// Nodes that must report.
    pub nodes: Vec<NodeName>,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: String,
    /// Its line; 0 where nobody knows.
    pub line: u64,
    /// The path of the key, as `levels[3].depends_on[0]`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, and what was expected.
    pub text: String,
}

/// All that is wrong with a file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.file, self.line)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Problems {}

/// Reads a graph. `file` is how problems name it.
pub fn parse(file: &str, text: &str) -> Result<File, Problems> {
    let mut reading = Reading {
        file: file.to_owned(),
        problems: Vec::new(),
    };
    if text.len() > LARGEST_FILE {
        let got = text.len();
        reading.wrong(
            0,
            "",
            format!("expected at most {LARGEST_FILE} bytes, got {got}"),
        );
        return Err(Problems(reading.problems));
    }
    let root = match tree::parse(text) {
        Ok(root) => root,
        Err((line, text)) => {
            reading.wrong(line, "", text);
            return Err(Problems(reading.problems));
        }
    };
    let raw = reading.file(&root);
    let graph = match Graph::new(raw.levels.iter().map(|raw| raw.level.clone()).collect()) {
        Ok(graph) => Some(graph),
        Err(flaws) => {
            // What could not be read at all has been told already.
            for flaw in flaws {
                reading.flaw(&raw, flaw);
            }
            None
        }
    };
    reading.problems.sort_by_key(|problem| problem.line);
    match graph {
        Some(graph) if reading.problems.is_empty() => Ok(File {
            graph,
            min_nodes: raw.min_nodes,
            nodes: raw.nodes,
        }),
        _ => Err(Problems(reading.problems)),
    }
}

/// The file, with the places that flaws of the graph are told at.
#[derive(Debug, Default)]
struct Raw {
    line: u64,
    levels: Vec<RawLevel>,
    min_nodes: Option<usize>,
    nodes: Vec<NodeName>,
}

#[derive(Debug)]
struct RawLevel {
    level: Level,
    /// Index in the file, which has levels that could not be read too.
    index: usize,
    name_line: u64,
    dependency_lines: Vec<u64>,
}

struct Reading {
    file: String,
    problems: Vec<Problem>,
}

impl Reading {
    fn wrong(&mut self, line: u64, path: impl Into<String>, text: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            line,
            path: path.into(),
            text: text.into(),
        });
    }

    fn expected(&mut self, node: &Node, path: &str, what: &str) {
        self.wrong(
            node.line,
            path,
            format!("expected {what}, got {}", node.tree.said()),
        );
    }

    fn flaw(&mut self, raw: &Raw, Flaw { at, text }: Flaw) {
        let level = |index: usize| raw.levels.get(index);
        match at {
            // An empty list was told where it stands.
            At::List if raw.levels.is_empty() => {}
            At::List => self.wrong(raw.line, "levels", text),
            At::Level(index) | At::Name(index) => {
                if let Some(level) = level(index) {
                    self.wrong(
                        level.name_line,
                        format!("levels[{}].name", level.index),
                        text,
                    );
                }
            }
            At::Dependency(index, place) => {
                if let Some(level) = level(index) {
                    let line = level.dependency_lines.get(place).copied().unwrap_or(0);
                    let path = format!("levels[{}].depends_on[{place}]", level.index);
                    self.wrong(line, path, text);
                }
            }
        }
    }

    fn file(&mut self, root: &Node) -> Raw {
        let mut raw = Raw::default();
        let Some(fields) = self.fields(root, "", &["expect", "levels"]) else {
            return raw;
        };
        if let Some(expect) = fields.get("expect") {
            (raw.min_nodes, raw.nodes) = self.expectation(expect, "expect");
        }
        let Some(levels) = fields.get("levels") else {
            self.wrong(root.line, "levels", "is missing: expected a list of levels");
            return raw;
        };
        raw.line = levels.line;
        let items = self.list(levels, "levels");
        if items.is_empty() && matches!(levels.tree, Tree::List(_)) {
            self.expected(levels, "levels", "a list of levels");
        }
        if items.len() > LEVELS {
            let text = format!("expected at most {LEVELS} levels, got {}", items.len());
            self.wrong(levels.line, "levels", text);
        }
        for (index, node) in items.iter().enumerate().take(LEVELS) {
            let level = self.level(node, index);
            raw.levels.extend(level);
        }
        raw
    }

    fn level(&mut self, node: &Node, index: usize) -> Option<RawLevel> {
        const KEYS: [&str; 8] = [
            "name",
            "title",
            "depends_on",
            "check",
            "stable_for",
            "fresh_within",
            "expect",
            "needs_clocks",
        ];
        let path = |key: &str| format!("levels[{index}].{key}");
        let fields = self.fields(node, &format!("levels[{index}]"), &KEYS)?;
        let check = match fields.get("check") {
            Some(check) => self.check(check, &path("check")),
            None => Check::None,
        };
        let Some(name) = fields.get("name") else {
            self.wrong(node.line, path("name"), "is missing: expected a name");
            return None;
        };
        let name_line = name.line;
        let name = self.text(name, &path("name"))?;
        let mut level = Level::new(&name, &[], check);
        if let Some(title) = fields.get("title") {
            level.title = self.title(title, &path("title"));
        }
        let mut dependency_lines = Vec::new();
        if let Some(below) = fields.get("depends_on") {
            for (place, item) in self.list(below, &path("depends_on")).iter().enumerate() {
                let path = format!("{}[{place}]", path("depends_on"));
                let dependency = self.dependency(item, &path);
                dependency_lines.extend(dependency.as_ref().map(|_| item.line));
                level.depends_on.extend(dependency);
            }
        }
        if let Some(time) = fields.get("stable_for") {
            let wanted = "a time up to 1h, as 30s or 5m";
            let time = self.time(time, &path("stable_for"), wanted, |time| time <= LONGEST);
            level.stable_for = time.unwrap_or_default();
        }
        if let Some(time) = fields.get("fresh_within") {
            let most = timing::DISCOVERY_FRESH;
            let wanted = "a time from 2s to 4m, as 3s";
            let fits = |time| (SHORTEST..=most).contains(&time);
            level.fresh_within = self.time(time, &path("fresh_within"), wanted, fits);
        }
        if let Some(expect) = fields.get("expect") {
            let (least, nodes) = self.expectation(expect, &path("expect"));
            level.min_nodes = least.unwrap_or_default();
            level.nodes = nodes;
        }
        if let Some(needs) = fields.get("needs_clocks") {
            match needs.tree {
                Tree::Bool(needs) => level.needs_clocks = needs,
                _ => self.expected(needs, &path("needs_clocks"), "true or false"),
            }
        }
        Some(RawLevel {
            level,
            index,
            name_line,
            dependency_lines,
        })
    }

    fn dependency(&mut self, node: &Node, path: &str) -> Option<Dependency> {
        if let Tree::Text(level) = &node.tree {
            return Some(Dependency {
                level: level.clone(),
                cost: COST,
            });
        }
        if !matches!(node.tree, Tree::Map(_)) {
            self.expected(node, path, "a name, or a map of level and cost");
            return None;
        }
        let fields = self.fields(node, path, &["level", "cost"])?;
        let cost = match fields.get("cost") {
            Some(cost) => {
                let wanted = format!("a number from 1 to {HIGHEST_COST}");
                self.number(cost, &format!("{path}.cost"), &wanted, 1..=HIGHEST_COST)
            }
            None => Some(u64::from(COST)),
        };
        let Some(level) = fields.get("level") else {
            self.wrong(
                node.line,
                format!("{path}.level"),
                "is missing: expected a name",
            );
            return None;
        };
        Some(Dependency {
            level: self.text(level, &format!("{path}.level"))?,
            cost: cost
                .and_then(|cost| u32::try_from(cost).ok())
                .unwrap_or(COST),
        })
    }

    fn expectation(&mut self, node: &Node, path: &str) -> (Option<usize>, Vec<NodeName>) {
        let Some(fields) = self.fields(node, path, &["min_nodes", "nodes"]) else {
            return (None, Vec::new());
        };
        let most = u64::try_from(limits::NODES).unwrap_or(u64::MAX);
        let least = fields.get("min_nodes").and_then(|least| {
            let wanted = format!("a number from 1 to {most}");
            self.number(least, &format!("{path}.min_nodes"), &wanted, 1..=most)
        });
        let mut nodes = Vec::new();
        if let Some(names) = fields.get("nodes") {
            let path = format!("{path}.nodes");
            for (place, item) in self
                .list(names, &path)
                .iter()
                .enumerate()
                .take(limits::NODES)
            {
                let path = format!("{path}[{place}]");
                let Some(text) = self.text(item, &path) else {
                    continue;
                };
                match NodeName::parse(&text) {
                    Ok(name) if nodes.contains(&name) => {
                        self.wrong(item.line, path, format!("{text:?} is named already"));
                    }
                    Ok(name) => nodes.push(name),
                    Err(_) => self.expected(item, &path, "a node name"),
                }
            }
        }
        (least.and_then(|least| usize::try_from(least).ok()), nodes)
    }

    fn check(&mut self, node: &Node, path: &str) -> Check {
        let check = match &node.tree {
            Tree::Text(text) => Check::parse(text),
            _ => None,
        };
        if check.is_none() {
            let known = Check::ALL.map(Check::as_str).join(", ");
            self.expected(node, path, &format!("one of {known}"));
        }
        check.unwrap_or(Check::None)
    }

    fn title(&mut self, node: &Node, path: &str) -> String {
        let title = self.text(node, path).unwrap_or_default();
        let unfit = title.chars().count() > TITLE || title.chars().any(char::is_control);
        if unfit {
            let text = format!("expected one line of at most {TITLE} characters");
            self.wrong(node.line, path, text);
        }
        title
    }
}
