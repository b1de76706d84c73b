//! Sweeps along a path of this host, a router and a far host, whose far link is narrower.

use std::net::IpAddr;

use crate::{
    namespace::{BOUND, inside, sh},
    tap::drop_capabilities,
};
use probe_core::sweep::{Limit, Swept};
use probe_io::{Heard, Knock, PathSocket, Way};
use tokio::time::timeout;

const FAR: [&str; 2] = ["198.51.100.12", "2001:db8:2::12"];
const ROUTER: [&str; 2] = ["203.0.113.1", "2001:db8:1::1"];

/// The far link has this MTU; every other one has 1500.
fn path(mtu: u16) {
    sh(&format!(
        "mkdir -p /run/netns && ip netns add router && ip netns add far
        ip link add eth0 type veth peer name near netns router
        ip -n router link add far type veth peer name eth0 netns far
        ip netns exec router sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
        ip addr add 203.0.113.11/24 dev eth0 && ip addr add 2001:db8:1::11/64 dev eth0 nodad
        ip -n router addr add 203.0.113.1/24 dev near && ip -n router addr add 2001:db8:1::1/64 dev near nodad
        ip -n router addr add 198.51.100.1/24 dev far && ip -n router addr add 2001:db8:2::1/64 dev far nodad
        ip -n far addr add 198.51.100.12/24 dev eth0 && ip -n far addr add 2001:db8:2::12/64 dev eth0 nodad
        ip link set eth0 up && ip -n router link set near up
        ip -n router link set far mtu {mtu} up && ip -n far link set eth0 mtu {mtu} up && ip -n far link set lo up
        ip route add default via 203.0.113.1 && ip -6 route add default via 2001:db8:1::1
        ip -n far route add default via 198.51.100.1 && ip -n far -6 route add default via 2001:db8:2::1
        # A new link takes a moment until its host answers neighbour solicitations; the wait is bounded.
        for host in {far}; do
            for attempt in 1 2 3 4 5 6 7 8 9 10; do ping -n -q -c 1 -W 1 $host >/dev/null && continue 2; done; exit 1
        done",
        far = FAR.join(" ")
    ));
}

/// The router keeps to itself what is too large.
fn black_hole() {
    sh(
        "ip netns exec router nft 'table inet hole { chain output { type filter hook output priority 0;
            icmp type destination-unreachable drop; icmpv6 type packet-too-big drop; }; }'",
    );
}

async fn sweep(to: &str, way: Way) -> Swept {
    let to: IpAddr = to.parse().expect("an address");
    let socket = PathSocket::open(to, way, None, 0x1234_5678_9abc_def0);
    let mut socket = socket.expect("a socket");
    let swept = timeout(BOUND, socket.sweep()).await.expect("an end");
    let swept = swept.expect("a result");
    assert_eq!(swept.refusal, None, "{swept:?}");
    swept
}

fn result(swept: &Swept) -> (Option<u16>, Option<u16>, Option<Limit>) {
    (swept.passed, swept.failed, swept.limit)
}

#[test]
fn a_router_that_tells_its_mtu_is_named_in_both_families_and_ways() {
    inside(
        "path::a_router_that_tells_its_mtu_is_named_in_both_families_and_ways",
        &["sysctl", "ping"],
        async {
            path(1407);
            for (far, router) in FAR.into_iter().zip(ROUTER) {
                let reporter = router.parse().unwrap();
                let told = Limit::Told {
                    reporter,
                    mtu: 1407,
                };
                for way in [Way::Echo, Way::ClosedPort] {
                    let swept = sweep(far, way).await;
                    assert_eq!(
                        result(&swept),
                        (Some(1407), Some(1408), Some(told)),
                        "{far} {way:?}"
                    );
                }
            }
        },
    );
}

#[test]
fn a_host_that_rejects_echo_requests_is_measured_by_its_rejections() {
    inside(
        "path::a_host_that_rejects_echo_requests_is_measured_by_its_rejections",
        &["sysctl", "ping", "nft"],
        async {
            path(1407);
            sh(
                "ip netns exec far nft 'table inet firewall { chain input { type filter hook input priority 0;
                    icmp type echo-request reject with icmpx type admin-prohibited; }; }'",
            );
            let swept = sweep(FAR[0], Way::Echo).await;
            assert_eq!((swept.passed, swept.failed), (Some(1407), Some(1408)));
        },
    );
}

#[test]
fn a_group_that_may_ping_needs_no_raw_socket() {
    inside(
        "path::a_group_that_may_ping_needs_no_raw_socket",
        &["sysctl", "ping"],
        async {
            path(1407);
            sh("sysctl -qw net.ipv4.ping_group_range='0 0'");
            drop_capabilities();
            for far in FAR {
                let swept = sweep(far, Way::Echo).await;
                assert_eq!((swept.passed, swept.failed), (Some(1407), Some(1408)));
            }
        },
    );
}

#[test]
fn a_black_hole_is_measured_exactly() {
    inside(
        "path::a_black_hole_is_measured_exactly",
        &["sysctl", "ping", "nft"],
        async {
            path(1393);
            black_hole();
            for far in FAR {
                for way in [Way::Echo, Way::ClosedPort] {
                    let swept = sweep(far, way).await;
                    let expected = (Some(1393), Some(1394), Some(Limit::Silent));
                    assert_eq!(result(&swept), expected, "{far} {way:?} {swept:?}");
                }
            }
        },
    );
}

#[test]
fn an_interface_that_is_the_narrowest_is_told_from_the_path() {
    inside(
        "path::an_interface_that_is_the_narrowest_is_told_from_the_path",
        &["sysctl", "ping"],
        async {
            path(1500);
            sh("ip link set eth0 mtu 1433");
            let here = Limit::Here { mtu: Some(1433) };
            for far in FAR {
                let swept = sweep(far, Way::Echo).await;
                let expected = (Some(1433), Some(1434), Some(here));
                assert_eq!(result(&swept), expected, "{far} {swept:?}");
            }
        },
    );
}

#[test]
fn a_port_that_is_closed_is_told_from_one_that_a_router_rejects() {
    inside(
        "path::a_port_that_is_closed_is_told_from_one_that_a_router_rejects",
        &["sysctl", "ping", "nft"],
        async {
            path(1500);
            let far = "198.51.100.12:51820".parse().unwrap();
            let closed = heard(far).await;
            let Heard::Refused(refusal) = closed else {
                panic!("{closed:?}")
            };
            assert_eq!(refusal.reporter, Some(FAR[0].parse().unwrap()));
            assert_eq!(refusal.icmp, Some((3, 3)));
            sh(
                "ip netns exec router nft 'table inet firewall { chain forward { type filter hook forward priority 0;
                    udp dport 51820 reject with icmpx type admin-prohibited; }; }'",
            );
            let rejected = heard(far).await;
            let Heard::Refused(refusal) = rejected else {
                panic!("{rejected:?}")
            };
            assert_eq!(refusal.reporter, Some(ROUTER[0].parse().unwrap()));
            assert_eq!(refusal.icmp, Some((3, 13)));
        },
    );
}

async fn heard(to: std::net::SocketAddr) -> Heard {
    let knock = Knock::open(to, None).expect("a socket");
    knock.send(&[0; 16]).expect("a route");
    let heard = timeout(BOUND, knock.next()).await.expect("word in time");
    heard.expect("a socket that works")
}
