//! Golden screens. Refresh with `INSTA_UPDATE=always`, then read the difference.

use std::process::Stdio;

use evidence::{Phase, Verdict};
use insta::assert_snapshot;
use mesh_probe::render::{Asked, Style, gate, pairs, status};

use crate::{
    fixture::{self, agent_missing, blocked_inbound, healthy, large},
    program::{bare, run},
};

const PLAIN: Style = Style {
    colour: false,
    wide: false,
};
const WIDE: Style = Style {
    colour: false,
    wide: true,
};
const COLOUR: Style = Style {
    colour: true,
    wide: false,
};

#[test]
fn status_says_that_all_is_well_and_how_fresh_that_is() {
    assert_snapshot!(status(&healthy(), PLAIN));
}

#[test]
fn status_leads_from_the_problem_to_the_command_to_copy() {
    assert_snapshot!(status(&blocked_inbound(), PLAIN));
}

#[test]
fn wide_status_cites_facts_and_all_reasons() {
    assert_snapshot!(status(&blocked_inbound(), WIDE));
}

#[test]
fn status_shows_who_is_missing_and_who_cannot_see() {
    assert_snapshot!(status(&agent_missing(), PLAIN));
}

#[test]
fn status_of_an_empty_verdict_claims_nothing() {
    assert_snapshot!(status(&Verdict::default(), PLAIN));
}

#[test]
fn an_unknown_level_of_a_proved_mesh_is_named_and_not_called_well() {
    let mut verdict = healthy();
    verdict.gates[3].phase = Phase::Unknown;
    verdict.gates[3].reasons = vec!["not measured by this version".to_owned()];
    assert_snapshot!(status(&verdict, PLAIN));
}

#[test]
fn status_of_a_large_mesh_names_only_the_nodes_with_something_to_say() {
    let mut verdict = large(30);
    verdict.nodes[16].reporting = false;
    let text = status(&verdict, PLAIN);
    assert!(text.contains("  node-17  NO"), "{text}");
    assert!(!text.contains("node-18"), "{text}");
    assert!(text.contains("29 nodes without anything to say"), "{text}");
}

#[test]
fn effects_of_two_roots_with_one_code_are_listed_under_the_root_that_explains_them() {
    let mut verdict = blocked_inbound();
    let mut other = verdict.findings[0].clone();
    other.subject = evidence::Subject::Node {
        node: fixture::node("vps-2"),
    };
    other.explains = Vec::new();
    verdict.findings.insert(0, other);
    let text = status(&verdict, PLAIN);
    let (first, second) = text.split_once("PROBLEM 2").unwrap();
    assert!(!first.contains("handshake-stale"), "{text}");
    assert_eq!(second.matches("handshake-stale").count(), 2, "{text}");
}

#[test]
fn a_gate_that_is_shut_without_a_finding_is_no_good_news() {
    let mut verdict = healthy();
    verdict.gates[3].phase = Phase::NotReady;
    let text = status(&verdict, PLAIN);
    assert!(
        text.starts_with("No problem found, but not all is proved"),
        "{text}"
    );
    assert!(text.contains("gates not ready: kubernetes-api"), "{text}");
}

#[test]
fn effects_alone_do_not_make_a_mesh_well() {
    let mut verdict = blocked_inbound();
    verdict.findings.remove(0);
    let verdict = Verdict {
        findings: verdict.findings,
        ..healthy()
    };
    let text = status(&verdict, PLAIN);
    assert!(
        text.starts_with("No problem found, but not all is proved"),
        "{text}"
    );
    assert!(
        text.contains("findings: 2 effects of what is not shown"),
        "{text}"
    );
}

#[test]
fn a_warning_is_marked_in_the_matrix() {
    let mut verdict = healthy();
    verdict.pairs[0].rungs[3].outcome = evidence::Outcome::Warn;
    let text = pairs(&verdict, PLAIN);
    assert!(text.contains("1 home-cp      .       tunnel!"), "{text}");
}

#[test]
fn an_effect_whose_root_is_missing_is_not_lost() {
    let mut verdict = blocked_inbound();
    verdict.findings.remove(0);
    let text = status(&verdict, PLAIN);
    assert_eq!(text.matches("handshake-stale").count(), 2, "{text}");
    assert!(!text.contains("All is well"), "{text}");
}

