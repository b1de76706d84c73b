//! What has changed: the past of single pairs, and single changes as a person or a store wants them.

use serde::{Deserialize, Serialize};

use crate::{Moment, NodeRef, Phase, Rung};

/// How an ordered pair has changed between good and failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairPast {
    /// The sending node.
    pub from: NodeRef,
    /// The receiving node.
    pub to: NodeRef,
    /// What it was when it was last decided.
    pub good: bool,
    /// The lowest rung that failed.
    pub rung: Rung,
    /// When it changed, oldest first, at most [`crate::limits::PAIR_CHANGES`].
    pub changes: Vec<Moment>,
}

/// One change of what is judged. A list of them needs nothing else to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When it was judged, on the collector's timeline.
    pub at: Moment,
    /// What changed.
    pub change: Change,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "kind"
)]
pub enum Change {
    /// A level.
    Gate {
        /// Its name.
        level: String,
        /// Its own checks: before, and now.
        ready: (Phase, Phase),
        /// Whether everything below it is ready: before, and now.
        may_start: (Phase, Phase),
        /// The first reason, if it is not ready now.
        reason: Option<String>,
    },
    /// A root finding came.
    Opened {
        /// Its code.
        code: String,
        /// What it is about.
        subject: String,
        /// What is wrong.
        summary: String,
    },
    /// A root finding is gone.
    Closed {
        /// Its code.
        code: String,
        /// What it was about.
        subject: String,
    },
    /// An ordered pair.
    Pair {
        /// The sending node.
        from: NodeRef,
        /// The receiving node.
        to: NodeRef,
        /// Whether it is good now.
        good: bool,
        /// Where it fails, or failed.
        rung: Rung,
    },
}
