//! The text of a bundle: one JSON document a line, so that any editor shows what is in it and `grep` finds it.
//!
//! The first line says what it is, in which format, and what is not of one node. Then comes each node, followed by its
//! facts, a fact a line. The last line counts them, so that a file that was cut off is not taken for a small mesh.

use diagnosis::{Conflict, NodeView, Stream};
use evidence::{Fact, GateLevel, Moment, NodeName, PairPast, limits};
use proto::convert::{
    ConvertError, EvidenceHeader, EvidencePart, NodeEvidence, checked, past_from_wire, past_to_wire,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use super::{Bundle, GatherError, Gathering};
use crate::document::{API_VERSION, to_line};

/// The format that is written and read. What is added keeps it; what changes the meaning of a field raises it.
pub const FORMAT: u32 = 1;
/// Most bytes of a file: a mesh of some four hundred nodes.
pub const BUNDLE_BYTES: usize = 512 * 1024 * 1024;

const KIND: &str = "Bundle";

/// Why a text is no bundle.
#[derive(Debug, Error)]
pub enum BundleError {
    /// Too many bytes.
    #[error("it has {bytes} bytes, at most {BUNDLE_BYTES} are read and written")]
    TooLarge {
        /// How many.
        bytes: usize,
    },
    /// Something else.
    #[error("it is no bundle: its first line does not say that it is one")]
    Other,
    /// Another format.
    #[error(
        "it has format {found}, this mesh-probe reads {FORMAT}: use the mesh-probe that wrote it ({made_by})"
    )]
    Format {
        /// Which.
        found: u32,
        /// What wrote it.
        made_by: String,
    },
    /// Not UTF-8.
    #[error("it is no text: byte {0} is not UTF-8")]
    NoText(usize),
    /// A line that does not say what it should.
    #[error("line {line}: expected {expected}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What it should have been.
        expected: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A fact over a limit.
    #[error("line {line}: a fact that no agent may state")]
    Fact {
        /// Its number, from 1.
        line: usize,
        /// Which limit.
        #[source]
        source: ConvertError,
    },
    /// Lines that make no whole.
    #[error("line {line}")]
    Whole {
        /// The number of the line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: GatherError,
    },
}

