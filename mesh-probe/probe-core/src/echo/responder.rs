//! The answering side.

use std::{collections::BTreeMap, time::Duration};

use evidence::{Moment, PublicKey};
use thiserror::Error;

use super::{Datagram, LENGTH, Reply, Request, Walls};
use crate::{HeardStats, MAX_PEERS, ProbeKey, Refusal, WireCounters, WireError, hearing::Hearing};

/// Steady rate of replies to one peer: one per this, 15.9 a second.
const REPLY_SPACING: Duration = Duration::from_millis(63);
/// Replies that may leave at once on top of it. Together they are less than 20 in any one second; a prober asks once.
const REPLY_BURST: u32 = 4;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send these bytes back where the request came from.
    Reply([u8; LENGTH]),
    /// Say nothing.
    Reject(Reject),
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// Not an echo datagram of this mesh.
    #[error(transparent)]
    Malformed(WireError),
    /// An authentic reply: it belongs to the [`super::Prober`].
    #[error("datagram is a reply")]
    NotARequest,
    /// Meant for another node: this one has an address that the sender takes for somebody else's.
    #[error("request is for {:?}", .0)]
    NotForMe(PublicKey),
    /// The sender is not one of the known peers.
    #[error("request is from {:?}, which is not a known peer", .0)]
    UnknownPeer(PublicKey),
    /// Heard before, too old, or of a former session.
    #[error(transparent)]
    Replay(Refusal),
    /// The peer asks too often. The request counts as heard.
    #[error("peer asks more than 20 times a second")]
    RateLimited,
}

/// How often what became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponderCounters {
    /// Replies made.
    pub answered: u64,
    /// Bytes that were no echo datagram of this mesh.
    pub malformed: WireCounters,
    /// Replies handed in by mistake.
    pub not_a_request: u64,
    /// Requests for another node.
    pub not_for_me: u64,
    /// Requests of nodes that are not known.
    pub unknown_peer: u64,
    /// Sequence numbers heard before.
    pub duplicate: u64,
    /// Sequence numbers behind the replay window.
    pub too_old: u64,
    /// Requests of former sessions.
    pub retired_session: u64,
    /// Requests beyond the rate.
    pub rate_limited: u64,
    /// Peers beyond [`MAX_PEERS`] that were not added.
    pub peers_refused: u64,
}

/// Answers known peers, once per request, and counts what it heard of each.
#[derive(Debug)]
pub struct Responder {
    me: PublicKey,
    key: ProbeKey,
    peers: BTreeMap<PublicKey, Peer>,
    counters: ResponderCounters,
}

#[derive(Clone, Debug, Default)]
struct Peer {
    hearing: Hearing,
    /// When a bucket that leaks one reply per [`REPLY_SPACING`] will be empty.
    empty_at: Option<Moment>,
}

impl Responder {
    /// Knows no peer yet.
    pub fn new(me: PublicKey, key: ProbeKey) -> Self {
        Self {
            me,
            key,
            peers: BTreeMap::new(),
            counters: ResponderCounters::default(),
        }
    }

    /// Answers this peer from now on. False if there are [`MAX_PEERS`] already.
    pub fn add_peer(&mut self, peer: PublicKey) -> bool {
        let room = self.peers.len() < MAX_PEERS || self.peers.contains_key(&peer);
        if room {
            self.peers.entry(peer).or_default();
        } else {
            self.counters.peers_refused += 1;
        }
        room
    }

    /// Answers this peer no more and forgets what was heard of it.
    pub fn remove_peer(&mut self, peer: &PublicKey) {
        self.peers.remove(peer);
    }

    /// Judges one request. `wall` is what this node's clock showed when it came, and shows now.
    pub fn handle(&mut self, request: &[u8], now: Moment, wall: Walls) -> Answer {
        match self.judge(request, now, wall) {
            Ok(reply) => {
                self.counters.answered += 1;
                Answer::Reply(reply.encode(&self.key))
            }
            Err(reject) => {
                self.counters.count(reject);
                Answer::Reject(reject)
            }
        }
    }

    /// What was heard of one peer.
    pub fn heard(&self, peer: &PublicKey) -> Option<HeardStats> {
        self.peers.get(peer).map(|peer| peer.hearing.stats())
    }

    /// What was heard of every peer, in the order of their keys.
    pub fn peers(&self) -> impl Iterator<Item = (PublicKey, HeardStats)> {
        self.peers
            .iter()
            .map(|(key, peer)| (*key, peer.hearing.stats()))
    }

    /// How often what became of requests.
    pub const fn counters(&self) -> &ResponderCounters {
        &self.counters
    }

    fn judge(&mut self, request: &[u8], now: Moment, wall: Walls) -> Result<Datagram, Reject> {
        let request = match Datagram::decode(request, &self.key).map_err(Reject::Malformed)? {
            Datagram::Request(request) => request,
            Datagram::Reply(_) => return Err(Reject::NotARequest),
        };
        if request.receiver != self.me {
            return Err(Reject::NotForMe(request.receiver));
        }
        let peer = self
            .peers
            .get_mut(&request.sender)
            .ok_or(Reject::UnknownPeer(request.sender))?;
        let count = peer
            .hearing
            .hear(request.session, request.sequence, now)
            .map_err(Reject::Replay)?;
        if !peer.may_reply(now) {
            return Err(Reject::RateLimited);
        }
        let answers = Request {
            sender: self.me,
            receiver: request.sender,
            ..request
        };
        Ok(Datagram::Reply(Reply {
            answers,
            first: count.first,
            heard: count.heard,
            wall,
        }))
    }
}

impl Peer {
    fn may_reply(&mut self, now: Moment) -> bool {
        let empty_at = self.empty_at.map_or(now, |at| at.max(now));
        let permitted = empty_at.since(now) <= REPLY_SPACING * (REPLY_BURST - 1);
        if permitted {
            self.empty_at = Some(empty_at.plus(REPLY_SPACING));
        }
        permitted
    }
}

impl ResponderCounters {
    const fn count(&mut self, reject: Reject) {
        let counter = match reject {
            Reject::Malformed(error) => return self.malformed.count(error),
            Reject::NotARequest => &mut self.not_a_request,
            Reject::NotForMe(_) => &mut self.not_for_me,
            Reject::UnknownPeer(_) => &mut self.unknown_peer,
            Reject::Replay(Refusal::Duplicate) => &mut self.duplicate,
            Reject::Replay(Refusal::TooOld) => &mut self.too_old,
            Reject::Replay(Refusal::RetiredSession) => &mut self.retired_session,
            Reject::RateLimited => &mut self.rate_limited,
        };
        *counter += 1;
    }
}

#[cfg(test)]
mod tests;
