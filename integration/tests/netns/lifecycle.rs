//! What happens to a node in its life: Talos comes after its agent, KubeSpan after both, keys change, a machine comes back under
//! another name. Nobody is accused for it, and what comes is taken as it is.

use std::fs;

use serde_json::Value;

use crate::{
    agents::{
        AGENT, AGENT_OF_TALOS, COLLECTOR, NODES, bare, gate, kill, long_eventually, probe, staged,
        start, wait_until_ready,
    },
    support::{TestLab, eventually, text},
};

const SOCKET: &str = "/run/machined/machine.sock";

fn status(lab: &TestLab) -> String {
    text(&probe(lab, "status"))
}

/// Before machined has made its socket there is no file; after a restart of machined it is another one.
pub(crate) fn a_machined_that_comes_later_and_a_socket_made_anew_are_found() {
    if !staged() {
        return;
    }
    let lab = bare();
    let inode = || lab.shell("vps-2", &format!("stat -c %i {SOCKET}"));
    let die = format!(
        "echo die > /run/machined/mood; for i in $(seq 100); do ss -xlH src {SOCKET} | grep -q . || break; sleep 0.1; done; rm {SOCKET}"
    );
    lab.shell("vps-2", &die);
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    for node in NODES {
        start(&lab, node, AGENT_OF_TALOS, "agent.log");
    }
    wait_until_ready(&lab);
    let missing = || status(&lab).contains("talos: ");
    eventually("what is missing of Talos is told", missing);
    assert!(!status(&lab).contains("PROBLEM"), "{}", status(&lab));
    let live = || drop(lab.shell("vps-2", "rm /run/machined/mood"));
    live();
    long_eventually("Talos is heard once it is there", || !missing());
    let before = inode();
    lab.shell("vps-2", &die);
    long_eventually("its end is told", missing);
    assert_eq!(gate(&lab), Some(0), "the mesh is as ready as before");
    live();
    long_eventually("Talos is heard again", || !missing());
    assert_ne!(before, inode(), "the socket is another one");
}

/// Its agent has no mesh key yet and reports to nobody: to the others the node is a silent peer without a name, and no path is
/// accused.
pub(crate) fn kubespan_that_is_enabled_after_the_agents_started_makes_the_mesh_ready() {
    if !staged() {
        return;
    }
    let result = run(r#"
        start_healthy = false
        [[step]]
        fault = "stop-wireguard"
        node = "vps-2"
        [expect]
        roots = []
        others_allowed = true
        evidence = ["no report since the collector started"]
        absent = ["udp-51820-blocked-inbound", "udp-51820-blocked-outbound", "udp-51820-dropped-by-host", "path-broken"]
        gates = { mesh = "not-ready" }
        within_s = 45
    "#);
    assert_eq!(result["pass"], Value::Bool(true), "{result:#}");
    assert!(result["time_to_recovery_s"].is_number(), "{result:#}");
}

/// Runs a scenario with the real programs and returns its result.
fn run(body: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lifecycle.toml");
    fs::write(
        &file,
        format!("name = \"lifecycle\"\nabout = \"x\"\n{body}"),
    )
    .unwrap();
    let lab = TestLab::new();
    let mut command = lab.command();
    let output = command.arg("run").arg(&file).args(["-o", "json"]).output();
    let output = output.unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", text(&output)))
}

/// As after `talosctl reset`: the node has another key, and the others are told of it by the discovery service.
fn rekey(lab: &TestLab, node: &str, address: &str) {
    let public = lab.shell(
        node,
        "umask 077; wg genkey > /run/new.key; wg set kubespan private-key /run/new.key; wg pubkey < /run/new.key",
    );
    let public = public.trim();
    let change = format!(
        "peer=$(wg show kubespan allowed-ips | awk '/ ?{address}\\/32/ {{ print $1 }}')
         ips=$(wg show kubespan allowed-ips | awk -v peer=$peer '$1 == peer {{ for (i = 2; i <= NF; i++) {{ printf \"%s%s\", sep, $i; sep = \",\" }} }}')
         (umask 077; wg show kubespan preshared-keys | awk -v peer=$peer '$1 == peer {{ print $2 }}' > /run/psk)
         endpoint=$(wg show kubespan endpoints | awk -v peer=$peer '$1 == peer {{ print $2 }}')
         wg set kubespan peer $peer remove
         wg set kubespan peer {public} preshared-key /run/psk endpoint $endpoint persistent-keepalive 25 allowed-ips $ips
         rm /run/psk"
    );
    for other in NODES.iter().filter(|other| **other != node) {
        lab.shell(other, &change);
    }
}

pub(crate) fn a_node_with_new_keys_or_a_new_name_is_taken_as_it_is_and_nobody_is_accused() {
    if !staged() {
        return;
    }
    let lab = bare();
    start(&lab, "vps-1", COLLECTOR, "collector.log");
    for node in NODES {
        start(&lab, node, AGENT, "agent.log");
    }
    wait_until_ready(&lab);
    let whole = || gate(&lab) == Some(0) && !status(&lab).contains("PROBLEM");
    // Keys are rotated while the agents run.
    rekey(&lab, "vps-2", "203.0.113.12");
    eventually("the change is seen", || !whole());
    long_eventually("the mesh is whole with the new key", whole);

    // The machine is reset: a new key again, and it comes back under another name.
    kill(&lab, "vps-2", "mesh-agent");
    rekey(&lab, "vps-2", "203.0.113.12");
    start(
        &lab,
        "vps-2",
        &format!("{AGENT} --node vps-2-anew"),
        "agent.log",
    );
    let named = || status(&lab).contains("vps-2-anew");
    long_eventually("the new name is there", named);
    long_eventually("the mesh is whole under the new name", whole);
    let told = status(&lab);
    assert!(!told.contains("second-machine"), "{told}");
}
