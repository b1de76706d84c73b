//! Collectors and agents of a later version: what ours does not know is left out, counted, and never good news.

use evidence::{Confidence, Delta, Fact, FactKey, Outcome, Phase, Rung};
use proto::{
    convert::{
        ConvertError, Incoming, gate_from_wire, incoming, pairs_from_wire, verdict_from_wire,
    },
    wire::{self, fact::Fact as WireFact, report_request::Body},
};

use crate::sample;

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

/// Nothing of ours can stand for such a rung. Without it, a pair that breaks there would look like one that does not break:
/// so its whole ladder is left out, and the tally still has the pair.
#[test]
fn a_pair_with_a_rung_of_a_later_version_is_left_out_and_never_counted_as_good() {
    let state = wire::RungState {
        rung: LATER,
        ..wire::RungState::default()
    };
    let cases = [
        wire::Ladder {
            rungs: vec![state],
            ..ladder()
        },
        wire::Ladder {
            highest: LATER,
            ..ladder()
        },
        wire::Ladder {
            broken_at: LATER,
            ..ladder()
        },
    ];
    for pair in cases {
        let verdict = verdict_from_wire(with_pair(pair.clone())).unwrap();
        assert!(verdict.pairs.is_empty(), "{pair:?}");
        assert_eq!((verdict.tally.good, verdict.tally.unproved), (0, 1));
        let told = wire::Verdict {
            tally: Some(wire::Tally {
                broken: 7,
                ..wire::Tally::default()
            }),
            ..with_pair(pair.clone())
        };
        assert_eq!(verdict_from_wire(told).unwrap().tally.broken, 7);
        let page = wire::PairsPage {
            pairs: vec![pair, ladder()],
            more: true,
        };
        let (known, more) = pairs_from_wire(page).unwrap();
        assert_eq!((known.len(), more), (1, true));
    }
}

/// A kind of subject that we do not know arrives as none at all.
#[test]
fn a_finding_with_a_subject_of_a_later_version_is_left_out_and_counted() {
    let mut verdict = with_finding(wire::Finding::default());
    verdict.findings_left_out = 4;
    let verdict = verdict_from_wire(verdict).unwrap();
    assert!(verdict.findings.is_empty());
    assert_eq!(verdict.findings_left_out, 5);
}

/// Facts as a later agent says them: a kind, a source, a layer and a state that this version does not know, among others.
#[test]
fn what_a_later_agent_says_is_left_out_and_counted_and_the_rest_is_taken() {
    let of = |fact| wire::Fact { fact: Some(fact) };
    let source = wire::Source {
        id: LATER,
        ..sample::source()
    };
    let mut sizes = sample::sizes();
    let known = sizes.layers.len();
    sizes.layers.push(wire::LayerSizes {
        layer: LATER,
        ..sizes.layers[0].clone()
    });
    let facts = vec![
        wire::Fact { fact: None },
        of(WireFact::Source(source)),
        of(WireFact::Sizes(sizes)),
        of(WireFact::Source(sample::source())),
    ];
    let taken = incoming(Some(Body::Snapshot(wire::Snapshot { facts }))).unwrap();
    assert_eq!(taken.left_out, 2);
    let Incoming::Snapshot(facts) = taken.said else {
        panic!("a snapshot");
    };
    let layers = facts.iter().find_map(|fact| match fact {
        Fact::Sizes(_, layers) => Some(layers.len()),
        _ => None,
    });
    assert_eq!((facts.len(), layers), (2, Some(known)));
}

/// What stands in the view is what was said before: it must not stay when it no longer holds.
#[test]
fn a_fact_that_takes_a_value_of_a_later_version_is_removed() {
    let mut discovery = sample::discovery();
    discovery.endpoints[0].names.as_mut().unwrap().ipv4 = Some(wire::NameAnswer {
        outcome: LATER,
        ..wire::NameAnswer::default()
    });
    let mut ntp = sample::ntp();
    ntp.servers[0].stage = LATER;
    let facts = [WireFact::Discovery(discovery), WireFact::Ntp(ntp)];
    let upserts = facts.map(|fact| wire::Fact { fact: Some(fact) }).to_vec();
    let removed = vec![
        wire::FactKey {
            kind: LATER,
            ..wire::FactKey::default()
        },
        wire::FactKey {
            kind: wire::FactKind::Device.into(),
            ..wire::FactKey::default()
        },
    ];
    let taken = incoming(Some(Body::Delta(wire::Delta {
        upserts,
        removed,
        ..wire::Delta::default()
    })))
    .unwrap();
    let delta = Delta {
        removed: vec![FactKey::Discovery, FactKey::Ntp, FactKey::Device],
        ..Delta::default()
    };
    assert_eq!((taken.said, taken.left_out), (Incoming::Delta(delta), 3));
}

/// A failure is one, of whatever kind: it must not vanish, and needs no more to be shown.
#[test]
fn a_failure_of_a_kind_of_a_later_version_stays_a_failure() {
    let mut discovery = sample::discovery();
    let stages = &mut discovery.endpoints[0].addresses[0].stages;
    stages.truncate(1);
    stages[0].failure = Some(wire::StageFailure {
        kind: LATER,
        text: "x".to_owned(),
    });
    let Incoming::Snapshot(facts) = sample::fact(WireFact::Discovery(discovery)).unwrap() else {
        panic!("a snapshot");
    };
    let text = format!("{facts:?}");
    assert!(
        text.contains("failure: Some(StageFailure { kind: Other"),
        "{text}"
    );
}

/// Zero is a number of no version: who says it is wrong, not new.
#[test]
fn what_no_version_says_is_still_refused_by_its_field() {
    let source = wire::Source {
        id: 0,
        ..sample::source()
    };
    let error = sample::fact(WireFact::Source(source)).unwrap_err();
    assert_eq!((error.field, error.is_later), ("source.id", false));
}

#[test]
fn a_pair_without_a_node_is_refused_by_its_field() {
    let error = refused(with_pair(wire::Ladder {
        to: None,
        ..ladder()
    }));
    assert_eq!(error.to_string(), "field ladder.to: expected a node");
}
