//! Readings of links, addresses, rules and routes that `ip` made, and notifications of their changes.

mod namespace;

use std::net::IpAddr;

use namespace::{BOUND, inside, sh};
use sources::links::{
    Change, FORCE_MARK, OperState, Scope, Watch, kubespan_address, node_addresses, read,
    read_steering, watch,
};

const ULA: &str = "fd7f:175a:b97c:5602:2c1a:b6ff:fe53:8169";

/// A node as Talos leaves it: an uplink and `kubespan`, both as veth here.
fn node() {
    sh(&format!(
        "
        ip link add eth0 type veth peer name router
        ip link add kubespan mtu 1420 type veth peer name inside
        ip addr add 192.168.3.4/24 dev eth0
        ip addr add 2001:db8::4/64 dev eth0 nodad
        ip addr add {ULA}/64 dev kubespan nodad
        for l in eth0 router kubespan inside; do ip link set $l up; done
        "
    ));
}

#[test]
fn a_snapshot_has_the_links_and_addresses_that_ip_made() {
    inside(
        "a_snapshot_has_the_links_and_addresses_that_ip_made",
        &[],
        async {
            node();
            let snapshot = read().await.unwrap();
            assert_eq!(snapshot.dropped, 0);
            assert_eq!(snapshot.links.len(), 5);
            let kubespan = snapshot.link("kubespan").unwrap();
            let index = sh(
                "cat /sys/class/net/kubespan/ifindex 2>/dev/null || ip -o link show kubespan | cut -d: -f1",
            );
            assert_eq!(kubespan.index.to_string(), index.trim());
            assert_eq!((kubespan.mtu, kubespan.up), (1420, true));
            assert_eq!(kubespan.kind.as_deref(), Some("veth"));
            assert_eq!(kubespan.oper_state, OperState::Up);
            let ula = &kubespan.addresses[0];
            assert_eq!(
                (ula.prefix_len, ula.scope, ula.tentative),
                (64, Scope::Global, false)
            );
            assert_eq!(snapshot.link("lo").unwrap().kind, None);
            assert_eq!(kubespan_address(&snapshot), Some(ULA.parse().unwrap()));
            let expected: [IpAddr; 2] =
                ["192.168.3.4", "2001:db8::4"].map(|ip| ip.parse().unwrap());
            assert_eq!(node_addresses(&snapshot), expected);
        },
    );
}

#[test]
fn a_snapshot_of_many_links_is_whole() {
    inside("a_snapshot_of_many_links_is_whole", &[], async {
        sh("for n in $(seq 1 100); do
                echo link add a$n type veth peer name b$n
                echo addr add 10.0.$n.1/24 dev a$n
            done | ip -batch -");
        let snapshot = read().await.unwrap();
        assert_eq!((snapshot.links.len(), snapshot.dropped), (201, 0));
        assert_eq!(node_addresses(&snapshot).len(), 100);
    });
}

#[test]
fn steering_is_complete_only_with_rule_and_route_of_both_families() {
    inside(
        "steering_is_complete_only_with_rule_and_route_of_both_families",
        &[],
        async {
            node();
            let snapshot = read().await.unwrap();
            let none = read_steering(&snapshot).await.unwrap();
            assert_eq!(none, sources::links::Steering::default());
            let mark = format!("fwmark {FORCE_MARK:#x}/0x60 lookup 180 priority 32500");
            sh(&format!(
                "
            ip -4 rule add {mark}; ip -4 route add default dev kubespan table 180 mtu 1420 metric 1
            ip -6 rule add {mark}; ip -6 route add default dev eth0 table 180 metric 1
            "
            ));
            let half = read_steering(&snapshot).await.unwrap();
            assert_eq!(half.ipv4.rule_priority, Some(32500));
            assert_eq!(half.ipv4.route_mtu, Some(1420));
            assert!(half.ipv4.is_complete());
            assert_eq!(half.ipv6.rule_priority, Some(32500));
            assert!(
                !half.ipv6.default_route,
                "through eth0 is not through kubespan"
            );
            assert!(!half.is_complete());
            sh("ip -6 route replace default dev kubespan table 180 metric 1");
            assert!(read_steering(&snapshot).await.unwrap().is_complete());
            sh("ip -4 rule del priority 32500");
            assert!(!read_steering(&snapshot).await.unwrap().is_complete());
        },
    );
}

async fn expect(watch: &mut Watch, expected: Change) {
    let seen = async { while watch.changed().await.expect("notifications") != expected {} };
    let seen = tokio::time::timeout(BOUND, seen).await;
    assert!(seen.is_ok(), "no notification of {expected:?}");
}

/// Reads until nothing has come for a moment.
async fn drain(watch: &mut Watch) {
    let moment = std::time::Duration::from_millis(50);
    while tokio::time::timeout(moment, watch.changed()).await.is_ok() {}
}

#[test]
fn each_kind_of_change_is_notified() {
    inside("each_kind_of_change_is_notified", &[], async {
        node();
        let mut watch = watch().unwrap();
        for (script, change) in [
            ("ip link set kubespan mtu 1300", Change::Link),
            ("ip addr add 192.168.3.5/24 dev eth0", Change::Address),
            ("ip addr del 2001:db8::4/64 dev eth0", Change::Address),
            (
                "ip -4 route add default dev kubespan table 180",
                Change::Route,
            ),
            (
                "ip -6 route add default dev kubespan table 180",
                Change::Route,
            ),
            ("ip -4 rule add fwmark 0x40/0x60 lookup 180", Change::Rule),
            ("ip -6 rule add fwmark 0x40/0x60 lookup 180", Change::Rule),
        ] {
            drain(&mut watch).await;
            sh(script);
            expect(&mut watch, change).await;
        }
        assert_eq!(read().await.unwrap().link("kubespan").unwrap().mtu, 1300);
    });
}

#[test]
fn more_changes_than_the_socket_holds_are_notified_as_everything() {
    inside(
        "more_changes_than_the_socket_holds_are_notified_as_everything",
        &[],
        async {
            node();
            let mut watch = watch().unwrap();
            sh("for n in $(seq 1 1000); do
                echo link set kubespan mtu $((1300 + n % 2))
            done | ip -batch -");
            expect(&mut watch, Change::Everything).await;
            drain(&mut watch).await;
            sh("ip link set kubespan mtu 1400");
            expect(&mut watch, Change::Link).await;
        },
    );
}