#[test]
fn pairs_of_a_healthy_mesh() {
    assert_snapshot!(pairs(&healthy(), PLAIN));
}

#[test]
fn pairs_show_where_each_direction_breaks() {
    assert_snapshot!(pairs(&blocked_inbound(), PLAIN));
}

#[test]
fn pairs_that_nobody_can_judge_are_marked_as_such() {
    assert_snapshot!(pairs(&agent_missing(), PLAIN));
}

#[test]
fn wide_pairs_show_each_rung() {
    let mut verdict = blocked_inbound();
    verdict.pairs.retain(|ladder| ladder.broken_at.is_some());
    assert_snapshot!(pairs(&verdict, WIDE));
}

#[test]
fn pairs_of_a_large_mesh_are_counted_and_only_the_bad_ones_listed() {
    let mut verdict = large(13);
    verdict.pairs[20].broken_at = Some(evidence::Rung::Handshake);
    assert_snapshot!(pairs(&verdict, PLAIN));
}

#[test]
fn colours_mark_the_same_words() {
    let strip = |text: &str| {
        let mut plain = text.to_owned();
        for sequence in ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[32m", "\u{1b}[1;31m"] {
            plain = plain.replace(sequence, "");
        }
        plain
    };
    for verdict in [healthy(), blocked_inbound(), agent_missing()] {
        for screen in [status, pairs] {
            let painted = screen(&verdict, COLOUR);
            assert!(painted.contains("\u{1b}["), "{painted}");
            assert_eq!(strip(&painted), screen(&verdict, PLAIN));
        }
    }
}

#[test]
fn nothing_remote_reaches_the_terminal_raw() {
    let evil = "\u{1b}]0;owned\u{7}\u{9b}2J\r\u{202e}";
    let mut verdict = blocked_inbound();
    verdict.nodes[0].gaps = vec![evil.to_owned()];
    verdict.nodes[0].version = Some(evil.to_owned());
    verdict.gates[0].reasons = vec![evil.to_owned(), evil.to_owned()];
    verdict.gates[0].level = evil.to_owned();
    verdict.pairs[0].rungs[0].method = evil.to_owned();
    for finding in &mut verdict.findings {
        finding.code = evil.to_owned();
        finding.summary = evil.to_owned();
        finding.decided_by = Some(evil.to_owned());
        finding.could_also_be = vec![evil.to_owned()];
        finding.evidence[0].text = evil.to_owned();
        finding.evidence[0].fact = evil.to_owned();
        for fix in &mut finding.fixes {
            fix.who = evil.to_owned();
            fix.command = Some(evil.to_owned());
        }
    }
    let asked = Asked {
        may_start: false,
        timed_out: None,
        unstable: None,
        direct: false,
    };
    let screens = [
        status(&verdict, WIDE),
        pairs(&verdict, WIDE),
        gate(&verdict.gates[0], asked, WIDE),
    ];
    for screen in screens {
        assert!(screen.contains("\\u{1b}"), "{screen}");
        let raw = screen
            .chars()
            .find(|c| *c != '\n' && (c.is_control() || *c == '\u{202e}'));
        assert_eq!(raw, None, "{screen:?}");
    }
}

#[test]
fn a_gate_says_why_and_what_to_do() {
    let asked = Asked {
        may_start: false,
        timed_out: Some(std::time::Duration::from_mins(1)),
        unstable: None,
        direct: false,
    };
    let mut shut = fixture::gate("mesh", Phase::NotReady);
    shut.terminal = true;
    assert_snapshot!(gate(&shut, asked, PLAIN));
}

#[test]
fn a_level_that_is_ready_takes_one_line() {
    let asked = Asked {
        may_start: true,
        timed_out: None,
        unstable: None,
        direct: false,
    };
    let open = fixture::gate("mesh", Phase::NotReady);
    assert_eq!(gate(&open, asked, PLAIN), "mesh: may start\n");
}

#[tokio::test]
async fn help_tells_the_commands_and_the_exit_codes() {
    assert_snapshot!(help(&[]).await);
}

#[tokio::test]
async fn help_of_gate() {
    assert_snapshot!(help(&["gate"]).await);
}

async fn help(command: &[&str]) -> String {
    let mut help = bare();
    help.args(command).arg("--help").stdin(Stdio::null());
    let run = run(help).await;
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    run.stdout
}
