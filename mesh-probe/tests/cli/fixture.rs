//! Verdicts of a four-node mesh: two public nodes, two at home behind one NAT.

use std::net::SocketAddr;

use evidence::{
    Citation, Confidence, Finding, Fix, Gate, Ladder, NodeName, NodeRef, NodeState, Outcome,
    PairRef, Phase, Reporter, Rung, RungState, Subject, Verdict,
};

const NODES: [(&str, &str); 4] = [
    ("home-cp", "203.0.113.7:51820"),
    ("home-worker", "203.0.113.7:41822"),
    ("vps-1", "198.51.100.1:51820"),
    ("vps-2", "198.51.100.2:51820"),
];
const LEVELS: [&str; 4] = ["underlay", "wireguard", "mesh", "kubernetes-api"];

pub(crate) fn healthy() -> Verdict {
    of_nodes(&NODES)
}

/// A mesh of any size in which all is well.
pub(crate) fn large(size: usize) -> Verdict {
    let names: Vec<String> = (1..=size).map(|n| format!("node-{n:02}")).collect();
    let nodes: Vec<(&str, &str)> = names
        .iter()
        .map(|name| (name.as_str(), "198.51.100.9:51820"))
        .collect();
    of_nodes(&nodes)
}

/// Nothing from outside reaches home-worker's 51820.
pub(crate) fn blocked_inbound() -> Verdict {
    let mut verdict = healthy();
    for from in ["vps-1", "vps-2"] {
        break_underlay(&mut verdict, from, "home-worker");
    }
    verdict.findings = vec![blocked(), stale("vps-1"), stale("vps-2")];
    close(
        &mut verdict,
        1,
        Phase::NotReady,
        &[
            "2 of 12 directions fail at underlay",
            "udp-51820-blocked-inbound at home-worker",
        ],
    );
    close(
        &mut verdict,
        2,
        Phase::NotReady,
        &["2 of 12 directions fail below the tunnel"],
    );
    verdict.gates[3].may_start = Phase::NotReady;
    verdict
}

/// vps-2 has not been heard of for a while.
pub(crate) fn agent_missing() -> Verdict {
    let mut verdict = healthy();
    verdict.nodes[3].reporting = false;
    verdict.nodes[3].report_age_ms = Some(185_000);
    verdict.nodes[0].gaps =
        vec!["tap: failed to open a packet socket (needs CAP_NET_RAW)".to_owned()];
    for ladder in &mut verdict.pairs {
        if ladder.to == node("vps-2") || ladder.from == node("vps-2") {
            unproved(ladder);
        }
    }
    verdict.findings = vec![missing()];
    for level in 0..3 {
        close(
            &mut verdict,
            level,
            Phase::Unknown,
            &["vps-2 does not report: 3 of 4 expected nodes do"],
        );
    }
    verdict.gates[3].may_start = Phase::Unknown;
    verdict
}

pub(crate) fn gate(level: &str, phase: Phase) -> Gate {
    Gate {
        level: level.to_owned(),
        phase,
        may_start: Phase::Ready,
        depends_on: vec!["wireguard".to_owned()],
        reasons: match phase {
            Phase::Ready => Vec::new(),
            Phase::NotReady => vec!["2 of 12 directions fail at underlay".to_owned()],
            Phase::Unknown => vec!["no fresh report of vps-2".to_owned()],
        },
        terminal: false,
    }
}

pub(crate) fn node(name: &str) -> NodeRef {
    NodeRef::named(&NodeName::parse(name).unwrap())
}

fn of_nodes(nodes: &[(&str, &str)]) -> Verdict {
    let state = |(index, (name, _)): (usize, &(&str, &str))| NodeState {
        node: node(name),
        reporting: true,
        report_age_ms: Some(400 + 100 * u64::try_from(index).unwrap()),
        version: Some("0.1.0".to_owned()),
        kubespan_address: Some(format!("fd7a:1::{}", index + 1)),
        site: None,
        gaps: Vec::new(),
    };
    let others = |from: &(&str, &str)| {
        let from = from.0.to_owned();
        let to = nodes.iter().filter(move |to| to.0 != from);
        to.copied().collect::<Vec<_>>()
    };
    let ladders = |from: &(&'_ str, &'_ str)| {
        let name = from.0.to_owned();
        let to = others(from).into_iter();
        to.map(|(to, endpoint)| ladder(&name, to, endpoint))
            .collect::<Vec<_>>()
    };
    Verdict {
        nodes: nodes.iter().enumerate().map(state).collect(),
        pairs: nodes.iter().flat_map(ladders).collect(),
        findings: Vec::new(),
        gates: LEVELS.iter().map(|level| ready(level)).collect(),
        ..Verdict::default()
    }
}

fn ready(level: &str) -> Gate {
    let below = LEVELS.iter().take_while(|other| **other != level).last();
    Gate {
        depends_on: below.map(|level| (*level).to_owned()).into_iter().collect(),
        ..gate(level, Phase::Ready)
    }
}

