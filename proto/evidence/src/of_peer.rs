//! What one node says of one key.

use std::{mem, sync::Arc};

use crate::{
    DataSeen, EchoHeard, EchoSent, Fact, FactKey, Inert, Initiated, Layer, NodeEcho, Peer,
    PublicKey, Sizes, Steered, TalosPeer,
};

/// Kinds of facts that are about a key.
const KINDS: usize = 10;

/// The present facts of one node about one key, at most one of a kind.
///
/// Each fact is shared by all clones: who keeps one copy while another is changed pays for what differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OfPeer {
    kinds: [Option<Arc<Fact>>; KINDS],
}

/// The key that a fact is about, and its kind; `None` if it is about no key.
pub(crate) const fn of_key(key: &FactKey) -> Option<(&PublicKey, usize)> {
    match key {
        FactKey::Peer(key) => Some((key, 0)),
        FactKey::EchoSent(key) => Some((key, 1)),
        FactKey::EchoHeard(key) => Some((key, 2)),
        FactKey::Inert(key) => Some((key, 3)),
        FactKey::Initiated(key) => Some((key, 4)),
        FactKey::Sizes(key) => Some((key, 5)),
        FactKey::Steered(key) => Some((key, 6)),
        FactKey::TalosPeer(key) => Some((key, 7)),
        FactKey::DataSeen(key) => Some((key, 8)),
        FactKey::NodeEcho(key) => Some((key, 9)),
        FactKey::Identity
        | FactKey::Source(_)
        | FactKey::Device
        | FactKey::Arrivals
        | FactKey::Steering
        | FactKey::Vxlan
        | FactKey::Health
        | FactKey::Talos
        | FactKey::Discovery
        | FactKey::Clock
        | FactKey::Ntp
        | FactKey::Host => None,
    }
}

impl OfPeer {
    /// The peer as the device has it.
    pub fn peer(&self) -> Option<&Peer> {
        match self.kind(0)? {
            Fact::Peer(_, peer) => Some(peer),
            _ => None,
        }
    }

    /// Echo requests towards it.
    pub fn echo_sent(&self) -> Option<&EchoSent> {
        match self.kind(1)? {
            Fact::EchoSent(_, echo) => Some(echo),
            _ => None,
        }
    }

    /// Echo requests heard from it.
    pub fn echo_heard(&self) -> Option<&EchoHeard> {
        match self.kind(2)? {
            Fact::EchoHeard(_, echo) => Some(echo),
            _ => None,
        }
    }

    /// Inert datagrams exchanged with it.
    pub fn inert(&self) -> Option<&Inert> {
        match self.kind(3)? {
            Fact::Inert(_, inert) => Some(inert),
            _ => None,
        }
    }

    /// The newest handshake initiations sent to it, oldest first.
    pub fn initiated(&self) -> &[Initiated] {
        match self.kind(4) {
            Some(Fact::Initiated(_, list)) => list,
            _ => &[],
        }
    }

    /// What full-size packets to it gave on a layer.
    pub fn sizes(&self, layer: Layer) -> Option<&Sizes> {
        match self.kind(5)? {
            Fact::Sizes(_, layers) => layers.iter().find(|sizes| sizes.layer == layer),
            _ => None,
        }
    }

    /// How traffic towards its addresses leaves.
    pub fn steered(&self) -> Option<&Steered> {
        match self.kind(6)? {
            Fact::Steered(_, steered) => Some(steered),
            _ => None,
        }
    }

    /// The peer as Talos wants it.
    pub fn talos_peer(&self) -> Option<&TalosPeer> {
        match self.kind(7)? {
            Fact::TalosPeer(_, peer) => Some(peer),
            _ => None,
        }
    }

    /// Data messages of its tunnel.
    pub fn data_seen(&self) -> Option<&DataSeen> {
        match self.kind(8)? {
            Fact::DataSeen(_, seen) => Some(seen),
            _ => None,
        }
    }

