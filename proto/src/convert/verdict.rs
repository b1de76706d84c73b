//! The verdict: from the collector to its readers.

use evidence::{
    Citation, Confidence, End, Finding, Fix, Flapping, Gate, Ladder, NodeName, NodeRef, NodeState,
    Outcome, PairRef, Phase, Reporter, Rung, RungState, Subject, Tally, Verdict,
};

use super::{ConvertError, endpoint_to_wire, key_from_wire, optional_endpoint, unless_later};
use crate::wire::{self, subject::Subject as WireSubject};

/// A verdict for the wire.
pub fn verdict_to_wire(verdict: &Verdict) -> wire::Verdict {
    let Verdict {
        nodes,
        pairs,
        tally,
        findings,
        findings_left_out,
        gates,
    } = verdict;
    wire::Verdict {
        nodes: nodes.iter().map(node_state_to_wire).collect(),
        pairs: pairs.iter().map(ladder_to_wire).collect(),
        findings: findings.iter().map(finding_to_wire).collect(),
        gates: gates.iter().map(gate_to_wire).collect(),
        tally: Some(tally_to_wire(*tally)),
        findings_left_out: *findings_left_out,
    }
}

fn tally_to_wire(tally: Tally) -> wire::Tally {
    let Tally {
        good,
        broken,
        unproved,
    } = tally;
    wire::Tally {
        good,
        broken,
        unproved,
    }
}

/// A page of ladders for the wire.
pub fn pairs_to_wire(pairs: &[Ladder], more: bool) -> wire::PairsPage {
    wire::PairsPage {
        pairs: pairs.iter().map(ladder_to_wire).collect(),
        more,
    }
}

/// A page of ladders from the wire, and whether others come after it. Ladders with rungs of a later version are left out.
pub fn pairs_from_wire(page: wire::PairsPage) -> Result<(Vec<Ladder>, bool), ConvertError> {
    let wire::PairsPage { pairs, more } = page;
    Ok((ladders_from_wire(pairs)?, more))
}

/// A rung that we do not know stands for nothing of ours. Without it, a pair that breaks there would look whole; so the
/// whole ladder is left out, and the tally says that there is one more pair.
fn ladders_from_wire(pairs: Vec<wire::Ladder>) -> Result<Vec<Ladder>, ConvertError> {
    let pairs = pairs.into_iter().map(ladder_from_wire);
    let known = pairs.filter_map(|ladder| unless_later(ladder).transpose());
    known.collect()
}

/// An ordered pair for the wire.
pub fn pair_to_wire(PairRef { from, to }: &PairRef) -> wire::PairRef {
    wire::PairRef {
        from: Some(node_to_wire(from)),
        to: Some(node_to_wire(to)),
    }
}

/// An ordered pair from the wire.
pub fn pair_from_wire(
    field: &'static str,
    wire::PairRef { from, to }: wire::PairRef,
) -> Result<PairRef, ConvertError> {
    Ok(PairRef {
        from: node_from_wire(field, from)?,
        to: node_from_wire(field, to)?,
    })
}

/// A verdict from the wire. What a later version says of a pair or finds is left out and counted: pairs as not proved
/// where there is no tally, findings as left out. Gates are always told.
pub fn verdict_from_wire(verdict: wire::Verdict) -> Result<Verdict, ConvertError> {
    let wire::Verdict {
        nodes,
        pairs,
        findings,
        gates,
        tally,
        findings_left_out,
    } = verdict;
    let (told, found) = (pairs.len(), findings.len());
    let pairs = ladders_from_wire(pairs)?;
    let findings = findings.into_iter().map(finding_from_wire);
    let findings: Vec<Finding> = findings
        .filter_map(|finding| unless_later(finding).transpose())
        .collect::<Result<_, _>>()?;
    let (unread, unnamed) = (told - pairs.len(), found - findings.len());
    Ok(Verdict {
        nodes: nodes
            .into_iter()
            .map(node_state_from_wire)
            .collect::<Result<_, _>>()?,
        // A collector that tells no tally tells all pairs.
        tally: tally.map_or_else(|| with_unproved(Tally::of(&pairs), unread), tally_from_wire),
        pairs,
        findings,
        findings_left_out: findings_left_out.saturating_add(count(unnamed)),
        gates: gates.into_iter().map(gate_from_wire).collect(),
    })
}