fn ladder(from: &str, to: &str, endpoint: &str) -> Ladder {
    let good = [
        (Rung::Discovered, "a WireGuard peer with an endpoint"),
        (Rung::Underlay, "what arrives in the tunnel has passed it"),
        (Rung::Handshake, "handshake age in both kernels"),
        (Rung::Tunnel, "in-tunnel echo, counted at the receiver"),
    ];
    let state = |&(rung, method): &(Rung, &str)| RungState {
        rung,
        outcome: Outcome::Pass,
        method: method.to_owned(),
        evidence: vec![cite(to, "echo-heard", 1_200, "59 of 59 requests heard")],
    };
    let later = |rung: Rung| RungState {
        rung,
        outcome: Outcome::NotApplicableYet,
        method: "not measured by this version".to_owned(),
        evidence: Vec::new(),
    };
    let above = Rung::ALL.into_iter().filter(|rung| *rung > Rung::Tunnel);
    Ladder {
        from: node(from),
        to: node(to),
        rungs: good.iter().map(state).chain(above.map(later)).collect(),
        highest: Some(Rung::Tunnel),
        broken_at: None,
        rtt_us: Some(23_400),
        loss_percent: Some(0),
        handshake_age_ms: Some(72_000),
        endpoint: endpoint.parse::<SocketAddr>().ok(),
        flapping: None,
    }
}

fn break_underlay(verdict: &mut Verdict, from: &str, to: &str) {
    let ladder = verdict
        .pairs
        .iter_mut()
        .find(|ladder| ladder.from == node(from) && ladder.to == node(to))
        .unwrap();
    for state in &mut ladder.rungs[1..] {
        state.outcome = Outcome::NotApplicableYet;
        state.method = String::from("waiting for underlay");
        state.evidence.clear();
    }
    ladder.rungs[1].outcome = Outcome::Fail;
    ladder.rungs[1].method = String::from("handshakes sent against handshakes that arrived");
    ladder.highest = Some(Rung::Discovered);
    ladder.broken_at = Some(Rung::Underlay);
    ladder.rtt_us = None;
    ladder.loss_percent = Some(100);
    ladder.handshake_age_ms = Some(185_000);
}

fn unproved(ladder: &mut Ladder) {
    for state in &mut ladder.rungs[1..4] {
        state.outcome = Outcome::Unknown;
        state.method = String::from("vps-2 does not report");
        state.evidence.clear();
    }
    ladder.highest = Some(Rung::Discovered);
    ladder.rtt_us = None;
    ladder.loss_percent = None;
}

fn close(verdict: &mut Verdict, level: usize, phase: Phase, reasons: &[&str]) {
    verdict.gates[level].phase = phase;
    verdict.gates[level].reasons = reasons.iter().map(|&reason| reason.to_owned()).collect();
    if level + 1 < verdict.gates.len() {
        verdict.gates[level + 1].may_start = phase;
    }
}

fn cite(reporter: &str, fact: &str, age_ms: u64, text: &str) -> Citation {
    Citation {
        reporter: Reporter::from(reporter.to_owned()),
        fact: fact.to_owned(),
        age_ms,
        text: text.to_owned(),
    }
}

fn pair(from: &str, to: &str) -> PairRef {
    PairRef {
        from: node(from),
        to: node(to),
    }
}

fn finding(code: &str, subject: Subject, summary: &str) -> Finding {
    Finding {
        code: code.to_owned(),
        subject_text: subject.to_string(),
        subject,
        confidence: Confidence::Certain,
        summary: summary.to_owned(),
        evidence: Vec::new(),
        fixes: Vec::new(),
        could_also_be: Vec::new(),
        decided_by: None,
        explains: Vec::new(),
        explains_more: 0,
        suppressed_by: None,
    }
}

fn blocked() -> Finding {
    Finding {
        confidence: Confidence::Likely,
        evidence: vec![
            cite(
                "home-worker",
                "handshakes-arrived",
                400,
                "no handshake arrived from vps-1 or vps-2",
            ),
            cite(
                "vps-1",
                "handshakes-initiated/BwcHBwcH",
                12_300,
                "6 handshakes sent to 203.0.113.7:41822, none answered",
            ),
        ],
        fixes: vec![
            Fix {
                who: "whoever runs the home router".to_owned(),
                action: "let UDP from the other nodes through to home-worker's 51820".to_owned(),
                command: Some("nft add rule inet fw forward udp dport 51820 accept".to_owned()),
            },
            Fix {
                who: "cluster operator".to_owned(),
                action: "announce an endpoint that reaches it".to_owned(),
                command: Some(
                    "machine:\n  network:\n    kubespan:\n      harvestExtraEndpoints: true"
                        .to_owned(),
                ),
            },
        ],
        could_also_be: vec!["the provider of both VPS drops UDP to that port".to_owned()],
        decided_by: Some("a handshake from a node outside of that provider".to_owned()),
        explains: vec![pair("vps-1", "home-worker"), pair("vps-2", "home-worker")],
        ..finding(
            "udp-51820-blocked-inbound",
            Subject::Node {
                node: node("home-worker"),
            },
            "no datagram from outside its site reaches UDP 51820 of home-worker",
        )
    }
}

fn stale(from: &str) -> Finding {
    let subject = Subject::Direction {
        from: node(from),
        to: node("home-worker"),
    };
    Finding {
        evidence: vec![cite(
            from,
            "wireguard-peer",
            900,
            "last handshake 3 m 5 s ago",
        )],
        suppressed_by: Some("udp-51820-blocked-inbound".to_owned()),
        ..finding("handshake-stale", subject, "no handshake for 3 m 5 s")
    }
}

fn missing() -> Finding {
    Finding {
        evidence: vec![cite("", "report", 185_000, "the last report of vps-2")],
        fixes: vec![Fix {
            who: "cluster operator".to_owned(),
            action: "look whether the extension runs".to_owned(),
            command: Some("talosctl -n vps-2 service ext-mesh-agent".to_owned()),
        }],
        ..finding(
            "agent-missing",
            Subject::Node {
                node: node("vps-2"),
            },
            "the agent on vps-2 stopped reporting",
        )
    }
}