    /// Echoes between its node addresses and this node's.
    pub fn node_echo(&self) -> Option<&NodeEcho> {
        match self.kind(9)? {
            Fact::NodeEcho(_, echo) => Some(echo),
            _ => None,
        }
    }

    /// All of them, in the order of their kinds.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.kinds.iter().flatten().map(|fact| &**fact)
    }

    pub(crate) fn kind(&self, kind: usize) -> Option<&Fact> {
        self.kinds.get(kind)?.as_deref()
    }

    /// A fact to change; one that others have too is left to them.
    pub(crate) fn kind_mut(&mut self, kind: usize) -> Option<&mut Fact> {
        self.kinds.get_mut(kind)?.as_mut().map(Arc::make_mut)
    }

    /// Puts a fact in the place of the one of its kind; says whether there was one. Nothing of the old one is copied, though others
    /// may have it still.
    pub(crate) fn put(&mut self, kind: usize, fact: Fact) -> bool {
        let Some(place) = self.kinds.get_mut(kind) else {
            return false;
        };
        match place.as_mut().map(Arc::get_mut) {
            Some(Some(alone)) => renew(alone, fact),
            Some(None) => *place = Some(Arc::new(fact)),
            None => {
                *place = Some(Arc::new(fact));
                return false;
            }
        }
        true
    }

    /// Takes a fact out.
    pub(crate) fn take(&mut self, kind: usize) -> Option<Fact> {
        let taken = self.kinds.get_mut(kind)?.take();
        taken.map(Arc::unwrap_or_clone)
    }

    pub(crate) fn shift(&mut self, offset: i64) {
        for fact in self.kinds.iter_mut().flatten() {
            Arc::make_mut(fact).shift(offset);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kinds.iter().all(Option::is_none)
    }
}

impl Fact {
    /// Gives back room that its lists do not need. A list of which the length is not known beforehand has room for four: of the facts of a
    /// large mesh that was a third.
    pub fn shrink_to_fit(&mut self) {
        match self {
            Self::Peer(_, peer) => {
                peer.allowed_ips.shrink_to_fit();
                peer.endpoint_changes.shrink_to_fit();
            }
            Self::Sizes(_, layers) => layers.shrink_to_fit(),
            Self::Initiated(_, list) => list.shrink_to_fit(),
            Self::Steered(_, steered) => steered.prefixes.shrink_to_fit(),
            Self::Inert(_, inert) => inert.sent_times.shrink_to_fit(),
            Self::NodeEcho(_, echo) => {
                echo.asked.shrink_to_fit();
                echo.heard.shrink_to_fit();
            }
            Self::TalosPeer(_, peer) => {
                peer.allowed_ips.shrink_to_fit();
                peer.candidates.shrink_to_fit();
            }
            // Of these a node has one, or they have no list.
            Self::Identity(_)
            | Self::Source(..)
            | Self::Device(_)
            | Self::EchoSent(..)
            | Self::EchoHeard(..)
            | Self::Arrivals(_)
            | Self::Steering(_)
            | Self::Health(_)
            | Self::DataSeen(..)
            | Self::Vxlan(_)
            | Self::Talos(_)
            | Self::Discovery(_)
            | Self::Clock(_)
            | Self::Ntp(_)
            | Self::Host(_) => {}
        }
    }
}

/// Puts a fact in the place of another of its kind and key. What is on the heap and is the same, or as large, stays where it is: a
/// collector that gives each back for another one soon spends most of its time on finding room.
fn renew(old: &mut Fact, mut new: Fact) {
    match (&mut *old, &mut new) {
        (Fact::Peer(_, old), Fact::Peer(_, new)) if old.allowed_ips == new.allowed_ips => {
            mem::swap(&mut old.allowed_ips, &mut new.allowed_ips);
        }
        (Fact::Sizes(_, old), Fact::Sizes(_, new)) if old.len() == new.len() => {
            old.swap_with_slice(new);
            mem::swap(old, new);
        }
        _ => {}
    }
    *old = new;
}
