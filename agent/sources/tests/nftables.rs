//! Readings of the chains that `nft` made as Talos does, and of the ways that `ip` made.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a test fails by panicking"
)]

mod namespace;

use std::net::IpAddr;

use namespace::{BOUND, inside, sh};
use sources::{
    links::{self, Question, ways},
    nftables::{self, Chains, Routed},
};

const STEER: &str = "meta mark set meta mark & 0xffffff9f ^ 0x40 accept";

fn covers(routed: &Routed, prefix: &str) -> Option<bool> {
    let (address, length) = prefix.split_once('/').unwrap();
    let address: IpAddr = address.parse().unwrap();
    routed.covers(address, length.parse().unwrap())
}

async fn read() -> Chains {
    let reading = tokio::time::timeout(BOUND, nftables::read()).await;
    reading.unwrap().unwrap()
}

fn talos(prerouting: &str, outgoing: &str) {
    sh(&format!(
        "nft -f - <<'END'
        table inet talos
        delete table inet talos
        table inet talos {{
          chain kubespan_prerouting {{
            type filter hook prerouting priority filter; policy accept
            meta mark & 0x60 == 0x20 accept
            {prerouting}
          }}
          chain kubespan_outgoing {{
            type route hook output priority filter; policy accept
            meta mark & 0x60 == 0x20 accept
            oifname lo accept
            {outgoing}
          }}
        }}
END"
    ));
}

#[test]
fn a_node_without_talos_chains_has_none() {
    inside("a_node_without_talos_chains_has_none", &["nft"], async {
        assert_eq!(read().await, Chains::default());
    });
}

#[test]
fn the_destinations_of_each_chain_are_read_by_family() {
    inside(
        "the_destinations_of_each_chain_are_read_by_family",
        &["nft"],
        async {
            let both = format!(
                "ip daddr {{ 203.0.113.12, 192.168.50.0/31, 10.244.0.0/24 }} {STEER}
                 ip6 daddr {{ 2001:db8::1, fd00::/64 }} {STEER}"
            );
            talos(
                &format!("ip daddr {{ 203.0.113.12, 203.0.113.13 }} {STEER}"),
                &both,
            );
            let chains = read().await;
            assert!(chains.outgoing.present && chains.prerouting.present);
            for inside in [
                "203.0.113.12/32",
                "192.168.50.1/32",
                "10.244.0.0/24",
                "2001:db8::1/128",
                "fd00::5/128",
            ] {
                assert_eq!(covers(&chains.outgoing, inside), Some(true), "{inside}");
            }
            for outside in [
                "203.0.113.13/32",
                "192.168.50.2/32",
                "10.244.1.0/24",
                "2001:db8::2/128",
            ] {
                assert_eq!(covers(&chains.outgoing, outside), Some(false), "{outside}");
            }
            assert_eq!(covers(&chains.prerouting, "203.0.113.13/32"), Some(true));
            assert_eq!(covers(&chains.prerouting, "10.244.0.0/24"), Some(false));
            talos("", &format!("ip daddr 203.0.113.12 tcp dport 80 {STEER}"));
            let chains = read().await;
            assert_eq!(
                covers(&chains.outgoing, "203.0.113.12/32"),
                None,
                "a rule with more conditions"
            );
            assert_eq!(covers(&chains.prerouting, "203.0.113.12/32"), Some(false));
        },
    );
}

#[test]
fn a_set_of_a_whole_big_cluster_is_read() {
    inside("a_set_of_a_whole_big_cluster_is_read", &["nft"], async {
        let addresses: Vec<String> = (0..1024_u32)
            .map(|n| format!("10.{}.{}.7", n / 256, n % 256))
            .collect();
        let rule = format!("ip daddr {{ {} }} {STEER}", addresses.join(", "));
        talos(&rule, &rule);
        let chains = read().await;
        for address in &addresses {
            assert_eq!(
                covers(&chains.outgoing, &format!("{address}/32")),
                Some(true)
            );
        }
        assert_eq!(covers(&chains.prerouting, "10.0.0.6/32"), Some(false));
    });
}

#[test]
fn a_mark_changes_the_way_and_a_hole_is_no_way() {
    inside("a_mark_changes_the_way_and_a_hole_is_no_way", &[], async {
        sh("ip link add eth0 type veth peer name router
            ip link add kubespan type veth peer name inside
            ip addr add 192.168.3.4/24 dev eth0
            ip addr add 2001:db8::4/64 dev eth0 nodad
            for l in eth0 router kubespan inside; do ip link set $l up; done
            ip rule add fwmark 0x40/0x60 table 180
            ip route add default dev kubespan table 180
            ip -6 rule add fwmark 0x40/0x60 table 180
            ip -6 route add default dev kubespan table 180
            ip route add blackhole 192.0.2.0/24");
        let snapshot = links::read().await.unwrap();
        let index = |name: &str| snapshot.link(name).unwrap().index;
        let question = |to: &str, mark| Question {
            to: to.parse().unwrap(),
            mark,
        };
        let ways = ways(&[
            question("192.168.3.9", 0),
            question("192.168.3.9", 0x20),
            question("192.168.3.9", 0x40),
            question("2001:db8::9", 0),
            question("2001:db8::9", 0x40),
            question("192.0.2.1", 0),
            question("198.51.100.1", 0),
        ])
        .await
        .unwrap();
        let links: Vec<_> = ways.iter().map(|way| way.map(|way| way.link)).collect();
        let (eth0, kubespan) = (Some(index("eth0")), Some(index("kubespan")));
        assert_eq!(links, [eth0, eth0, kubespan, eth0, kubespan, None, None]);
        assert_eq!(
            ways[0].unwrap().source,
            Some("192.168.3.4".parse().unwrap())
        );
        assert_eq!(
            ways[3].unwrap().source,
            Some("2001:db8::4".parse().unwrap())
        );
    });
}
