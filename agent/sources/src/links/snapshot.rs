//! What a reading of links and addresses contains, and the questions that are asked of it.

use std::net::{IpAddr, Ipv6Addr};

/// The name of the link that Talos makes for `KubeSpan`.
pub const KUBESPAN: &str = "kubespan";

/// Most links that one reading keeps; a node has one or two per pod.
pub const MAX_LINKS: usize = 2048;

/// Most addresses that one reading keeps, over all links.
pub const MAX_ADDRESSES: usize = 4096;

const LOOPBACK: &str = "lo";

/// The byte of a Talos unique local address that says what the address is for, and the value for `KubeSpan`.
const PURPOSE_BYTE: usize = 7;
const KUBESPAN_PURPOSE: u8 = 0x02;
const UNIQUE_LOCAL: u8 = 0xfd;

/// All links of one network namespace at one moment, by ascending index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The links with their addresses.
    pub links: Vec<Link>,
    /// Links and addresses left out: beyond [`MAX_LINKS`] and [`MAX_ADDRESSES`], or not decodable.
    pub dropped: u64,
}

impl Snapshot {
    /// The link with this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }
}

/// The Ethernet address of the first link in the order of names, hardware before virtual links: what Talos calls the
/// `first` hardware address, and what tells a machine from its clone.
pub fn first_hardware_address(snapshot: &Snapshot) -> Option<[u8; 6]> {
    let usable = |link: &&Link| link.name != LOOPBACK && link.hardware_address.is_some();
    let order = |link: &&Link| (link.kind.is_some(), link.name.clone());
    snapshot
        .links
        .iter()
        .filter(usable)
        .min_by_key(order)?
        .hardware_address
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The largest packet it takes; 0 if the kernel did not say.
    pub mtu: u32,
    /// Whether it is switched on (`IFF_UP`).
    pub up: bool,
    /// What the driver says about it.
    pub oper_state: OperState,
    /// `wireguard`, `vxlan`, `veth`, ..; none for hardware and loopback.
    pub kind: Option<String>,
    /// How it encapsulates, if it is a VXLAN device.
    pub vxlan: Option<VxlanSettings>,
    /// Its Ethernet address; none for links without one, such as `kubespan`.
    pub hardware_address: Option<[u8; 6]>,
    /// Its addresses, in the kernel's order, IPv4 before IPv6.
    pub addresses: Vec<Address>,
}

/// How a VXLAN device encapsulates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VxlanSettings {
    /// The network identifier.
    pub id: u32,
    /// The UDP port.
    pub port: u16,
    /// Whether each packet says by itself where it goes.
    pub external: bool,
    /// The address that it sends from, if it was given one.
    pub local: Option<IpAddr>,
    /// The far end or group, if it was given one.
    pub remote: Option<IpAddr>,
}

/// The operational state of a link (RFC 2863). Tunnels such as `WireGuard` stay `Unknown` for all their life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperState {
    /// The driver does not say.
    #[default]
    Unknown,
    /// A part is missing.
    NotPresent,
    /// Not able to pass packets.
    Down,
    /// The link below is down.
    LowerLayerDown,
    /// In a test.
    Testing,
    /// Waiting for an event outside.
    Dormant,
    /// Able to pass packets.
    Up,
}

/// One address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The length of its on-link prefix.
    pub prefix_len: u8,
    /// How far it is valid.
    pub scope: Scope,
    /// Not usable yet: duplicate address detection is under way or has failed.
    pub tentative: bool,
}

/// How far an address is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// On its link.
    Link,
    /// On its host.
    Host,
    /// Any other, by the kernel's number.
    Other(u8),
}

/// The node's `KubeSpan` address: on the link `kubespan`, unique local, with `KubeSpan`'s purpose byte.
pub fn kubespan_address(snapshot: &Snapshot) -> Option<Ipv6Addr> {
    let addresses = &snapshot.link(KUBESPAN)?.addresses;
    addresses.iter().find_map(|address| match address.ip {
        IpAddr::V6(ip) if is_kubespan(ip) => Some(ip),
        _ => None,
    })
}

/// The addresses by which other nodes may know this one: of global scope, and neither on loopback nor `KubeSpan`'s.
pub fn node_addresses(snapshot: &Snapshot) -> Vec<IpAddr> {
    let links = snapshot.links.iter();
    links
        .filter(|link| link.name != LOOPBACK && link.name != KUBESPAN)
        .flat_map(|link| &link.addresses)
        .filter(|address| address.scope == Scope::Global)
        .map(|address| address.ip)
        .collect()
}

fn is_kubespan(ip: Ipv6Addr) -> bool {
    let bytes = ip.octets();
    bytes[0] == UNIQUE_LOCAL && bytes[PURPOSE_BYTE] == KUBESPAN_PURPOSE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, scope: Scope) -> Address {
        let ip = text.parse().unwrap();
        Address {
            ip,
            prefix_len: 64,
            scope,
            tentative: false,
        }
    }

    fn link(name: &str, addresses: Vec<Address>) -> Link {
        Link {
            index: 1,
            name: name.to_owned(),
            mtu: 1500,
            up: true,
            oper_state: OperState::Up,
            kind: None,
            vxlan: None,
            hardware_address: None,
            addresses,
        }
    }

    const ULA: &str = "fd7f:175a:b97c:5602:2c1a:b6ff:fe53:8169";
    const SIDEROLINK: &str = "fd7f:175a:b97c:5603:2c1a:b6ff:fe53:8169";

    fn node() -> Snapshot {
        let kubespan = vec![
            address("fe80::1", Scope::Link),
            address(SIDEROLINK, Scope::Global),
            address(ULA, Scope::Global),
        ];
        let uplink = vec![
            address("192.168.3.4", Scope::Global),
            address("169.254.0.9", Scope::Link),
            address("2001:db8::4", Scope::Global),
            address("fe80::2", Scope::Link),
        ];
        let links = vec![
            link("lo", vec![address("10.9.9.9", Scope::Global)]),
            link("eth0", uplink),
            link("kubespan", kubespan),
        ];
        Snapshot { links, dropped: 0 }
    }

    #[test]
    fn the_kubespan_address_is_the_one_with_kubespans_purpose_on_the_link_kubespan() {
        assert_eq!(kubespan_address(&node()), Some(ULA.parse().unwrap()));
    }

    #[test]
    fn a_kubespan_like_address_on_another_link_is_not_the_kubespan_address() {
        let links = vec![link("eth0", vec![address(ULA, Scope::Global)])];
        assert_eq!(kubespan_address(&Snapshot { links, dropped: 0 }), None);
    }

    #[test]
    fn node_addresses_leave_out_loopback_kubespan_and_narrow_scopes() {
        let expected: [IpAddr; 2] =
            ["192.168.3.4", "2001:db8::4"].map(|text| text.parse().unwrap());
        assert_eq!(node_addresses(&node()), expected);
    }

    #[test]
    fn the_first_hardware_address_is_that_of_hardware_before_virtual_links() {
        let with = |name: &str, kind: Option<&str>, last: u8| Link {
            kind: kind.map(str::to_owned),
            hardware_address: Some([2, 0, 0, 0, 0, last]),
            ..link(name, Vec::new())
        };
        let links = vec![
            with("bridge0", Some("bridge"), 1),
            with("eth1", None, 2),
            with("eth0", None, 3),
            with(LOOPBACK, None, 0),
        ];
        let snapshot = Snapshot { links, dropped: 0 };
        assert_eq!(first_hardware_address(&snapshot), Some([2, 0, 0, 0, 0, 3]));
    }
}
