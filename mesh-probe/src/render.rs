//! From a verdict to text: pure functions, so that every screen is a golden test.
//!
//! All text goes through [`Screen`], which escapes what a terminal would obey: names, reasons and evidence come from other
//! machines.

mod bundle;
mod explain;
mod facts;
mod findings;
mod gate;
mod gates;
mod health;
mod history;
mod list;
mod matrix;
pub mod node;
mod nodes;
mod pairs;
mod screen;
mod status;
mod table;
mod talos;
pub mod text;

pub use bundle::{bundle, replay};
pub use explain::{codes, page};
pub use facts::facts;
pub use gate::{Asked, gate, one_line};
pub use history::history;
pub use node::node;
pub use pairs::pairs;
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

/// Meshes of at most this many nodes are shown whole; of larger ones only what is not well.
const WHOLE: usize = 12;
