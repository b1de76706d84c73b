//! Report messages: snapshots and deltas in, the peer list out.

use std::net::{IpAddr, Ipv6Addr};

use evidence::{Delta, Fact, FactKey, Facts, Moment, NodeName, PublicKey, limits};

use super::{
    ConvertError, at_most,
    facts::{fact_from_wire, fact_key_from_wire, fact_key_to_wire, fact_to_wire, later_key},
    ip_from_wire, key_from_wire,
    moved::{moved_from_wire, moved_to_wire},
    unless_later,
};
use crate::wire::{self, report_request::Body};

/// A checked report message; facts are still on the agent's timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// All facts of the node.
    Snapshot(Facts),
    /// What changed.
    Delta(Delta),
}

/// A report message as far as this version knows what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What it says.
    pub said: Incoming,
    /// How many facts and keys were left out because a later version says them. A fact that was known before and now has such a
    /// value is removed: what it said no longer holds.
    pub left_out: usize,
}

/// A node of the mesh as the collector tells the agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its name.
    pub name: NodeName,
    /// Its `WireGuard` public key.
    pub public_key: PublicKey,
    /// Its `KubeSpan` address.
    pub kubespan_address: Option<Ipv6Addr>,
    /// Whether an agent reports for it at present.
    pub reporting: bool,
}

/// The first message of a stream.
pub fn snapshot_to_wire(sequence: u64, now: Moment, facts: &Facts) -> wire::ReportRequest {
    wire::ReportRequest {
        sequence,
        now_ms: now.as_millis(),
        body: Some(Body::Snapshot(wire::Snapshot {
            facts: facts.iter().map(fact_to_wire).collect(),
        })),
    }
}

/// A later message of a stream.
pub fn delta_to_wire(sequence: u64, now: Moment, delta: &Delta) -> wire::ReportRequest {
    wire::ReportRequest {
        sequence,
        now_ms: now.as_millis(),
        body: Some(Body::Delta(wire::Delta {
            upserts: delta.upserts.iter().map(fact_to_wire).collect(),
            removed: delta.removed.iter().map(fact_key_to_wire).collect(),
            routine: delta.routine,
            moved: moved_to_wire(&delta.moved),
        })),
    }
}

/// Checks the body of a report message. What is malformed or over a limit is refused as a whole.
pub fn incoming(body: Option<Body>) -> Result<Taken, ConvertError> {
    match body {
        None => Err(ConvertError::new("body", "a snapshot or a delta")),
        Some(Body::Snapshot(wire::Snapshot { facts })) => {
            at_most("snapshot.facts", facts.len(), limits::FACTS)?;
            let Known {
                facts, left_out, ..
            } = known(facts)?;
            Ok(Taken {
                said: Incoming::Snapshot(facts.into_iter().collect()),
                left_out,
            })
        }
        Some(Body::Delta(wire::Delta {
            upserts,
            removed,
            routine,
            moved,
        })) => {
            at_most("delta.upserts", upserts.len(), limits::FACTS)?;
            at_most("delta.removed", removed.len(), limits::FACTS)?;
            let Known {
                facts: upserts,
                outdated,
                mut left_out,
            } = known(upserts)?;
            let (moved, later_sources) = moved_from_wire(moved)?;
            left_out += later_sources;
            let mut gone = outdated;
            for key in &removed {
                match unless_later(fact_key_from_wire(key))? {
                    Some(key) => gone.push(key),
                    None => left_out += 1,
                }
            }
            Ok(Taken {
                said: Incoming::Delta(Delta {
                    upserts,
                    routine: routine && gone.is_empty(),
                    removed: gone,
                    moved,
                }),
                left_out,
            })
        }
    }
}

/// Facts that this version knows, in their order.
#[derive(Default)]
struct Known {
    facts: Vec<Fact>,
    /// Keys of facts whose values are of a later version.
    outdated: Vec<FactKey>,
    left_out: usize,
}

fn known(facts: Vec<wire::Fact>) -> Result<Known, ConvertError> {
    let mut known = Known {
        facts: Vec::with_capacity(facts.len()),
        ..Known::default()
    };
    for fact in facts {
        let key = later_key(&fact);
        if let Some(mut fact) = unless_later(fact_from_wire(fact))? {
            fact.shrink_to_fit();
            known.facts.push(fact);
        } else {
            known.left_out += 1;
            known.outdated.extend(key);
        }
    }
    Ok(known)
}

/// The peer list for the agents.
pub fn peers_to_wire(peers: &[PeerIdentity]) -> wire::PeerList {
    let one = |peer: &PeerIdentity| {
        let PeerIdentity {
            name,
            public_key,
            kubespan_address,
            reporting,
        } = peer;
        wire::PeerIdentity {
            name: name.to_string(),
            public_key: public_key.as_bytes().to_vec(),
            kubespan_address: kubespan_address
                .map_or_else(Vec::new, |address| address.octets().to_vec()),
            reporting: *reporting,
        }
    };
    wire::PeerList {
        peers: peers.iter().map(one).collect(),
    }
}

/// Checks the peer list from the collector.
pub fn peers_from_wire(list: wire::PeerList) -> Result<Vec<PeerIdentity>, ConvertError> {
    at_most("peers", list.peers.len(), limits::NODES)?;
    list.peers.into_iter().map(peer_from_wire).collect()
}

fn peer_from_wire(peer: wire::PeerIdentity) -> Result<PeerIdentity, ConvertError> {
    let wire::PeerIdentity {
        name,
        public_key,
        kubespan_address,
        reporting,
    } = peer;
    let kubespan_address = match kubespan_address.as_slice() {
        [] => None,
        bytes => match ip_from_wire("peer.kubespan_address", bytes)? {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => {
                return Err(ConvertError::new(
                    "peer.kubespan_address",
                    "an IPv6 address",
                ));
            }
        },
    };
    Ok(PeerIdentity {
        name: NodeName::parse(&name)
            .map_err(|error| ConvertError::new("peer.name", error.to_string()))?,
        public_key: key_from_wire("peer.public_key", &public_key)?,
        kubespan_address,
        reporting,
    })
}
