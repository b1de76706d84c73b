//! The evidence of one judgement, in parts that fit into messages.

use ::evidence::{Fact, Facts, GateLevel, Moment, NodeName, PairPast, limits};

use super::{
    ConvertError, at_most,
    facts::{fact_from_wire, fact_to_wire},
    graph::{level_from_wire, level_to_wire},
    history::{past_from_wire, past_to_wire},
    short_text,
};
use crate::wire::{self, evidence_part::Part, node_evidence};

/// A part of the evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EvidencePart {
    /// What is not of one node; comes first.
    Header(EvidenceHeader),
    /// How pairs have changed.
    Pasts(Vec<PairPast>),
    /// A node, without its facts.
    Node(NodeEvidence),
    /// Facts of the node that came last.
    Facts(Vec<Fact>),
    /// The end, with the counts of what came before.
    End {
        /// How many nodes.
        nodes: usize,
        /// How many facts of all of them.
        facts: usize,
    },
}

/// What is not of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvidenceHeader {
    /// Version of the collector.
    pub version: String,
    /// The moment of the judgement.
    pub now: Moment,
    /// When the collector began to listen.
    pub started: Moment,
    /// How many nodes must report.
    pub min_nodes: usize,
    /// Nodes that must be among them.
    pub expected: Vec<NodeName>,
    /// The levels that were judged; none: an older collector does not tell them.
    pub graph: Vec<GateLevel>,
}

/// A node, without its facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEvidence {
    /// Its name.
    pub name: NodeName,
    /// When its report stream ended; `None` while it is open.
    pub closed: Option<Moment>,
    /// When this stream's snapshot came.
    pub since: Moment,
    /// When the last message came.
    pub last_report: Moment,
    /// Since when messages have come without a pause.
    pub steady_since: Moment,
    /// When a second machine last claimed its name, and what differed.
    pub conflict: Option<(Moment, String)>,
}

/// A part for the wire.
pub fn evidence_to_wire(part: &EvidencePart) -> wire::EvidencePart {
    let part = match part {
        EvidencePart::Header(header) => Part::Header(header_to_wire(header)),
        EvidencePart::Pasts(pasts) => Part::Pasts(wire::PastEvidence {
            pasts: pasts.iter().map(past_to_wire).collect(),
        }),
        EvidencePart::Node(node) => Part::Node(node_to_wire(node)),
        EvidencePart::Facts(facts) => Part::Facts(wire::FactsEvidence {
            facts: facts.iter().map(fact_to_wire).collect(),
        }),
        EvidencePart::End { nodes, facts } => Part::End(wire::EvidenceEnd {
            nodes: u32::try_from(*nodes).unwrap_or(u32::MAX),
            facts: u64::try_from(*facts).unwrap_or(u64::MAX),
        }),
    };
    wire::EvidencePart { part: Some(part) }
}

/// Facts as they are reported, for whoever cuts them into parts by their size.
pub fn facts_to_wire(facts: &Facts) -> impl Iterator<Item = wire::Fact> {
    facts.iter().map(fact_to_wire)
}

/// Checks one fact that came from elsewhere than an agent, by all the limits that an agent is held to.
pub fn checked(fact: &Fact) -> Result<Fact, ConvertError> {
    fact_from_wire(fact_to_wire(fact))
}

