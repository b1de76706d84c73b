//! What is said of which trouble, and of what merely looks like it.

#[path = "verdicts/discovery.rs"]
mod discovery_level;
#[path = "verdicts/evidence.rs"]
mod evidence_lines;
#[path = "verdicts/gates.rs"]
mod gates;
#[path = "verdicts/history.rs"]
mod history;
#[path = "verdicts/node_echo.rs"]
mod node_echo;
mod support;

use std::collections::BTreeSet;

use diagnosis::{Stream, pages};
use evidence::discovery::{FailureKind, Stage};
use evidence::{
    Confidence, FactKey, Finding, Ladder, Layer, Outcome, Phase, Rung, RungState, Verdict,
};
use support::{
    Lab, ago,
    cases::{
        Case, Expected, NOT_READY, all, discovery, host, keys, nodes, observer, overlay,
        overlay::{cilium, flannel, with_devices},
        quiet, session,
        session::{arrives_but_silent, without_tap},
        sizes, steering,
        steering::{without_node_address, without_rule},
        time, underlay,
        underlay::{
            blocked_inbound_at_worker, both_ways_unheard, five_tuple_dropped, home_to_outside,
            lose_unheard, moved_by_nat,
        },
    },
    healthy::endpoint,
};

fn check(title: &str, lab: &Lab, expected: &Expected) -> Verdict {
    let verdict = lab.verdict();
    let named: BTreeSet<(&str, String)> = verdict
        .roots()
        .map(|root| (root.code.as_str(), root.subject_text.clone()))
        .collect();
    let wanted: BTreeSet<(&str, String)> = expected.roots.iter().cloned().collect();
    assert_eq!(named, wanted, "{title}: roots of {:#?}", verdict.findings);
    let gates = ["underlay", "wireguard", "mesh"].map(|level| {
        verdict
            .gate(level)
            .map_or(Phase::Unknown, |gate| gate.phase)
    });
    assert_eq!(gates, expected.gates, "{title}: {:#?}", verdict.gates);
    verdict
}

fn root(verdict: &Verdict) -> &Finding {
    let mut roots = verdict.roots();
    let root = roots.next().expect("a root");
    assert!(roots.next().is_none(), "one root: {:#?}", verdict.findings);
    root
}

fn check_all(cases: Vec<Case>) {
    for case in cases {
        check(case.title, &case.lab, &case.expected);
    }
}

#[test]
fn trouble_on_the_underlay_is_named_where_it_is() {
    check_all(underlay::cases());
}

#[test]
fn trouble_above_the_underlay_never_accuses_the_path() {
    check_all(session::cases());
}

#[test]
fn a_refusal_for_a_key_is_told_from_a_drop() {
    check_all(keys::cases());
}

#[test]
fn large_packets_that_are_lost_are_told_from_blocked_ports() {
    check_all(sizes::cases());
}

#[test]
fn a_packet_that_arrived_and_was_not_delivered_is_the_work_of_the_own_firewall() {
    let mut lab = sizes::shut("vps-2");
    let said = |lab: &Lab| root(&lab.verdict()).summary.clone();
    assert!(said(&lab).contains("does not arrive"), "{}", said(&lab));
    for other in ["vps-1", "home-cp", "home-worker"] {
        lab.sizes(other, "vps-2", Layer::Overlay, |sizes| {
            sizes.seen_arriving = Some(ago(2000));
        });
    }
    let summary = said(&lab);
    assert!(summary.contains("dropped by its own firewall"), "{summary}");
}

#[test]
fn a_narrow_way_shuts_the_gate_of_sizes_and_names_the_mtu_that_fits() {
    let verdict = sizes::narrow_home().verdict();
    assert_eq!(verdict.gate("mtu").unwrap().phase, Phase::NotReady);
    let fix = &root(&verdict).fixes[0];
    assert!(fix.action.contains("MTU to 1340"), "{fix:?}");
    assert!(fix.action.contains("takes 1290"), "{fix:?}");
}

#[test]
fn devices_of_an_overlay_that_cannot_work_are_named_and_accuse_no_path() {
    check_all(overlay::cases());
}

#[test]
fn frames_that_do_not_fit_shut_the_gate_of_sizes_and_the_sum_is_told() {
    let lab = with_devices("vps-1", 60_000, &[flannel("vps-1", 1450)]);
    let verdict = lab.verdict();
    assert_eq!(verdict.gate("mtu").unwrap().phase, Phase::NotReady);
    let root = root(&verdict);
    for part in ["flannel.1", "1450", "adds 50", "1500 bytes", "carries 1420"] {
        assert!(root.summary.contains(part), "{}", root.summary);
    }
    assert!(root.fixes[0].action.contains("1370"), "{:?}", root.fixes);
}

