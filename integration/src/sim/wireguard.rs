//! A `WireGuard` device as its peers and its tap see it: the timers of the protocol's paper (section 6), without its cryptography.

mod configuration;

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use evidence::PublicKey;
use rand::{Rng as _, rngs::StdRng};

use super::{
    datagram::{Inner, Message},
    time::{MILLI, Micros, SECOND},
};

use configuration::Saved;

const REKEY_AFTER: Micros = 120 * SECOND;
const REJECT_AFTER: Micros = 180 * SECOND;
const REKEY_ATTEMPT: Micros = 90 * SECOND;
const REKEY_TIMEOUT: Micros = 5 * SECOND;
const PASSIVE_KEEPALIVE: Micros = 10 * SECOND;
const PERSISTENT_KEEPALIVE: Micros = 25 * SECOND;
/// Packets that wait for a session.
const QUEUE: usize = 128;

/// The device of one node.
#[derive(Debug)]
pub struct Device {
    pub key: PublicKey,
    pub up: bool,
    /// In the order of their keys.
    pub peers: Vec<Peer>,
    /// What a scenario saved of its configuration.
    saved: Vec<Saved>,
    addresses_before: Option<(usize, Vec<IpAddr>)>,
    random: StdRng,
}

/// One peer.
#[derive(Debug)]
pub struct Peer {
    pub node: usize,
    /// The key that is dialled.
    pub key: PublicKey,
    pub endpoint: Option<SocketAddr>,
    pub allowed: Vec<IpAddr>,
    pub psk: u64,
    pub last_handshake: Option<Micros>,
    pub rx: u64,
    pub tx: u64,
    current: Option<Session>,
    previous: Option<Session>,
    next: Option<Session>,
    attempt: Option<Attempt>,
    queue: VecDeque<Inner>,
    last_initiation: Option<Micros>,
    /// When the newest initiation was made that was answered.
    newest_taken: Option<Micros>,
    persistent_at: Micros,
    passive_at: Option<Micros>,
    no_answer_at: Option<Micros>,
}

#[derive(Clone, Copy, Debug)]
struct Session {
    id: u64,
    born: Micros,
    initiator: bool,
}

#[derive(Clone, Copy, Debug)]
struct Attempt {
    began: Micros,
    index: u32,
    again_at: Micros,
}

/// What a device sends, and what it hands to its node.
#[derive(Debug, Default)]
pub struct Out {
    pub sent: Vec<(SocketAddr, Message)>,
    pub delivered: Vec<Inner>,
}

impl Peer {
    pub fn new(
        node: usize,
        key: PublicKey,
        endpoint: Option<SocketAddr>,
        allowed: Vec<IpAddr>,
    ) -> Self {
        Self {
            node,
            key,
            endpoint,
            allowed,
            psk: 0,
            last_handshake: None,
            rx: 0,
            tx: 0,
            current: None,
            previous: None,
            next: None,
            attempt: None,
            queue: VecDeque::new(),
            last_initiation: None,
            newest_taken: None,
            persistent_at: 0,
            passive_at: None,
            no_answer_at: None,
        }
    }

    fn deadline(&self) -> Micros {
        let again = self.attempt.map(|attempt| attempt.again_at);
        let timers = [again, self.passive_at, self.no_answer_at];
        let first = timers.into_iter().flatten().min();
        first.unwrap_or(Micros::MAX).min(self.persistent_at)
    }

    fn usable(&self, now: Micros) -> Option<Session> {
        self.current
            .filter(|session| now - session.born < REJECT_AFTER)
    }

    fn put(&mut self, message: Message, now: Micros, out: &mut Out) {
        let Some(to) = self.endpoint else { return };
        self.tx += message.length() as u64;
        self.persistent_at = now + PERSISTENT_KEEPALIVE;
        out.sent.push((to, message));
    }