/// Checks a part.
pub fn evidence_from_wire(part: wire::EvidencePart) -> Result<EvidencePart, ConvertError> {
    match part.part {
        None => Err(ConvertError::new("part", "a header, node, facts or end")),
        Some(Part::Header(header)) => header_from_wire(header).map(EvidencePart::Header),
        Some(Part::Pasts(wire::PastEvidence { pasts })) => {
            at_most("pasts.pasts", pasts.len(), limits::PAIR_PASTS)?;
            let pasts: Result<Vec<PairPast>, _> = pasts.into_iter().map(past_from_wire).collect();
            pasts.map(EvidencePart::Pasts)
        }
        Some(Part::Node(node)) => node_from_wire(node).map(EvidencePart::Node),
        Some(Part::Facts(wire::FactsEvidence { facts })) => {
            at_most("facts.facts", facts.len(), limits::FACTS)?;
            let facts: Result<Vec<Fact>, _> = facts.into_iter().map(fact_from_wire).collect();
            facts.map(EvidencePart::Facts)
        }
        Some(Part::End(wire::EvidenceEnd { nodes, facts })) => Ok(EvidencePart::End {
            nodes: usize::try_from(nodes).unwrap_or(usize::MAX),
            facts: usize::try_from(facts).unwrap_or(usize::MAX),
        }),
    }
}

fn header_to_wire(header: &EvidenceHeader) -> wire::EvidenceHeader {
    let EvidenceHeader {
        version,
        now,
        started,
        min_nodes,
        expected,
        graph,
    } = header;
    wire::EvidenceHeader {
        version: version.clone(),
        now_ms: now.as_millis(),
        started_ms: started.as_millis(),
        min_nodes: u32::try_from(*min_nodes).unwrap_or(u32::MAX),
        expected: expected.iter().map(ToString::to_string).collect(),
        graph: graph.iter().map(level_to_wire).collect(),
    }
}

fn header_from_wire(header: wire::EvidenceHeader) -> Result<EvidenceHeader, ConvertError> {
    let wire::EvidenceHeader {
        version,
        now_ms,
        started_ms,
        min_nodes,
        expected,
        graph,
    } = header;
    at_most("header.expected", expected.len(), limits::NODES)?;
    at_most("header.graph", graph.len(), limits::GATE_LEVELS)?;
    let expected = expected
        .iter()
        .map(|name| name_from_wire("header.expected", name))
        .collect::<Result<_, _>>()?;
    Ok(EvidenceHeader {
        version: short_text("header.version", version)?,
        now: Moment::from_millis(now_ms),
        started: Moment::from_millis(started_ms),
        min_nodes: usize::try_from(min_nodes).unwrap_or(usize::MAX),
        expected,
        graph: graph
            .into_iter()
            .map(level_from_wire)
            .collect::<Result<_, _>>()?,
    })
}

fn node_to_wire(node: &NodeEvidence) -> wire::NodeEvidence {
    let NodeEvidence {
        name,
        closed,
        since,
        last_report,
        steady_since,
        conflict,
    } = node;
    let conflict = conflict.as_ref().map(|(at, what)| node_evidence::Conflict {
        at_ms: at.as_millis(),
        what: what.clone(),
    });
    wire::NodeEvidence {
        name: name.to_string(),
        closed_ms: closed.map(Moment::as_millis),
        since_ms: since.as_millis(),
        last_report_ms: last_report.as_millis(),
        steady_since_ms: steady_since.as_millis(),
        conflict,
    }
}

fn node_from_wire(node: wire::NodeEvidence) -> Result<NodeEvidence, ConvertError> {
    let wire::NodeEvidence {
        name,
        closed_ms,
        since_ms,
        last_report_ms,
        steady_since_ms,
        conflict,
    } = node;
    let conflict = conflict
        .map(|node_evidence::Conflict { at_ms, what }| {
            let what = short_text("node.conflict.what", what)?;
            Ok((Moment::from_millis(at_ms), what))
        })
        .transpose()?;
    Ok(NodeEvidence {
        name: name_from_wire("node.name", &name)?,
        closed: closed_ms.map(Moment::from_millis),
        since: Moment::from_millis(since_ms),
        last_report: Moment::from_millis(last_report_ms),
        steady_since: Moment::from_millis(steady_since_ms),
        conflict,
    })
}

fn name_from_wire(field: &'static str, name: &str) -> Result<NodeName, ConvertError> {
    NodeName::parse(name).map_err(|error| ConvertError::new(field, error.to_string()))
}
