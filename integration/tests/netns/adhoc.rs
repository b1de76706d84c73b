//! `mesh-probe` without a collector, on a node of the lab.

use serde_json::Value;

use crate::{agents::staged, support::TestLab};

const VPS: &str = "203.0.113.11";
/// The LAN side of the home router, by which it speaks to the nodes behind it.
const ROUTER: &str = "192.168.50.1";
/// Keeps the router from telling what is too large.
const SILENCE: &str = "nft 'table inet quiet { chain output { type filter hook output priority 0; \
     icmp type destination-unreachable drop; }; }'";

pub(crate) fn the_path_mtu_is_measured_beside_the_tunnel_and_through_it() {
    if !staged() {
        return;
    }
    let lab = TestLab::up();
    let steering = lab.shell("home-worker", "mesh-probe steering");
    assert!(
        steering.contains("packets with the mark 0x40 go into kubespan, in both families"),
        "{steering}"
    );
    lab.shell("home-router", "ip link set wan mtu 1407");
    let told = path_mtu(&lab, "");
    assert_eq!(told["passed"], 1407, "{told}");
    assert_eq!(told["limiter"]["by"], "router", "{told}");
    assert_eq!(told["limiter"]["address"], ROUTER, "{told}");
    assert_eq!(told["asked"]["marking"]["mark"], 0x20, "{told}");

    lab.shell("home-router", SILENCE);
    let silent = path_mtu(&lab, "");
    assert_eq!(
        (&silent["passed"], &silent["failed"]),
        (&1407.into(), &1408.into())
    );
    assert_eq!(silent["limiter"]["by"], "black-hole", "{silent}");

    // Without the mark KubeSpan takes the packets, and what WireGuard puts around them counts too.
    let through = path_mtu(&lab, "--mark 0");
    assert!(through["passed"].as_u64() <= Some(1407 - 60), "{through}");
    assert_eq!(through["asked"]["marking"]["state"], "unmarked");
}

fn path_mtu(lab: &TestLab, arguments: &str) -> Value {
    let command = format!("mesh-probe mtu {VPS} -o json {arguments}");
    let document: Value = serde_json::from_str(&lab.shell("home-worker", &command)).unwrap();
    assert_eq!(document["kind"], "PathMtu");
    document["facts"].clone()
}
