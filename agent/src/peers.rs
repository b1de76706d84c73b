//! The peers of the device: their echo addresses, and what changed since the last reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use evidence::{EndpointChange, Moment, Peer, PublicKey, limits};
use sources::wireguard;

use crate::readers::DeviceReading;

/// The peers as last read.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    known: BTreeMap<PublicKey, Known>,
}

#[derive(Debug)]
struct Known {
    fact: Peer,
    /// The kernel's wall-clock time of the handshake and the moment we made of it: an unchanged handshake must not
    /// wander with the rounding of two clocks.
    handshake: Option<(Duration, Moment)>,
    address: Option<Ipv6Addr>,
    node_addresses: [Option<IpAddr>; 2],
}

/// Who came and who went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) added: Vec<PublicKey>,
    pub(crate) removed: Vec<PublicKey>,
}

impl Peers {
    /// Takes a new reading; `own` is this node's `KubeSpan` address.
    pub(crate) fn update(
        &mut self,
        reading: &DeviceReading,
        own: Option<Ipv6Addr>,
        now: Moment,
    ) -> Changes {
        let present: BTreeSet<PublicKey> = reading
            .device
            .peers
            .iter()
            .map(|peer| peer.public_key)
            .collect();
        let removed: Vec<PublicKey> = self
            .known
            .keys()
            .filter(|key| !present.contains(key))
            .copied()
            .collect();
        self.known.retain(|key, _| present.contains(key));
        let mut added = Vec::new();
        for peer in &reading.device.peers {
            let old = self.known.remove(&peer.public_key);
            if old.is_none() {
                added.push(peer.public_key);
            }
            self.known
                .insert(peer.public_key, known(peer, old, own, (reading.wall, now)));
        }
        Changes { added, removed }
    }

    /// No device, no peers.
    pub(crate) fn clear(&mut self) -> Changes {
        let removed = self.known.keys().copied().collect();
        self.known.clear();
        Changes {
            added: Vec::new(),
            removed,
        }
    }

    /// The peers' facts.
    pub(crate) fn facts(&self) -> impl Iterator<Item = (PublicKey, &Peer)> {
        self.known.iter().map(|(key, known)| (*key, &known.fact))
    }

    /// The fact of one peer.
    pub(crate) fn fact(&self, key: &PublicKey) -> Option<&Peer> {
        self.known.get(key).map(|known| &known.fact)
    }

    /// Where a peer's echo is to be sent.
    pub(crate) fn address(&self, key: &PublicKey) -> Option<Ipv6Addr> {
        self.known.get(key)?.address
    }

    /// The node address of a peer that `KubeSpan` steers into the tunnel: where an overlay would send.
    pub(crate) fn node_address(&self, key: &PublicKey) -> Option<IpAddr> {
        let [v4, v6] = self.node_addresses(key);
        v4.or(v6)
    }

    /// Its first node address of IPv4, and of IPv6.
    pub(crate) fn node_addresses(&self, key: &PublicKey) -> [Option<IpAddr>; 2] {
        let known = self.known.get(key);
        known.map_or([None, None], |known| known.node_addresses)
    }

    /// Whose `KubeSpan` address this is.
    pub(crate) fn owner(&self, address: IpAddr) -> Option<PublicKey> {
        let owner = self
            .known
            .iter()
            .find(|(_, known)| known.address.map(IpAddr::V6) == Some(address));
        owner.map(|(key, _)| *key)
    }

    /// Whose node address this is.
    pub(crate) fn node_owner(&self, address: IpAddr) -> Option<PublicKey> {
        let owner = self
            .known
            .iter()
            .find(|(_, known)| known.node_addresses.contains(&Some(address)));
        owner.map(|(key, _)| *key)
    }
}

fn known(
    peer: &wireguard::Peer,
    old: Option<Known>,
    own: Option<Ipv6Addr>,
    clocks: (Duration, Moment),
) -> Known {
    let (wall, now) = clocks;
    let handshake =
        peer.last_handshake
            .map(|time| match old.as_ref().and_then(|old| old.handshake) {
                Some((same, moment)) if same == time => (time, moment),
                _ => (time, now.minus(wall.saturating_sub(time))),
            });
    let grown = old
        .as_ref()
        .is_some_and(|old| peer.rx_bytes > old.fact.rx_bytes);
    let since = old.as_ref().map_or(now, |old| old.fact.since);
    let endpoint_changes = endpoint_changes(peer, old.as_ref(), now);
    let rx_moved = if grown {
        Some(now)
    } else {
        old.and_then(|old| old.fact.rx_moved)
    };
    let fact = Peer {
        endpoint: peer.endpoint,
        allowed_ips: peer.allowed_ips.iter().map(ToString::to_string).collect(),
        last_handshake: handshake.map(|(_, moment)| moment),
        rx_bytes: peer.rx_bytes,
        tx_bytes: peer.tx_bytes,
        rx_moved,
        since,
        keepalive: peer.keepalive,
        endpoint_changes,
    };
    let address = own.and_then(|own| echo_address(peer, own));
    Known {
        fact,
        handshake,
        address,
        node_addresses: node_addresses(peer, address),
    }
}

