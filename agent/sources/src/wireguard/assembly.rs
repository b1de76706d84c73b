//! Puts the parts of a reading together: a large device comes in several messages, and one peer can be spread over two.

use std::collections::BTreeMap;

use evidence::PublicKey;

use super::device::{Backend, Device, Dropped, MAX_ALLOWED_IPS, MAX_PEERS, Peer};

/// A [`Device`] in the making.
pub(super) struct Assembly {
    pub(super) device: Device,
    places: BTreeMap<PublicKey, usize>,
    last_dropped: Option<PublicKey>,
}

impl Assembly {
    pub(super) const fn new(source: Backend) -> Self {
        Self {
            device: Device {
                public_key: None,
                listen_port: 0,
                fwmark: 0,
                peers: Vec::new(),
                source,
                dropped: Dropped {
                    peers: 0,
                    allowed_ips: 0,
                },
            },
            places: BTreeMap::new(),
            last_dropped: None,
        }
    }

    /// Adds a peer, or the rest of a peer that is known: allowed IPs are appended, all else keeps its first value.
    pub(super) fn merge(&mut self, part: Peer) {
        if let Some(known) = self.known(&part.public_key) {
            continue_peer(known, &part);
            let dropped = cut(&mut known.allowed_ips);
            self.device.dropped.allowed_ips += dropped;
        } else if self.device.peers.len() < MAX_PEERS {
            self.add(part);
        } else {
            self.drop_peer(part.public_key);
        }
    }

    /// Ordered by key: wireguard-go gives its peers in another order each time.
    pub(super) fn finish(mut self) -> Device {
        self.device.peers.sort_by_key(|peer| peer.public_key);
        self.device
    }

    fn known(&mut self, key: &PublicKey) -> Option<&mut Peer> {
        let place = *self.places.get(key)?;
        self.device.peers.get_mut(place)
    }

    fn add(&mut self, mut peer: Peer) {
        self.device.dropped.allowed_ips += cut(&mut peer.allowed_ips);
        let place = self.device.peers.len();
        self.places.insert(peer.public_key, place);
        self.device.peers.push(peer);
    }

    /// Parts of one peer follow each other, so the last key is enough to count each dropped peer once.
    fn drop_peer(&mut self, key: PublicKey) {
        if self.last_dropped != Some(key) {
            self.device.dropped.peers += 1;
            self.last_dropped = Some(key);
        }
    }
}

fn continue_peer(known: &mut Peer, part: &Peer) {
    known.allowed_ips.extend(&part.allowed_ips);
    known.endpoint = known.endpoint.or(part.endpoint);
    known.last_handshake = known.last_handshake.or(part.last_handshake);
    known.keepalive = known.keepalive.or(part.keepalive);
    // A continuation carries no counters; if a backend repeats them, they only grow.
    known.rx_bytes = known.rx_bytes.max(part.rx_bytes);
    known.tx_bytes = known.tx_bytes.max(part.tx_bytes);
}

/// Enforces the limit and says how many were too many.
fn cut<T>(allowed_ips: &mut Vec<T>) -> u64 {
    let over = allowed_ips.len().saturating_sub(MAX_ALLOWED_IPS);
    allowed_ips.truncate(MAX_ALLOWED_IPS);
    u64::try_from(over).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wireguard::AllowedIp;

    fn key(number: usize) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        PublicKey::from_bytes(bytes)
    }

    fn host(number: usize) -> AllowedIp {
        let bits = u32::try_from(number).unwrap();
        AllowedIp::new(std::net::Ipv4Addr::from_bits(bits).into(), 32).unwrap()
    }

    #[test]
    fn the_first_endpoint_and_handshake_of_a_spread_peer_are_kept() {
        let mut assembly = Assembly::new(Backend::Kernel);
        let mut first = Peer::new(key(1));
        first.endpoint = Some("192.0.2.1:51820".parse().unwrap());
        first.last_handshake = Some(std::time::Duration::from_secs(7));
        first.allowed_ips = vec![host(1)];
        let mut second = Peer::new(key(1));
        second.endpoint = Some("192.0.2.9:1".parse().unwrap());
        second.allowed_ips = vec![host(2)];
        assembly.merge(first.clone());
        assembly.merge(Peer::new(key(2)));
        assembly.merge(second);
        let device = assembly.finish();
        assert_eq!(device.peers.len(), 2);
        assert_eq!(device.peers[0].endpoint, first.endpoint);
        assert_eq!(device.peers[0].last_handshake, first.last_handshake);
        assert_eq!(device.peers[0].allowed_ips, [host(1), host(2)]);
        assert!(device.is_complete());
    }

    #[test]
    fn peers_beyond_the_limit_are_counted_once_each() {
        let mut assembly = Assembly::new(Backend::Kernel);
        for number in 0..MAX_PEERS + 2 {
            assembly.merge(Peer::new(key(number)));
            assembly.merge(Peer::new(key(number)));
        }
        let device = assembly.finish();
        assert_eq!(device.peers.len(), MAX_PEERS);
        assert_eq!(device.dropped.peers, 2);
        assert!(!device.is_complete());
    }

    #[test]
    fn allowed_ips_beyond_the_limit_are_counted_across_parts() {
        let mut assembly = Assembly::new(Backend::Kernel);
        let mut part = Peer::new(key(1));
        part.allowed_ips = (0..200).map(host).collect();
        assembly.merge(part.clone());
        assembly.merge(part);
        let device = assembly.finish();
        assert_eq!(device.peers[0].allowed_ips.len(), MAX_ALLOWED_IPS);
        assert_eq!(device.dropped.allowed_ips, 144);
    }
}
