//! What else is told of a finding, beyond what proves it.

use evidence::{
    Bracket, Citation, Confidence, DataMessages, DataSeen, Fact, FactKey, Layer, Moment, NodeRef,
    Peer, Phase, Rung, Sizes, SourceId, TooBig,
};

use crate::{
    root,
    support::{
        Lab, NOW, ago,
        cases::{
            SINCE, all,
            nodes::{cut_off, mute},
            sizes,
        },
        key,
    },
};

/// What is said of the tunnel of a direction that fails, joined.
fn tunnel_evidence(lab: &Lab, from: &str, to: &str) -> String {
    let verdict = lab.verdict();
    let is = |node: &NodeRef, wanted: &str| node.to_string() == wanted;
    let mut pairs = verdict.pairs.iter();
    let pair = pairs.find(|pair| is(&pair.from, from) && is(&pair.to, to));
    let rungs = &pair.expect("a pair of the lab").rungs;
    let rung = rungs.iter().find(|state| state.rung == Rung::Tunnel);
    let cited = &rung.expect("a rung of every ladder").evidence;
    let texts = cited.iter().map(|one| one.text.as_str());
    texts.collect::<Vec<_>>().join("; ")
}

#[test]
fn data_at_the_interfaces_is_told_with_what_wireguard_took_of_it() {
    let looked = |data, keepalives| DataSeen {
        since: ago(6000),
        until: ago(4000),
        from_peer: DataMessages {
            data,
            keepalives,
            last: None,
        },
        to_peer: DataMessages {
            data: 2,
            keepalives: 0,
            last: None,
        },
        missed: 0,
    };
    let said = |data, keepalives, rx_moved| {
        let mut lab = Lab::healthy().lose_both_ways("vps-1", "vps-2", 10_000);
        lab.put("vps-1", Fact::DataSeen(key("vps-2"), looked(0, 0)));
        lab.put(
            "vps-2",
            Fact::DataSeen(key("vps-1"), looked(data, keepalives)),
        );
        let known = FactKey::Peer(key("vps-1"));
        if let Some(Fact::Peer(_, peer)) = lab.node("vps-2").facts.get(&known) {
            let peer = Peer {
                rx_moved,
                ..peer.clone()
            };
            lab.put("vps-2", Fact::Peer(key("vps-1"), peer));
        }
        tunnel_evidence(&lab, "vps-1", "vps-2")
    };
    let none = said(0, 0, None);
    assert!(
        none.contains("2 data messages left its interface for vps-2 within 2.0 s"),
        "{none}"
    );
    assert!(
        none.contains("no data message arrived from the endpoint of vps-1"),
        "{none}"
    );
    let keepalives = said(0, 3, None);
    assert!(
        keepalives.contains("only keepalives arrived"),
        "{keepalives}"
    );
    let refused = said(3, 0, Some(ago(9000)));
    assert!(
        refused.contains("3 data messages arrived at its interface"),
        "{refused}"
    );
    assert!(refused.contains("its WireGuard took none"), "{refused}");
    let taken = said(3, 0, Some(ago(5000)));
    assert!(!taken.contains("took none"), "{taken}");
}

#[test]
fn a_hole_is_told_with_what_passes_past_the_tunnel_and_who_objects_there() {
    let said = |edit: fn(&mut Sizes)| {
        let mut lab = Lab::healthy().narrow("vps-1", "vps-2", Layer::Tunnel, Some(1300), SINCE);
        lab.sizes("vps-1", "vps-2", Layer::Underlay, |sizes| {
            sizes.full = 1480;
            edit(sizes);
        });
        let verdict = lab.verdict();
        let cited = root(&verdict).evidence.iter().map(|one| one.text.clone());
        cited.collect::<Vec<_>>().join("; ")
    };
    let silent = said(narrow_past_the_tunnel);
    assert!(
        silent.contains("1360 bytes reached vps-2 and 1361 did not"),
        "{silent}"
    );
    assert!(
        silent.contains("past the tunnel nobody told it"),
        "{silent}"
    );
    let spoken = said(|sizes| {
        narrow_past_the_tunnel(sizes);
        sizes.in_fragments = Some(ago(900));
        sizes.too_big = Some(TooBig {
            at: ago(1100),
            reporter: Some([198, 51, 100, 9].into()),
            mtu: 1360,
        });
    });
    assert!(
        spoken.contains("198.51.100.9 says that 1360 bytes are the limit"),
        "{spoken}"
    );
    assert!(
        spoken.contains("1361 did not, except where they might be fragmented"),
        "{spoken}"
    );
    let whole = said(|sizes| sizes.full_arrived = Some(ago(500)));
    assert!(
        whole.contains("a packet of 1480 bytes, as long as"),
        "{whole}"
    );
    let before = said(|sizes| sizes.full_arrived = Some(ago(500_000)));
    assert!(!before.contains("past the tunnel"), "{before}");
}