/// The newest changes of the endpoint. What was there and back between two readings is not seen.
fn endpoint_changes(
    peer: &wireguard::Peer,
    old: Option<&Known>,
    now: Moment,
) -> Vec<EndpointChange> {
    let Some(old) = old else {
        return Vec::new();
    };
    let mut changes = old.fact.endpoint_changes.clone();
    if let Some((from, to)) = old.fact.endpoint.zip(peer.endpoint)
        && from != to
    {
        let over = (changes.len() + 1).saturating_sub(limits::ENDPOINT_CHANGES);
        changes.drain(..over);
        changes.push(EndpointChange { at: now, from, to });
    }
    changes
}

/// The first single address of each family among the peer's allowed IPs that is not its `KubeSpan` address: by one of them Kubernetes
/// knows it. As long as its `KubeSpan` address is not known, none of IPv6 is told from that.
fn node_addresses(peer: &wireguard::Peer, kubespan: Option<Ipv6Addr>) -> [Option<IpAddr>; 2] {
    let single = |allowed: &wireguard::AllowedIp| {
        let address = allowed.address();
        let whole = if address.is_ipv4() { 32 } else { 128 };
        let other = Some(address) != kubespan.map(IpAddr::V6);
        (allowed.prefix_len() == whole && other).then_some(address)
    };
    let first = |v6: bool| {
        let mut singles = peer.allowed_ips.iter().filter_map(single);
        singles.find(|address| address.is_ipv6() == v6)
    };
    [first(false), first(true).filter(|_| kubespan.is_some())]
}

