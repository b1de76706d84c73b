//! The answering side.

use std::{collections::BTreeMap, net::IpAddr};

use evidence::{Moment, NodeHeard, PublicKey, Via};
use thiserror::Error;

use super::{Datagram, Kind, LENGTH, family};
use crate::{
    MAX_PEERS, ProbeKey, Refusal, WireCounters, WireError, budget::Budget, hearing::Hearing,
};

/// Replies to one peer in any one second, at most. A prober asks each of two addresses once in so long.
pub const MAX_REPLIES_PER_SECOND: usize = 4;

/// Why a datagram is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Reject {
    /// Not a datagram of this kind and mesh.
    #[error(transparent)]
    Malformed(WireError),
    /// A reply: for the prober.
    #[error("datagram is a reply")]
    NotARequest,
    /// Meant for another node.
    #[error("request is for {:?}", .0)]
    NotForMe(PublicKey),
    /// It came to another address than it was sent to.
    #[error("request was sent to {sent} and came to {came}")]
    Altered {
        /// Where it says that it goes.
        sent: IpAddr,
        /// Where it came.
        came: IpAddr,
    },
    /// The sender is not one of the known peers.
    #[error("request is from {:?}, which is not a known peer", .0)]
    UnknownPeer(PublicKey),
    /// Heard before, too old, or of a former session.
    #[error(transparent)]
    Replay(Refusal),
    /// The peer asks too often. The request counts as heard.
    #[error("peer asks more than {MAX_REPLIES_PER_SECOND} times a second")]
    RateLimited,
}

/// How often what became of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponderCounters {
    /// Replies made.
    pub answered: u64,
    /// Bytes that were no datagram of this kind and mesh.
    pub malformed: WireCounters,
    /// Replies.
    pub not_a_request: u64,
    /// Requests for another node.
    pub not_for_me: u64,
    /// Requests that came to another address than they were sent to.
    pub altered: u64,
    /// Requests of nodes that are not known.
    pub unknown_peer: u64,
    /// Replays of any kind.
    pub replayed: u64,
    /// Requests beyond the rate.
    pub rate_limited: u64,
    /// Peers beyond [`MAX_PEERS`] that were not added.
    pub peers_refused: u64,
}

/// Answers known peers, once per request, and remembers by which link requests came in.
#[derive(Debug)]
pub struct Responder {
    me: PublicKey,
    key: ProbeKey,
    peers: BTreeMap<PublicKey, Peer>,
    counters: ResponderCounters,
}

#[derive(Clone, Debug)]
struct Peer {
    hearing: Hearing,
    budget: Budget,
    heard: [Option<NodeHeard>; 2],
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
            self.peers.entry(peer).or_insert_with(|| Peer {
                hearing: Hearing::default(),
                budget: Budget::per_second(MAX_REPLIES_PER_SECOND),
                heard: [None, None],
            });
        } else {
            self.counters.peers_refused += 1;
        }
        room
    }

    /// Answers this peer no more and forgets what was heard of it. Says whether it was known.
    pub fn remove_peer(&mut self, peer: &PublicKey) -> bool {
        self.peers.remove(peer).is_some()
    }

    /// Judges one datagram that came to this address of the node, by this link if its name is known. The reply goes back from that
    /// address.
    pub fn handle(
        &mut self,
        bytes: &[u8],
        (at, via): (IpAddr, Option<Via>),
        now: Moment,
    ) -> Result<[u8; LENGTH], Reject> {
        let judged = self.judge(bytes, (at, via), now);
        match &judged {
            Ok(_) => self.counters.answered += 1,
            Err(reject) => self.counters.count(*reject),
        }
        judged.map(|reply| reply.encode(&self.key))
    }

    /// What was heard of one peer: of each family the address that it asked last, IPv4 first.
    pub fn heard(&self, peer: &PublicKey) -> Vec<NodeHeard> {
        let heard = self.peers.get(peer).map(|peer| peer.heard.iter().flatten());
        heard.into_iter().flatten().cloned().collect()
    }

    /// How often what became of requests.
    pub const fn counters(&self) -> &ResponderCounters {
        &self.counters
    }

    fn judge(
        &mut self,
        bytes: &[u8],
        (at, via): (IpAddr, Option<Via>),
        now: Moment,
    ) -> Result<Datagram, Reject> {
        let request = Datagram::decode(bytes, &self.key).map_err(Reject::Malformed)?;
        if request.kind != Kind::Request {
            return Err(Reject::NotARequest);
        }
        if request.receiver != self.me {
            return Err(Reject::NotForMe(request.receiver));
        }
        let (sent, came) = (request.address, at.to_canonical());
        if sent != came {
            return Err(Reject::Altered { sent, came });
        }
        let peer = self
            .peers
            .get_mut(&request.sender)
            .ok_or(Reject::UnknownPeer(request.sender))?;
        peer.hearing
            .hear(request.session, request.sequence, now)
            .map_err(Reject::Replay)?;
        let through = via.as_ref().map(Via::is_tunnel);
        peer.note(came, via, now);
        if peer.budget.busy_until(now).is_some() {
            return Err(Reject::RateLimited);
        }
        peer.budget.take(now);
        Ok(Datagram {
            kind: Kind::Reply { through },
            sender: self.me,
            receiver: request.sender,
            ..request
        })
    }
}

impl Peer {
    /// Another address of a family begins anew.
    fn note(&mut self, at: IpAddr, via: Option<Via>, now: Moment) {
        let Some(place) = self.heard.get_mut(family(at)) else {
            return;
        };
        let last = place.take().filter(|last| last.at == at);
        let (heard, run) = last.map_or((0, (0, None)), |last| {
            (last.heard, (last.around, last.around_since))
        });
        // One of which the link is not known neither goes on with a run nor ends it.
        let (around, around_since) = match via.as_ref().map(Via::is_tunnel) {
            Some(true) => (0, None),
            Some(false) => (run.0.saturating_add(1), run.1.or(Some(now))),
            None => run,
        };
        *place = Some(NodeHeard {
            at,
            heard: heard.saturating_add(1),
            last: now,
            via,
            around,
            around_since,
        });
    }
}

impl ResponderCounters {
    const fn count(&mut self, reject: Reject) {
        let counter = match reject {
            Reject::Malformed(error) => return self.malformed.count(error),
            Reject::NotARequest => &mut self.not_a_request,
            Reject::NotForMe(_) => &mut self.not_for_me,
            Reject::Altered { .. } => &mut self.altered,
            Reject::UnknownPeer(_) => &mut self.unknown_peer,
            Reject::Replay(_) => &mut self.replayed,
            Reject::RateLimited => &mut self.rate_limited,
        };
        *counter += 1;
    }
}
