//! Where what the nodes say does not fit together.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use evidence::PublicKey;
use serde::Serialize;

use super::{
    Answer,
    join::{Node, Pair, PairState, said_by},
};

/// Two statements that cannot both be right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "kind",
    rename_all = "kebab-case",
    rename_all_fields = "camelCase"
)]
pub enum Conflict {
    /// One end says up, the other says otherwise.
    Disagree {
        up: String,
        other: String,
        says: PairState,
    },
    /// One end has the other as a peer and not the other way round.
    OneSided { knows: String, unknown_to: String },
    /// A node has another key of a peer than that peer has itself.
    OtherKey {
        at: String,
        of: String,
        has: PublicKey,
        is: PublicKey,
    },
    /// Several nodes with one name.
    SameName { name: String, asked: Vec<String> },
    /// Several nodes with one address.
    SameAddress { address: IpAddr, nodes: Vec<String> },
    /// Several nodes with one `KubeSpan` address, as clones with equal hardware addresses have.
    SameKubespanAddress { address: IpAddr, nodes: Vec<String> },
    /// Several nodes with one key, as clones of a disk have.
    SameKey { key: PublicKey, nodes: Vec<String> },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disagree { up, other, says } => {
                write!(
                    f,
                    "{up} says that {other} is up, {other} says of {up}: {}",
                    says.as_str()
                )
            }
            Self::OneSided { knows, unknown_to } => {
                write!(
                    f,
                    "{knows} has {unknown_to} as a peer, {unknown_to} does not have {knows}"
                )
            }
            Self::OtherKey { at, of, has, is } => {
                let (has, is) = (has.short(), is.short());
                write!(
                    f,
                    "{at} has the key {has} of {of}, whose own is {is}: what it knows of {of} is old, or of another machine"
                )
            }
            Self::SameName { name, asked } => {
                write!(
                    f,
                    "{} are several nodes with the one name {name}",
                    asked.join(" and ")
                )
            }
            Self::SameAddress { address, nodes } => {
                write!(
                    f,
                    "{} have the same address {address}: the others can reach but one of them",
                    nodes.join(" and ")
                )
            }
            Self::SameKubespanAddress { address, nodes } => {
                write!(
                    f,
                    "{} have the same KubeSpan address {address}, as machines with equal hardware addresses do",
                    nodes.join(" and ")
                )
            }
            Self::SameKey { key, nodes } => {
                write!(
                    f,
                    "{} have the same key {}, as copies of one disk do",
                    nodes.join(" and "),
                    key.short()
                )
            }
        }
    }
}

/// All of them, the rarest first: what two machines cannot share explains what pairs disagree about.
pub(super) fn find(nodes: &[Node], pairs: &[Pair], answers: &[Answer]) -> Vec<Conflict> {
    let mut found = shared(nodes, answers);
    found.extend(keys(nodes, answers));
    found.extend(sides(nodes, pairs));
    found
}

fn shared(nodes: &[Node], answers: &[Answer]) -> Vec<Conflict> {
    let answered: Vec<_> = nodes
        .iter()
        .filter_map(|node| Some((node, said_by(node, answers)?)))
        .collect();
    let mut names = Groups::default();
    let mut tunnel = Groups::default();
    let mut addresses = Groups::default();
    let mut keys = Groups::default();
    for (node, said) in &answered {
        names.add(node.name.clone(), node.asked.as_deref().unwrap_or_default());
        for address in said.addresses.iter().filter(|address| is_own(**address)) {
            addresses.add(*address, &node.name);
        }
    }
    for node in nodes {
        node.address
            .into_iter()
            .for_each(|address| tunnel.add(address, &node.name));
        node.key
            .into_iter()
            .for_each(|key| keys.add(key, &node.name));
    }
    let mut found: Vec<_> = names
        .several()
        .map(|(name, asked)| Conflict::SameName { name, asked })
        .collect();
    found.extend(
        keys.several()
            .map(|(key, nodes)| Conflict::SameKey { key, nodes }),
    );
    found.extend(
        tunnel
            .several()
            .map(|(address, nodes)| Conflict::SameKubespanAddress { address, nodes }),
    );
    found.extend(
        addresses
            .several()
            .map(|(address, nodes)| Conflict::SameAddress { address, nodes }),
    );
    found
}

/// Every machine has these.
fn is_own(address: IpAddr) -> bool {
    !address.is_loopback() && !address.is_unspecified()
}

/// Names by what they share.
struct Groups<K>(BTreeMap<K, Vec<String>>);

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Groups<K> {
    fn add(&mut self, shared: K, name: &str) {
        self.0.entry(shared).or_default().push(name.to_owned());
    }

    fn several(self) -> impl Iterator<Item = (K, Vec<String>)> {
        self.0.into_iter().filter(|(_, names)| names.len() > 1)
    }
}

/// Only who answered is sure of its own key.
fn keys(nodes: &[Node], answers: &[Answer]) -> Vec<Conflict> {
    let mut found = Vec::new();
    for (at, said) in nodes
        .iter()
        .filter_map(|node| Some((node, said_by(node, answers)?)))
    {
        for peer in &said.peers {
            let own =
                |node: &&Node| node.answered && node.name == peer.name && node.name != at.name;
            let Some((of, is)) = nodes
                .iter()
                .find(own)
                .and_then(|node| Some((node, node.key?)))
            else {
                continue;
            };
            if is != peer.key {
                found.push(Conflict::OtherKey {
                    at: at.name.clone(),
                    of: of.name.clone(),
                    has: peer.key,
                    is,
                });
            }
        }
    }
    found
}

/// Both ends must have been asked.
fn sides(nodes: &[Node], pairs: &[Pair]) -> Vec<Conflict> {
    let states: BTreeMap<_, _> = pairs.iter().map(|pair| (pair.ends, pair.state)).collect();
    let mut found = Vec::new();
    for pair in pairs.iter().filter(|pair| nodes[pair.ends.1].answered) {
        let back = states.get(&(pair.ends.1, pair.ends.0)).copied();
        match (pair.state, back) {
            (PairState::Up, Some(says @ (PairState::Down | PairState::Unknown))) => {
                found.push(Conflict::Disagree {
                    up: pair.from.clone(),
                    other: pair.to.clone(),
                    says,
                });
            }
            (PairState::Up | PairState::Down | PairState::Unknown, Some(PairState::NotAPeer)) => {
                found.push(Conflict::OneSided {
                    knows: pair.from.clone(),
                    unknown_to: pair.to.clone(),
                });
            }
            _ => {}
        }
    }
    found
}