fn narrow_past_the_tunnel(sizes: &mut Sizes) {
    sizes.bracket = Some(Bracket {
        at: ago(1000),
        passed: Some(1360),
        failed: 1361,
    });
}

#[test]
fn a_tap_that_did_not_watch_all_the_search_proves_no_loss_on_the_way() {
    let watched = sizes::shut("vps-2");
    let summary = root(&watched.verdict()).summary.clone();
    assert!(summary.contains("does not arrive"), "{summary}");
    for blind in [
        sizes::shut("vps-2").gap("vps-2", SourceId::Tap, "not permitted"),
        sizes::shut("vps-2").opened("vps-2", SourceId::Tap, 500),
    ] {
        let verdict = blind.verdict();
        let root = root(&verdict);
        assert!(
            root.summary.contains("is not delivered"),
            "{}",
            root.summary
        );
        assert_eq!(root.confidence, Confidence::Likely);
        assert!(
            root.could_also_be
                .iter()
                .any(|other| other.contains("own firewall"))
        );
        let claims = |text: &str| text.contains("saw none of");
        assert!(!root.evidence.iter().any(|one| claims(&one.text)));
    }
}

#[test]
fn a_key_that_nobody_claims_is_likely_the_old_one_of_who_was_dialled() {
    let verdict = Lab::healthy()
        .dial_with_a_stale_key("vps-1", "vps-2")
        .verdict();
    let root = root(&verdict);
    assert_eq!(root.confidence, Confidence::Likely);
    assert!(!root.could_also_be.is_empty() && root.decided_by.is_some());
}

#[test]
fn what_claims_to_be_of_the_future_proves_nothing() {
    let mut lab = Lab::healthy().lose_both_ways("vps-1", "vps-2", SINCE);
    let future = NOW.shifted(3_600_000);
    for (of, with) in [("vps-1", "vps-2"), ("vps-2", "vps-1")] {
        lab.put(of, Fact::EchoSent(key(with), odd_echo(future)));
        let heard = evidence::EchoHeard {
            last_heard: Some(future),
            ..evidence::EchoHeard::default()
        };
        lab.put(of, Fact::EchoHeard(key(with), heard));
    }
    assert_eq!(lab.verdict().gate("mesh").unwrap().phase, Phase::Unknown);
}

fn odd_echo(at: Moment) -> evidence::EchoSent {
    evidence::EchoSent {
        sent: 1,
        answered: 1,
        last_answered: Some(at),
        ..evidence::EchoSent::default()
    }
}

/// What a person reads of a root rests on something that somebody saw; an effect rests on its root.
#[test]
fn every_root_of_every_case_cites_a_fact() {
    for case in all() {
        let verdict = case.lab.verdict();
        for root in verdict.roots() {
            assert!(!root.evidence.is_empty(), "{}: {root:#?}", case.title);
            let said =
                |citation: &Citation| !citation.fact.is_empty() && !citation.text.trim().is_empty();
            assert!(root.evidence.iter().all(said), "{}: {root:#?}", case.title);
        }
    }
}

/// What is advised on an agent that does not report, and what else it could be.
fn advice(lab: &Lab) -> (String, String) {
    let verdict = lab.verdict();
    let root = root(&verdict);
    assert_eq!(root.code, "agent-not-reporting");
    let fixes = root.fixes.iter().map(|fix| fix.action.as_str());
    let text = format!("{}: {}", root.summary, fixes.collect::<Vec<_>>().join("; "));
    (text, root.could_also_be.join("; "))
}

#[test]
fn an_agent_whose_echo_shows_that_it_runs_is_asked_why_it_does_not_report_and_not_restarted() {
    const RUNS: &str = "the agent on home-cp runs, and its reports do not get to this collector: ask the agent on home-cp";
    const RESTART: &str = "look at the agent's service on home-cp and restart it";
    let (cut, also) = advice(&cut_off());
    assert!(cut.starts_with(RUNS), "{cut}");
    assert!(!cut.contains("restart"), "{cut}");
    assert!(also.contains("own certificates alone"), "{also}");

    let (killed, also) = advice(&Lab::healthy().kill_agent("home-cp", 9000));
    assert!(killed.contains(RESTART), "{killed}");
    assert_eq!(also, "", "no agent listens there");
    let (mute, also) = advice(&mute());
    assert!(mute.contains(RESTART), "{mute}");
    assert!(also.contains("with another mesh key"), "{also}");
}

#[test]
fn an_agent_that_answers_after_a_refusal_was_started_and_one_refused_after_an_answer_has_ended() {
    let told = |refused: i64, answered: i64| {
        let mut lab = cut_off();
        for other in ["vps-1", "vps-2", "home-worker"] {
            lab.echo_sent(other, "home-cp", |echo| {
                echo.refused = Some(ago(refused));
                echo.last_answered = Some(ago(answered));
            });
        }
        advice(&lab).0
    };
    assert!(told(2000, 500).contains("runs, and its reports"));
    assert!(told(500, 2000).contains("restart it"));
}
