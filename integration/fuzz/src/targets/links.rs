//! The kernel's dumps of links and addresses.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage},
    link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State},
};
use sources::{
    decode::links_dump,
    links::{MAX_ADDRESSES, MAX_LINKS, first_hardware_address, kubespan_address, node_addresses},
};

use super::netlink::{dump, message};
use crate::{
    Target,
    script::{Script, halves},
};

pub(crate) const TARGET: Target = Target {
    name: "links",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let Some((links, addresses)) = Script::new(bytes).halves() else {
        return;
    };
    let Ok(snapshot) = links_dump(&mut links.to_vec(), &mut addresses.to_vec()) else {
        return;
    };
    assert!(snapshot.links.len() <= MAX_LINKS);
    assert!(
        snapshot
            .links
            .is_sorted_by(|one, other| one.index < other.index)
    );
    let held = snapshot.links.iter().map(|link| link.addresses.len());
    assert!(held.sum::<usize>() <= MAX_ADDRESSES);
    if let Some(address) = kubespan_address(&snapshot) {
        assert!(!node_addresses(&snapshot).contains(&address.into()) || snapshot.links.len() > 1);
    }
    let first = first_hardware_address(&snapshot);
    let any = snapshot
        .links
        .iter()
        .any(|link| link.name != "lo" && link.hardware_address.is_some());
    assert_eq!(first.is_some(), any);
}

fn link(index: u32, name: &str, kind: Option<InfoKind>) -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(1420),
        LinkAttribute::OperState(State::Up),
        LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1]),
    ];
    let info = kind.map(|kind| LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
    message.attributes.extend(info);
    RouteNetlinkMessage::NewLink(message)
}

fn address(index: u32, ip: &str) -> RouteNetlinkMessage {
    let ip: std::net::IpAddr = ip.parse().expect("the seeds name addresses");
    let mut message = AddressMessage::default();
    message.header.family = if ip.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    message.header.index = index;
    message.header.prefix_len = 24;
    message.attributes = vec![
        AddressAttribute::Address(ip),
        AddressAttribute::Local(ip),
        AddressAttribute::Flags(AddressFlags::Permanent),
    ];
    RouteNetlinkMessage::NewAddress(message)
}

fn seeds() -> Vec<Vec<u8>> {
    let links = [
        link(1, "lo", None),
        link(2, "eth0", None),
        link(3, "kubespan", Some(InfoKind::Wireguard)),
        link(4, "cilium_vxlan", Some(InfoKind::Vxlan)),
        link(5, "lxc1", Some(InfoKind::Veth)),
    ];
    let addresses = [
        address(1, "127.0.0.1"),
        address(2, "192.168.50.11"),
        address(3, "fd7f:175a:b97c:5602:2c1a:b6ff:fe53:8169"),
        address(9, "10.0.0.1"),
    ];
    let captured = halves(&dump(&links), &dump(&addresses));
    let odd = message(16, &[0; 20]);
    vec![
        captured,
        halves(&dump(&links[..1]), &dump(&[])),
        halves(
            &[odd.clone(), odd].concat(),
            &message(20, &[2, 24, 0, 0, 9, 0, 0, 0]),
        ),
        halves(&message(2, &(-1_i32).to_ne_bytes()), &[]),
    ]
}