    fn initiate(&mut self, own: PublicKey, now: Micros, random: &mut StdRng, out: &mut Out) {
        let recent = |at: Micros| now - at < REKEY_TIMEOUT;
        if self.attempt.is_some() || self.last_initiation.is_some_and(recent) {
            return;
        }
        self.attempt = Some(Attempt {
            began: now,
            index: 0,
            again_at: now,
        });
        self.again(own, now, random, out);
    }

    fn again(&mut self, own: PublicKey, now: Micros, random: &mut StdRng, out: &mut Out) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        if now - attempt.began >= REKEY_ATTEMPT {
            self.attempt = None;
            self.queue.clear();
            return;
        }
        attempt.index = random.random();
        attempt.again_at = now + REKEY_TIMEOUT + random.random_range(0..334 * MILLI);
        let message = Message::Initiation {
            index: attempt.index,
            from: own,
            to: self.key,
            made: now,
        };
        self.last_initiation = Some(now);
        self.put(message, now, out);
    }

    fn send(
        &mut self,
        own: PublicKey,
        inner: Option<Inner>,
        now: Micros,
        random: &mut StdRng,
        out: &mut Out,
    ) {
        let Some(session) = self.usable(now) else {
            if let Some(inner) = inner {
                if self.queue.len() == QUEUE {
                    self.queue.pop_front();
                }
                self.queue.push_back(inner);
            }
            self.initiate(own, now, random, out);
            return;
        };
        if inner.is_some() && self.no_answer_at.is_none() {
            let wait = PASSIVE_KEEPALIVE + REKEY_TIMEOUT + random.random_range(0..334 * MILLI);
            self.no_answer_at = Some(now + wait);
        }
        self.passive_at = None;
        let session_id = session.id;
        self.put(
            Message::Data {
                session: session_id,
                inner,
            },
            now,
            out,
        );
        if session.initiator && now - session.born >= REKEY_AFTER {
            self.initiate(own, now, random, out);
        }
    }

    fn flush(
        &mut self,
        own: PublicKey,
        keepalive: bool,
        now: Micros,
        random: &mut StdRng,
        out: &mut Out,
    ) {
        let waiting = std::mem::take(&mut self.queue);
        if waiting.is_empty() && keepalive {
            self.send(own, None, now, random, out);
        }
        for inner in waiting {
            self.send(own, Some(inner), now, random, out);
        }
    }
}

impl Device {
    pub fn new(key: PublicKey, peers: Vec<Peer>, random: StdRng) -> Self {
        Self {
            key,
            up: true,
            peers,
            saved: Vec::new(),
            addresses_before: None,
            random,
        }
    }

    /// The node was switched off and on: what was configured is there again.
    pub fn reset(&mut self, endpoint: impl Fn(usize) -> Option<SocketAddr>, now: Micros) {
        for peer in &mut self.peers {
            let fresh = Peer::new(
                peer.node,
                peer.key,
                endpoint(peer.node),
                peer.allowed.clone(),
            );
            let psk = peer.psk;
            *peer = fresh;
            peer.psk = psk;
            peer.persistent_at = now;
        }
    }

    pub fn peer_of(&self, node: usize) -> Option<&Peer> {
        self.peers.iter().find(|peer| peer.node == node)
    }