/// The peer's `KubeSpan` address: a single address among its allowed IPs in the /64 of our own.
fn echo_address(peer: &wireguard::Peer, own: Ipv6Addr) -> Option<Ipv6Addr> {
    peer.allowed_ips
        .iter()
        .find_map(|allowed| match allowed.address() {
            IpAddr::V6(address)
                if allowed.prefix_len() == 128 && address.octets()[..8] == own.octets()[..8] =>
            {
                Some(address)
            }
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use sources::wireguard::{AllowedIp, Backend, Device, Dropped};

    use super::*;

    const OWN: Ipv6Addr = Ipv6Addr::new(0xfd7f, 0x175a, 0xb97c, 0x5602, 1, 2, 3, 4);

    fn peer(byte: u8, handshake: Option<Duration>, rx_bytes: u64) -> wireguard::Peer {
        let mut peer = wireguard::Peer::new(PublicKey::from_bytes([byte; 32]));
        let address = Ipv6Addr::new(0xfd7f, 0x175a, 0xb97c, 0x5602, 0, 0, 0, byte.into());
        peer.allowed_ips = vec![
            AllowedIp::new(IpAddr::from([192, 168, 50, byte]), 32).unwrap(),
            AllowedIp::new(address.into(), 128).unwrap(),
        ];
        peer.last_handshake = handshake;
        peer.rx_bytes = rx_bytes;
        peer
    }

    fn reading(peers: Vec<wireguard::Peer>, wall: u64) -> DeviceReading {
        let device = Device {
            public_key: None,
            listen_port: 51_820,
            fwmark: 0x20,
            peers,
            source: Backend::Kernel,
            dropped: Dropped::default(),
        };
        DeviceReading {
            device,
            wall: Duration::from_secs(wall),
        }
    }

    #[test]
    fn the_echo_goes_to_the_address_in_our_own_prefix() {
        let mut peers = Peers::default();
        peers.update(&reading(vec![peer(9, None, 0)], 0), Some(OWN), Moment::ZERO);
        let key = PublicKey::from_bytes([9; 32]);
        let address = peers.address(&key).unwrap();
        assert_eq!(address.segments()[7], 9);
        assert_eq!(peers.owner(address.into()), Some(key));
        let node = IpAddr::from([192, 168, 50, 9]);
        assert_eq!(peers.node_address(&key), Some(node));
        assert_eq!(peers.node_owner(node), Some(key));
        assert_eq!(peers.node_addresses(&key), [Some(node), None]);
    }

    #[test]
    fn of_each_family_the_first_single_address_is_asked_that_is_not_the_one_of_the_tunnel() {
        let key = PublicKey::from_bytes([9; 32]);
        let mut both = peer(9, None, 0);
        let more = [
            ("10.244.3.0", 24),
            ("2001:db8::9", 128),
            ("192.168.50.99", 32),
        ];
        let more =
            more.map(|(text, length)| AllowedIp::new(text.parse().unwrap(), length).unwrap());
        both.allowed_ips.extend(more);
        let mut peers = Peers::default();
        peers.update(&reading(vec![both.clone()], 0), Some(OWN), Moment::ZERO);
        let expected = ["192.168.50.9", "2001:db8::9"].map(|text| Some(text.parse().unwrap()));
        assert_eq!(peers.node_addresses(&key), expected);
        peers.update(&reading(vec![both], 0), None, Moment::ZERO);
        assert_eq!(peers.node_addresses(&key), [expected[0], None]);
    }

    #[test]
    fn an_unchanged_handshake_keeps_its_moment_though_the_clocks_go_on() {
        let mut peers = Peers::default();
        let key = PublicKey::from_bytes([1; 32]);
        let handshake = Some(Duration::from_secs(100));
        peers.update(
            &reading(vec![peer(1, handshake, 0)], 160),
            Some(OWN),
            Moment::from_millis(60_000),
        );
        let first = peers.fact(&key).unwrap().last_handshake;
        assert_eq!(first, Some(Moment::ZERO));
        // The wall clock was stepped by an hour in between: the handshake did not happen at another time.
        peers.update(
            &reading(vec![peer(1, handshake, 0)], 3761),
            Some(OWN),
            Moment::from_millis(61_003),
        );
        assert_eq!(peers.fact(&key).unwrap().last_handshake, first);
    }

    #[test]
    fn the_newest_changes_of_an_endpoint_are_kept_with_their_moments() {
        let mut peers = Peers::default();
        let key = PublicKey::from_bytes([1; 32]);
        for step in 0..20_u16 {
            let mut peer = peer(1, None, 0);
            // The same endpoint twice in a row is no change.
            peer.endpoint = Some(([192, 0, 2, 1], 1 + step / 2).into());
            let now = Moment::from_millis(i64::from(step) * 1000);
            peers.update(&reading(vec![peer], 0), Some(OWN), now);
        }
        let changes = &peers.fact(&key).unwrap().endpoint_changes;
        let told: Vec<(i64, u16, u16)> = changes
            .iter()
            .map(|change| (change.at.as_millis(), change.from.port(), change.to.port()))
            .collect();
        let expected = (2..10).map(|port| (i64::from(port) * 2000, port, port + 1));
        assert_eq!(told, expected.collect::<Vec<_>>());
    }

    #[test]
    fn received_bytes_that_grow_are_a_sign_of_life_with_its_moment() {
        let mut peers = Peers::default();
        let key = PublicKey::from_bytes([1; 32]);
        peers.update(
            &reading(vec![peer(1, None, 10)], 0),
            Some(OWN),
            Moment::from_millis(1),
        );
        assert_eq!(peers.fact(&key).unwrap().rx_moved, None);
        peers.update(
            &reading(vec![peer(1, None, 11)], 0),
            Some(OWN),
            Moment::from_millis(2),
        );
        peers.update(
            &reading(vec![peer(1, None, 11)], 0),
            Some(OWN),
            Moment::from_millis(3),
        );
        assert_eq!(
            peers.fact(&key).unwrap().rx_moved,
            Some(Moment::from_millis(2))
        );
    }

    #[test]
    fn who_came_and_who_went_is_said_once() {
        let mut peers = Peers::default();
        let keys = [1, 2, 3].map(|byte| PublicKey::from_bytes([byte; 32]));
        let first = peers.update(
            &reading(vec![peer(1, None, 0), peer(2, None, 0)], 0),
            Some(OWN),
            Moment::ZERO,
        );
        assert_eq!(
            first,
            Changes {
                added: vec![keys[0], keys[1]],
                removed: vec![]
            }
        );
        let second = peers.update(
            &reading(vec![peer(2, None, 0), peer(3, None, 0)], 0),
            Some(OWN),
            Moment::ZERO,
        );
        assert_eq!(
            second,
            Changes {
                added: vec![keys[2]],
                removed: vec![keys[0]]
            }
        );
        assert_eq!(peers.clear().removed, vec![keys[1], keys[2]]);
    }
}
