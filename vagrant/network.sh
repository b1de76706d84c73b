#!/bin/sh
# The network of one of the two routers, made anew each time: what a scenario left behind is gone afterwards.
#
#     mesh-lab-network internet vps-1=MAC vps-2=MAC home-router=MAC
#     mesh-lab-network home-router wan=MAC lan0=MAC
#
# Links get the names that they have in the lab in namespaces, where commands of scenarios were written for.
set -eu

fail() { echo "mesh-lab-network: $*" >&2; exit 2; }

# Where the command line was given once, it is kept for whoever calls without: a runner after each scenario.
memory=${MESH_LAB_MEMORY:-/etc/mesh-lab-network}
if [ $# -eq 0 ]; then
  [ -r "$memory" ] || fail "called without arguments, and $memory is not there"
  # shellcheck disable=SC2046
  set -- $(cat "$memory")
fi
role=$1
shift
case $role in internet | home-router) ;; *) fail "$role: expected internet or home-router" ;; esac
echo "$role $*" >"$memory"

# named PORT=MAC: gives the link with that address its name.
named() {
  port=${1%%=*} mac=${1#*=}
  link=$(ip -o link | awk -v mac="$mac" 'tolower($0) ~ "link/ether " tolower(mac) " " { sub(/[:@].*/, "", $2); print $2 }')
  [ -n "$link" ] || fail "no link with the address $mac, which is to be $port"
  if [ "$link" != "$port" ]; then
    ip link set dev "$link" down
    ip link set dev "$link" name "$port"
  fi
  ip address flush dev "$port"
  ip link set dev "$port" mtu 1500 up
}

# public ADDRESS PORT: the far end of a provider's link, which has a /32 and this gateway.
public() {
  ip address replace "${1%.*}.1/32" dev "$2"
  ip route replace "$1" dev "$2"
}

for port in "$@"; do named "$port"; done
sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
for port in "$@"; do sysctl -qw "net.ipv4.conf.${port%%=*}.rp_filter=0"; done
nft flush ruleset

if [ "$role" = internet ]; then
  public 203.0.113.11 vps-1
  public 203.0.113.12 vps-2
  public 198.51.100.2 home-router
  # What is not of the lab goes on to the real internet, where nobody knows these addresses.
  nft -f - <<'N'
table ip mesh_lab_uplink {
  chain postrouting {
    type nat hook postrouting priority srcnat
    ip saddr { 203.0.113.11, 203.0.113.12, 198.51.100.2 } ip daddr != { 203.0.113.0/24, 198.51.100.0/24 } masquerade
  }
}
N
else
  ip address replace 198.51.100.2/32 dev wan
  ip route replace 198.51.100.1 dev wan
  ip route replace 203.0.113.0/24 via 198.51.100.1 dev wan
  ip address replace 192.168.50.1/24 dev lan0
  # What comes from the LAN leaves by wan; the machine's own default route leads to the network that it is managed by.
  ip route replace default via 198.51.100.1 dev wan table 150
  ip rule del iif lan0 lookup 150 2>/dev/null || true
  ip rule add iif lan0 lookup 150
  # Keeps source ports where it can, as routers at home do.
  nft -f - <<'N'
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname wan masquerade
  }
}
N
fi
conntrack -F 2>/dev/null || true