    pub fn peer_mut(&mut self, node: usize) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.node == node)
    }

    /// When something is due.
    pub fn deadline(&self) -> Micros {
        let due = self.peers.iter().map(Peer::deadline).min();
        due.filter(|_| self.up).unwrap_or(Micros::MAX)
    }

    /// A packet that the node's routes led to the device.
    pub fn send(&mut self, inner: Inner, now: Micros, out: &mut Out) {
        let to = inner.to;
        let peer = self
            .peers
            .iter_mut()
            .find(|peer| peer.allowed.contains(&to));
        if let Some(peer) = peer.filter(|_| self.up) {
            peer.send(self.key, Some(inner), now, &mut self.random, out);
        }
    }

    pub fn tick(&mut self, now: Micros, out: &mut Out) {
        if !self.up {
            return;
        }
        for peer in &mut self.peers {
            let due = |at: Option<Micros>| at.is_some_and(|at| at <= now);
            if due(peer.attempt.map(|attempt| attempt.again_at)) {
                peer.again(self.key, now, &mut self.random, out);
            }
            if due(peer.passive_at) {
                peer.passive_at = None;
                peer.send(self.key, None, now, &mut self.random, out);
            }
            if due(peer.no_answer_at) {
                peer.no_answer_at = None;
                peer.initiate(self.key, now, &mut self.random, out);
            }
            if peer.persistent_at <= now {
                peer.persistent_at = now + PERSISTENT_KEEPALIVE;
                peer.send(self.key, None, now, &mut self.random, out);
            }
        }
    }

    pub fn receive(&mut self, from: SocketAddr, message: Message, now: Micros, out: &mut Out) {
        if !self.up {
            return;
        }
        let (own, random) = (self.key, &mut self.random);
        let length = message.length() as u64;
        match message {
            Message::Initiation {
                index,
                from: who,
                to,
                made,
            } => {
                let known = self.peers.iter_mut().find(|peer| peer.key == who);
                let newer = |peer: &&mut Peer| peer.newest_taken.is_none_or(|taken| made > taken);
                let Some(peer) = known.filter(|_| to == own).filter(newer) else {
                    return;
                };
                peer.newest_taken = Some(made);
                peer.rx += length;
                peer.endpoint = Some(from);
                let id = random.random();
                peer.next = Some(Session {
                    id,
                    born: now,
                    initiator: false,
                });
                let psk = peer.psk;
                let answer = Message::Response {
                    index: random.random(),
                    answers: index,
                    session: id,
                    psk,
                };
                peer.put(answer, now, out);
            }
            Message::Response {
                answers,
                session,
                psk,
                ..
            } => {
                let asked =
                    |peer: &&mut Peer| peer.attempt.is_some_and(|attempt| attempt.index == answers);
                let Some(peer) = self.peers.iter_mut().find(asked) else {
                    return;
                };
                if peer.psk != psk {
                    return;
                }
                peer.rx += length;
                peer.endpoint = Some(from);
                peer.attempt = None;
                peer.no_answer_at = None;
                peer.persistent_at = now + PERSISTENT_KEEPALIVE;
                peer.last_handshake = Some(now);
                peer.previous = peer.current.replace(Session {
                    id: session,
                    born: now,
                    initiator: true,
                });
                peer.flush(own, true, now, random, out);
            }
            Message::Data { session, inner } => self.data(from, session, inner, (length, now), out),
        }
    }

    fn data(
        &mut self,
        from: SocketAddr,
        session: u64,
        inner: Option<Inner>,
        (length, now): (u64, Micros),
        out: &mut Out,
    ) {
        let (own, random) = (self.key, &mut self.random);
        let is = |known: Option<Session>| known.is_some_and(|known| known.id == session);
        let holder = |peer: &&mut Peer| is(peer.current) || is(peer.previous) || is(peer.next);
        let Some(peer) = self.peers.iter_mut().find(holder) else {
            return;
        };
        if is(peer.next) {
            peer.previous = peer.current;
            peer.current = peer.next.take();
            peer.last_handshake = Some(now);
            peer.attempt = None;
            peer.flush(own, false, now, random, out);
        }
        let all = [peer.current, peer.previous];
        let live = all.into_iter().flatten().find(|known| known.id == session);
        let Some(live) = live.filter(|known| now - known.born < REJECT_AFTER) else {
            return;
        };
        peer.rx += length;
        peer.endpoint = Some(from);
        peer.no_answer_at = None;
        peer.persistent_at = now + PERSISTENT_KEEPALIVE;
        let old = REJECT_AFTER - PASSIVE_KEEPALIVE - REKEY_TIMEOUT;
        if live.initiator && now - live.born >= old {
            peer.initiate(own, now, random, out);
        }
        let Some(inner) = inner else { return };
        if peer.passive_at.is_none() {
            peer.passive_at = Some(now + PASSIVE_KEEPALIVE);
        }
        if peer.allowed.contains(&inner.from) {
            out.delivered.push(inner);
        }
    }
}
