//! From a verdict to text: pure functions, so that every screen is a golden test.
//!
//! All text goes through [`Screen`], which escapes what a terminal would obey: names, reasons and evidence come from other
//! machines.

mod agent;
mod bundle;
mod explain;
mod facts;
mod findings;
mod gate;
mod gates;
mod graph;
mod history;
mod install;
mod matrix;
pub mod node;
mod nodes;
mod pairs;
mod screen;
mod status;
mod table;
mod talos;

pub use evidence::words as text;

pub use agent::{agent, basis};
pub use bundle::{bundle, replay};
pub use explain::{codes, page};
pub use facts::facts;
pub use gate::{Asked, brief, gate, nagios, named_codes, one_line, said_by, terraform, voices};
pub use graph::{dot, graph, mermaid};
pub use history::history;
pub use install::install;
pub use node::node;
pub use pairs::{pairs, some_pairs};
pub use screen::{Paint, Screen};
pub use status::status;
pub use talos::talos;

/// How an answer looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Bold, red and green.
    pub colour: bool,
    /// Every detail.
    pub wide: bool,
}

/// Lines that are neither coloured nor laid out.
pub fn lines(lines: impl IntoIterator<Item = String>) -> String {
    let mut screen = Screen::new(false);
    for line in lines {
        screen.line(&line);
    }
    screen.finish()
}

/// Meshes of at most this many nodes are shown whole; of larger ones only what is not well.
const WHOLE: usize = 12;
