//! The routers of `vagrant/` without machines: its script sets up two hosts of a namespace, with the links that the
//! Vagrantfile gives them, and packets show what a home behind them sees.

use std::{path::Path, process::Command};

use crate::support::text;

/// Two routers, and behind each link a host that has what `vagrant/patches` gives to its node.
const STAGE: &str = r#"
set -eu
mount -t tmpfs none /run
mkdir -p /run/netns
for host in internet home-router vps-1 vps-2 home-cp; do ip netns add $host; ip -n $host link set lo up; done
in_host() { name=$1; shift; ip netns exec "$name" "$@"; }

# Links come up under names of their own, as in a machine: the script has to find them by their addresses.
link() { ip link add "$2" netns "$1" address "$3" type veth peer name "$5" netns "$4"; }
link internet eth1 52:54:00:6d:01:01 vps-1 eth0
link internet eth2 52:54:00:6d:01:02 vps-2 eth0
link internet eth3 52:54:00:6d:01:03 home-router eth1
link home-router eth2 52:54:00:6d:02:02 home-cp eth0
ip -n home-router link set eth1 address 52:54:00:6d:02:01

public() {
  ip -n "$1" link set eth0 up
  ip -n "$1" address add "$2/32" dev eth0
  ip -n "$1" route add 203.0.113.1 dev eth0
  ip -n "$1" route add default via 203.0.113.1
}
public vps-1 203.0.113.11
public vps-2 203.0.113.12
ip -n home-cp link set eth0 up
ip -n home-cp address add 192.168.50.11/24 dev eth0
ip -n home-cp route add default via 192.168.50.1

MESH_LAB_MEMORY=/run/internet in_host internet sh "$SCRIPT" internet vps-1=52:54:00:6d:01:01 vps-2=52:54:00:6d:01:02 home-router=52:54:00:6d:01:03
MESH_LAB_MEMORY=/run/home in_host home-router sh "$SCRIPT" home-router wan=52:54:00:6d:02:01 lan0=52:54:00:6d:02:02

pings() { in_host "$1" ping -n -q -c 1 -W 2 "$2" >/dev/null; }
pings vps-1 203.0.113.12 && echo "public nodes reach each other"
pings home-cp 203.0.113.11 && echo "home reaches a public node"
pings vps-1 192.168.50.11 || echo "nobody reaches home uninvited"

# A datagram from port 51820 keeps its port behind the router, and comes from its address.
in_host vps-1 nft 'table inet seen { counter mapped { packets 0 bytes 0; }; chain input { type filter hook input priority 0; ip saddr 198.51.100.2 udp sport 51820 udp dport 51820 counter name mapped; }; }'
in_host home-cp nft 'table inet from { chain out { type filter hook output priority -300; udp dport 51820 udp sport set 51820; }; }'
in_host home-cp bash -c 'echo x >/dev/udp/203.0.113.11/51820'
kept() { in_host vps-1 nft list counter inet seen mapped | grep -q 'packets 1 '; }
for try in $(seq 20); do ! kept || break; sleep 0.1; done
kept && echo "the port is kept"

# The way between two public nodes is a forward chain's to break, and healing is making the network anew.
in_host internet nft 'table inet lab_fault_0 { chain forward { type filter hook forward priority filter; ip daddr 203.0.113.12 drop; }; }'
pings vps-1 203.0.113.12 || echo "a rule on the internet breaks one way"
in_host home-router nft flush chain ip nat postrouting
MESH_LAB_MEMORY=/run/internet in_host internet sh "$SCRIPT"
MESH_LAB_MEMORY=/run/home in_host home-router sh "$SCRIPT"
pings vps-1 203.0.113.12 && pings home-cp 203.0.113.12 && echo "made anew, all is well"
"#;

pub(crate) fn the_routers_of_the_machines_route_translate_and_are_made_anew() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vagrant/network.sh");
    let output = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--net",
            "--mount",
            "bash",
            "-c",
            STAGE,
        ])
        .env("SCRIPT", script)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let told = String::from_utf8(output.stdout).unwrap();
    let expected = [
        "public nodes reach each other",
        "home reaches a public node",
        "nobody reaches home uninvited",
        "the port is kept",
        "a rule on the internet breaks one way",
        "made anew, all is well",
    ];
    assert_eq!(
        told.lines().collect::<Vec<_>>(),
        expected,
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
