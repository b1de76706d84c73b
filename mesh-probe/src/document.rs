//! The JSON documents. Within `v1` fields are only ever added.

use diagnosis::Page;
use evidence::{Gate, Moment, Transition, Verdict};
use serde::Serialize;

use crate::{adhoc::Facts, bundle::Bundle, error::ProbeError, render::text::is_unsafe};

/// Version of all documents.
pub const API_VERSION: &str = "mesh.talos/v1";

/// `status` and `pairs`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerdictDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    verdict: &'a Verdict,
}

impl<'a> VerdictDocument<'a> {
    pub const fn status(verdict: &'a Verdict) -> Self {
        Self::new("MeshStatus", verdict)
    }

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

/// `history`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    /// The present on the timeline of the transitions, in milliseconds.
    now: Moment,
    transitions: &'a [Transition],
}

impl<'a> HistoryDocument<'a> {
    pub const fn new(now: Moment, transitions: &'a [Transition]) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "MeshHistory",
            now,
            transitions,
        }
    }
}

/// `bundle`, where it wrote a file.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    file: &'a str,
    redacted: bool,
    bytes: usize,
    nodes: usize,
    facts: usize,
}

impl<'a> BundleDocument<'a> {
    pub fn new(file: &'a str, bytes: usize, bundle: &Bundle) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "BundleWritten",
            file,
            redacted: bundle.redacted,
            bytes,
            nodes: bundle.view.nodes.len(),
            facts: bundle.facts(),
        }
    }
}

/// `replay`: the verdict, and where it is from.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    made_by: &'a str,
    collector: &'a str,
    redacted: bool,
    /// What a reader must know where versions differ.
    note: Option<String>,
    verdict: &'a Verdict,
}

impl<'a> ReplayDocument<'a> {
    pub fn new(bundle: &'a Bundle, verdict: &'a Verdict) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "MeshReplay",
            made_by: &bundle.made_by,
            collector: &bundle.collector,
            redacted: bundle.redacted,
            note: bundle.skew(),
            verdict,
        }
    }
}

/// `gate` and `wait`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    gate: &'a Gate,
    timed_out: bool,
}

impl<'a> GateDocument<'a> {
    pub const fn new(gate: &'a Gate, timed_out: bool) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Gate",
            gate,
            timed_out,
        }
    }
}

/// `explain CODE`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExplainDocument {
    api_version: &'static str,
    kind: &'static str,
    code: &'static str,
    title: &'static str,
    /// Markdown.
    page: &'static str,
}

impl ExplainDocument {
    pub const fn new(page: &Page) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Explain",
            code: page.code,
            title: page.title,
            page: page.text,
        }
    }
}

/// `explain --all`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CodesDocument {
    api_version: &'static str,
    kind: &'static str,
    codes: Vec<Code>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Code {
    code: &'static str,
    title: &'static str,
}

impl CodesDocument {
    pub fn new(pages: &[Page]) -> Self {
        let code = |page: &Page| Code {
            code: page.code,
            title: page.title,
        };
        Self {
            api_version: API_VERSION,
            kind: "Codes",
            codes: pages.iter().map(code).collect(),
        }
    }
}

/// The commands that ask no collector.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FactsDocument<'a, F> {
    api_version: &'static str,
    kind: &'static str,
    exit_code: u8,
    facts: &'a F,
    conclusions: Vec<String>,
    method: String,
}

impl<'a, F: Facts> FactsDocument<'a, F> {
    pub fn new(facts: &'a F) -> Self {
        Self {
            api_version: API_VERSION,
            kind: F::KIND,
            exit_code: facts.exit().code(),
            facts,
            conclusions: facts.conclusions(),
            method: facts.method(),
        }
    }
}

/// Any command that has no answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDocument {
    api_version: &'static str,
    kind: &'static str,
    exit_code: u8,
    message: String,
    causes: Vec<String>,
    /// What to do, where it is known.
    advice: Option<String>,
}

impl ErrorDocument {
    pub fn new(error: &ProbeError) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Error",
            exit_code: error.exit().code(),
            message: error.to_string(),
            causes: error.causes(),
            advice: error.advice(),
        }
    }
}

/// One document and a line feed. JSON itself leaves C1 controls and direction overrides as they are, and a terminal obeys
/// them: they are escaped here too, which no parser notices.
pub fn to_json<D: Serialize>(document: &D) -> Result<String, serde_json::Error> {
    serde_json::to_string_pretty(document).map(|text| safe(&text))
}

/// The same on one line.
pub fn to_line<D: Serialize>(document: &D) -> Result<String, serde_json::Error> {
    serde_json::to_string(document).map(|text| safe(&text))
}

fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        if character != '\n' && is_unsafe(character) {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units).iter();
            safe.extend(units.map(|unit| format!("\\u{unit:04x}")));
        } else {
            safe.push(character);
        }
    }
    safe.push('\n');
    safe
}

#[cfg(test)]
mod tests {
    use evidence::Phase;

    use super::*;

    #[test]
    fn a_document_holds_no_control_character_and_loses_none() {
        let reason = "\u{1b}[2J\u{9b}31m\u{202e}\u{7f}\u{e0001}".to_owned();
        let gate = Gate {
            level: "mesh".to_owned(),
            phase: Phase::NotReady,
            may_start: Phase::Ready,
            depends_on: Vec::new(),
            reasons: vec![reason.clone()],
            terminal: false,
        };
        let text = to_json(&GateDocument::new(&gate, true)).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)), "{text}");
        let back: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["gate"]["reasons"][0], reason);
        assert_eq!(back["gate"]["mayStart"], "ready");
        assert_eq!(back["timedOut"], true);
    }
}
