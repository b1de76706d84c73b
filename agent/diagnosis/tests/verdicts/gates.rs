//! What levels ask for beyond their rung, and which causes end a wait.

use std::{collections::BTreeSet, time::Duration};

use diagnosis::{
    cure::{Cure, cure},
    graph::{Graph, Level},
    levels::Check,
};
use evidence::{Gate, Phase, Verdict};

use crate::support::{
    Lab, ago,
    cases::{self, Case},
    name,
};

fn terminal(verdict: &Verdict) -> BTreeSet<&str> {
    let gates = verdict.gates.iter().filter(|gate| gate.terminal);
    gates.map(|gate| gate.level.as_str()).collect()
}

fn case(title: &str) -> Case {
    let mut cases = cases::all();
    cases.find(|case| case.title == title).expect("a case")
}

/// A healthy mesh, judged by one level over `mesh`.
fn judged(lab: Lab, edit: impl FnOnce(&mut Level)) -> Gate {
    let mut lab = lab;
    let mut level = Level::new("ours", &[], Check::Mesh);
    edit(&mut level);
    lab.view.expectation.graph = Graph::new(vec![level]).expect("a graph");
    lab.verdict().gates.remove(0)
}

#[test]
fn what_stays_until_somebody_changes_it_ends_a_wait_for_what_it_shuts_and_all_above() {
    let verdict = case("a node has another preshared key than the rest")
        .lab
        .verdict();
    let above = [
        "wireguard",
        "mesh",
        "mtu",
        "kubernetes-api",
        "cni",
        "sealed-secrets",
        "csi-hetzner",
        "csi-proxmox",
        "platform",
    ];
    assert_eq!(
        terminal(&verdict),
        above.into(),
        "not the underlay, nor discovery"
    );
    let verdict = case("a node dials another with a key that nobody has")
        .lab
        .verdict();
    assert!(terminal(&verdict).contains("mesh"));
}

#[test]
fn a_gate_ends_waits_only_where_a_root_stays() {
    let mut ended = BTreeSet::new();
    for case in cases::all() {
        let verdict = case.lab.verdict();
        let stays = |code: &str| cure(code).0 == Cure::Change;
        let roots: Vec<&str> = verdict.roots().map(|root| root.code.as_str()).collect();
        if terminal(&verdict).is_empty() {
            continue;
        }
        assert!(
            roots.iter().any(|code| stays(code)),
            "{}: {roots:?}",
            case.title
        );
        for gate in verdict.gates.iter().filter(|gate| gate.terminal) {
            assert_ne!(gate.phase, Phase::Ready, "{}: {}", case.title, gate.level);
        }
        ended.extend(
            roots
                .into_iter()
                .filter(|code| stays(code))
                .map(str::to_owned),
        );
    }
    let wanted = [
        "address-overlap",
        "machine-cloned",
        "port-51820-taken",
        "wireguard-psk-mismatch",
        "wireguard-wrong-key",
    ];
    for code in wanted {
        assert!(
            ended.contains(code),
            "no case in which {code} ends a wait: {ended:?}"
        );
    }
}

#[test]
fn a_machine_with_another_secret_ends_a_wait_for_nodes_that_do_not_come() {
    let is = |case: &Case| {
        case.expected
            .roots
            .iter()
            .any(|root| root.0 == "cluster-secret-differs")
    };
    let mut lab = cases::all().find(is).expect("a case").lab;
    assert!(
        terminal(&lab.verdict()).is_empty(),
        "all that are expected are there"
    );
    lab.view.expectation.min_nodes = 5;
    assert!(terminal(&lab.verdict()).contains("mesh"));
}

#[test]
fn a_second_trouble_that_waiting_cures_does_not_borrow_from_one_that_shuts_nothing() {
    // The clone is told of, and the mesh is as good as before.
    let second = Lab::healthy().second_machine("vps-1");
    assert!(terminal(&second.verdict()).is_empty());
    let both =
        Lab::healthy()
            .second_machine("vps-1")
            .lose_both_ways("home-cp", "home-worker", 8000);
    let verdict = both.verdict();
    assert_eq!(verdict.gate("mesh").unwrap().phase, Phase::NotReady);
    assert!(terminal(&verdict).is_empty(), "{:?}", terminal(&verdict));
}

#[test]
fn a_level_may_expect_more_nodes_than_the_mesh_does() {
    assert_eq!(judged(Lab::healthy(), |_| ()).phase, Phase::Ready);
    let gate = judged(Lab::healthy(), |level| level.min_nodes = 5);
    assert_eq!(gate.phase, Phase::NotReady);
    assert_eq!(gate.reasons[0], "4 nodes report, at least 5 are expected");
    let gate = judged(Lab::healthy(), |level| {
        level.nodes = vec![name("vps-1"), name("vps-9")];
    });
    assert_eq!(gate.phase, Phase::NotReady);
    assert_eq!(
        gate.reasons[0],
        "expected here, without a fresh report: vps-9"
    );
}

#[test]
fn a_level_may_ask_for_younger_reports() {
    let mut lab = Lab::healthy();
    lab.node("vps-1").last_report = ago(3000);
    assert_eq!(judged(lab.clone(), |_| ()).phase, Phase::Ready);
    let gate = judged(lab, |level| {
        level.fresh_within = Some(Duration::from_secs(2));
    });
    assert_ne!(gate.phase, Phase::Ready);
    assert!(
        gate.reasons
            .contains(&"no report within 2s: vps-1".to_owned()),
        "{gate:?}"
    );
}

#[test]
fn a_level_without_a_check_is_unknown_and_may_start_when_what_is_below_is_ready() {
    let mut lab = Lab::healthy();
    let levels = vec![
        Level::new("api", &["ours"], Check::None),
        Level::new("ours", &[], Check::Mesh),
    ];
    lab.view.expectation.graph = Graph::new(levels).unwrap();
    let verdict = lab.verdict();
    let api = verdict.gate("api").unwrap();
    assert_eq!((api.phase, api.may_start), (Phase::Unknown, Phase::Ready));
}
