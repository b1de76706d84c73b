//! The JSON documents that every surface prints alike: the command line and HTTP. Within `v1` fields are only ever added.

use serde::Serialize;

use crate::{Finding, Gate, Phase, Verdict};

/// Version of all documents.
pub const API_VERSION: &str = "mesh.talos/v1";

/// What is asked of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Are its own checks good?
    Ready,
    /// Is everything below it ready?
    MayStart,
}

impl Question {
    /// The answer that a gate gives.
    pub const fn answer(self, gate: &Gate) -> Phase {
        match self {
            Self::Ready => gate.phase,
            Self::MayStart => gate.may_start,
        }
    }
}

/// The state of a level, and what was asked of it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    question: Question,
    answer: Phase,
    /// Whether the answer is yes; unknown is no, and so is a yes that was asked for without a break and had one.
    ready: bool,
    gate: &'a Gate,
    timed_out: bool,
}

impl<'a> GateDocument<'a> {
    /// An answer.
    pub fn new(gate: &'a Gate, question: Question, timed_out: bool) -> Self {
        let answer = question.answer(gate);
        Self {
            api_version: API_VERSION,
            kind: "Gate",
            question,
            answer,
            ready: answer == Phase::Ready && !timed_out,
            gate,
            timed_out,
        }
    }
}

/// All levels.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatesDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    gates: &'a [Gate],
}

impl<'a> GatesDocument<'a> {
    /// All of a verdict.
    pub const fn new(gates: &'a [Gate]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Gates",
            gates,
        }
    }
}

/// The whole verdict.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    verdict: &'a Verdict,
}

impl<'a> VerdictDocument<'a> {
    /// For who asks how the mesh is.
    pub const fn status(verdict: &'a Verdict) -> Self {
        Self::new("MeshStatus", verdict)
    }

    /// For who asks about the pairs.
    pub const fn pairs(verdict: &'a Verdict) -> Self {
        Self::new("MeshPairs", verdict)
    }

    const fn new(kind: &'static str, verdict: &'a Verdict) -> Self {
        Self {
            api_version: API_VERSION,
            kind,
            verdict,
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingsDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    findings: Vec<FindingItem<'a>>,
}

/// One finding, and what waiting does to it.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingItem<'a> {
    /// The finding itself.
    #[serde(flatten)]
    pub finding: &'a Finding,
    /// Whether waiting cannot cure it.
    pub terminal: bool,
    /// Why it can or cannot.
    pub terminal_reason: &'static str,
}

impl<'a> FindingsDocument<'a> {
    /// All of a verdict.
    pub const fn new(findings: Vec<FindingItem<'a>>) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Findings",
            findings,
        }
    }
}
