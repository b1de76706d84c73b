//! What has changed: the past of single pairs, and single changes as a person or a store wants them.

use serde::{Deserialize, Serialize};

use crate::{Moment, NodeRef, Phase, Rung, words};

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
    /// Set where an earlier run of the collector judged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<Earlier>,
}

impl Transition {
    /// How long ago it was, as far as that is known.
    pub fn ago(&self, now: Moment) -> String {
        let age = words::human(now.since(self.at));
        match self.earlier.map(|earlier| earlier.dated) {
            None | Some(Dated::Exactly) => age,
            Some(Dated::ByWallClock) => format!("about {age}"),
            Some(Dated::Unknown) => "unknown".to_owned(),
        }
    }
}

/// Of a transition from before the collector was started: which run judged it, and when that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Earlier {
    /// The run; the first one with a store is 1.
    pub run: u64,
    /// What the collector's wall clock said then, in milliseconds since 1970. It may have been wrong.
    pub wall_ms: i64,
    /// How far [`Transition::at`] can be trusted.
    pub dated: Dated,
}

/// How the moment of something from an earlier run is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dated {
    /// The machine has not booted since: its monotonic clock tells.
    Exactly,
    /// By the wall clock then and at the start of this run: about right if both were.
    ByWallClock,
    /// The wall clock stepped. The moment is the latest that it can have been.
    Unknown,
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
        /// The first reason, if it is not ready now; if only whether it may start has changed, the first why it may not.
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

/// A change as it is told to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What changed.
    pub what: String,
    /// How.
    pub how: String,
    /// Why, if that is known.
    pub why: String,
    /// Whether it is good now; neither, if that is not known.
    pub good: Option<bool>,
}

impl Change {
    /// The change in words.
    pub fn told(&self) -> Told {
        match self {
            Self::Gate {
                level,
                ready,
                may_start,
                reason,
            } => Told {
                what: format!("gate {level}"),
                how: gate(*ready, *may_start),
                why: reason.clone().unwrap_or_default(),
                good: match ready.1 {
                    Phase::Ready => Some(true),
                    Phase::NotReady => Some(false),
                    Phase::Unknown => None,
                },
            },
            Self::Opened {
                code,
                subject,
                summary,
            } => Told {
                what: format!("{code} at {subject}"),
                how: "found".to_owned(),
                why: summary.clone(),
                good: Some(false),
            },
            Self::Closed { code, subject } => Told {
                what: format!("{code} at {subject}"),
                how: "gone".to_owned(),
                why: String::new(),
                good: Some(true),
            },
            Self::Pair {
                from,
                to,
                good,
                rung,
            } => Told {
                what: format!("{from} -> {to}"),
                how: if *good { "good again" } else { "failed" }.to_owned(),
                why: format!("at {rung}"),
                good: Some(*good),
            },
        }
    }
}

fn gate(ready: (Phase, Phase), may_start: (Phase, Phase)) -> String {
    let arrow = |(before, now): (Phase, Phase)| format!("{} -> {}", before.as_str(), now.as_str());
    if ready.0 == ready.1 {
        return format!("may start: {}", arrow(may_start));
    }
    arrow(ready)
}
