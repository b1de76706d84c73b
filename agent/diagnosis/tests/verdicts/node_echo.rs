//! What the rung of steering rests on where node addresses are asked.

use evidence::{Ladder, Outcome, Rung, RungState, Verdict};

use crate::support::{
    Lab, ago,
    cases::{
        sizes,
        steering::node_echo::{mark_overwritten, never_asked, overwritten_and_searched},
    },
};

fn steering(verdict: &Verdict, from: &str, to: &str) -> RungState {
    let is = |ladder: &&Ladder| ladder.from.to_string() == from && ladder.to.to_string() == to;
    let ladder = verdict.pairs.iter().find(is).expect("a ladder");
    let mut rungs = ladder.rungs.iter();
    let rung = rungs.find(|state| state.rung == Rung::Steering);
    rung.expect("a rung").clone()
}

fn cited(state: &RungState) -> Vec<(String, String)> {
    let cited = state.evidence.iter();
    cited
        .map(|citation| (citation.reporter.to_string(), citation.text.clone()))
        .collect()
}

#[test]
fn the_rung_is_proved_by_an_echo_that_came_in_by_the_tunnel_at_both_ends() {
    let state = steering(&Lab::healthy().verdict(), "vps-1", "home-cp");
    assert_eq!(state.outcome, Outcome::Pass);
    assert!(
        state.method.starts_with("echo to the node address"),
        "{state:?}"
    );
    let cited = cited(&state);
    let says = |node: &str, part: &str| {
        cited
            .iter()
            .any(|(by, text)| by.ends_with(node) && text.contains(part))
    };
    assert!(
        says("vps-1", "answered its echo to 192.168.50.11"),
        "{cited:?}"
    );
    assert!(
        says(
            "home-cp",
            "the echo of vps-1 to 192.168.50.11 came in by kubespan"
        ),
        "{cited:?}"
    );
    assert!(
        says("vps-1", "is marked"),
        "the comparison is told beside it: {cited:?}"
    );
}

#[test]
fn without_both_halves_of_the_proof_the_rung_rests_on_the_comparison_as_before() {
    let compared = steering(&never_asked(Lab::healthy()).verdict(), "vps-1", "home-cp");
    assert_eq!(compared.outcome, Outcome::Pass);
    assert!(compared.method.contains("compared"), "{compared:?}");
    let half = [
        Lab::healthy().node_echo("vps-1", "home-cp", |asked, _| asked.back = None),
        Lab::healthy().node_echo("vps-1", "home-cp", |asked, _| {
            asked.last_answered = Some(ago(60_000));
        }),
        Lab::healthy().node_echo("home-cp", "vps-1", |_, heard| heard.via = None),
        Lab::healthy().node_echo("home-cp", "vps-1", |_, heard| heard.last = ago(60_000)),
    ];
    for lab in half {
        let state = steering(&lab.verdict(), "vps-1", "home-cp");
        assert_eq!(
            (state.outcome, &state.method),
            (Outcome::Pass, &compared.method)
        );
        assert_eq!(state.evidence, compared.evidence);
    }
}

#[test]
fn what_is_lost_while_all_lists_are_right_is_a_warning_with_its_witness() {
    let lab = Lab::healthy().node_echo("vps-1", "home-cp", |asked, _| {
        (asked.lost, asked.lost_since) = (5, Some(ago(9000)));
    });
    let lab = lab.node_echo("home-cp", "vps-1", |_, heard| heard.last = ago(11_000));
    let state = steering(&lab.verdict(), "vps-1", "home-cp");
    assert_eq!(state.outcome, Outcome::Warn);
    let told = cited(&state);
    let lost = "5 echoes in a row to 192.168.50.11 of home-cp went unanswered";
    assert!(told.iter().any(|(_, text)| text.contains(lost)), "{told:?}");
    // What B heard all the same was not lost on the way there.
    let lab = lab.node_echo("home-cp", "vps-1", |_, heard| heard.last = ago(3000));
    let state = steering(&lab.verdict(), "vps-1", "home-cp");
    assert_eq!(state.outcome, Outcome::Pass);
}

#[test]
fn packets_that_go_around_the_tunnel_name_the_link_and_who_saw_it() {
    let verdict = mark_overwritten().verdict();
    for to in ["vps-2", "home-cp", "home-worker"] {
        assert_eq!(
            steering(&verdict, "vps-1", to).outcome,
            Outcome::Fail,
            "{to}"
        );
        assert_eq!(
            steering(&verdict, to, "vps-1").outcome,
            Outcome::Pass,
            "{to}"
        );
    }
    let root = verdict.roots().next().expect("a root");
    assert_eq!(
        (root.code.as_str(), root.explains.len()),
        ("steering-bypassed", 3)
    );
    let seen = |part: &str| root.evidence.iter().any(|seen| seen.text.contains(part));
    assert!(
        seen("the last 4 echoes of vps-1 to 203.0.113.12 came in by eth0 and not by kubespan"),
        "{root:#?}"
    );
    assert!(
        seen("went unanswered, though it answers those to its KubeSpan address"),
        "{root:#?}"
    );
    assert!(seen("another node told it"), "{root:#?}");
}

#[test]
fn a_filter_by_address_is_told_from_one_for_the_overlay_s_port() {
    let shut = sizes::shut("vps-2");
    let root = |lab: &Lab| lab.verdict().roots().next().expect("a root").clone();
    let port = root(&shut);
    assert_eq!(port.code, "overlay-port-blocked");
    assert!(
        !port.summary.contains("not this port alone"),
        "{}",
        port.summary
    );
    let others = ["vps-1", "home-cp", "home-worker"];
    let silent = others.into_iter().fold(shut, |lab, other| {
        let lab = lab.node_echo("vps-2", other, |_, heard| heard.last = ago(11_000));
        lab.node_echo(other, "vps-2", |asked, _| {
            (asked.lost, asked.lost_since) = (5, Some(ago(9000)));
        })
    });
    let address = root(&silent);
    assert_eq!(
        (address.code.as_str(), &address.subject),
        ("overlay-port-blocked", &port.subject)
    );
    assert!(
        address.summary.contains("not this port alone"),
        "{}",
        address.summary
    );
    assert!(
        address.fixes[0].action.contains("drops by address"),
        "{:?}",
        address.fixes
    );
    // One way on which the echo is answered: it is the port after all.
    let mixed = silent.node_echo("vps-1", "vps-2", |asked, _| {
        (asked.lost, asked.lost_since) = (0, None);
    });
    assert!(!root(&mixed).summary.contains("not this port alone"));
}

#[test]
fn what_the_echo_shows_looks_like_a_shut_port_to_who_does_not_ask() {
    let lab = never_asked(overwritten_and_searched());
    let verdict = lab.verdict();
    let codes: Vec<&str> = verdict.roots().map(|root| root.code.as_str()).collect();
    assert_eq!(codes, ["overlay-port-blocked"]);
    let state = steering(&verdict, "vps-1", "vps-2");
    assert_eq!(state.outcome, Outcome::Pass);
}
