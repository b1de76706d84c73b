//! Facts about sizes: which packets towards one peer are too long for the way.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Moment;

/// The way that a packet of some size took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Layer {
    /// Past the tunnel, on its own five-tuple: from its port to the endpoint that it dials.
    Underlay,
    /// Inside the tunnel, to the peer's `KubeSpan` address.
    Tunnel,
    /// As an overlay sends: to the VXLAN port of the peer's node address.
    Overlay,
}

impl Layer {
    /// All, bottom up.
    pub const ALL: [Self; 3] = [Self::Underlay, Self::Tunnel, Self::Overlay];

    /// The word a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Tunnel => "tunnel",
            Self::Overlay => "overlay",
        }
    }
}

/// What packets of full size gave on one layer, seen from the sending side. Sizes are of the whole IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Which way they went.
    pub layer: Layer,
    /// Where to.
    pub to: IpAddr,
    /// The longest packet that this node would send this way: the MTU of its `kubespan` link, and on the underlay what the
    /// tunnel makes of such a packet.
    pub full: u16,
    /// When one of full size was last seen to have arrived, past the firewall of the far host.
    pub full_arrived: Option<Moment>,
    /// When the far tap last saw one of any size at its interface that was not delivered behind the firewall.
    pub seen_arriving: Option<Moment>,
    /// Full-size packets lost in a row, up to now.
    pub lost: u32,
    /// When the first of them was sent.
    pub lost_since: Option<Moment>,
    /// When one arrived that ended a run of losses which was more than chance.
    #[serde(default)]
    pub mended: Option<Moment>,
    /// Between which sizes the limit lies, found while full-size packets were lost.
    pub bracket: Option<Bracket>,
    /// The latest word that a packet was too big.
    pub too_big: Option<TooBig>,
    /// When a packet of the size that failed was last seen to have arrived after all, sent with leave to fragment it. Only
    /// tried on the underlay.
    pub in_fragments: Option<Moment>,
}

/// What a sweep over many sizes found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bracket {
    /// When it was done.
    pub at: Moment,
    /// The longest that arrived; `None` if none did.
    pub passed: Option<u16>,
    /// The shortest of those that did not, though they were sent twice.
    pub failed: u16,
}

/// Word that a packet was too big (`EMSGSIZE`, or ICMP "fragmentation needed" or "packet too big").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TooBig {
    /// When it came.
    pub at: Moment,
    /// Who sent it; `None` if it was this node's own kernel.
    pub reporter: Option<IpAddr>,
    /// The MTU it names.
    pub mtu: u32,
}

impl Sizes {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(self, offset: i64) -> Self {
        let maybe = |moment: Option<Moment>| moment.map(|at| at.shifted(offset));
        Self {
            full_arrived: maybe(self.full_arrived),
            seen_arriving: maybe(self.seen_arriving),
            lost_since: maybe(self.lost_since),
            mended: maybe(self.mended),
            in_fragments: maybe(self.in_fragments),
            bracket: self.bracket.map(|bracket| Bracket {
                at: bracket.at.shifted(offset),
                ..bracket
            }),
            too_big: self.too_big.map(|word| TooBig {
                at: word.at.shifted(offset),
                ..word
            }),
            ..self
        }
    }
}
