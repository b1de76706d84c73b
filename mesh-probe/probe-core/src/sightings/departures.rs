//! Initiations that left, by the peer they are for.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use evidence::{Moment, PublicKey};

use crate::{
    MAX_PEERS,
    wireguard::{Initiation, Mac1Key},
};

/// Initiations remembered per peer: at one per five seconds, the last forty seconds.
pub const MAX_INITIATED: usize = 8;

/// The same index to the same place within so long is one datagram seen on two interfaces, a bridge and its port.
pub(super) const SEEN_TWICE: Duration = Duration::from_secs(1);

/// An initiation that left this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Initiated {
    /// The index that tells it from others; the receiver's arrival carries the same.
    pub sender_index: u32,
    /// When it left.
    pub sent_at: Moment,
    /// Where to.
    pub to: SocketAddr,
    /// When a response to it came.
    pub response_at: Option<Moment>,
    /// When a cookie reply to it came.
    pub cookie_at: Option<Moment>,
}

#[derive(Clone, Debug)]
struct Peer {
    key: Mac1Key,
    sent: VecDeque<Initiated>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Departures {
    peers: BTreeMap<PublicKey, Peer>,
}

impl Departures {
    pub(super) fn add(&mut self, key: PublicKey) -> bool {
        let room = self.peers.len() < MAX_PEERS || self.peers.contains_key(&key);
        if room {
            self.peers.entry(key).or_insert_with(|| Peer {
                key: Mac1Key::of(&key),
                sent: VecDeque::new(),
            });
        }
        room
    }

    pub(super) fn remove(&mut self, key: &PublicKey) {
        self.peers.remove(key);
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &PublicKey> {
        self.peers.keys()
    }

    pub(super) fn of(&self, key: &PublicKey) -> impl Iterator<Item = &Initiated> {
        self.peers.get(key).into_iter().flat_map(|peer| &peer.sent)
    }

    pub(super) fn holds(&self, index: u32, to: SocketAddr, now: Moment) -> bool {
        let same = |sent: &Initiated| {
            sent.sender_index == index && sent.to == to && now.since(sent.sent_at) <= SEEN_TWICE
        };
        self.peers.values().flat_map(|peer| &peer.sent).any(same)
    }

    /// Attributes an initiation by its `mac1`; false if it is for nobody we know.
    pub(super) fn record(&mut self, initiation: &Initiation, to: SocketAddr, now: Moment) -> bool {
        let Some(peer) = self.dialled(initiation, to) else {
            return false;
        };
        if peer.sent.len() == MAX_INITIATED {
            peer.sent.pop_front();
        }
        let sender_index = initiation.sender_index();
        peer.sent.push_back(Initiated {
            sender_index,
            sent_at: now,
            to,
            response_at: None,
            cookie_at: None,
        });
        true
    }

    pub(super) fn answered(&mut self, index: u32, now: Moment) -> bool {
        self.latest(index)
            .map(|sent| sent.response_at.get_or_insert(now))
            .is_some()
    }

    pub(super) fn refused_with_cookie(&mut self, index: u32, now: Moment) -> bool {
        self.latest(index)
            .map(|sent| sent.cookie_at.get_or_insert(now))
            .is_some()
    }

    /// Tries first the peers that were dialled there before: hashing for all 1,023 is a millisecond's work.
    fn dialled(&mut self, initiation: &Initiation, to: SocketAddr) -> Option<&mut Peer> {
        let there = |peer: &Peer| peer.sent.back().is_some_and(|sent| sent.to == to);
        let is_for = |peer: &Peer| initiation.matches(&peer.key);
        let key = *self
            .peers
            .iter()
            .find(|(_, peer)| there(peer) && is_for(peer))
            .or_else(|| {
                self.peers
                    .iter()
                    .find(|(_, peer)| !there(peer) && is_for(peer))
            })?
            .0;
        self.peers.get_mut(&key)
    }

    fn latest(&mut self, index: u32) -> Option<&mut Initiated> {
        let all = self.peers.values_mut().flat_map(|peer| &mut peer.sent);
        all.filter(|sent| sent.sender_index == index)
            .max_by_key(|sent| sent.sent_at)
    }
}
