//! Nodes that share a network without any translation in front of it: what passes between them does not pass what stands
//! between them and the others.

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::mesh::{Member, Mesh};

/// A network, as far as an address shows which it is of. No agent tells lengths of prefixes: a private address of IPv4 is taken
/// for one of a /24, as hardly a LAN is smaller, and one of IPv6 for one of a /64 (RFC 4291, 2.5.4). Neighbours among public
/// addresses of IPv4 are strangers to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Network {
    V4([u8; 3]),
    V6([u16; 4]),
}

impl Network {
    fn of(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                address.is_private().then_some(Self::V4([a, b, c]))
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                let link = address.is_unicast_link_local() || address.is_loopback();
                (!link).then_some(Self::V6([a, b, c, d]))
            }
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V4([first, second, third]) => {
                write!(f, "{}/24", Ipv4Addr::new(first, second, third, 0))
            }
            Self::V6(network) => {
                let bits = network
                    .iter()
                    .fold(0, |all, part| (all << 16) | u128::from(*part));
                write!(f, "{}/64", Ipv6Addr::from_bits(bits << 64))
            }
        }
    }
}

/// The network of each node that another one, in the same network, dials at its own address there. None of a mesh that is
/// in one network as a whole: nothing stands between it and others.
pub(crate) fn networks(mesh: &Mesh<'_>) -> Vec<Option<Network>> {
    let mut there: BTreeMap<Network, Vec<&Member<'_>>> = BTreeMap::new();
    for member in mesh.members.values().filter(|one| one.site.is_none()) {
        for network in own(member) {
            let known = there.entry(network).or_default();
            if known.last().is_none_or(|last| last.index != member.index) {
                known.push(member);
            }
        }
    }
    let dialled = |to: &Member<'_>| {
        let key = to.key.filter(|_| to.site.is_none())?;
        let here = |network: Network| {
            let mut others = there.get(&network)?.iter();
            let dials = |from: &&&Member<'_>| {
                let endpoint = from.peer(&key).and_then(|peer| peer.endpoint);
                let at = endpoint.map(|endpoint| endpoint.ip());
                let own = |at: &IpAddr| {
                    let identity = to.identity();
                    identity.is_some_and(|identity| identity.addresses.contains(at))
                };
                from.index != to.index && at.filter(own).and_then(Network::of) == Some(network)
            };
            others.find(dials).map(|_| network)
        };
        own(to).find_map(here)
    };
    let mut found: Vec<Option<Network>> = mesh.members.values().map(dialled).collect();
    let one = found.first().copied().flatten();
    if one.is_some() && found.iter().all(|network| *network == one) {
        found.fill(None);
    }
    found
}

fn own(member: &Member<'_>) -> impl Iterator<Item = Network> {
    let addresses = member.identity().map_or(&[][..], |own| &own.addresses);
    addresses.iter().copied().filter_map(Network::of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_a_link_is_a_network() {
        let told = |address: &str| {
            let network = Network::of(address.parse().ok()?)?;
            Some(network.to_string())
        };
        let table = [
            ("192.168.50.12", Some("192.168.50.0/24")),
            ("10.1.2.3", Some("10.1.2.0/24")),
            ("203.0.113.11", None),
            ("100.64.0.7", None),
            ("2001:db8:1:2::7", Some("2001:db8:1:2::/64")),
            ("fd00::1", Some("fd00::/64")),
            ("fe80::1", None),
        ];
        for (address, network) in table {
            assert_eq!(told(address).as_deref(), network, "{address}");
        }
    }
}
