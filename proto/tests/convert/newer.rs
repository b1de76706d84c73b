//! A collector of a later version: what ours does not know is never good news.

use evidence::{Confidence, Outcome, Phase, Rung};
use proto::{
    convert::{ConvertError, gate_from_wire, verdict_from_wire},
    wire,
};

/// No version has this number.
const LATER: i32 = 99;

fn node() -> wire::NodeRef {
    wire::NodeRef {
        name: "vps-1".to_owned(),
        public_key: Vec::new(),
    }
}

fn ladder() -> wire::Ladder {
    wire::Ladder {
        from: Some(node()),
        to: Some(node()),
        ..wire::Ladder::default()
    }
}

fn refused(verdict: wire::Verdict) -> ConvertError {
    verdict_from_wire(verdict).unwrap_err()
}

fn with_pair(ladder: wire::Ladder) -> wire::Verdict {
    wire::Verdict {
        pairs: vec![ladder],
        ..wire::Verdict::default()
    }
}

fn with_finding(finding: wire::Finding) -> wire::Verdict {
    wire::Verdict {
        findings: vec![finding],
        ..wire::Verdict::default()
    }
}

#[test]
fn a_phase_of_a_later_version_is_unknown_which_is_closed() {
    let gate = gate_from_wire(wire::GateState {
        level: "mesh".to_owned(),
        ready: LATER,
        may_start: LATER,
        ..wire::GateState::default()
    });
    assert_eq!(
        (gate.phase, gate.may_start),
        (Phase::Unknown, Phase::Unknown)
    );
}

#[test]
fn an_outcome_of_a_later_version_is_unknown_and_not_good() {
    let mut pair = ladder();
    pair.rungs.push(wire::RungState {
        rung: wire::Rung::Tunnel.into(),
        outcome: LATER,
        ..wire::RungState::default()
    });
    let verdict = verdict_from_wire(with_pair(pair)).unwrap();
    let outcome = verdict.pairs[0].outcome(Rung::Tunnel);
    assert_eq!((outcome, outcome.is_good()), (Outcome::Unknown, false));
}

#[test]
fn a_confidence_of_a_later_version_accuses_nobody() {
    let cluster = wire::subject::Subject::Cluster(wire::subject::Cluster {});
    let verdict = verdict_from_wire(with_finding(wire::Finding {
        subject: Some(wire::Subject {
            subject: Some(cluster),
        }),
        confidence: LATER,
        ..wire::Finding::default()
    }));
    let confidence = verdict.unwrap().findings[0].confidence;
    assert_eq!(confidence, Confidence::Undecided);
}

/// Nothing of ours can stand for such a rung. Left out, a pair that breaks at it would look like one that does not break.
#[test]
fn a_rung_of_a_later_version_is_refused_by_its_field() {
    let state = wire::RungState {
        rung: LATER,
        ..wire::RungState::default()
    };
    let cases = [
        (
            "rung.rung",
            wire::Ladder {
                rungs: vec![state],
                ..ladder()
            },
        ),
        (
            "ladder.highest",
            wire::Ladder {
                highest: LATER,
                ..ladder()
            },
        ),
        (
            "ladder.broken_at",
            wire::Ladder {
                broken_at: LATER,
                ..ladder()
            },
        ),
    ];
    for (field, pair) in cases {
        let error = refused(with_pair(pair));
        assert_eq!(
            error.to_string(),
            format!("field {field}: expected one of the known rungs")
        );
    }
}

/// A kind of subject that we do not know arrives as none at all.
#[test]
fn a_subject_of_a_later_version_is_refused_by_its_field() {
    let error = refused(with_finding(wire::Finding::default()));
    assert_eq!(
        error.to_string(),
        "field finding.subject: expected one of the known kinds of subjects"
    );
}

#[test]
fn a_pair_without_a_node_is_refused_by_its_field() {
    let error = refused(with_pair(wire::Ladder {
        to: None,
        ..ladder()
    }));
    assert_eq!(error.to_string(), "field ladder.to: expected a node");
}
