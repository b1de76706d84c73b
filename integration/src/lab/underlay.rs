//! Links, addresses, routes and NAT between the hosts: what a provider and a home router give.
//!
//! The internet routes: every public address hangs on its own link, so that a rule on its forward chain can break one path and
//! leave the others alone. A bridge would carry packets past such rules.

use std::{fmt::Write as _, net::Ipv4Addr};

use crate::lab::{
    address::Mac,
    plan::HostPlan,
    topology::{INTERNET, Nat, Node, Site, Topology},
};

const WAN: &str = "wan";
const LAN: &str = "lan0";
/// The first, and only physical, link of a node.
pub const NODE_LINK: &str = "eth0";

/// Lines for `ip -batch` that make all links in their final namespaces; `pid` names a host's anchor.
pub fn links(topology: &Topology, pid: impl Fn(&str) -> u32, mac: impl Fn(&Node) -> Mac) -> String {
    let mut lines = String::new();
    let mut link = |near: &str, near_port: &str, far: &str, far_port: &str, mac: Option<Mac>| {
        let mac = mac.map_or_else(String::new, |mac| format!("address {mac} "));
        let (near, far) = (pid(near), pid(far));
        writeln!(
            lines,
            "link add name {near_port} netns {near} type veth peer name {far_port} {mac}netns {far}"
        )
        .expect("writing to a string cannot fail");
    };
    for site in &topology.sites {
        let router = site.router.as_str();
        link(INTERNET, router, router, WAN, None);
    }
    for node in &topology.nodes {
        let (name, router) = (node.name.as_str(), topology.router_in_front_of(node));
        link(router, name, name, NODE_LINK, Some(mac(node)));
    }
    lines
}

pub fn internet(topology: &Topology) -> HostPlan {
    let mut plan = base();
    plan.sysctl("net/ipv4/ip_forward", "1");
    for node in topology.public_nodes() {
        internet_port(&mut plan, node.name.as_str(), node.address);
    }
    for site in &topology.sites {
        internet_port(&mut plan, site.router.as_str(), site.wan);
        if site.nat == Nat::None {
            let (lan, wan) = (network(site), site.wan);
            plan.ip(format_args!(
                "route add {lan} via {wan} dev {}",
                site.router
            ));
        }
    }
    plan
}

pub fn router(topology: &Topology, site: &Site) -> HostPlan {
    let mut plan = base();
    plan.sysctl("net/ipv4/ip_forward", "1");
    public_port(&mut plan, WAN, site.wan);
    plan.ip(format_args!("link add name {LAN} type bridge"));
    plan.sysctl("net/bridge/bridge-nf-call-iptables", "0");
    let inside = |node: &&Node| node.site.as_deref() == Some(site.name.as_str());
    for node in topology.nodes.iter().filter(inside) {
        plan.ip(format_args!("link set dev {} master {LAN} up", node.name));
    }
    plan.ip(format_args!("addr add {} dev {LAN}", site.lan));
    plan.ip(format_args!("link set {LAN} up"));
    plan.nft = translation(site.nat);
    plan
}

pub fn node(topology: &Topology, node: &Node) -> HostPlan {
    let mut plan = base();
    match topology.site_of(node) {
        None => public_port(&mut plan, NODE_LINK, node.address),
        Some(site) => {
            plan.ip(format_args!("link set {NODE_LINK} up"));
            plan.ip(format_args!(
                "addr add {}/{} dev {NODE_LINK}",
                node.address, site.lan.length
            ));
            plan.ip(format_args!("route add default via {}", site.lan.gateway));
        }
    }
    plan
}

/// What every host needs. Errors are not rationed, so that a test can wait for one; reverse path checks would drop what steering does.
fn base() -> HostPlan {
    let mut plan = HostPlan::default();
    for (name, value) in [
        ("net/ipv4/icmp_ratelimit", "0"),
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
    ] {
        plan.sysctl(name, value);
    }
    plan.ip(format_args!("link set lo up"));
    plan
}

/// A public address as small providers give it: a /32 and a gateway on the link.
fn public_port(plan: &mut HostPlan, link: &str, address: Ipv4Addr) {
    let gateway = gateway_of(address);
    plan.ip(format_args!("link set dev {link} up"));
    plan.ip(format_args!("addr add {address}/32 dev {link}"));
    plan.ip(format_args!("route add {gateway} dev {link}"));
    plan.ip(format_args!("route add default via {gateway}"));
}

fn internet_port(plan: &mut HostPlan, link: &str, address: Ipv4Addr) {
    plan.ip(format_args!("link set dev {link} up"));
    plan.ip(format_args!(
        "addr add {}/32 dev {link}",
        gateway_of(address)
    ));
    plan.ip(format_args!("route add {address} dev {link}"));
}

fn gateway_of(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 1)
}

fn network(site: &Site) -> String {
    let mask = u32::MAX << (32 - u32::from(site.lan.length));
    let address = Ipv4Addr::from(u32::from(site.lan.gateway) & mask);
    format!("{address}/{}", site.lan.length)
}

fn translation(nat: Nat) -> String {
    let statement = match nat {
        Nat::Masquerade => "masquerade",
        Nat::MasqueradeRandom => "masquerade fully-random",
        Nat::None => return String::new(),
    };
    format!(
        "table ip nat {{
           chain postrouting {{
             type nat hook postrouting priority srcnat
             oifname {WAN} {statement}
           }}
         }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_hangs_on_the_router_in_front_of_it() {
        let topology = Topology::default();
        let pid = |host: &str| u32::try_from(host.len()).unwrap();
        let lines = links(&topology, pid, |_| Mac([2, 0, 0, 0, 0, 1]));
        assert_eq!(lines.lines().count(), 5);
        let worker = "link add name home-worker netns 11 type veth peer name eth0 address 02:00:00:00:00:01 netns 11";
        assert_eq!(lines.lines().last(), Some(worker));
    }

    #[test]
    fn only_a_site_without_nat_is_routed_from_outside() {
        let mut topology = Topology::default();
        assert!(!internet(&topology).ip.contains("192.168.50.0/24"));
        topology.sites[0].nat = Nat::None;
        assert!(
            internet(&topology)
                .ip
                .contains("route add 192.168.50.0/24 via 198.51.100.2")
        );
        assert!(router(&topology, &topology.sites[0]).nft.is_empty());
    }
}
