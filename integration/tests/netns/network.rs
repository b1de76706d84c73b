//! The network alone: pairs, steering, NAT, and what each fault does to packets.

use integration::lab::faults::Fault;

use crate::support::{TestLab, eventually, text};

const NODES: [(&str, &str); 4] = [
    ("vps-1", "203.0.113.11"),
    ("vps-2", "203.0.113.12"),
    ("home-cp", "192.168.50.11"),
    ("home-worker", "192.168.50.12"),
];

fn pairs() -> impl Iterator<Item = ((&'static str, &'static str), (&'static str, &'static str))> {
    let all = NODES
        .into_iter()
        .flat_map(|from| NODES.into_iter().map(move |to| (from, to)));
    all.filter(|(from, to)| from != to)
}

pub(crate) fn all_pairs_answer_inside_the_tunnel() {
    let lab = TestLab::up();
    for ((from, _), (to, _)) in pairs() {
        let address = lab.kubespan_address(to);
        assert!(lab.pings(from, &address), "{from} -> {to} {address}");
    }
}

pub(crate) fn node_addresses_are_steered_into_the_tunnel() {
    let lab = TestLab::up();
    for ((from, _), (to, address)) in pairs() {
        let before = received(&lab, to);
        assert!(lab.pings(from, address), "{from} -> {to} {address}");
        assert!(
            received(&lab, to) > before,
            "{from} -> {to} went past the tunnel"
        );
    }
    let marked = "ping -n -q -c 1 -W 1 -m 32 203.0.113.12";
    let before = received(&lab, "vps-2");
    lab.shell("vps-1", marked);
    assert_eq!(
        received(&lab, "vps-2"),
        before,
        "the outer mark must go past the tunnel"
    );
}

/// Packets that came out of the tunnel on a node.
fn received(lab: &TestLab, node: &str) -> u64 {
    let shown = lab.shell(node, "grep kubespan: /proc/net/dev");
    shown
        .split_ascii_whitespace()
        .nth(2)
        .unwrap()
        .parse()
        .unwrap()
}

pub(crate) fn the_home_router_hides_its_lan() {
    let lab = TestLab::up();
    let peers = lab.shell("vps-1", "wg show kubespan endpoints");
    let home: Vec<_> = peers
        .lines()
        .filter(|line| line.contains("198.51.100.2:"))
        .collect();
    assert_eq!(home.len(), 2, "{peers}");
    let original = home.iter().filter(|line| line.ends_with(":51820")).count();
    assert_eq!(
        original, 1,
        "the second node on one port gets another: {peers}"
    );
    assert!(!lab.pings("internet", "192.168.50.11"));
}

pub(crate) fn a_routed_site_can_be_dialled() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("routed.toml");
    let scenario = r#"
        name = "routed"
        about = "x"
        [topology]
        node = [
          { name = "hub", address = "203.0.113.5" },
          { name = "leaf", address = "10.20.0.7", site = "office" },
        ]
        site = [{ name = "office", router = "gate", wan = "198.51.100.9", lan = "10.20.0.1/16", nat = "none" }]
    "#;
    std::fs::write(&file, scenario).unwrap();
    let lab = TestLab::up_with(&["--topology-of", file.to_str().unwrap()]);
    let peers = lab.shell("hub", "wg show kubespan endpoints");
    assert!(peers.contains("10.20.0.7:51820"), "{peers}");
    assert!(lab.pings("hub", &lab.kubespan_address("leaf")));
}

/// Names that `ip` would take for its own abbreviated keywords, and both kinds of translation.
pub(crate) fn eight_nodes_on_two_sites_make_one_mesh() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eight.toml");
    let scenario = r#"
        name = "eight"
        about = "x"
        [topology]
        node = [
          { name = "a", address = "203.0.113.11" },
          { name = "b", address = "203.0.113.12" },
          { name = "c", address = "192.0.2.13" },
          { name = "d", address = "192.168.50.11", site = "home" },
          { name = "e", address = "192.168.50.12", site = "home" },
          { name = "f", address = "192.168.50.13", site = "home" },
          { name = "g", address = "10.9.0.5", site = "office" },
          { name = "m", address = "10.9.0.6", site = "office" },
        ]
        [[topology.site]]
        name = "home"
        router = "r1"
        wan = "198.51.100.2"
        lan = "192.168.50.1/24"
        [[topology.site]]
        name = "office"
        router = "r2"
        wan = "198.51.100.6"
        lan = "10.9.0.1/16"
        nat = "masquerade-random"
    "#;
    std::fs::write(&file, scenario).unwrap();
    let lab = TestLab::up_with(&["--topology-of", file.to_str().unwrap()]);
    let endpoints = lab.shell("a", "wg show kubespan endpoints");
    assert_eq!(endpoints.matches("198.51.100.2:").count(), 3, "{endpoints}");
    assert_eq!(endpoints.matches("198.51.100.6:").count(), 2, "{endpoints}");
    assert!(!endpoints.contains("198.51.100.6:51820"), "{endpoints}");
    assert!(lab.pings("d", "192.168.50.13") && lab.pings("m", "192.0.2.13"));
    assert!(
        !lab.pings("d", "10.9.0.5"),
        "nobody can dial between two translated sites"
    );
}

