//! The ways of an agent to a collector that it was given: past the tunnel, and through it where something stops the first.

use crate::{
    agents::{AGENT, NODES, bare, kill, long_eventually, probe, staged, start, wait_until_ready},
    support::{TestLab, text},
};

/// Behind a router that translates: what a collector answers past the tunnel to its own address never gets to it.
const HERE: &str = "home-cp";
const COLLECTOR: &str = "mesh-collector --listen [::]:21820 --mesh-key-file /run/mesh.key";
const PAST: &str = "nft 'table inet fault { chain forward { type filter hook forward priority filter; ip saddr 192.168.50.11 tcp dport 21820 drop; }; }'";
const THROUGH: &str = "nft 'table inet fault { chain input { type filter hook input priority filter; iifname kubespan tcp dport 21820 drop; }; }'";
const HEAL: &str = "nft delete table inet fault";

pub(crate) fn an_agent_whose_way_past_the_tunnel_is_shut_reports_through_it_and_says_so() {
    if !staged() {
        return;
    }
    let lab = bare();
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    for node in NODES {
        start(&lab, node, AGENT, "agent.log");
    }
    wait_until_ready(&lab);
    says(
        &lab,
        "reports to the collector 203.0.113.11:21820, past the tunnel",
    );

    lab.shell("home-router", PAST);
    // The connection that was there dies of it; the next one finds the tunnel.
    says(&lab, &through_the_tunnel(&lab));
    wait_until_ready(&lab);
    let log = lab.shell(HERE, "cat /run/agent.log");
    for way in ["way=past the tunnel", "way=through the tunnel"] {
        assert!(log.contains(way), "{way}: {log}");
    }

    lab.shell("vps-1", THROUGH);
    let inside = lab.kubespan_address("vps-1");
    says(
        &lab,
        &format!(
            "past the tunnel: no answer from 203.0.113.11:21820 within 3 s; through the tunnel: no answer from [{inside}]:21820 within 3 s"
        ),
    );
    let named = "the agent on home-cp runs, and its reports do not get to this collector";
    long_eventually("the finding says that the agent runs", || {
        text(&probe(&lab, "status")).contains(named)
    });
    let status = text(&probe(&lab, "status"));
    assert!(status.contains("agent-not-reporting"), "{status}");
    assert!(!status.contains("restart it"), "{status}");

    // The tunnel carried all the time: the echo showed it.
    lab.shell("vps-1", HEAL);
    says(&lab, &through_the_tunnel(&lab));
    wait_until_ready(&lab);
    // Who reports does not look for a better way until the connection ends; then the first one comes first again.
    lab.shell("home-router", HEAL);
    kill(&lab, "vps-1", "mesh-collector");
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    says(
        &lab,
        "reports to the collector 203.0.113.11:21820, past the tunnel",
    );
    wait_until_ready(&lab);
}

fn through_the_tunnel(lab: &TestLab) -> String {
    let inside = lab.kubespan_address("vps-1");
    format!("reports to the collector 203.0.113.11:21820 at [{inside}]:21820, through the tunnel")
}

/// Within the time that an agent needs to see a connection die, and to try all ways.
fn says(lab: &TestLab, words: &str) {
    long_eventually(words, || {
        text(&lab.enter(HERE, &["mesh-probe", "agent"])).contains(words)
    });
}
