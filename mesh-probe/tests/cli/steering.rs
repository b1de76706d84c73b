//! `steering` and `vxlan`: screens from made-up facts, and the program in a namespace.

use insta::assert_snapshot;
use mesh_probe::{
    adhoc::{
        Asked, Device, Facts, Family, Limiter, Marking, Peer, Reply, Steering, VxlanDevice,
        VxlanReach,
    },
    exit::Exit,
    render::{Style, facts},
};

use crate::{
    namespace::{inside, sh},
    program::{bare, run},
};

const STEERED: Family = Family {
    rule_priority: Some(32_764),
    default_route: true,
    route_mtu: Some(1420),
};
const UNSTEERED: Family = Family {
    rule_priority: None,
    default_route: false,
    route_mtu: None,
};

fn steering() -> Steering {
    let peer = Peer {
        public_key: evidence::PublicKey::from_bytes([1; 32]),
        allowed_ips: vec!["10.0.0.2/32".to_owned(), "fd00::2/128".to_owned()],
    };
    Steering {
        interface: "kubespan",
        mtu: Some(1420),
        ipv4: STEERED,
        ipv6: STEERED,
        undecoded: 0,
        device: Some(Device {
            mark: 0x20,
            peers: vec![peer],
        }),
        unreadable: None,
    }
}

fn vxlan(reply: Reply, device_mtu: u32) -> VxlanReach {
    let asked = Asked {
        host: "10.0.0.2".to_owned(),
        address: "10.0.0.2".parse().unwrap(),
        marking: Marking::Unmarked,
    };
    let device = VxlanDevice {
        name: "cilium_vxlan".to_owned(),
        mtu: device_mtu,
    };
    VxlanReach::new(asked, reply, Some((1420, Limiter::BlackHole)), vec![device])
}

#[test]
fn a_node_that_steers_both_families_says_by_what() {
    assert_eq!(steering().exit(), Exit::Ready);
    assert_snapshot!(facts(&steering(), Style::default()));
}

#[test]
fn a_missing_rule_is_named_with_its_family() {
    let mut lacking = steering();
    lacking.ipv6 = UNSTEERED;
    lacking.device.as_mut().unwrap().mark = 0;
    assert_eq!(lacking.exit(), Exit::NotReady);
    assert_snapshot!(facts(&lacking, Style::default()));
}

#[test]
fn what_could_not_be_read_is_never_called_fine() {
    let mut unread = steering();
    unread.device = None;
    unread.unreadable = Some("permission denied".to_owned());
    assert_eq!(unread.exit(), Exit::CannotTell);
    let mut undecoded = steering();
    undecoded.undecoded = 1;
    assert_eq!(undecoded.exit(), Exit::CannotTell);
    undecoded.ipv4 = UNSTEERED;
    assert_eq!(undecoded.exit(), Exit::CannotTell);
}

#[test]
fn an_overlay_device_that_is_too_large_for_its_path_is_named() {
    let silent = Reply::Nothing { within_ms: 2100 };
    let large = vxlan(silent, 1450);
    assert_eq!(large.exit(), Exit::NotReady);
    assert_snapshot!(facts(&large, Style::default()));
    assert_eq!(vxlan(silent, 1370).exit(), Exit::CannotTell);
}

#[test]
fn a_node_without_kubespan_is_told_so_and_a_closed_overlay_port_too() {
    inside(
        "steering::a_node_without_kubespan_is_told_so_and_a_closed_overlay_port_too",
        &[],
        async {
            let ask = |arguments: &str| {
                let mut command = bare();
                command.args(arguments.split(' '));
                run(command)
            };
            let nothing = ask("steering").await;
            assert_eq!(nothing.code, 1, "{nothing:?}");
            assert!(nothing.stdout.contains("no link kubespan"), "{nothing:?}");

            sh("ip link add overlay type vxlan id 1 dstport 4789 dev lo");
            let closed = ask("vxlan 127.0.0.1 -o json").await;
            assert_eq!(closed.code, 1, "{closed:?}");
            let facts = &closed.json()["facts"];
            assert_eq!(facts["reply"]["refused"]["why"], "port-unreachable");
            assert_eq!(facts["devices"][0]["name"], "overlay", "{facts}");
            assert_eq!(facts["pathMtu"], 9216, "{facts}");
        },
    );
}
