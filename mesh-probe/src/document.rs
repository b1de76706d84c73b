//! The JSON documents. Within `v1` fields are only ever added.

use std::fmt::Write as _;

use diagnosis::Page;
pub use evidence::document::{API_VERSION, GateDocument, Question, VerdictDocument};
use evidence::{AgentStatus, Moment, Phase, Transition, Verdict};
use serde::Serialize;
use serde_json::Value;

use crate::{
    adhoc::{Facts, NodeView},
    bundle::Bundle,
    collector::History,
    direct::Basis,
    error::ProbeError,
    install::Plan,
    render::text::is_unsafe,
};

/// `gate` and `wait`; several collectors have their say one by one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GateAnswer<'a> {
    #[serde(flatten)]
    gate: GateDocument<'a>,
    /// Of the findings that the reasons name; one that only a later collector knows is left out.
    codes: Vec<&'static str>,
    #[serde(skip_serializing_if = "<[Voice]>::is_empty")]
    collectors: &'a [Voice],
    /// Set where no collector gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    direct: Option<&'a Basis>,
}

impl<'a> GateAnswer<'a> {
    pub const fn new(
        gate: GateDocument<'a>,
        codes: Vec<&'static str>,
        collectors: &'a [Voice],
        direct: Option<&'a Basis>,
    ) -> Self {
        Self {
            gate,
            codes,
            collectors,
            direct,
        }
    }
}

/// `status` and `pairs` where no collector gave them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectDocument<'a> {
    #[serde(flatten)]
    verdict: VerdictDocument<'a>,
    direct: &'a Basis,
}

impl<'a> DirectDocument<'a> {
    pub const fn new(verdict: VerdictDocument<'a>, direct: &'a Basis) -> Self {
        Self { verdict, direct }
    }
}

/// `agent`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    status: &'a AgentStatus,
    /// What it sees, unless it waits for something.
    sees: Option<&'a NodeView>,
}

impl<'a> AgentDocument<'a> {
    pub const fn new(status: &'a AgentStatus, sees: Option<&'a NodeView>) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Agent",
            status,
            sees,
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
    /// The present run of the collector, if it has a store.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<u64>,
    transitions: &'a [Transition],
}

impl<'a> HistoryDocument<'a> {
    pub fn new(history: &'a History) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "MeshHistory",
            now: history.now,
            run: history.run,
            transitions: &history.transitions,
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

/// What one of several collectors said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Voice {
    pub collector: String,
    /// `None` if there was no answer.
    pub answer: Option<Phase>,
    pub error: Option<String>,
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

/// `install plan`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    plan: &'a Plan,
}

impl<'a> PlanDocument<'a> {
    pub const fn new(plan: &'a Plan) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "InstallPlan",
            plan,
        }
    }
}

/// Any command that has no answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDocument<'a> {
    api_version: &'static str,
    kind: &'static str,
    exit_code: u8,
    message: String,
    causes: Vec<String>,
    /// What to do, where it is known.
    advice: Option<String>,
    /// What each of several collectors said.
    #[serde(skip_serializing_if = "<[Voice]>::is_empty")]
    collectors: &'a [Voice],
}

impl<'a> ErrorDocument<'a> {
    pub fn new(error: &'a ProbeError) -> Self {
        Self {
            api_version: API_VERSION,
            kind: "Error",
            exit_code: error.exit().code(),
            message: error.to_string(),
            causes: error.causes(),
            advice: error.advice(),
            collectors: error.voices(),
        }
    }
}

/// One document and a line feed. JSON itself leaves C1 controls and direction overrides as they are, and a terminal obeys
/// them: they are escaped here too, which no parser notices.
pub fn to_json<D: Serialize>(document: &D) -> Result<String, serde_json::Error> {
    Ok(safe(&serde_json::to_string_pretty(document)?))
}

/// The same on one line.
pub fn to_line<D: Serialize>(document: &D) -> Result<String, serde_json::Error> {
    Ok(safe(&serde_json::to_string(document)?))
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

/// The same document as YAML. Every text is quoted and escaped, which the writers of YAML leave out where they can: then a
/// terminal would obey what comes from another machine.
pub fn to_yaml<D: Serialize>(document: &D) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    block(&serde_json::to_value(document)?, 0, &mut text);
    Ok(text)
}

/// A value that begins a line, each line of it behind so many blanks.
fn block(value: &Value, indent: usize, text: &mut String) {
    let blanks = " ".repeat(indent);
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                text.push_str(&blanks);
                text.push_str(&quoted(key));
                text.push(':');
                under(value, indent, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                text.push_str(&blanks);
                text.push('-');
                under(item, indent, text);
            }
        }
        scalar => {
            text.push_str(&blanks);
            text.push_str(&inline(scalar));
            text.push('\n');
        }
    }
}

/// What stands behind a key or a dash.
fn under(value: &Value, indent: usize, text: &mut String) {
    let is_block = match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if is_block {
        text.push('\n');
        block(value, indent + 2, text);
    } else {
        text.push(' ');
        text.push_str(&inline(value));
        text.push('\n');
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        // Numbers, true, false, null, [] and {} read the same in both.
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            // YAML has no pairs of surrogates.
            other if is_unsafe(other) => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\U{:08x}", u32::from(other));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use evidence::Gate;

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
        let text = to_json(&GateDocument::new(&gate, Question::Ready, true)).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)), "{text}");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["gate"]["reasons"][0], reason);
        assert_eq!(back["gate"]["mayStart"], "ready");
        assert_eq!(back["timedOut"], true);
    }

    #[test]
    fn yaml_says_what_json_says_and_holds_no_control_character() {
        let document = serde_json::json!({
            "a": "\u{1b}[2J\u{9b}31m\u{202e}\u{e0001} \"\\ \n: - # yes",
            "b": [1, -2.5, true, null, [], {}, ["x", {"y": "no"}]],
            "c": {"d": {"e": "12"}, "f g": ""},
        });
        let text = to_yaml(&document).unwrap();
        assert!(text.chars().all(|c| c == '\n' || !is_unsafe(c)), "{text}");
        let back: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(back, document, "{text}");
    }

    #[test]
    fn a_line_is_one_line() {
        let line = to_line(&serde_json::json!({"a": ["b\nc", 1]})).unwrap();
        assert_eq!(line.matches('\n').count(), 1, "{line}");
    }
}
