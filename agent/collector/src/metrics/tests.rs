//! How much is told, and of whom.

use std::collections::BTreeSet;

use diagnosis::hold::Hold;
use evidence::{Moment, NodeName, NodeState, PublicKey, Tally};

use super::*;

fn node(name: &str) -> NodeRef {
    NodeRef::named(&NodeName::parse(name).unwrap())
}

/// A mesh of so many nodes, of which nobody reaches anybody, and a key that nobody has a name for.
pub(crate) fn collapsed(nodes: usize) -> Judged {
    let mut all: Vec<NodeRef> = (0..nodes).map(|n| node(&format!("node-{n}"))).collect();
    all.push(NodeRef::Unnamed {
        key: PublicKey::from_bytes([7; 32]),
    });
    let ladder = |from: &NodeRef, to: &NodeRef| Ladder {
        flapping: None,
        from: from.clone(),
        to: to.clone(),
        rungs: Vec::new(),
        highest: None,
        broken_at: Some(Rung::Underlay),
        rtt_us: None,
        loss_percent: None,
        handshake_age_ms: None,
        endpoint: None,
    };
    let pairs = all.iter().flat_map(|from| {
        let others = all.iter().filter(move |to| *to != from);
        others.map(move |to| ladder(from, to))
    });
    let state = |node: &NodeRef| NodeState {
        node: node.clone(),
        reporting: true,
        report_age_ms: None,
        version: None,
        kubespan_address: None,
        site: None,
        gaps: Vec::new(),
    };
    let pairs: Vec<Ladder> = pairs.collect();
    Judged {
        verdict: Verdict {
            tally: Tally::of(&pairs),
            pairs,
            nodes: all.iter().map(state).collect(),
            ..Verdict::default()
        },
        at: Moment::ZERO,
        revision: 1,
        hold: Hold::new(std::time::Duration::ZERO),
    }
}

fn series<'t>(text: &'t str, name: &str) -> Vec<&'t str> {
    let is = |line: &&str| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
    };
    text.lines().filter(is).collect()
}

#[test]
fn single_pairs_are_told_up_to_a_bound_and_the_rest_is_counted() {
    let judged = collapsed(20);
    let text = table(Some(&judged), &Counters::default(), Some(100)).text();
    assert_eq!(series(&text, "mesh_direction_broken").len(), 100);
    assert_eq!(
        series(&text, "mesh_directions_left_out"),
        [
            "mesh_directions_left_out{reason=\"limit\"} 280",
            "mesh_directions_left_out{reason=\"unnamed\"} 40",
        ]
    );
    assert_eq!(
        series(&text, "mesh_directions_broken"),
        ["mesh_directions_broken 420"]
    );
    assert_eq!(series(&text, "mesh_node_directions_broken").len(), 40);
}

#[test]
fn pairs_that_the_verdict_does_not_tell_are_counted_all_the_same() {
    let mut judged = collapsed(3);
    judged.verdict.tally.broken = 1_047_552;
    let text = table(Some(&judged), &Counters::default(), Some(100)).text();
    for line in [
        "mesh_pairs{health=\"broken\"} 1047552",
        "mesh_directions_broken 1047552",
        "mesh_directions_left_out{reason=\"limit\"} 1047540",
    ] {
        assert!(text.lines().any(|one| one == line), "{line}: {text}");
    }
}

#[test]
fn without_details_nobody_is_named_and_all_is_counted() {
    let text = table(Some(&collapsed(3)), &Counters::default(), None).text();
    assert!(!text.contains("node-0"), "{text}");
    assert_eq!(
        series(&text, "mesh_directions_broken"),
        ["mesh_directions_broken 12"]
    );
}

#[test]
fn no_key_is_told() {
    let key = PublicKey::from_bytes([7; 32]);
    let text = table(Some(&collapsed(3)), &Counters::default(), Some(100)).text();
    let short = key.short();
    assert!(
        !text.contains(&short) && !text.contains(&key.to_string()),
        "{text}"
    );
    assert_eq!(
        series(&text, "mesh_nodes_unnamed"),
        ["mesh_nodes_unnamed 1"]
    );
}

#[test]
fn a_mesh_that_gets_worse_adds_no_series_but_those_of_pairs() {
    let count = |judged: &Judged| {
        let text = table(Some(judged), &Counters::default(), Some(0)).text();
        text.lines().filter(|line| !line.starts_with('#')).count()
    };
    let mut well = collapsed(20);
    for ladder in &mut well.verdict.pairs {
        ladder.broken_at = None;
    }
    well.verdict.tally = Tally::of(&well.verdict.pairs);
    assert_eq!(count(&well), count(&collapsed(20)));
}

#[test]
fn every_family_is_told_once_and_every_sample_belongs_to_one() {
    let text = table(Some(&collapsed(3)), &Counters::default(), Some(100)).text();
    let mut families = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap();
            assert!(families.insert(name), "{name} twice");
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(families.contains(name), "{line}");
        }
    }
    assert!(
        families.contains("mesh_collector_messages_total"),
        "{families:?}"
    );
}

#[test]
fn without_a_judgement_no_gate_is_told() {
    let text = table(None, &Counters::default(), Some(100)).text();
    assert!(!text.contains("mesh_gate"), "{text}");
    assert!(text.contains("mesh_collector_judged 0\n"), "{text}");
}

#[test]
fn a_label_cannot_leave_its_quotes() {
    let mut text = Table::default();
    text.family("a", Kind::Gauge, "b")
        .value(&[("c", "d\"\\\ne")], 1_u64);
    assert!(text.text().ends_with("a{c=\"d\\\"\\\\\\ne\"} 1\n"));
}