/// Enough of the first line to know whether the rest can be read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tag {
    kind: String,
    format: u32,
    #[serde(default)]
    made_by: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderLine {
    api_version: String,
    kind: String,
    format: u32,
    made_by: String,
    collector: String,
    redacted: bool,
    now: Moment,
    started: Moment,
    min_nodes: u32,
    expected: Vec<NodeName>,
    /// The levels that were judged; without them those that are built in.
    #[serde(default)]
    graph: Vec<GateLevel>,
    /// How pairs have changed of late.
    #[serde(default)]
    pasts: Vec<PairPast>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeLine {
    node: NodeName,
    closed: Option<Moment>,
    since: Moment,
    last_report: Moment,
    steady_since: Moment,
    conflict: Option<ConflictLine>,
    facts: usize,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConflictLine {
    at: Moment,
    what: String,
}

#[derive(Serialize, Deserialize)]
struct EndLine {
    end: Counts,
}

#[derive(Serialize, Deserialize)]
struct Counts {
    nodes: usize,
    facts: usize,
}

impl Bundle {
    /// The text of the file.
    pub fn to_text(&self) -> Result<String, BundleError> {
        let mut text = String::new();
        put(&mut text, &self.header_line())?;
        for (name, node) in &self.view.nodes {
            put(&mut text, &node_line(name, node))?;
            for fact in node.facts.iter() {
                put(&mut text, fact)?;
            }
        }
        let counts = Counts {
            nodes: self.view.nodes.len(),
            facts: self.facts(),
        };
        put(&mut text, &EndLine { end: counts })?;
        Ok(text)
    }

    fn header_line(&self) -> HeaderLine {
        HeaderLine {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            format: FORMAT,
            made_by: self.made_by.clone(),
            collector: self.collector.clone(),
            redacted: self.redacted,
            now: self.at,
            started: self.view.started,
            min_nodes: u32::try_from(self.view.expectation.min_nodes).unwrap_or(u32::MAX),
            expected: self.view.expectation.names.clone(),
            graph: self.view.expectation.graph.told(),
            pasts: self.view.history.pasts().collect(),
        }
    }
}

fn node_line(name: &NodeName, node: &NodeView) -> NodeLine {
    let NodeView {
        facts,
        stream,
        since,
        last_report,
        steady_since,
        conflict,
    } = node;
    NodeLine {
        node: name.clone(),
        closed: match stream {
            Stream::Open => None,
            Stream::Closed(at) => Some(*at),
        },
        since: *since,
        last_report: *last_report,
        steady_since: *steady_since,
        conflict: conflict.as_ref().map(|Conflict { at, what }| ConflictLine {
            at: *at,
            what: what.clone(),
        }),
        facts: facts.len(),
    }
}

fn put<L: Serialize>(text: &mut String, line: &L) -> Result<(), BundleError> {
    let expected = "something that can be written as JSON";
    let line = to_line(line).map_err(|source| BundleError::Line {
        line: text.lines().count() + 1,
        expected,
        source,
    })?;
    text.push_str(&line);
    within(text.len())
}

fn within(bytes: usize) -> Result<(), BundleError> {
    if bytes > BUNDLE_BYTES {
        return Err(BundleError::TooLarge { bytes });
    }
    Ok(())
}

/// Reads a bundle. All that is in it is held to the limits that agents and collectors are held to.
pub fn parse(bytes: &[u8]) -> Result<Bundle, BundleError> {
    within(bytes.len())?;
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|error| BundleError::NoText(error.valid_up_to()))?;
    let mut lines = text.lines().enumerate().map(|(at, line)| (at + 1, line));
    let (_, first) = lines.next().ok_or(BundleError::Other)?;
    let tag: Tag = serde_json::from_str(first).map_err(|_| BundleError::Other)?;
    if tag.kind != KIND {
        return Err(BundleError::Other);
    }
    if tag.format != FORMAT {
        return Err(BundleError::Format {
            found: tag.format,
            made_by: tag.made_by,
        });
    }
    let header: HeaderLine = json(1, first, "the header of a bundle")?;
    let (made_by, redacted) = (header.made_by, header.redacted);
    let pasts = header
        .pasts
        .iter()
        .map(|past| past_from_wire(past_to_wire(past)));
    let pasts: Vec<PairPast> = pasts
        .collect::<Result<_, _>>()
        .map_err(|source| BundleError::Fact { line: 1, source })?;
    let mut gathering = Gathering::default();
    let header = EvidencePart::Header(EvidenceHeader {
        version: header.collector,
        now: header.now,
        started: header.started,
        min_nodes: usize::try_from(header.min_nodes).unwrap_or(usize::MAX),
        expected: header.expected,
        graph: header.graph,
    });
    let mut last = 1;
    take(&mut gathering, 1, header)?;
    if !pasts.is_empty() {
        let limit = limits::PAIR_PASTS;
        if pasts.len() > limit {
            let what = "pasts of pairs";
            let source = GatherError::Limit { what, limit };
            return Err(BundleError::Whole { line: 1, source });
        }
        take(&mut gathering, 1, EvidencePart::Pasts(pasts))?;
    }
    let mut facts = 0;
    for (line, text) in lines {
        last = line;
        let part = if facts > 0 {
            facts -= 1;
            let fact: Fact = json(line, text, "a fact")?;
            let fact = checked(&fact).map_err(|source| BundleError::Fact { line, source })?;
            EvidencePart::Facts(vec![fact])
        } else if let Ok(EndLine { end }) = serde_json::from_str(text) {
            EvidencePart::End {
                nodes: end.nodes,
                facts: end.facts,
            }
        } else {
            let node: NodeLine = json(line, text, "a node, or the end")?;
            facts = node.facts;
            EvidencePart::Node(head(node))
        };
        take(&mut gathering, line, part)?;
    }
    let bundle = gathering.finish(made_by);
    let bundle = bundle.map_err(|source| BundleError::Whole { line: last, source })?;
    Ok(Bundle { redacted, ..bundle })
}

fn head(line: NodeLine) -> NodeEvidence {
    NodeEvidence {
        name: line.node,
        closed: line.closed,
        since: line.since,
        last_report: line.last_report,
        steady_since: line.steady_since,
        conflict: line.conflict.map(|conflict| (conflict.at, conflict.what)),
    }
}

fn take(gathering: &mut Gathering, line: usize, part: EvidencePart) -> Result<(), BundleError> {
    let taken = gathering.take(part);
    taken.map_err(|source| BundleError::Whole { line, source })
}

fn json<L: DeserializeOwned>(
    line: usize,
    text: &str,
    expected: &'static str,
) -> Result<L, BundleError> {
    serde_json::from_str(text).map_err(|source| BundleError::Line {
        line,
        expected,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_over_the_limit_is_refused_with_both_numbers() {
        assert!(within(BUNDLE_BYTES).is_ok());
        let refused = within(BUNDLE_BYTES + 1).unwrap_err().to_string();
        assert_eq!(
            refused,
            "it has 536870913 bytes, at most 536870912 are read and written"
        );
    }
}
