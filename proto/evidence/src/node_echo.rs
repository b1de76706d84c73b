//! Facts about echoes to node addresses: whether traffic for them comes out of the tunnel, tried and not computed.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Moment;

/// What echoes between this node and one peer gave that were sent to a node address of the other. They are ordinary datagrams:
/// whatever steers other traffic steers them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeEcho {
    /// What this node asked, at most [`crate::limits::NODE_ADDRESSES`]: one address of a family.
    pub asked: Vec<NodeAsked>,
    /// What it heard, at most [`crate::limits::NODE_ADDRESSES`]: of a family the address that was asked last.
    pub heard: Vec<NodeHeard>,
}

/// By which link of a node a datagram came in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Via {
    /// By `kubespan`: out of the tunnel.
    Tunnel,
    /// By the link of this name: past the tunnel.
    Link(String),
}

impl Via {
    /// Whether it came out of the tunnel.
    pub const fn is_tunnel(&self) -> bool {
        matches!(self, Self::Tunnel)
    }
}

/// Requests of this node to one address of the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAsked {
    /// The address.
    pub to: IpAddr,
    /// Answers that came.
    pub answered: u64,
    /// When the last one came.
    pub last_answered: Option<Moment>,
    /// By which link of this node; `None` if none came, or by one of which the name is not known.
    pub back: Option<Via>,
    /// Whether the request that it answers came out of the tunnel, as the peer says; `None` if it does not know.
    pub through: Option<bool>,
    /// Requests lost in a row, up to now.
    pub lost: u32,
    /// When the first of them was sent.
    pub lost_since: Option<Moment>,
    /// While requests are lost: when another peer last answered that one of this node's did not come out of the tunnel.
    pub beside: Option<Moment>,
    /// When one was answered that ended a run of three or more which were lost or went around the tunnel.
    pub mended: Option<Moment>,
}

/// Requests of the peer to one address of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHeard {
    /// The address.
    pub at: IpAddr,
    /// Authentic requests heard.
    pub heard: u64,
    /// When the last one was heard.
    pub last: Moment,
    /// By which link it came in; `None` if its name is not known.
    pub via: Option<Via>,
    /// How many in a row, up to the last one, did not come out of the tunnel.
    pub around: u32,
    /// When the first of them came.
    pub around_since: Option<Moment>,
}

impl NodeEcho {
    /// Whether nothing was asked and nothing heard.
    pub const fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.heard.is_empty()
    }

    pub(crate) fn shift(&mut self, offset: i64) {
        let maybe = |moment: &mut Option<Moment>| *moment = moment.map(|at| at.shifted(offset));
        for asked in &mut self.asked {
            maybe(&mut asked.last_answered);
            maybe(&mut asked.lost_since);
            maybe(&mut asked.beside);
            maybe(&mut asked.mended);
        }
        for heard in &mut self.heard {
            heard.last = heard.last.shifted(offset);
            maybe(&mut heard.around_since);
        }
    }
}
