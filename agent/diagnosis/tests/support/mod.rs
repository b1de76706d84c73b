//! Views to judge: a healthy mesh of two public nodes and two at home, and faults as edits of what the nodes saw.
//!
//! A fault leaves the traces that it leaves in the field, on both sides: whoever sends into a hole loses his echoes, and
//! so does whoever waits for an answer through it; only the far side of the hole hears nothing.

pub(crate) mod cases;
pub(crate) mod healthy;

use std::net::SocketAddr;

use diagnosis::{Conflict, Expectation, History, NodeView, Stream, View, diagnose};
use evidence::{
    Arrival, Bracket, EchoHeard, EchoSent, Fact, FactKey, Facts, Gap, Inert, InertReplies,
    Initiated, Layer, Moment, NodeName, Peer, PublicKey, Sizes, SourceId, SourceState, Verdict,
};
use healthy::{endpoint, healthy_node, working};

/// The moment of judgement.
pub(crate) const NOW: Moment = Moment::from_millis(10_000_000);

/// All nodes of the lab.
pub(crate) const NODES: [&str; 4] = ["vps-1", "vps-2", "home-cp", "home-worker"];

/// So many milliseconds before the judgement.
pub(crate) fn ago(millis: i64) -> Moment {
    NOW.shifted(-millis)
}

/// The key of a node.
pub(crate) fn key(node: &str) -> PublicKey {
    let index = NODES.iter().position(|known| *known == node);
    let index = index.and_then(|index| u8::try_from(index).ok());
    PublicKey::from_bytes([index.expect("a node of the lab") + 1; 32])
}

pub(crate) fn name(node: &str) -> NodeName {
    NodeName::parse(node).expect("the names of the lab are host names")
}

/// How far a handshake initiation comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comes {
    Nowhere,
    ToTheFarInterface,
    ToAnAnswer,
    BackToTheInterface,
    BackToTheKernel,
}

/// A mesh that can be broken.
#[derive(Clone, Debug)]
pub(crate) struct Lab {
    pub(crate) view: View,
}

impl Lab {
    /// All four nodes, all well.
    pub(crate) fn healthy() -> Self {
        Self::of(&NODES)
    }