#[test]
fn an_overlay_whose_frames_nobody_can_compare_leaves_the_gate_of_sizes_unknown() {
    let phase = |lab: Lab| lab.verdict().gate("mtu").unwrap().phase;
    let fits = with_devices("vps-1", 60_000, &[flannel("vps-1", 1370)]);
    assert_eq!(phase(fits.clone()), Phase::Ready);
    assert_eq!(
        phase(fits.clone().without("vps-1", &FactKey::Device)),
        Phase::Unknown
    );
    assert_eq!(
        phase(fits.without("vps-1", &FactKey::Vxlan)),
        Phase::Unknown
    );
}

#[test]
fn trouble_with_the_discovery_service_is_named_and_leaves_the_mesh_alone() {
    check_all(discovery::cases());
}

#[test]
fn a_clock_that_was_never_set_is_told_as_the_clock() {
    let lab = discovery::with("vps-2", |seen| {
        discovery::shut(seen, Stage::Tls, FailureKind::OutOfDate);
    });
    let verdict = lab.verdict();
    let root = root(&verdict);
    assert!(root.summary.contains("it is the clock"), "{}", root.summary);
}

#[test]
fn both_devices_that_want_one_port_are_named() {
    let mut late = cilium();
    late.up = false;
    let lab = with_devices("vps-1", 60_000, &[late, flannel("vps-1", 1370)]);
    let verdict = lab.verdict();
    let summary = &root(&verdict).summary;
    assert!(
        summary.starts_with("cilium_vxlan of vps-1 is down"),
        "{summary}"
    );
    assert!(summary.contains("flannel.1 has UDP 8472"), "{summary}");
}

#[test]
fn silence_of_an_observer_in_trouble_accuses_nobody() {
    check_all(observer::cases());
}

#[test]
fn a_gate_says_whose_trouble_leaves_it_undecided() {
    let lab = observer::stalled(blocked_inbound_at_worker(), "home-worker", 1000);
    let gate = lab.verdict().gate("mesh").cloned().unwrap();
    let says = |reason: &String| reason.starts_with("home-worker is in trouble: ");
    assert!(gate.reasons.iter().any(says), "{:?}", gate.reasons);
    let healthy = observer::stalled(Lab::healthy(), "home-worker", 1000);
    assert_eq!(healthy.verdict().gate("mesh").unwrap().phase, Phase::Ready);
}

#[test]
fn trouble_with_steering_is_named_where_it_is_and_accuses_no_path() {
    check_all(steering::cases());
}

#[test]
fn a_missing_address_names_both_ends_and_who_has_it_and_explains_both_ways() {
    let verdict = without_node_address("vps-1", "home-cp").verdict();
    let root = root(&verdict);
    assert_eq!(root.confidence, Confidence::Certain);
    for part in ["vps-1", "home-cp", "192.168.50.11"] {
        assert!(root.summary.contains(part), "{}", root.summary);
    }
    assert_eq!(root.explains.len(), 2);
    assert_eq!(root.evidence[0].reporter.to_string(), "vps-1");
}

#[test]
fn a_lost_rule_breaks_the_ladder_at_steering_in_every_direction_from_the_node_and_in_no_other() {
    let verdict = without_rule("vps-2").verdict();
    for ladder in &verdict.pairs {
        let broken = (ladder.from.to_string() == "vps-2").then_some(Rung::Steering);
        assert_eq!(ladder.broken_at, broken, "{} -> {}", ladder.from, ladder.to);
    }
    assert_eq!(root(&verdict).explains.len(), 3);
}

#[test]
fn a_gate_says_which_source_leaves_steering_undecided() {
    let lab = Lab::healthy().without("vps-1", &FactKey::Steering);
    let gate = lab.verdict().gate("mesh").cloned().unwrap();
    let says = |reason: &String| reason.contains("vps-1 has not told what it steers");
    assert!(gate.reasons.iter().any(says), "{:?}", gate.reasons);
}

#[test]
fn wrong_clocks_and_time_servers_are_named_and_accuse_no_path() {
    check_all(time::cases());
}

#[test]
fn causes_in_a_host_are_named_and_fold_what_they_break() {
    check_all(host::cases());
}

#[test]
fn trouble_of_a_node_excuses_its_pairs() {
    check_all(nodes::cases());
}

