//! What `wg` makes of a device: peers come and go, and what they were configured with can be saved.

use std::net::{IpAddr, SocketAddr};

use evidence::PublicKey;

use crate::sim::{
    orders::DeviceChange,
    time::Micros,
    wireguard::{Device, Peer},
};

/// What a file has of a peer.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    node: usize,
    key: PublicKey,
    endpoint: Option<SocketAddr>,
    allowed: Vec<IpAddr>,
    psk: u64,
}

/// A preshared key that nobody else has.
const OTHER_PSK: u64 = 1;

impl Saved {
    fn of(peer: &Peer) -> Self {
        Self {
            node: peer.node,
            key: peer.key,
            endpoint: peer.endpoint,
            allowed: peer.allowed.clone(),
            psk: peer.psk,
        }
    }

    /// A peer without a session, that is dialled at once.
    fn peer(&self, now: Micros) -> Peer {
        let mut peer = Peer::new(self.node, self.key, self.endpoint, self.allowed.clone());
        peer.psk = self.psk;
        peer.persistent_at = now;
        peer
    }
}

impl Device {
    /// Does what `wg` was told.
    pub fn change(&mut self, change: DeviceChange, now: Micros) {
        match change {
            DeviceChange::Save => self.saved = self.peers.iter().map(Saved::of).collect(),
            DeviceChange::AddSaved => self.add_saved(now),
            DeviceChange::SetSaved => {
                let saved = &self.saved;
                self.peers
                    .retain(|peer| saved.iter().any(|saved| saved.key == peer.key));
                self.add_saved(now);
            }
            DeviceChange::Remove(node) => self.peers.retain(|peer| peer.node != node),
            DeviceChange::OtherPsk(node) => self.anew(node, now, |saved| saved.psk = OTHER_PSK),
            DeviceChange::OtherKey(node) => self.anew(node, now, |saved| {
                let mut bytes = *saved.key.as_bytes();
                bytes[31] ^= 0x55;
                saved.key = PublicKey::from_bytes(bytes);
            }),
            DeviceChange::NodeAddressLost(node) => self.keep_addresses(node, IpAddr::is_ipv6),
            DeviceChange::TunnelAddressLost(node) => self.keep_addresses(node, IpAddr::is_ipv4),
            DeviceChange::AddressesMoved { from, to } => {
                let taken = self
                    .peer_mut(from)
                    .map(|peer| std::mem::take(&mut peer.allowed));
                if let Some(peer) = self.peer_mut(to) {
                    peer.allowed.extend(taken.unwrap_or_default());
                }
            }
            DeviceChange::AddressesAgain => {
                if let Some((node, allowed)) = self.addresses_before.take()
                    && let Some(peer) = self.peer_mut(node)
                {
                    peer.allowed = allowed;
                }
            }
            DeviceChange::Endpoint { peer, to } => {
                if let Some(peer) = self.peer_mut(peer) {
                    peer.endpoint = Some(to);
                }
            }
        }
    }

    fn add_saved(&mut self, now: Micros) {
        for saved in &self.saved {
            if !self.peers.iter().any(|peer| peer.key == saved.key) {
                self.peers.push(saved.peer(now));
            }
        }
        self.peers.sort_by_key(|peer| peer.key);
    }

    /// Removes a peer and adds it, changed.
    fn anew(&mut self, node: usize, now: Micros, change: impl Fn(&mut Saved)) {
        if let Some(peer) = self.peer_mut(node) {
            let mut saved = Saved::of(peer);
            change(&mut saved);
            *peer = saved.peer(now);
        }
        self.peers.sort_by_key(|peer| peer.key);
    }

    fn keep_addresses(&mut self, node: usize, kept: impl Fn(&IpAddr) -> bool) {
        let before = self.peer_mut(node).map(|peer| {
            let before = peer.allowed.clone();
            peer.allowed.retain(kept);
            (node, before)
        });
        self.addresses_before = before;
    }
}
