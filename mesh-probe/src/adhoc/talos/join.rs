//! Who there is, and every ordered pair.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use evidence::{PublicKey, TalosPeerState};
use serde::Serialize;

use super::{Answer, Said, SaidPeer, Silence};

/// A node of the cluster, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    pub name: String,
    /// As it was asked; none of who is known only by what others say.
    pub asked: Option<String>,
    pub answered: bool,
    pub silence: Option<Silence>,
    pub key: Option<PublicKey>,
    pub address: Option<IpAddr>,
    /// Where in the list of answers, of who answered.
    #[serde(skip)]
    pub(super) answer: Option<usize>,
}

impl Node {
    /// By its own word, or by a key that others have.
    pub const fn is_identified(&self) -> bool {
        self.answered || self.key.is_some()
    }
}

/// What one node says of its way to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    pub from: String,
    pub to: String,
    pub state: PairState,
    pub endpoint: Option<SocketAddr>,
    pub handshake_age_s: Option<u64>,
    pub received: Option<u64>,
    pub sent: Option<u64>,
    /// What is odd about it.
    pub note: Option<String>,
    #[serde(skip)]
    pub(super) ends: (usize, usize),
}

/// Talos' word for a peer, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PairState {
    Up,
    Down,
    /// Talos has not decided.
    Unknown,
    /// The one does not know the other.
    NotAPeer,
    /// The one could not be asked.
    NotAsked,
}

impl PairState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::NotAPeer => "not a peer",
            Self::NotAsked => "not asked",
        }
    }
}

/// Those that answered, those that did not, and those of whom only others speak. A node that was asked twice is one.
pub(super) fn nodes(answers: &[Answer]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    let mut seen = BTreeSet::new();
    for (index, answer) in answers.iter().enumerate() {
        let Ok(said) = &answer.said else { continue };
        if seen.insert((&said.node_id, said.key)) {
            nodes.push(answered(index, &answer.asked, said));
        }
    }
    let hearsay: Vec<&SaidPeer> = said(answers).flat_map(|said| &said.peers).collect();
    for answer in answers {
        if let Err(silence) = &answer.said {
            nodes.push(silent(&answer.asked, silence, &hearsay));
        }
    }
    for peer in hearsay {
        let known = |node: &Node| node.key == Some(peer.key) || node.name == peer.name;
        if !nodes.iter().any(known) {
            nodes.push(told(peer));
        }
    }
    nodes.sort_by(|one, other| one.name.cmp(&other.name));
    nodes
}

pub(super) fn said(answers: &[Answer]) -> impl Iterator<Item = &Said> {
    answers
        .iter()
        .filter_map(|answer| answer.said.as_ref().ok())
}

fn answered(index: usize, asked: &str, said: &Said) -> Node {
    Node {
        name: said.name.clone(),
        asked: Some(asked.to_owned()),
        answered: true,
        silence: None,
        key: said.key,
        address: said.address,
        answer: Some(index),
    }
}

/// What others say of it gives a silent node its name and key.
fn silent(asked: &str, silence: &Silence, hearsay: &[&SaidPeer]) -> Node {
    let peer = hearsay.iter().find(|peer| peer.name == asked).copied();
    let peer = peer.or_else(|| alone_at(ip_of(asked)?, hearsay));
    Node {
        name: peer.map_or_else(|| asked.to_owned(), |peer| peer.name.clone()),
        asked: Some(asked.to_owned()),
        answered: false,
        silence: Some(silence.clone()),
        key: peer.map(|peer| peer.key),
        address: peer.and_then(|peer| peer.address),
        answer: None,
    }
}

/// Of a node that was named by its address, with or without a port.
fn ip_of(asked: &str) -> Option<IpAddr> {
    let with_port = asked.parse().map(|address: SocketAddr| address.ip());
    asked.parse().or(with_port).ok()
}

/// The one peer that is at an address; none if several may be, as behind one NAT.
fn alone_at<'a>(address: IpAddr, hearsay: &[&'a SaidPeer]) -> Option<&'a SaidPeer> {
    let there = hearsay
        .iter()
        .filter(|peer| peer.addresses.contains(&address));
    let by_key: BTreeMap<_, _> = there.map(|peer| (peer.key, *peer)).collect();
    let mut peers = by_key.into_values();
    peers.next().filter(|_| peers.next().is_none())
}

fn told(peer: &SaidPeer) -> Node {
    Node {
        name: peer.name.clone(),
        asked: None,
        answered: false,
        silence: None,
        key: Some(peer.key),
        address: peer.address,
        answer: None,
    }
}

/// Every ordered pair of those whom a key or an answer identifies. Who is neither may be any of the others.
pub(super) fn pairs(nodes: &[Node], answers: &[Answer]) -> Vec<Pair> {
    let numbered = || {
        nodes
            .iter()
            .enumerate()
            .filter(|node| node.1.is_identified())
    };
    let pairs = numbered().flat_map(|from| {
        let others = numbered().filter(move |to| to.0 != from.0);
        others.map(move |to| pair(from, to, answers))
    });
    pairs.collect()
}

fn pair((from, one): (usize, &Node), (to, other): (usize, &Node), answers: &[Answer]) -> Pair {
    let empty = Pair {
        from: one.name.clone(),
        to: other.name.clone(),
        state: PairState::NotAsked,
        endpoint: None,
        handshake_age_s: None,
        received: None,
        sent: None,
        note: None,
        ends: (from, to),
    };
    let Some(said) = said_by(one, answers) else {
        return empty;
    };
    match peer(said, other) {
        Some(peer) => of_peer(empty, peer, other),
        None => Pair {
            state: PairState::NotAPeer,
            ..empty
        },
    }
}

pub(super) fn said_by<'a>(node: &Node, answers: &'a [Answer]) -> Option<&'a Said> {
    answers.get(node.answer?)?.said.as_ref().ok()
}

/// By key, or else by name: then its key is another one.
fn peer<'a>(said: &'a Said, other: &Node) -> Option<&'a SaidPeer> {
    let by_key = said.peers.iter().find(|peer| Some(peer.key) == other.key);
    by_key.or_else(|| said.peers.iter().find(|peer| peer.name == other.name))
}

fn of_peer(empty: Pair, peer: &SaidPeer, other: &Node) -> Pair {
    let note = match (other.key, peer.state) {
        (Some(key), _) if key != peer.key => Some("another key of it".to_owned()),
        (_, None) => Some("no status yet".to_owned()),
        _ if peer.endpoint.is_none() => Some("no endpoint".to_owned()),
        _ => None,
    };
    Pair {
        state: match peer.state {
            Some(TalosPeerState::Up) => PairState::Up,
            Some(TalosPeerState::Down) => PairState::Down,
            Some(TalosPeerState::Unknown) | None => PairState::Unknown,
        },
        endpoint: peer.endpoint,
        handshake_age_s: peer.handshake_age_s,
        received: peer.state.map(|_| peer.received),
        sent: peer.state.map(|_| peer.sent),
        note,
        ..empty
    }
}
