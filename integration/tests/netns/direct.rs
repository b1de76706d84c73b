//! No collector lives: agents are asked themselves, from one of the nodes, over the packets of a lab.

use std::process::Output;

use crate::{
    agents::{NODES, bare, kill, staged, start, wait_until_ready},
    support::{TestLab, eventually, text},
};

const COLLECTOR: &str = "mesh-collector --listen 0.0.0.0:21820 --mesh-key-file /run/mesh.key";
const AGENT: &str =
    "mesh-agent --collector 203.0.113.11:21820 --listen [::]:21821 --health 127.0.0.1:21822";
/// Who asks: it reaches the public nodes and its neighbour past the tunnel, and itself by the socket of its agent.
const HERE: &str = "home-cp";
const DIRECT: &str =
    "--direct 203.0.113.11,203.0.113.12,192.168.50.12,unix:/run/mesh-agent/agent.sock";
/// What a home router may do to one node behind it.
const FAULT: &str = "nft 'table inet fault { chain forward { type filter hook forward priority filter; ip daddr 192.168.50.12 udp dport 51820 drop; }; }' && conntrack -F";

fn ask(lab: &TestLab, arguments: &str) -> Output {
    let probe = format!("mesh-probe --mesh-key-file /run/mesh.key {DIRECT} {arguments}");
    lab.enter(HERE, &["sh", "-c", &probe])
}

fn is_ready(lab: &TestLab, arguments: &str) {
    let output = ask(lab, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

pub(crate) fn agents_answer_for_the_mesh_when_no_collector_lives() {
    if !staged() {
        return;
    }
    let lab = bare();
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    for node in NODES {
        start(&lab, node, AGENT, "agent.log");
    }
    wait_until_ready(&lab);
    lab.shell(
        HERE,
        "umask 077; wg show kubespan preshared-keys | awk '{print $2; exit}' > /run/mesh.key",
    );
    an_agent_says_to_whom_it_reports(
        &lab,
        "  reports to the collector 203.0.113.11:21820, past the tunnel",
    );
    kill(&lab, "vps-1", "mesh-collector");
    eventually("the agent says that it does not report", || {
        says(
            &lab,
            "  does not report to the collector 203.0.113.11:21820",
        )
    });

    is_ready(&lab, "gate mesh");
    listeners_keep_to_the_underlay(&lab);
    health_is_told_to_everybody(&lab);
    another_key_is_refused(&lab);
    a_fault_is_named(&lab);
    who_is_gone_shuts_the_gate(&lab);
}

fn says(lab: &TestLab, words: &str) -> bool {
    let output = lab.enter("vps-2", &["mesh-probe", "agent"]);
    text(&output).contains(words)
}

fn an_agent_says_to_whom_it_reports(lab: &TestLab, words: &str) {
    let output = lab.enter("vps-2", &["mesh-probe", "agent"]);
    assert!(text(&output).contains(words), "{}", text(&output));
    let mode = lab.shell("vps-2", "stat -c %a:%F /run/mesh-agent/agent.sock");
    assert_eq!(mode.trim(), "600:socket");
}

/// Else answers to a node address would go into the tunnel that is asked about.
fn listeners_keep_to_the_underlay(lab: &TestLab) {
    let listening = lab.shell(HERE, "ss -H -l -t -n -e 'sport = :21821'");
    assert!(listening.contains("fwmark:0x20"), "{listening}");
}

fn health_is_told_to_everybody(lab: &TestLab) {
    let script = "exec 3<>/dev/tcp/127.0.0.1/21822; printf 'GET /readyz HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' >&3; cat <&3";
    let output = lab.enter(HERE, &["bash", "-c", script]);
    assert!(text(&output).contains("HTTP/1.1 200 "), "{}", text(&output));
}

fn another_key_is_refused(lab: &TestLab) {
    lab.shell(HERE, "head -c 32 /dev/urandom | base64 > /run/other.key");
    let probe = format!("mesh-probe --mesh-key-file /run/other.key {DIRECT} gate mesh");
    let output = lab.enter(HERE, &["sh", "-c", &probe]);
    assert_eq!(output.status.code(), Some(5), "{}", text(&output));
}

fn a_fault_is_named(lab: &TestLab) {
    lab.shell("home-router", FAULT);
    eventually("the gate closes and its cause is named", || {
        let output = ask(lab, "gate mesh");
        let is_named = text(&output).contains("udp-51820-blocked-inbound: home-worker");
        output.status.code() == Some(1) && is_named
    });
    lab.shell("home-router", "nft delete table inet fault");
    is_ready(lab, "wait mesh --wait-timeout 60s");
}

fn who_is_gone_shuts_the_gate(lab: &TestLab) {
    kill(lab, "vps-2", "mesh-agent");
    let output = ask(lab, "gate mesh");
    assert!(
        matches!(output.status.code(), Some(1 | 3)),
        "{}",
        text(&output)
    );
    assert!(
        text(&output).contains("asked, and not heard: 203.0.113.12:21821 ("),
        "{}",
        text(&output)
    );
    // Its socket is still there, as it had no time to remove it: the next agent takes its place.
    start(lab, "vps-2", AGENT, "agent.log");
    is_ready(lab, "wait mesh --wait-timeout 60s");
    assert!(says(lab, "the agent of vps-2"));
}
