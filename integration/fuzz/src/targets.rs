//! The targets, and what several of them need.

pub(crate) mod affiliates;
pub(crate) mod bundle;
pub(crate) mod certificate;
pub(crate) mod changes;
pub(crate) mod echo;
pub(crate) mod error_queue;
pub(crate) mod gate_graph;
pub(crate) mod handshake;
pub(crate) mod inert;
pub(crate) mod links;
pub(crate) mod mesh_key;
pub(crate) mod node_echo;
pub(crate) mod ntp;
pub(crate) mod packet;
pub(crate) mod peer_list;
pub(crate) mod report;
pub(crate) mod scenario;
pub(crate) mod secrets_yaml;
pub(crate) mod size;
pub(crate) mod steering;
pub(crate) mod talos_resource;
pub(crate) mod talosconfig;
pub(crate) mod verdict;
pub(crate) mod wireguard_dump;
pub(crate) mod wireguard_reply;

mod netlink;
mod wire_facts;

use std::collections::VecDeque;

use evidence::{Moment, PublicKey};
use probe_core::ProbeKey;

/// The node whose machines are tried.
const ME: PublicKey = PublicKey::from_bytes([1; 32]);
/// Nodes that a script can speak for; the last one is never a peer.
const NODES: [PublicKey; 4] = [
    ME,
    PublicKey::from_bytes([2; 32]),
    PublicKey::from_bytes([3; 32]),
    PublicKey::from_bytes([4; 32]),
];
const PEERS: [PublicKey; 2] = [NODES[1], NODES[2]];

fn probe_key() -> ProbeKey {
    ProbeKey::from_bytes([0x42; 32])
}

fn node(number: u8) -> PublicKey {
    NODES[usize::from(number) % NODES.len()]
}

/// Bytes with one bit changed.
fn flipped(bytes: &[u8], bit: u16) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let bit = usize::from(bit);
    let count = bytes.len().max(1);
    if let Some(byte) = bytes.get_mut((bit / 8) % count) {
        *byte ^= 1 << (bit % 8);
    }
    bytes
}

/// How many of something there were in the last second.
#[derive(Default)]
struct LastSecond(VecDeque<Moment>);

impl LastSecond {
    fn add(&mut self, now: Moment) -> usize {
        self.0.push_back(now);
        while self
            .0
            .front()
            .is_some_and(|at| now.since(*at).as_millis() >= 1000)
        {
            self.0.pop_front();
        }
        self.0.len()
    }
}
