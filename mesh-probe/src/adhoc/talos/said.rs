//! What one node said, or why it said nothing.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use evidence::{PublicKey, TalosPeerState};
use serde::Serialize;

/// The outcome of asking one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// As it was typed, or as the cluster calls it.
    pub asked: String,
    pub said: Result<Said, Silence>,
}

/// What a node says of itself and its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// Its name in the cluster, or its host name.
    pub name: String,
    pub node_id: String,
    /// Its own key, as it tells the others; none without `KubeSpan`.
    pub key: Option<PublicKey>,
    /// Its `KubeSpan` address.
    pub address: Option<IpAddr>,
    /// Its other addresses.
    pub addresses: Vec<IpAddr>,
    pub peers: Vec<SaidPeer>,
}

/// A peer as a node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaidPeer {
    pub key: PublicKey,
    pub name: String,
    pub address: Option<IpAddr>,
    pub addresses: Vec<IpAddr>,
    /// None if Talos wants the peer and has no status of it yet.
    pub state: Option<TalosPeerState>,
    pub endpoint: Option<SocketAddr>,
    /// Seconds since the last handshake; none if there never was one.
    pub handshake_age_s: Option<u64>,
    pub received: u64,
    pub sent: u64,
}

/// Why a node said nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Silence {
    /// How far it got.
    pub stage: Stage,
    /// What happened there.
    pub why: String,
    /// Whether one side refused the other.
    pub refused: bool,
}

/// How far asking a node got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    Dns,
    Tcp,
    Tls,
    Http,
    Authorisation,
    /// It answered, and with nothing that can be used.
    Answer,
    Timeout,
    /// Another node answered at its address.
    Identity,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "DNS",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Http => "HTTP/2",
            Self::Authorisation => "authorisation",
            Self::Answer => "answer",
            Self::Timeout => "timeout",
            Self::Identity => "identity",
        })
    }
}
