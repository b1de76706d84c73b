//! With pseudonyms: nothing of what was hidden is left, and the same is said of the same places.

use diagnosis::graph::Graph;
use evidence::{NodeName, NodeRef, Outcome, Subject, Verdict};
use mesh_probe::bundle::redact;

use crate::{
    bundle,
    support::{NODES, cases, cases::Case},
};

/// What a verdict says, without its words.
fn shape(verdict: &Verdict) -> Vec<String> {
    let findings = verdict.findings.iter().map(|finding| {
        format!(
            "{} at {} {:?} cites {} explains {} under {:?}, {} fixes, {} else",
            finding.code,
            place(&finding.subject, verdict),
            finding.confidence,
            finding.evidence.len(),
            finding.explains.len(),
            finding.suppressed_by,
            finding.fixes.len(),
            finding.could_also_be.len(),
        )
    });
    let gates = verdict
        .gates
        .iter()
        .map(|gate| format!("{} {:?} {:?}", gate.level, gate.phase, gate.may_start));
    let pairs = verdict.pairs.iter().map(|ladder| {
        let outcomes: Vec<Outcome> = ladder.rungs.iter().map(|rung| rung.outcome).collect();
        let ends = [&ladder.from, &ladder.to].map(|node| number(node, verdict));
        format!("{ends:?} {:?} {outcomes:?}", ladder.broken_at)
    });
    findings.chain(gates).chain(pairs).collect()
}

/// A node by its place in the list.
fn number(node: &NodeRef, verdict: &Verdict) -> Option<usize> {
    verdict.nodes.iter().position(|state| state.node == *node)
}

fn place(subject: &Subject, verdict: &Verdict) -> String {
    let number = |node: &NodeRef| number(node, verdict);
    match subject {
        Subject::Cluster => "cluster".to_owned(),
        Subject::Node { node } => format!("{:?}", number(node)),
        Subject::Direction { from, to } => format!("{:?} -> {:?}", number(from), number(to)),
        Subject::Pair { a, b } => format!("{:?} <-> {:?}", number(a), number(b)),
        Subject::Site { nodes, .. } => {
            format!("{:?}", nodes.iter().map(number).collect::<Vec<_>>())
        }
        Subject::Ends { a, b, both_ways } => {
            let all = |end: &evidence::End| end.nodes.iter().map(number).collect::<Vec<_>>();
            format!("{:?} -> {:?} {both_ways}", all(a), all(b))
        }
    }
}

#[test]
fn the_same_is_said_of_the_same_places() {
    for case in cases::all() {
        let redacted = redact(&bundle(&case)).unwrap();
        assert!(redacted.redacted);
        let (made, real) = (redacted.judge(), case.lab.verdict());
        assert_eq!(shape(&made), shape(&real), "{}", case.title);
    }
}

/// Addresses of the lab that belong to somebody, and its names.
fn hidden(case: &Case) -> Vec<String> {
    let mut hidden: Vec<String> = NODES.map(str::to_owned).to_vec();
    for node in case.lab.view.nodes.values() {
        for fact in node.facts.iter() {
            match fact {
                evidence::Fact::Identity(identity) => {
                    hidden.extend(identity.addresses.iter().map(ToString::to_string));
                    hidden.extend(identity.kubespan_address.map(|address| address.to_string()));
                }
                evidence::Fact::Peer(_, peer) => {
                    hidden.extend(peer.endpoint.map(|endpoint| endpoint.ip().to_string()));
                }
                _ => {}
            }
        }
    }
    hidden
}

#[test]
fn nothing_of_what_was_hidden_is_left() {
    for case in cases::all() {
        let text = redact(&bundle(&case)).unwrap().to_text().unwrap();
        for word in hidden(&case) {
            // A pseudonym has no bit of its own, so an address that is all kind and no more is its own pseudonym.
            let quoted = text.contains(&format!("\"{word}\""))
                || text.contains(&format!(" {word} "))
                || text.contains(&format!("\"{word}:"))
                || text.contains(&format!("[{word}]"));
            assert!(!quoted, "{}: {word} is still there", case.title);
        }
    }
}

#[test]
fn pseudonyms_are_the_same_each_time_and_hide_sentences_too() {
    let mut case = cases::all().next().expect("the table has rows");
    let vps = case.lab.node("vps-1");
    vps.conflict = Some(diagnosis::Conflict {
        at: crate::support::NOW,
        what:
            "another boot id, from 203.0.113.99: see VPS-1, home-worker.lan or 02:11:22:33:44:55."
                .to_owned(),
    });
    let bundle = bundle(&case);
    let made = redact(&bundle).unwrap();
    assert_eq!(made, redact(&bundle).unwrap());
    let conflicts: Vec<&str> = made
        .view
        .nodes
        .values()
        .filter_map(|node| node.conflict.as_ref())
        .map(|conflict| conflict.what.as_str())
        .collect();
    let [said] = conflicts.as_slice() else {
        panic!("{conflicts:?}")
    };
    assert!(said.starts_with("another boot id, from 203.0."), "{said}");
    for gone in ["113.99", "VPS", "home-worker", ".lan", "44:55"] {
        assert!(!said.contains(gone), "{said}");
    }
    assert!(said.contains("see node-3, host-"), "{said}");
    assert!(said.ends_with("or 02:00:00:00:00:01."), "{said}");
}

#[test]
fn levels_and_checks_keep_their_names_where_a_node_has_the_same() {
    let mut case = cases::all().next().expect("the table has rows");
    let names = &mut case.lab.view.expectation.names;
    names.extend(["mesh", "mtu", "cni"].map(|name| NodeName::parse(name).unwrap()));
    let levels = |graph: &Graph| -> Vec<_> {
        let levels = graph.levels().iter();
        levels
            .map(|level| (level.name.clone(), level.check, level.depends_on.clone()))
            .collect()
    };
    let made = redact(&bundle(&case)).unwrap().view.expectation;
    assert_eq!(
        levels(&made.graph),
        levels(&case.lab.view.expectation.graph)
    );
    assert!(
        made.names
            .iter()
            .all(|name| name.as_str().starts_with("node-"))
    );
}