    /// Some of the nodes, all well.
    pub(crate) fn of(nodes: &[&str]) -> Self {
        let started = ago(600_000);
        let node = |node: &&str| (name(node), healthy_node(node, nodes));
        Self {
            view: View {
                started,
                nodes: nodes.iter().map(node).collect(),
                expectation: Expectation::default(),
                history: History::default(),
            },
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        diagnose(&self.view, NOW)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.view.nodes.keys().map(ToString::to_string).collect()
    }

    /// Nothing of `from` arrives at `to` any more.
    pub(crate) fn lose(mut self, from: &str, to: &str, since: i64) -> Self {
        self.lose_echoes(from, to, since);
        self.lose_echoes(to, from, since);
        self.echo_heard(to, from, |heard| heard.last_heard = Some(ago(since + 500)));
        self.peer(to, from, |peer| peer.rx_moved = Some(ago(since)));
        self
    }

    /// Packets of `from` to `to` arrive up to a length only, or not at all.
    pub(crate) fn narrow(
        mut self,
        from: &str,
        to: &str,
        layer: Layer,
        passed: Option<u16>,
        since: i64,
    ) -> Self {
        self.sizes(from, to, layer, |sizes| {
            sizes.full_arrived = Some(ago(since + 4000));
            sizes.lost = millis(since) / 1000;
            sizes.lost_since = Some(ago(since));
            sizes.bracket = Some(Bracket {
                at: ago(since - 5000),
                passed,
                failed: passed.map_or(600, |passed| passed + 1),
            });
        });
        self
    }

    /// Changes what `from` knows of the sizes towards `to`.
    pub(crate) fn sizes(&mut self, from: &str, to: &str, layer: Layer, edit: impl Fn(&mut Sizes)) {
        let facts = &mut self.node(from).facts;
        let Some(Fact::Sizes(peer, layers)) = facts.get(&FactKey::Sizes(key(to))).cloned() else {
            panic!("{from} has asked {to} for sizes");
        };
        let mut layers = layers;
        layers
            .iter_mut()
            .filter(|sizes| sizes.layer == layer)
            .for_each(edit);
        facts.insert(Fact::Sizes(peer, layers));
    }

    pub(crate) fn lose_both_ways(self, a: &str, b: &str, since: i64) -> Self {
        self.lose(a, b, since).lose(b, a, since)
    }

    /// So many echo requests in a row are lost, and nothing else.
    pub(crate) fn lose_only(mut self, from: &str, to: &str, requests: u32) -> Self {
        let first = i64::from(requests) * 1000;
        self.echo_sent(from, to, |echo| {
            echo.consecutive_lost = requests;
            echo.loss_since = Some(ago(first));
            echo.last_answered = Some(ago(first + 1000));
        });
        self
    }

    /// `from` has sent inert datagrams since the loss began; `to` saw none.
    pub(crate) fn inert_unheard(mut self, from: &str, to: &str) -> Self {
        let mut dialled = None;
        self.peer(from, to, |peer| dialled = peer.endpoint);
        self.inert(from, to, |inert| {
            inert.sent = 5;
            inert.sent_times = [7, 6, 5, 4, 3].map(|s| ago(s * 1000)).to_vec();
            inert.last_sent = Some(ago(3000));
            inert.to = dialled;
            inert.unsolicited_sent = Some(ago(6500));
        });
        self
    }

    /// What `from` sent from another port arrived at the interface of `to`.
    pub(crate) fn unsolicited_heard(mut self, from: &str, to: &str) -> Self {
        self.inert(to, from, |inert| {
            inert.unsolicited_heard = Some(ago(6499));
        });
        self
    }

    /// Inert datagrams of `from` arrive at the interface of `to`.
    pub(crate) fn inert_heard(self, from: &str, to: &str) -> Self {
        let mut lab = self.inert_unheard(from, to);
        lab.inert(to, from, |inert| {
            inert.heard = 5;
            inert.last_heard = Some(ago(2900));
            inert.heard_from = Some(endpoint(to, from));
        });
        lab
    }

    /// The agent of `to` answered an inert datagram of `from` that it saw coming from `mapped`, and the answer came back.
    pub(crate) fn inert_answered(mut self, from: &str, to: &str, mapped: SocketAddr) -> Self {
        self.inert(from, to, |inert| {
            inert.replies = Some(InertReplies {
                count: 1,
                last: ago(2900),
                sent_at: ago(2901),
                rtt_us: 850,
                mapped,
                hop_limit_there: 61,
                hop_limit_back: 61,
                there_us: 0,
            });
        });
        self
    }

    /// `from` sent an initiation so long ago, which comes so far.
    pub(crate) fn initiate(mut self, from: &str, to: &str, at: i64, comes: Comes) -> Self {
        let reaches = |step: Comes| comes as u8 >= step as u8;
        let sender_index = (u32::from(key(from).as_bytes()[0]) << 24) | millis(at);
        self.initiated(from, to).push(Initiated {
            sender_index,
            sent_at: ago(at),
            to: endpoint(from, to),
            response_at: reaches(Comes::BackToTheInterface).then(|| ago(at - 40)),
        });
        if reaches(Comes::ToTheFarInterface) {
            self.arrivals(to).push(Arrival {
                sender_index,
                at: ago(at - 20),
                from: endpoint(to, from),
                for_us: Some(true),
                answered_at: reaches(Comes::ToAnAnswer).then(|| ago(at - 21)),
            });
        }
        if reaches(Comes::BackToTheKernel) {
            self.peer(from, to, |peer| peer.last_handshake = Some(ago(at - 40)));
        }
        self
    }

    /// `from` has a key that nobody has at the endpoint of `to`, and not its own.
    pub(crate) fn dial_with_a_stale_key(mut self, from: &str, to: &str) -> Self {
        let stale = PublicKey::from_bytes([99; 32]);
        let Some(Fact::Peer(_, peer)) = self.node(from).facts.get(&FactKey::Peer(key(to))).cloned()
        else {
            panic!("{from} has {to} as a peer");
        };
        let mut lab = self.forget_peer(from, to, 60_000);
        let sent = Initiated {
            sender_index: 4711,
            sent_at: ago(4000),
            to: endpoint(from, to),
            response_at: None,
        };
        lab.arrivals(to).push(Arrival {
            sender_index: sent.sender_index,
            at: ago(3980),
            from: endpoint(to, from),
            for_us: Some(false),
            answered_at: None,
        });
        let peer = Peer {
            last_handshake: None,
            ..peer
        };
        lab.put(from, Fact::Peer(stale, peer));
        lab.put(from, Fact::Initiated(stale, vec![sent]));
        lab
    }

    /// The last handshake of the two is so old.
    pub(crate) fn shook_hands(mut self, a: &str, b: &str, age: i64) -> Self {
        for (a, b) in [(a, b), (b, a)] {
            self.peer(a, b, |peer| peer.last_handshake = Some(ago(age)));
        }
        self
    }

    /// The agent dies; the kernel lives and refuses the echo of the others through the tunnel.
    pub(crate) fn kill_agent(mut self, node: &str, since: i64) -> Self {
        self.close(node, since);
        for other in self.others(node) {
            self.lose_echoes(&other, node, since);
            self.echo_sent(&other, node, |echo| echo.refused = Some(ago(800)));
            self.echo_heard(&other, node, |heard| heard.last_heard = Some(ago(since)));
        }
        self
    }

    /// The whole node dies. Its last packets were counted a moment after its last report.
    pub(crate) fn kill_node(mut self, node: &str, since: i64) -> Self {
        self.close(node, since);
        for other in self.others(node) {
            self = self.lose_both_ways(node, &other, since - 500);
            self.peer(&other, node, |peer| peer.rx_moved = Some(ago(since - 900)));
        }
        self
    }

    /// Its stream is open, and nothing comes.
    pub(crate) fn stale(mut self, node: &str, since: i64) -> Self {
        let view = self.node(node);
        view.last_report = view.last_report.min(ago(since));
        view.stream = Stream::Open;
        self
    }

    /// `node` has the peer in its device only since then.
    pub(crate) fn met(mut self, node: &str, peer: &str, since: i64) -> Self {
        self.peer(node, peer, |peer| peer.since = ago(since));
        self
    }

    /// It was cut off, and its reports have come again since then.
    pub(crate) fn back(mut self, node: &str, since: i64) -> Self {
        self.node(node).steady_since = ago(since);
        self
    }

    /// Its agent is there only since then.
    pub(crate) fn joined(mut self, node: &str, since: i64) -> Self {
        self.node(node).since = ago(since);
        for id in SourceId::ALL {
            self.put(node, working(id, since));
        }
        self
    }

    /// A source of the node can be read only since then.
    pub(crate) fn opened(mut self, node: &str, source: SourceId, since: i64) -> Self {
        self.put(node, working(source, since));
        self
    }

    pub(crate) fn never_reported(mut self, node: &str) -> Self {
        self.view.nodes.remove(&name(node));
        self
    }

    /// A source of the node cannot be read.
    pub(crate) fn gap(mut self, node: &str, source: SourceId, reason: &str) -> Self {
        let reason = reason.to_owned();
        let state = SourceState {
            read_at: ago(500),
            since: ago(590_000),
            gap: Some(Gap { reason }),
        };
        self.put(node, Fact::Source(source, state));
        self
    }

    /// `node` has `other` no longer in its device: it sends it nothing and takes nothing of it.
    pub(crate) fn forget_peer(mut self, node: &str, other: &str, since: i64) -> Self {
        self.drop_facts(node, other);
        if self.view.nodes.contains_key(&name(other)) {
            self.lose_echoes(other, node, since);
            self.echo_heard(other, node, |heard| {
                heard.last_heard = Some(ago(since + 500));
            });
        }
        self
    }

    /// The node was taken out: it does not speak, and is in nobody's device.
    pub(crate) fn take_out(mut self, node: &str) -> Self {
        self.close(node, 20_000);
        for other in self.others(node) {
            self.drop_facts(&other, node);
        }
        self
    }

    /// No handshake of the two was ever completed.
    pub(crate) fn never_connected(self, a: &str, b: &str, since: i64) -> Self {
        let mut lab = self.lose_both_ways(a, b, since);
        for (a, b) in [(a, b), (b, a)] {
            lab.peer(a, b, |peer| {
                peer.last_handshake = None;
                peer.rx_moved = None;
                peer.rx_bytes = 0;
            });
            lab.echo_sent(a, b, |echo| echo.last_answered = None);
            lab.echo_heard(a, b, |heard| *heard = EchoHeard::default());
        }
        lab
    }

    pub(crate) fn second_machine(mut self, node: &str) -> Self {
        self.node(node).conflict = Some(Conflict {
            at: ago(2000),
            what: "another boot id, from 203.0.113.99".to_owned(),
        });
        self
    }

    /// Takes a fact out.
    pub(crate) fn without(mut self, node: &str, fact: &FactKey) -> Self {
        self.node(node).facts.remove(fact);
        self
    }

    /// Puts a fact in, whatever it says.
    pub(crate) fn put(&mut self, node: &str, fact: Fact) {
        self.node(node).facts.insert(fact);
    }

    pub(crate) fn node(&mut self, node: &str) -> &mut NodeView {
        let nodes = &mut self.view.nodes;
        nodes.get_mut(&name(node)).expect("the node has reported")
    }

    pub(crate) fn close(&mut self, node: &str, since: i64) {
        let view = self.node(node);
        view.last_report = ago(since);
        view.stream = Stream::Closed(ago(since - 200));
    }

    /// The loss that one asking side sees.
    fn lose_echoes(&mut self, from: &str, to: &str, since: i64) {
        self.echo_sent(from, to, |echo| {
            echo.loss_since = Some(ago(since));
            echo.consecutive_lost = millis(since) / 1000;
            echo.last_answered = echo.last_answered.map(|_| ago(since + 2000));
        });
    }

    fn drop_facts(&mut self, node: &str, other: &str) {
        let key = key(other);
        for fact in [
            FactKey::Peer(key),
            FactKey::EchoSent(key),
            FactKey::EchoHeard(key),
            FactKey::Steered(key),
        ] {
            self.node(node).facts.remove(&fact);
        }
    }

    fn others(&self, node: &str) -> Vec<String> {
        let all = self.names().into_iter();
        all.filter(|other| other != node).collect()
    }

    pub(crate) fn peer(&mut self, of: &str, with: &str, edit: impl FnOnce(&mut Peer)) {
        let mut value = match self.node(of).facts.get(&FactKey::Peer(key(with))) {
            Some(Fact::Peer(_, peer)) => peer.clone(),
            _ => return,
        };
        edit(&mut value);
        self.put(of, Fact::Peer(key(with), value));
    }

    pub(crate) fn echo_sent(&mut self, of: &str, with: &str, edit: impl FnOnce(&mut EchoSent)) {
        let mut value = match self.node(of).facts.get(&FactKey::EchoSent(key(with))) {
            Some(Fact::EchoSent(_, echo)) => echo.clone(),
            _ => EchoSent::default(),
        };
        edit(&mut value);
        self.put(of, Fact::EchoSent(key(with), value));
    }

    fn echo_heard(&mut self, of: &str, with: &str, edit: impl FnOnce(&mut EchoHeard)) {
        let mut value = match self.node(of).facts.get(&FactKey::EchoHeard(key(with))) {
            Some(Fact::EchoHeard(_, echo)) => echo.clone(),
            _ => EchoHeard::default(),
        };
        edit(&mut value);
        self.put(of, Fact::EchoHeard(key(with), value));
    }

    fn inert(&mut self, of: &str, with: &str, edit: impl FnOnce(&mut Inert)) {
        let mut value = match self.node(of).facts.get(&FactKey::Inert(key(with))) {
            Some(Fact::Inert(_, inert)) => Inert::clone(inert),
            _ => Inert::default(),
        };
        edit(&mut value);
        self.put(of, Fact::Inert(key(with), Box::new(value)));
    }

    fn initiated(&mut self, of: &str, with: &str) -> Pushing<'_, Initiated> {
        let list = match self.node(of).facts.get(&FactKey::Initiated(key(with))) {
            Some(Fact::Initiated(_, list)) => list.clone(),
            _ => Vec::new(),
        };
        let (facts, key) = (&mut self.node(of).facts, key(with));
        Pushing {
            facts,
            list,
            fact: Box::new(move |list| Fact::Initiated(key, list)),
        }
    }

    fn arrivals(&mut self, of: &str) -> Pushing<'_, Arrival> {
        let list = match self.node(of).facts.get(&FactKey::Arrivals) {
            Some(Fact::Arrivals(list)) => list.clone(),
            _ => Vec::new(),
        };
        Pushing {
            facts: &mut self.node(of).facts,
            list,
            fact: Box::new(Fact::Arrivals),
        }
    }
}

/// A list that is put back as a fact with one more entry.
struct Pushing<'a, T> {
    facts: &'a mut Facts,
    list: Vec<T>,
    fact: Box<dyn Fn(Vec<T>) -> Fact>,
}

impl<T> Pushing<'_, T> {
    fn push(mut self, entry: T) {
        self.list.push(entry);
        self.facts.insert((self.fact)(self.list));
    }
}

fn millis(time: i64) -> u32 {
    u32::try_from(time).expect("times of the lab are short")
}
