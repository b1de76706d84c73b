//! The echo to node addresses, by the real programs: what it proves, and that no firewall has to be opened for it.

use std::process::Output;

use serde_json::Value;

use crate::{
    agents::{AGENT, COLLECTOR, NODES, bare, probe, staged, start, wait_until_ready},
    support::{TestLab, eventually, text},
};

/// A host's input as Talos makes it where what no rule names is blocked: the links of the cluster are trusted, answers pass, and of
/// ports the tunnel's and the collector's are open.
const BLOCKED_BY_DEFAULT: &str = "nft 'table inet ingress { chain input { type filter hook input priority -140; policy drop; \
    iifname { \"lo\", \"kubespan\" } accept; ct state established,related accept; \
    meta l4proto { icmp, icmpv6 } accept; udp dport 51820 accept; tcp dport 21820 accept; }; }'";

pub(crate) fn every_direction_is_proved_by_an_echo_through_a_firewall_that_blocks_by_default() {
    if !staged() {
        return;
    }
    let lab = bare();
    for host in ["vps-1", "home-worker"] {
        lab.shell(host, BLOCKED_BY_DEFAULT);
    }
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    for node in NODES {
        start(&lab, node, AGENT, "agent.log");
    }
    wait_until_ready(&lab);
    eventually("every direction is proved by an echo", || {
        proved(&lab) == 12
    });
    // Its port is open to strangers, who are answered nothing and disturb nobody.
    lab.shell(
        "internet",
        "bash -c 'for i in 1 2 3 4 5 6 7 8; do head -c 128 /dev/urandom > /dev/udp/203.0.113.12/21820; done'",
    );
    assert_eq!(proved(&lab), 12);
    assert_eq!(
        lab.shell(
            "vps-2",
            "ss -H -u -l -n -p | grep mesh-agent | awk '{print $4}' | grep -c ':21820$'"
        )
        .trim(),
        "4",
        "on every address of each family, and twice on the KubeSpan address"
    );
}

/// In how many directions the rung of steering rests on an echo.
fn proved(lab: &TestLab) -> usize {
    let output = probe(lab, "pairs -o json");
    let rungs = rungs(&output);
    let steering = rungs.iter().filter(|rung| rung["rung"] == "steering");
    let by_echo = steering.filter(|rung| {
        let method = rung["method"].as_str().unwrap_or_default();
        rung["outcome"] == "pass" && method.starts_with("echo to the node address")
    });
    by_echo.count()
}

/// All rungs of all pairs, wherever the document has them.
fn rungs(output: &Output) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(output)));
    let mut found = Vec::new();
    collect(&document, &mut found);
    found
}

fn collect(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(fields) if fields.contains_key("rung") && fields.contains_key("method") => {
            found.push(value.clone());
        }
        Value::Object(fields) => fields.values().for_each(|inner| collect(inner, found)),
        Value::Array(items) => items.iter().for_each(|inner| collect(inner, found)),
        _ => {}
    }
}
