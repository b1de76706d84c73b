//! What the collector holds, as `diagnose` takes it.

use std::collections::BTreeMap;

use evidence::{Facts, Moment, NodeName};

use crate::{History, graph::Graph};

/// Everything that is known at one moment; all moments are on the collector's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// When the collector began to listen: nobody is missed before he had time to come.
    pub started: Moment,
    /// The nodes that have reported since then.
    pub nodes: BTreeMap<NodeName, NodeView>,
    /// What the operator expects.
    pub expectation: Expectation,
    /// How pairs have changed of late.
    pub history: History,
}

/// One node's reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeView {
    /// The present facts.
    pub facts: Facts,
    /// Whether its report stream is open.
    pub stream: Stream,
    /// When this stream's snapshot came.
    pub since: Moment,
    /// When the last message came.
    pub last_report: Moment,
    /// Since when messages have come without a pause of [`crate::timing::PAUSE`]. Who was cut off comes back with a
    /// count of losses that says nothing about now.
    pub steady_since: Moment,
    /// A second machine that claims the same name, if one was seen.
    pub conflict: Option<Conflict>,
}

/// The report stream of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Open.
    Open,
    /// Ended at that moment.
    Closed(Moment),
}

/// A second key or machine under the name of a node whose first key is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// When it last tried.
    pub at: Moment,
    /// What differs: the certificate's key, or the boot id at the same time.
    pub what: String,
}

/// Which nodes must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Fewer fresh reporters than this: nothing is ready. Three agents of five cannot pass as three of three.
    pub min_nodes: usize,
    /// Nodes that must report, besides all that appear as peers in somebody's device.
    pub names: Vec<NodeName>,
    /// The levels that are judged.
    pub graph: Graph,
}

impl Default for Expectation {
    fn default() -> Self {
        Self {
            min_nodes: 2,
            names: Vec::new(),
            graph: Graph::default(),
        }
    }
}