/// No group of the table can be forgotten.
#[test]
fn every_case_of_the_table_is_judged_as_it_says() {
    check_all(all().collect());
}

#[test]
fn what_is_no_trouble_accuses_nobody() {
    check_all(quiet::cases());
}

#[test]
fn every_code_is_named_by_a_case_and_not_named_by_a_look_alike() {
    for page in pages() {
        let names = |case: &Case| case.expected.roots.iter().any(|root| root.0 == page.code);
        let resembles = |case: &Case| case.looks_like.contains(&page.code) && !names(case);
        assert!(
            all().any(|case| names(&case)),
            "no case names {}",
            page.code
        );
        assert!(
            all().any(|case| resembles(&case)),
            "nothing looks like {}",
            page.code
        );
    }
}

#[test]
fn a_healthy_mesh_opens_what_is_measured_and_nothing_above() {
    let verdict = Lab::healthy().verdict();
    assert!(verdict.findings.is_empty());
    let api = verdict.gate("kubernetes-api").unwrap();
    assert_eq!((api.phase, api.may_start), (Phase::Unknown, Phase::Unknown));
    let mtu = verdict.gate("mtu").unwrap();
    assert_eq!((mtu.phase, mtu.may_start), (Phase::Ready, Phase::Ready));
}

#[test]
fn proof_on_all_directions_makes_a_place_certain() {
    let certain = blocked_inbound_at_worker().verdict();
    assert_eq!(root(&certain).confidence, Confidence::Certain);
    let half =
        lose_unheard(Lab::healthy(), "vps-1", "home-worker").lose("vps-2", "home-worker", 5000);
    assert_eq!(root(&half.verdict()).confidence, Confidence::Likely);
}

#[test]
fn a_tie_between_a_site_and_the_only_node_outside_is_told_as_a_tie() {
    let lab = home_to_outside(Lab::of(&["vps-1", "home-cp", "home-worker"]), lose_unheard);
    let verdict = lab.verdict();
    let root = root(&verdict);
    assert_eq!(root.code, "udp-51820-blocked-outbound");
    assert_eq!(root.subject_text, "site 198.51.100.2");
    assert_eq!(root.confidence, Confidence::Undecided);
    assert_eq!(
        root.could_also_be,
        ["what stands in front of vps-1, inbound"]
    );
    assert!(root.decided_by.is_some());
}

#[test]
fn a_tie_stays_a_tie_when_both_ways_are_dead() {
    let lab = home_to_outside(
        Lab::of(&["vps-1", "home-cp", "home-worker"]),
        both_ways_unheard,
    );
    let verdict = lab.verdict();
    let root = root(&verdict);
    assert_eq!(root.confidence, Confidence::Undecided);
    let tie = "what stands in front of vps-1, both ways".to_owned();
    assert!(root.could_also_be.contains(&tie), "{root:#?}");
}

#[test]
fn a_direction_that_nothing_compares_with_is_not_said_to_be_alone() {
    let verdict = lose_unheard(Lab::of(&["vps-1", "vps-2"]), "vps-1", "vps-2").verdict();
    let root = root(&verdict);
    assert_eq!(
        (root.code.as_str(), root.confidence),
        ("one-way-loss", Confidence::Undecided)
    );
    assert_eq!(root.could_also_be.len(), 2, "{root:#?}");
    assert!(!root.summary.contains("not hit"), "{}", root.summary);
}

#[test]
fn silence_that_no_handshake_has_looked_into_names_what_it_could_be() {
    let verdict = arrives_but_silent("vps-2").verdict();
    let root = root(&verdict);
    assert_eq!(root.confidence, Confidence::Undecided);
    assert_eq!(root.could_also_be.len(), 3);
    assert!(root.decided_by.is_some());
}

#[test]
fn a_missing_tap_is_named_by_the_finding_that_it_leaves_open() {
    let verdict = without_tap(blocked_inbound_at_worker()).verdict();
    let says = |text: &str| text.contains("CAP_NET_RAW");
    assert!(
        root(&verdict)
            .evidence
            .iter()
            .any(|citation| says(&citation.text))
    );
    let ladder = verdict.pairs.iter().find(|ladder| {
        ladder.to.to_string() == "home-worker" && ladder.from.to_string() == "vps-1"
    });
    let underlay = &ladder.unwrap().rungs[1];
    assert!(says(&underlay.method), "{underlay:#?}");
}

#[test]
fn who_sees_a_dead_agent_alive_makes_it_certain() {
    let killed = Lab::healthy().kill_agent("vps-2", 7000).verdict();
    assert_eq!(root(&killed).confidence, Confidence::Certain);
    let dead = Lab::healthy().kill_node("vps-2", 9000).verdict();
    assert_eq!(root(&dead).confidence, Confidence::Certain);
}