fn with_unproved(tally: Tally, more: usize) -> Tally {
    Tally {
        unproved: tally.unproved.saturating_add(count(more)),
        ..tally
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
}

const fn tally_from_wire(tally: wire::Tally) -> Tally {
    let wire::Tally {
        good,
        broken,
        unproved,
    } = tally;
    Tally {
        good,
        broken,
        unproved,
    }
}

/// The state of a level for the wire.
pub fn gate_to_wire(gate: &Gate) -> wire::GateState {
    let Gate {
        level,
        phase,
        may_start,
        depends_on,
        reasons,
        terminal,
    } = gate;
    wire::GateState {
        level: level.clone(),
        ready: phase_to_wire(*phase).into(),
        may_start: phase_to_wire(*may_start).into(),
        depends_on: depends_on.clone(),
        reasons: reasons.clone(),
        terminal: *terminal,
        timed_out: false,
    }
}

/// The state of a level from the wire. A phase this version does not know is unknown, which is closed.
pub fn gate_from_wire(gate: wire::GateState) -> Gate {
    let (phase, may_start) = (
        phase_from_wire(gate.ready()),
        phase_from_wire(gate.may_start()),
    );
    let wire::GateState {
        level,
        ready: _,
        may_start: _,
        depends_on,
        reasons,
        terminal,
        timed_out: _,
    } = gate;
    Gate {
        level,
        phase,
        may_start,
        depends_on,
        reasons,
        terminal,
    }
}

pub(super) fn phase_to_wire(phase: Phase) -> wire::Phase {
    match phase {
        Phase::Ready => wire::Phase::Ready,
        Phase::NotReady => wire::Phase::NotReady,
        Phase::Unknown => wire::Phase::Unknown,
    }
}

pub(super) fn phase_from_wire(phase: wire::Phase) -> Phase {
    match phase {
        wire::Phase::Ready => Phase::Ready,
        wire::Phase::NotReady => Phase::NotReady,
        wire::Phase::Unknown => Phase::Unknown,
    }
}

pub(super) fn node_to_wire(node: &NodeRef) -> wire::NodeRef {
    match node {
        NodeRef::Named { name } => wire::NodeRef {
            name: name.to_string(),
            public_key: Vec::new(),
        },
        NodeRef::Unnamed { key } => wire::NodeRef {
            name: String::new(),
            public_key: key.as_bytes().to_vec(),
        },
    }
}

pub(super) fn node_from_wire(
    field: &'static str,
    node: Option<wire::NodeRef>,
) -> Result<NodeRef, ConvertError> {
    let wire::NodeRef { name, public_key } =
        node.ok_or_else(|| ConvertError::new(field, "a node"))?;
    if name.is_empty() {
        return Ok(NodeRef::Unnamed {
            key: key_from_wire(field, &public_key)?,
        });
    }
    let name =
        NodeName::parse(&name).map_err(|error| ConvertError::new(field, error.to_string()))?;
    Ok(NodeRef::Named { name })
}

fn node_state_to_wire(state: &NodeState) -> wire::NodeState {
    let NodeState {
        node,
        reporting,
        report_age_ms,
        version,
        kubespan_address,
        site,
        gaps,
    } = state;
    wire::NodeState {
        node: Some(node_to_wire(node)),
        reporting: *reporting,
        report_age_ms: *report_age_ms,
        version: version.clone(),
        kubespan_address: kubespan_address.clone(),
        gaps: gaps.clone(),
        site: site.clone(),
    }
}

fn node_state_from_wire(state: wire::NodeState) -> Result<NodeState, ConvertError> {
    let wire::NodeState {
        node,
        reporting,
        report_age_ms,
        version,
        kubespan_address,
        site,
        gaps,
    } = state;
    Ok(NodeState {
        node: node_from_wire("node.node", node)?,
        reporting,
        report_age_ms,
        version,
        kubespan_address,
        site,
        gaps,
    })
}

fn citation_to_wire(citation: &Citation) -> wire::Citation {
    let Citation {
        reporter,
        fact,
        age_ms,
        text,
    } = citation;
    let reporter = match reporter {
        Reporter::Node(name) => name.to_string(),
        Reporter::Collector => String::new(),
    };
    wire::Citation {
        reporter,
        fact: fact.clone(),
        age_ms: *age_ms,
        text: text.clone(),
    }
}

fn citation_from_wire(citation: wire::Citation) -> Result<Citation, ConvertError> {
    let wire::Citation {
        reporter,
        fact,
        age_ms,
        text,
    } = citation;
    let reporter = if reporter.is_empty() {
        Reporter::Collector
    } else {
        let name = NodeName::parse(&reporter)
            .map_err(|error| ConvertError::new("citation.reporter", error.to_string()))?;
        Reporter::Node(name)
    };
    Ok(Citation {
        reporter,
        fact,
        age_ms,
        text,
    })
}

fn citations_from_wire(citations: Vec<wire::Citation>) -> Result<Vec<Citation>, ConvertError> {
    citations.into_iter().map(citation_from_wire).collect()
}

pub(super) fn rung_to_wire(rung: Rung) -> wire::Rung {
    match rung {
        Rung::Discovered => wire::Rung::Discovered,
        Rung::Underlay => wire::Rung::Underlay,
        Rung::Handshake => wire::Rung::Handshake,
        Rung::Tunnel => wire::Rung::Tunnel,
        Rung::Steering => wire::Rung::Steering,
        Rung::TunnelMtu => wire::Rung::TunnelMtu,
        Rung::OverlayPort => wire::Rung::OverlayPort,
        Rung::OverlayMtu => wire::Rung::OverlayMtu,
        Rung::Overlay => wire::Rung::Overlay,
    }
}

fn rung_from_wire(rung: wire::Rung) -> Option<Rung> {
    Some(match rung {
        wire::Rung::Unspecified => return None,
        wire::Rung::Discovered => Rung::Discovered,
        wire::Rung::Underlay => Rung::Underlay,
        wire::Rung::Handshake => Rung::Handshake,
        wire::Rung::Tunnel => Rung::Tunnel,
        wire::Rung::Steering => Rung::Steering,
        wire::Rung::TunnelMtu => Rung::TunnelMtu,
        wire::Rung::OverlayPort => Rung::OverlayPort,
        wire::Rung::OverlayMtu => Rung::OverlayMtu,
        wire::Rung::Overlay => Rung::Overlay,
    })
}

/// A rung that we do not know is not the same as none: a pair that breaks there would look whole.
pub(super) fn optional_rung(
    field: &'static str,
    number: i32,
) -> Result<Option<Rung>, ConvertError> {
    let rung = wire::Rung::try_from(number)
        .map_err(|_| ConvertError::later(field, "one of the known rungs"))?;
    Ok(rung_from_wire(rung))
}

fn outcome_to_wire(outcome: Outcome) -> wire::Outcome {
    match outcome {
        Outcome::Pass => wire::Outcome::Pass,
        Outcome::Warn => wire::Outcome::Warn,
        Outcome::Fail => wire::Outcome::Fail,
        Outcome::Flapping => wire::Outcome::Flapping,
        Outcome::Unknown => wire::Outcome::Unknown,
        Outcome::NotApplicableYet => wire::Outcome::NotApplicableYet,
    }
}

fn outcome_from_wire(outcome: wire::Outcome) -> Outcome {
    match outcome {
        wire::Outcome::Pass => Outcome::Pass,
        wire::Outcome::Warn => Outcome::Warn,
        wire::Outcome::Fail => Outcome::Fail,
        wire::Outcome::Flapping => Outcome::Flapping,
        wire::Outcome::Unknown => Outcome::Unknown,
        wire::Outcome::NotApplicableYet => Outcome::NotApplicableYet,
    }
}

fn rung_state_to_wire(state: &RungState) -> wire::RungState {
    let RungState {
        rung,
        outcome,
        method,
        evidence,
    } = state;
    wire::RungState {
        rung: rung_to_wire(*rung).into(),
        outcome: outcome_to_wire(*outcome).into(),
        method: method.clone(),
        evidence: evidence.iter().map(citation_to_wire).collect(),
    }
}

fn rung_state_from_wire(state: wire::RungState) -> Result<RungState, ConvertError> {
    let rung = optional_rung("rung.rung", state.rung)?
        .ok_or_else(|| ConvertError::later("rung.rung", "one of the known rungs"))?;
    let outcome = outcome_from_wire(state.outcome());
    let wire::RungState {
        rung: _,
        outcome: _,
        method,
        evidence,
    } = state;
    Ok(RungState {
        rung,
        outcome,
        method,
        evidence: citations_from_wire(evidence)?,
    })
}

fn ladder_to_wire(ladder: &Ladder) -> wire::Ladder {
    let Ladder {
        from,
        to,
        rungs,
        highest,
        broken_at,
        rtt_us,
        loss_percent,
        handshake_age_ms,
        endpoint,
        flapping,
    } = ladder;
    let flaps = |Flapping {
                     changes,
                     over_ms,
                     period_ms,
                 }: Flapping| wire::Flapping {
        changes,
        over_ms,
        period_ms,
    };
    let rung = |rung: &Option<Rung>| rung.map_or(wire::Rung::Unspecified, rung_to_wire).into();
    wire::Ladder {
        from: Some(node_to_wire(from)),
        to: Some(node_to_wire(to)),
        rungs: rungs.iter().map(rung_state_to_wire).collect(),
        highest: rung(highest),
        broken_at: rung(broken_at),
        rtt_us: *rtt_us,
        loss_percent: *loss_percent,
        handshake_age_ms: *handshake_age_ms,
        endpoint: endpoint.map(endpoint_to_wire),
        flapping: flapping.map(flaps),
    }
}

fn ladder_from_wire(ladder: wire::Ladder) -> Result<Ladder, ConvertError> {
    let wire::Ladder {
        from,
        to,
        rungs,
        highest,
        broken_at,
        rtt_us,
        loss_percent,
        handshake_age_ms,
        endpoint,
        flapping,
    } = ladder;
    let flaps = |wire::Flapping {
                     changes,
                     over_ms,
                     period_ms,
                 }: wire::Flapping| Flapping {
        changes,
        over_ms,
        period_ms,
    };
    Ok(Ladder {
        from: node_from_wire("ladder.from", from)?,
        to: node_from_wire("ladder.to", to)?,
        rungs: rungs
            .into_iter()
            .map(rung_state_from_wire)
            .collect::<Result<_, _>>()?,
        highest: optional_rung("ladder.highest", highest)?,
        broken_at: optional_rung("ladder.broken_at", broken_at)?,
        rtt_us,
        loss_percent,
        handshake_age_ms,
        endpoint: optional_endpoint("ladder.endpoint", endpoint.as_ref())?,
        flapping: flapping.map(flaps),
    })
}

fn subject_to_wire(subject: &Subject) -> wire::Subject {
    let two = |from: &NodeRef, to: &NodeRef| wire::subject::Direction {
        from: Some(node_to_wire(from)),
        to: Some(node_to_wire(to)),
    };
    let inner = match subject {
        Subject::Cluster => WireSubject::Cluster(wire::subject::Cluster {}),
        Subject::Node { node } => WireSubject::Node(node_to_wire(node)),
        Subject::Direction { from, to } => WireSubject::Direction(two(from, to)),
        Subject::Pair { a, b } => WireSubject::Pair(two(a, b)),
        Subject::Site { address, nodes } => WireSubject::Site(wire::subject::Site {
            address: address.clone(),
            nodes: nodes.iter().map(node_to_wire).collect(),
        }),
        Subject::Ends { a, b, both_ways } => WireSubject::Ends(wire::subject::Ends {
            a: Some(end_to_wire(a)),
            b: Some(end_to_wire(b)),
            both_ways: *both_ways,
        }),
    };
    wire::Subject {
        subject: Some(inner),
    }
}

fn subject_from_wire(subject: Option<wire::Subject>) -> Result<Subject, ConvertError> {
    let inner = subject.and_then(|subject| subject.subject).ok_or_else(|| {
        ConvertError::later("finding.subject", "one of the known kinds of subjects")
    })?;
    Ok(match inner {
        WireSubject::Cluster(_) => Subject::Cluster,
        WireSubject::Node(node) => Subject::Node {
            node: node_from_wire("subject.node", Some(node))?,
        },
        WireSubject::Direction(wire::subject::Direction { from, to }) => Subject::Direction {
            from: node_from_wire("subject.from", from)?,
            to: node_from_wire("subject.to", to)?,
        },
        WireSubject::Pair(wire::subject::Direction { from, to }) => Subject::Pair {
            a: node_from_wire("subject.a", from)?,
            b: node_from_wire("subject.b", to)?,
        },
        WireSubject::Site(wire::subject::Site { address, nodes }) => Subject::Site {
            address,
            nodes: nodes_from_wire(nodes)?,
        },
        WireSubject::Ends(wire::subject::Ends { a, b, both_ways }) => Subject::Ends {
            a: end_from_wire("subject.a", a)?,
            b: end_from_wire("subject.b", b)?,
            both_ways,
        },
    })
}

fn nodes_from_wire(nodes: Vec<wire::NodeRef>) -> Result<Vec<NodeRef>, ConvertError> {
    let nodes = nodes.into_iter();
    nodes
        .map(|node| node_from_wire("subject.nodes", Some(node)))
        .collect()
}

fn end_to_wire(end: &End) -> wire::subject::Site {
    wire::subject::Site {
        address: end.address.clone().unwrap_or_default(),
        nodes: end.nodes.iter().map(node_to_wire).collect(),
    }
}

fn end_from_wire(
    field: &'static str,
    end: Option<wire::subject::Site>,
) -> Result<End, ConvertError> {
    let end = end.ok_or_else(|| ConvertError::new(field, "an end with its nodes"))?;
    Ok(End {
        address: Some(end.address).filter(|address| !address.is_empty()),
        nodes: nodes_from_wire(end.nodes)?,
    })
}

fn finding_to_wire(finding: &Finding) -> wire::Finding {
    let Finding {
        code,
        subject,
        subject_text: _,
        confidence,
        summary,
        evidence,
        fixes,
        could_also_be,
        decided_by,
        explains,
        explains_more,
        suppressed_by,
    } = finding;
    let confidence = match confidence {
        Confidence::Certain => wire::Confidence::Certain,
        Confidence::Likely => wire::Confidence::Likely,
        Confidence::Undecided => wire::Confidence::Undecided,
    };
    let fix = |Fix {
                   who,
                   action,
                   command,
               }: &Fix| wire::Fix {
        who: who.clone(),
        action: action.clone(),
        command: command.clone(),
    };
    wire::Finding {
        code: code.clone(),
        subject: Some(subject_to_wire(subject)),
        confidence: confidence.into(),
        summary: summary.clone(),
        evidence: evidence.iter().map(citation_to_wire).collect(),
        fixes: fixes.iter().map(fix).collect(),
        could_also_be: could_also_be.clone(),
        decided_by: decided_by.clone(),
        explains: explains.iter().map(pair_to_wire).collect(),
        suppressed_by: suppressed_by.clone(),
        explains_more: *explains_more,
    }
}

fn finding_from_wire(finding: wire::Finding) -> Result<Finding, ConvertError> {
    let confidence = match finding.confidence() {
        wire::Confidence::Certain => Confidence::Certain,
        wire::Confidence::Likely => Confidence::Likely,
        wire::Confidence::Undecided => Confidence::Undecided,
    };
    let wire::Finding {
        code,
        subject,
        confidence: _,
        summary,
        evidence,
        fixes,
        could_also_be,
        decided_by,
        explains,
        suppressed_by,
        explains_more,
    } = finding;
    let subject = subject_from_wire(subject)?;
    Ok(Finding {
        code,
        subject_text: subject.to_string(),
        subject,
        confidence,
        summary,
        evidence: citations_from_wire(evidence)?,
        fixes: fixes
            .into_iter()
            .map(
                |wire::Fix {
                     who,
                     action,
                     command,
                 }| Fix {
                    who,
                    action,
                    command,
                },
            )
            .collect(),
        could_also_be,
        decided_by,
        explains: explains
            .into_iter()
            .map(|pair| pair_from_wire("finding.explains", pair))
            .collect::<Result<_, _>>()?,
        explains_more,
        suppressed_by,
    })
}