pub(crate) fn two_implementations_make_one_mesh() {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/scenarios/healthy-boringtun.toml"
    );
    let lab = TestLab::up_with(&["--topology-of", file]);
    for ((from, _), (to, address)) in pairs() {
        assert!(lab.pings(from, address), "{from} -> {to} {address}");
    }
}

pub(crate) fn a_blocked_node_cannot_be_reached_until_healed() {
    for node in ["home-worker", "vps-2"] {
        let lab = TestLab::up();
        let address = lab.kubespan_address(node);
        let heal = lab.break_with(&Fault::BlockTo {
            node: node.to_owned(),
        });
        assert!(!lab.pings("vps-1", &address), "{node} is blocked");
        assert!(lab.pings("home-cp", "203.0.113.11"), "its neighbour is not");
        lab.perform(&heal);
        eventually("recovery", || lab.pings("vps-1", &address));
    }
}

/// How many peers a node has shaken hands with.
const HANDSHAKES: &str = "wg show kubespan latest-handshakes | awk '$2 > 0' | wc -l";

pub(crate) fn data_is_dropped_while_handshakes_pass() {
    let lab = TestLab::up();
    let address = lab.kubespan_address("vps-2");
    let heal = lab.break_with(&Fault::DropData {
        node: "vps-2".to_owned(),
    });
    assert!(!lab.pings("vps-1", &address));
    // Peers that are set anew have no session and must shake hands again, which must succeed through the fault.
    let anew = "wg showconf kubespan > /run/anew && wg setconf kubespan /run/anew";
    lab.shell("vps-2", anew);
    eventually("a handshake", || {
        let _unanswered = lab.pings("vps-2", "203.0.113.11");
        lab.shell("vps-2", HANDSHAKES).trim() != "0"
    });
    assert!(!lab.pings("vps-2", "203.0.113.11"));
    lab.perform(&heal);
    eventually("recovery", || lab.pings("vps-2", "203.0.113.11"));
}

pub(crate) fn loss_is_on_one_direction_only() {
    let lab = TestLab::up();
    let heal = lab.break_with(&Fault::OneWayLoss {
        from: "home-cp".to_owned(),
        to: "vps-1".to_owned(),
        percent: 100,
    });
    let (there, back) = (received(&lab, "vps-1"), received(&lab, "home-cp"));
    let three = "ping -n -q -c 3 -i 0.2 -W 1 192.168.50.11 || true";
    lab.shell("vps-1", three);
    assert_eq!(
        received(&lab, "home-cp"),
        back + 3,
        "what vps-1 sends arrives"
    );
    assert_eq!(
        received(&lab, "vps-1"),
        there,
        "what home-cp sends does not"
    );
    lab.perform(&heal);
    eventually("recovery", || lab.pings("vps-1", "192.168.50.11"));
}

pub(crate) fn nothing_of_a_home_gets_out_when_its_router_blocks() {
    let lab = TestLab::up();
    let heal = lab.break_with(&Fault::BlockOut {
        site: "home".to_owned(),
    });
    for node in ["home-cp", "home-worker"] {
        assert!(!lab.pings(node, "203.0.113.11"), "{node}");
    }
    assert!(
        lab.pings("home-cp", "192.168.50.12"),
        "the LAN is not touched"
    );
    lab.perform(&heal);
    eventually("recovery", || lab.pings("home-cp", "203.0.113.11"));
}

pub(crate) fn a_host_firewall_drops_what_arrived() {
    let lab = TestLab::up();
    let heal = lab.break_with(&Fault::BlockInHost {
        node: "vps-2".to_owned(),
    });
    assert!(!lab.pings("vps-1", "203.0.113.12"));
    lab.perform(&heal);
    eventually("recovery", || lab.pings("vps-1", "203.0.113.12"));
    let tables = lab.shell("vps-2", "nft list tables");
    assert_eq!(
        tables.trim(),
        "table inet talos",
        "healing removes what the fault added"
    );
}

pub(crate) fn an_unknown_host_is_named_with_the_known_ones() {
    let lab = TestLab::up();
    let output = lab.enter("vps-9", &["true"]);
    let shown = text(&output);
    assert!(!output.status.success());
    assert!(
        shown.contains("vps-9") && shown.contains("home-router"),
        "{shown}"
    );
}
