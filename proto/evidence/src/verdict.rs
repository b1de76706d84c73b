//! What follows from the facts: ladders, findings, gates. Produced by `diagnosis`, shown to people and programs.
//!
//! These types serialise to the JSON of the command line (camel case; durations in milliseconds).

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{NodeName, NodeRef, PairHealth, Subject, Tally};

/// What is known about one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Proved good by fresh evidence.
    Pass,
    /// Good, with something worth a look.
    Warn,
    /// Proved bad by fresh evidence.
    Fail,
    /// Good at the moment, and not for long enough after it came and went.
    Flapping,
    /// No fresh evidence, or evidence that decides nothing. Never good.
    Unknown,
    /// Cannot be asked yet: a lower rung is missing, or this version does not measure it.
    NotApplicableYet,
}

impl Outcome {
    /// The word a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Flapping => "flapping",
            Self::Unknown => "unknown",
            Self::NotApplicableYet => "not-applicable-yet",
        }
    }

    /// Whether the question is answered well enough to build on.
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Pass | Self::Warn)
    }
}

/// The rungs of the ladder of one ordered pair, bottom up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// Does A know B, with an endpoint?
    Discovered,
    /// Do A's datagrams to B's 51820 arrive at B?
    Underlay,
    /// Is there a live `WireGuard` session?
    Handshake,
    /// Does data from A arrive at B inside the tunnel?
    Tunnel,
    /// Does traffic to B's node address enter the tunnel?
    Steering,
    /// Does a full-size packet pass inside the tunnel?
    TunnelMtu,
    /// Do datagrams to the VXLAN port arrive?
    OverlayPort,
    /// Does a pod-size frame fit?
    OverlayMtu,
    /// Does the real overlay carry?
    Overlay,
}

impl Rung {
    /// All rungs, bottom up.
    pub const ALL: [Self; 9] = [
        Self::Discovered,
        Self::Underlay,
        Self::Handshake,
        Self::Tunnel,
        Self::Steering,
        Self::TunnelMtu,
        Self::OverlayPort,
        Self::OverlayMtu,
        Self::Overlay,
    ];

    /// The name a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Underlay => "underlay",
            Self::Handshake => "handshake",
            Self::Tunnel => "tunnel",
            Self::Steering => "steering",
            Self::TunnelMtu => "tunnel-mtu",
            Self::OverlayPort => "overlay-port",
            Self::OverlayMtu => "overlay-mtu",
            Self::Overlay => "overlay",
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A fact that a sentence rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Citation {
    /// Who saw it: a node, or the collector itself.
    pub reporter: Reporter,
    /// The key of the fact.
    pub fact: String,
    /// How old it is.
    pub age_ms: u64,
    /// What it says.
    pub text: String,
}

/// Who saw a fact.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Reporter {
    /// The agent on a node.
    Node(NodeName),
    /// The collector: what it saw of the agents' streams.
    Collector,
}

impl fmt::Display for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => f.pad(name.as_str()),
            Self::Collector => f.pad("(collector)"),
        }
    }
}

impl From<String> for Reporter {
    fn from(text: String) -> Self {
        NodeName::parse(&text).map_or(Self::Collector, Self::Node)
    }
}

impl From<Reporter> for String {
    fn from(reporter: Reporter) -> Self {
        reporter.to_string()
    }
}

/// One rung of one pair, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RungState {
    /// Which rung.
    pub rung: Rung,
    /// What is known.
    pub outcome: Outcome,
    /// How it is known, or why it is not.
    pub method: String,
    /// What it rests on.
    pub evidence: Vec<Citation>,
}

/// Everything known about "A can talk to B".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ladder {
    /// A.
    pub from: NodeRef,
    /// B.
    pub to: NodeRef,
    /// All rungs, bottom up.
    pub rungs: Vec<RungState>,
    /// The highest rung that is good with all below it good.
    pub highest: Option<Rung>,
    /// The first rung that fails.
    pub broken_at: Option<Rung>,
    /// Mean round-trip time of the in-tunnel echo.
    pub rtt_us: Option<u32>,
    /// Loss of the direction A -> B in percent, over the recent window, as B counted it.
    pub loss_percent: Option<u32>,
    /// Age of the last completed handshake, as A's kernel says.
    pub handshake_age_ms: Option<u64>,
    /// B's endpoint as A uses it.
    pub endpoint: Option<SocketAddr>,
    /// Set if it comes and goes.
    #[serde(default)]
    pub flapping: Option<Flapping>,
}

/// How a pair comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Flapping {
    /// Changes between good and failed.
    pub changes: u32,
    /// From the first of them to the last.
    pub over_ms: u64,
    /// From one failure to the next, if that is regular: then software does it, and not the path.
    pub period_ms: Option<u64>,
}

impl Ladder {
    /// What is known about one rung.
    pub fn outcome(&self, rung: Rung) -> Outcome {
        self.rungs
            .iter()
            .find(|state| state.rung == rung)
            .map_or(Outcome::Unknown, |state| state.outcome)
    }

