//! Puts the parts together in which a collector tells the evidence.

use std::collections::BTreeMap;

use diagnosis::{
    Conflict, Expectation, History, NodeView, Stream, View,
    graph::{Flaw, Graph},
};
use evidence::{Fact, Facts, NodeName, PairPast, limits};
use proto::convert::{EvidenceHeader, EvidencePart, NodeEvidence};
use thiserror::Error;

use super::Bundle;

/// Flaws of a graph that are told in full.
const FLAWS: usize = 4;

/// What came so far.
#[derive(Debug, Default)]
pub struct Gathering {
    header: Option<EvidenceHeader>,
    graph: Graph,
    pasts: Option<Vec<PairPast>>,
    nodes: BTreeMap<NodeName, NodeView>,
    last: Option<NodeName>,
    facts: usize,
    ended: bool,
}

/// Why parts make no whole.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GatherError {
    /// A part that cannot come here.
    #[error("{0} where it cannot be")]
    Order(&'static str),
    /// More than there can be.
    #[error("more than {limit} {what}")]
    Limit {
        /// Of what.
        what: &'static str,
        /// How many there can be.
        limit: usize,
    },
    /// The counts at the end are not those of what came.
    #[error("{nodes} nodes and {facts} facts were announced, {got_nodes} and {got_facts} came")]
    Counts {
        /// Announced nodes.
        nodes: usize,
        /// Announced facts.
        facts: usize,
        /// Nodes that came.
        got_nodes: usize,
        /// Facts that came.
        got_facts: usize,
    },
    /// Levels that make no graph.
    #[error("its gate graph is not sound: {0}")]
    Graph(String),
    /// It stopped before the end.
    #[error("it ended before it was complete, after {0} facts")]
    Incomplete(usize),
}

impl Gathering {
    /// Takes the next part.
    pub fn take(&mut self, part: EvidencePart) -> Result<(), GatherError> {
        if self.ended {
            return Err(GatherError::Order("something after the end"));
        }
        match part {
            EvidencePart::Header(header) if self.header.is_none() => self.header(header)?,
            EvidencePart::Header(_) => return Err(GatherError::Order("a second header")),
            _ if self.header.is_none() => return Err(GatherError::Order("a part without header")),
            EvidencePart::Pasts(pasts) if self.nodes.is_empty() && self.pasts.is_none() => {
                self.pasts = Some(pasts);
            }
            EvidencePart::Pasts(_) => return Err(GatherError::Order("pasts")),
            EvidencePart::Node(node) => self.node(node)?,
            EvidencePart::Facts(facts) => self.facts(facts)?,
            EvidencePart::End { nodes, facts } => self.end(nodes, facts)?,
        }
        Ok(())
    }

    /// The whole, if all has come.
    pub fn finish(self, made_by: String) -> Result<Bundle, GatherError> {
        let complete = self.header.filter(|_| self.ended);
        let header = complete.ok_or(GatherError::Incomplete(self.facts))?;
        let EvidenceHeader {
            version,
            now,
            started,
            min_nodes,
            expected,
            graph: _,
        } = header;
        Ok(Bundle {
            made_by,
            collector: version,
            redacted: false,
            at: now,
            view: View {
                started,
                nodes: self.nodes,
                expectation: Expectation {
                    min_nodes,
                    names: expected,
                    graph: self.graph,
                },
                history: History::of(self.pasts.unwrap_or_default()),
            },
        })
    }

    fn header(&mut self, mut header: EvidenceHeader) -> Result<(), GatherError> {
        let levels = std::mem::take(&mut header.graph);
        // A collector that tells none judged by what is built in.
        if !levels.is_empty() {
            self.graph = Graph::of_told(levels).map_err(|flaws| told(&flaws))?;
        }
        self.header = Some(header);
        Ok(())
    }

    fn node(&mut self, node: NodeEvidence) -> Result<(), GatherError> {
        let NodeEvidence {
            name,
            closed,
            since,
            last_report,
            steady_since,
            conflict,
        } = node;
        let view = NodeView {
            facts: Facts::new(),
            stream: closed.map_or(Stream::Open, Stream::Closed),
            since,
            last_report,
            steady_since,
            conflict: conflict.map(|(at, what)| Conflict { at, what }),
        };
        if self.nodes.insert(name.clone(), view).is_some() {
            return Err(GatherError::Order("a node for the second time"));
        }
        at_most("nodes", self.nodes.len(), limits::NODES)?;
        self.last = Some(name);
        Ok(())
    }

    fn facts(&mut self, facts: Vec<Fact>) -> Result<(), GatherError> {
        let node = self.last.as_ref().and_then(|name| self.nodes.get_mut(name));
        let node = node.ok_or(GatherError::Order("facts of no node"))?;
        for fact in facts {
            if node.facts.get(&fact.key()).is_some() {
                return Err(GatherError::Order("a fact for the second time"));
            }
            node.facts.insert(fact);
            self.facts += 1;
        }
        at_most("facts of one node", node.facts.len(), limits::FACTS)
    }

    fn end(&mut self, nodes: usize, facts: usize) -> Result<(), GatherError> {
        let (got_nodes, got_facts) = (self.nodes.len(), self.facts);
        if (nodes, facts) != (got_nodes, got_facts) {
            return Err(GatherError::Counts {
                nodes,
                facts,
                got_nodes,
                got_facts,
            });
        }
        self.ended = true;
        Ok(())
    }
}

fn told(flaws: &[Flaw]) -> GatherError {
    let mut texts: Vec<String> = flaws.iter().take(FLAWS).map(Flaw::placed).collect();
    if flaws.len() > FLAWS {
        texts.push(format!("and {} more", flaws.len() - FLAWS));
    }
    GatherError::Graph(texts.join("; "))
}

fn at_most(what: &'static str, got: usize, limit: usize) -> Result<(), GatherError> {
    if got > limit {
        return Err(GatherError::Limit { what, limit });
    }
    Ok(())
}