#[test]
fn a_reply_proves_the_way_to_who_answered() {
    let lab = lose_unheard(Lab::healthy(), "vps-1", "home-cp");
    let mapped = endpoint("home-cp", "vps-1");
    let answered = lab.clone().inert_answered("vps-1", "home-cp", mapped);
    assert_eq!(underlay_of(&lab, "vps-1", "home-cp").outcome, Outcome::Fail);
    let underlay = underlay_of(&answered, "vps-1", "home-cp");
    assert_eq!(underlay.outcome, Outcome::Pass);
    let text = &underlay.evidence[0].text;
    assert!(
        text.contains("answered its inert datagram in 0.85 ms"),
        "{text}"
    );
    assert!(text.contains(&format!("sees it as {mapped};")), "{text}");
}

#[test]
fn a_reply_proves_the_way_back_only_to_where_the_tunnel_is_dialled() {
    let dialled = endpoint("vps-1", "home-worker");
    let healed = blocked_inbound_at_worker().inert_answered("home-worker", "vps-1", dialled);
    let outcome = |lab: &Lab| underlay_of(lab, "vps-1", "home-worker").outcome;
    assert_eq!(
        (outcome(&healed), outcome(&moved_by_nat())),
        (Outcome::Pass, Outcome::Fail)
    );
}

#[test]
fn the_mapping_of_a_nat_is_told_beside_the_endpoint() {
    let verdict = moved_by_nat().verdict();
    let evidence = &root(&verdict).evidence;
    let sees = "it sees home-worker as 198.51.100.2:";
    assert!(
        evidence.iter().any(|cited| cited.text.contains(sees)),
        "{evidence:#?}"
    );
}

#[test]
fn what_became_of_an_unsolicited_datagram_is_told() {
    let tells = |lab: &Lab, clause: &str| {
        let verdict = lab.verdict();
        let evidence = &root(&verdict).evidence;
        assert!(
            evidence.iter().any(|cited| cited.text.contains(clause)),
            "{evidence:#?}"
        );
    };
    tells(&five_tuple_dropped(), "one from another port did arrive");
    let blocked = blocked_inbound_at_worker();
    tells(&blocked, "as it must be where the NAT forwards no port");
}

fn underlay_of(lab: &Lab, from: &str, to: &str) -> RungState {
    let verdict = lab.verdict();
    let of = |ladder: &&Ladder| ladder.from.to_string() == from && ladder.to.to_string() == to;
    let ladder = verdict
        .pairs
        .iter()
        .find(of)
        .expect("every ordered pair has a ladder");
    ladder.rungs[1].clone()
}

#[test]
fn the_effect_on_each_pair_is_folded_under_its_root() {
    let verdict = blocked_inbound_at_worker().verdict();
    let folded = verdict
        .findings
        .iter()
        .filter(|finding| finding.suppressed_by.is_some());
    let subjects: Vec<&str> = folded
        .map(|finding| finding.subject_text.as_str())
        .collect();
    assert_eq!(subjects, ["home-worker <-> vps-1", "home-worker <-> vps-2"]);
}

#[test]
fn a_node_whose_key_was_never_known_is_still_missed_when_its_stream_ends() {
    let mut lab = Lab::healthy()
        .take_out("home-worker")
        .without("home-worker", &FactKey::Identity);
    lab.node("home-worker").stream = Stream::Closed(ago(20_000));
    let expected = Expected {
        roots: vec![("agent-not-reporting", "home-worker".to_owned())],
        gates: NOT_READY,
    };
    check("keyless", &lab, &expected);
}

#[test]
fn wrong_clocks_shut_what_needs_certificates_and_no_tunnel() {
    let phases = |ahead_ms| {
        let verdict = Lab::healthy().ahead("vps-2", ahead_ms, 9_500).verdict();
        let phase = |level| verdict.gate(level).map(|gate| gate.phase);
        ["mesh", "mtu", "kubernetes-api"].map(phase)
    };
    let (ready, unknown) = (Some(Phase::Ready), Some(Phase::Unknown));
    let shut = Some(Phase::NotReady);
    assert_eq!(phases(0), [ready, ready, unknown]);
    assert_eq!(phases(4_000), [ready, ready, unknown]);
    assert_eq!(phases(6_000), [ready, ready, shut]);
    assert_eq!(phases(-1_795_000_000_000), [ready, ready, shut]);
}