    /// Of which pair it is.
    pub fn pair(&self) -> PairRef {
        PairRef {
            from: self.from.clone(),
            to: self.to.clone(),
        }
    }
}

impl Ladder {
    /// Whether the direction works.
    pub fn health(&self) -> PairHealth {
        let fails = |state: &RungState| state.outcome == Outcome::Fail;
        if self.broken_at.is_some() || self.rungs.iter().any(fails) {
            return PairHealth::Broken;
        }
        // A rung that a collector of another version does not tell is in no doubt.
        PairHealth::of_unbroken(|rung| {
            let told = self.rungs.iter().find(|state| state.rung == rung);
            told.map_or(Outcome::NotApplicableYet, |state| state.outcome)
        })
    }
}

/// How sure a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// The evidence allows nothing else.
    Certain,
    /// The evidence points here; what else it could be is named.
    Likely,
    /// The evidence does not decide between the named alternatives yet.
    Undecided,
}

impl Confidence {
    /// The word a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Undecided => "undecided",
        }
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fix {
    /// Who can do it.
    pub who: String,
    /// What to do, in words.
    pub action: String,
    /// The command or configuration line, ready to copy.
    pub command: Option<String>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable code; `mesh-probe explain CODE` has the page.
    pub code: String,
    /// What it is about.
    pub subject: Subject,
    /// The subject as text.
    pub subject_text: String,
    /// How sure it is.
    pub confidence: Confidence,
    /// One sentence: what is wrong, where.
    pub summary: String,
    /// What it rests on; never empty.
    pub evidence: Vec<Citation>,
    /// What to do.
    pub fixes: Vec<Fix>,
    /// What else it could be.
    pub could_also_be: Vec<String>,
    /// The observation that would decide.
    pub decided_by: Option<String>,
    /// The ordered pairs that it explains, at most [`crate::limits::EXPLAINED`].
    pub explains: Vec<PairRef>,
    /// How many more there are.
    #[serde(default)]
    pub explains_more: u64,
    /// The code of the root under which this is folded; `None` for a root.
    pub suppressed_by: Option<String>,
}

/// An ordered pair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRef {
    /// The sending node.
    pub from: NodeRef,
    /// The receiving node.
    pub to: NodeRef,
}

/// Whether a level is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// All its checks are good, on fresh evidence from all expected nodes.
    Ready,
    /// Judged, and not ready.
    NotReady,
    /// Cannot be told. Closed, like not ready.
    Unknown,
}

impl Phase {
    /// The word a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
            Self::Unknown => "unknown",
        }
    }
}

/// One level of the bootstrap, judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Gate {
    /// Name of the level.
    pub level: String,
    /// Its own checks.
    pub phase: Phase,
    /// Whether everything below it is ready.
    pub may_start: Phase,
    /// The levels below it.
    pub depends_on: Vec<String>,
    /// Why it is not ready; empty if it is. In an answer to who asked whether it may start ([`Verdict::answer`]): why it may not.
    pub reasons: Vec<String>,
    /// Whether waiting cannot cure it.
    pub terminal: bool,
}

/// One node, as the collector holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeState {
    /// Which node.
    pub node: NodeRef,
    /// Whether its agent reports freshly.
    pub reporting: bool,
    /// Age of its last report.
    pub report_age_ms: Option<u64>,
    /// Version of its agent.
    pub version: Option<String>,
    /// Its `KubeSpan` address.
    pub kubespan_address: Option<String>,
    /// The public address that it is behind, with its neighbours; `None` if others reach it at an address of its own.
    #[serde(default)]
    pub site: Option<String>,
    /// Sources that its agent cannot read, with the reason.
    pub gaps: Vec<String>,
}

/// The judgement of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The nodes.
    pub nodes: Vec<NodeState>,
    /// The ladders of all ordered pairs, if they are no more than [`crate::limits::LADDERS`]; else the first so many of those that
    /// are not good in everything.
    pub pairs: Vec<Ladder>,
    /// How all ordered pairs are, also those that are not told.
    #[serde(default)]
    pub tally: Tally,
    /// What is wrong: roots first, then what is folded under them; at most [`crate::limits::FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    #[serde(default)]
    pub findings_left_out: u64,
    /// The levels.
    pub gates: Vec<Gate>,
}

impl Verdict {
    /// Findings that are not folded under another.
    pub fn roots(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.suppressed_by.is_none())
    }

    /// Whether the ladders of all ordered pairs are told.
    pub fn tells_all_pairs(&self) -> bool {
        u64::try_from(self.pairs.len()).is_ok_and(|told| told >= self.tally.all())
    }

    /// The gate of a level.
    pub fn gate(&self, level: &str) -> Option<&Gate> {
        self.gates.iter().find(|gate| gate.level == level)
    }
}
