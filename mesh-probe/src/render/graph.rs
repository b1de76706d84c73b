//! The gate graph: a table, and what draws it.

use std::fmt::Write as _;

use evidence::Phase;

use super::{
    Style,
    gates::phase,
    screen::Screen,
    table::{Cell, Table},
    text::{clean, count, few, human_ms},
};
use crate::graph::{Edge, Expect, GateGraph, GraphLevel};

/// Names that are shown of those that every level expects; `-o wide` shows all.
const NAMES: usize = 8;

/// A table; with states, if they are known.
pub fn graph(graph: &GateGraph, style: Style) -> String {
    let levels = &graph.levels;
    let mut screen = Screen::new(style.colour);
    let known = levels.iter().any(|level| level.state.is_some());
    let mut header = vec!["LEVEL"];
    if known {
        header.extend(["READY", "MAY START"]);
    }
    header.extend(["CHECK", "RESTS ON", "ASKS FOR"]);
    if style.wide {
        header.push("WHAT IT IS FOR");
    }
    let mut table = Table::with_header(header);
    for level in levels {
        let mut row = vec![Cell::plain(&level.name)];
        if known {
            let state = level.state.as_ref();
            row.extend([
                phase(state.map_or(Phase::Unknown, |gate| gate.phase)),
                phase(state.map_or(Phase::Unknown, |gate| gate.may_start)),
            ]);
        }
        let below: Vec<&str> = level.depends_on.iter().map(|edge| &*edge.level).collect();
        row.extend([
            Cell::plain(&level.check),
            Cell::plain(or_dash(&below.join(", "))),
            Cell::plain(or_dash(&asks_for(level))),
        ]);
        if style.wide {
            row.push(Cell::plain(&level.title));
        }
        table.row(row);
    }
    table.draw(&mut screen, 0);
    if let Some(expect) = &graph.expect {
        screen.line(&for_every_level(expect, style));
    }
    screen.finish()
}

fn for_every_level(expect: &Expect, style: Style) -> String {
    let least = usize::try_from(expect.min_nodes).unwrap_or(usize::MAX);
    let report = if least == 1 { "reports" } else { "report" };
    let all = format!(
        "every level with a check: at least {} {report}",
        count(least, "node")
    );
    if expect.nodes.is_empty() {
        return all;
    }
    let most = if style.wide { usize::MAX } else { NAMES };
    format!("{all}, and {} among them", few(expect.nodes.iter(), most))
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

fn asks_for(level: &GraphLevel) -> String {
    let mut wants = Vec::new();
    if level.stable_ms > 0 {
        wants.push(format!("{} without a break", human_ms(level.stable_ms)));
    }
    if let Some(fresh) = level.fresh_ms {
        wants.push(format!("reports within {}", human_ms(fresh)));
    }
    let least = level.effective_min_nodes.unwrap_or(level.min_nodes);
    if least > 0 {
        wants.push(count(usize::try_from(least).unwrap_or(usize::MAX), "node"));
    }
    if !level.nodes.is_empty() {
        wants.push(level.nodes.join(" "));
    }
    if level.needs_clocks {
        wants.push("clocks".to_owned());
    }
    wants.join(", ")
}

/// A cost that says nothing is not drawn.
fn cost(edge: &Edge) -> Option<String> {
    (edge.cost != diagnosis::graph::COST).then(|| format!("cost {}", edge.cost))
}

/// For <https://mermaid.js.org>, as Markdown on many sites draws it.
pub fn mermaid(levels: &[GraphLevel]) -> String {
    let mut text = String::from("flowchart BT\n");
    let quoted = |text: &str| entities(&clean(text));
    let id = |name: &str| levels.iter().position(|level| level.name == name);
    for (place, level) in levels.iter().enumerate() {
        let title = if level.title.is_empty() {
            String::new()
        } else {
            format!("<br/>{}", quoted(&level.title))
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  l{place}[\"{}{title}\"]", quoted(&level.name));
        if let Some(state) = &level.state {
            let _ = writeln!(text, "  class l{place} {}", state.phase.as_str());
        }
    }
    for (place, level) in levels.iter().enumerate() {
        for edge in &level.depends_on {
            let Some(below) = id(&edge.level) else {
                continue;
            };
            let label = cost(edge).map_or_else(String::new, |cost| format!("|{cost}|"));
            let _ = writeln!(text, "  l{below} -->{label} l{place}");
        }
    }
    if levels.iter().any(|level| level.state.is_some()) {
        text.push_str("  classDef ready stroke:#2a2,stroke-width:3px\n");
        text.push_str("  classDef not-ready stroke:#c22,stroke-width:3px\n");
        text.push_str("  classDef unknown stroke-dasharray:4\n");
    }
    text
}

/// Mermaid has no escapes but entities, and `#` begins one.
fn entities(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '#' => written.push_str("#35;"),
            '"' => written.push_str("#quot;"),
            '&' => written.push_str("#amp;"),
            '<' => written.push_str("#lt;"),
            '>' => written.push_str("#gt;"),
            other => written.push(other),
        }
    }
    written
}

/// For Graphviz.
pub fn dot(levels: &[GraphLevel]) -> String {
    let quoted = |text: &str| clean(text).replace('\\', "\\\\").replace('"', "\\\"");
    let mut text = String::from("digraph gates {\n  rankdir=BT;\n  node [shape=box];\n");
    for level in levels {
        let title = if level.title.is_empty() {
            String::new()
        } else {
            // A label may hold entities; a name does not.
            format!("\\n{}", quoted(&level.title).replace('&', "&amp;"))
        };
        let colour = match level.state.as_ref().map(|state| state.phase) {
            Some(Phase::Ready) => ", color=green",
            Some(Phase::NotReady) => ", color=red",
            Some(Phase::Unknown) => ", style=dashed",
            None => "",
        };
        let name = quoted(&level.name);
        let _ = writeln!(text, "  \"{name}\" [label=\"{name}{title}\"{colour}];");
    }
    for level in levels {
        for edge in &level.depends_on {
            let label = cost(edge).map_or_else(String::new, |cost| format!(" [label=\"{cost}\"]"));
            let (from, to) = (quoted(&edge.level), quoted(&level.name));
            let _ = writeln!(text, "  \"{from}\" -> \"{to}\"{label};");
        }
    }
    text.push_str("}\n");
    text
}
