//! The view, and who may change which part of it.
//!
//! The first certificate key that reports for a node is pinned until the collector ends (with a store, until the operator says
//! that the machine was replaced), for each mesh key by itself: while mesh keys are changed a node comes with one certificate,
//! then with the other. What another key, or a second
//! machine beside a live first one, claims is never taken in: the attempt is kept as a conflict for the diagnosis.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use diagnosis::{Conflict, Expectation, History, NodeView, Stream, View, timing::PAUSE};
use evidence::{
    Delta, Fact, FactKey, Facts, Identity, Moment, NodeName, NodeRef, PairPast, limits,
};
use proto::convert::PeerIdentity;
use tokio::sync::oneshot;

use crate::{access::Agent, inbox::News, refusal::Refusal, store::Pins};

/// A stream whose last message is older is silent: a rebooted machine may take its place. Five missed heartbeats.
pub(crate) const LIVE: Duration = Duration::from_secs(5);

/// One report stream of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamId(u64);

/// What a stream is told when it is taken in.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) id: StreamId,
    /// Gives the reason when the collector ends the stream.
    pub(crate) ended: oneshot::Receiver<Refusal>,
}

#[derive(Debug)]
pub(crate) struct State {
    view: View,
    members: BTreeMap<NodeName, Member>,
    /// Nodes of earlier runs that have not reported in this one.
    awaited: BTreeMap<NodeName, Awaited>,
    /// What pairs did before, until both ends are there.
    returning: Vec<PairPast>,
    last_id: u64,
    news: News,
}

/// What is known of a node besides its view; there is one for each node of the view.
#[derive(Debug)]
struct Member {
    /// By mesh key; the collector has few.
    pinned: Pins,
    open: Option<Open>,
}

/// What is known of a node from an earlier run.
#[derive(Debug)]
struct Awaited {
    pinned: Pins,
    /// Somebody else has come under its name.
    conflict: Option<Conflict>,
}

#[derive(Debug)]
struct Open {
    id: StreamId,
    end: oneshot::Sender<Refusal>,
}

impl State {
    pub(crate) fn new(started: Moment, expectation: Expectation) -> Self {
        Self {
            view: View {
                started,
                nodes: BTreeMap::new(),
                expectation,
                history: History::default(),
            },
            members: BTreeMap::new(),
            awaited: BTreeMap::new(),
            returning: Vec::new(),
            last_id: 0,
            news: News::Nothing,
        }
    }

    /// With the keys that earlier runs have pinned, and what pairs did then. No facts: gates wait for those.
    pub(crate) fn remembering(
        mut self,
        pins: BTreeMap<NodeName, Pins>,
        pasts: Vec<PairPast>,
    ) -> Self {
        let awaited = |(name, pinned)| {
            let conflict = None;
            (name, Awaited { pinned, conflict })
        };
        self.awaited = pins.into_iter().map(awaited).collect();
        self.returning = pasts;
        self
    }

    /// Takes in the snapshot of a new stream. The stream that the node had before, if any, is ended.
    pub(crate) fn open(
        &mut self,
        agent: &Agent,
        facts: Facts,
        at: Moment,
    ) -> Result<Admitted, Refusal> {
        if let Some(refusal) = self.objection(agent, &facts, at) {
            return Err(refusal);
        }
        self.last_id += 1;
        let id = StreamId(self.last_id);
        let (end, ended) = oneshot::channel();
        let old = self.view.nodes.get_mut(&agent.node);
        let steady_since = old.as_deref().map_or(at, |node| steady_since(node, at));
        let conflict = old.and_then(|node| node.conflict.take());
        let before = self.seat(agent, Open { id, end });
        let conflict = conflict.or(before);
        self.view.nodes.insert(
            agent.node.clone(),
            NodeView {
                facts,
                stream: Stream::Open,
                since: at,
                last_report: at,
                steady_since,
                conflict,
            },
        );
        self.news = News::Pressing;
        Ok(Admitted { id, ended })
    }

    /// Applies a delta of an open stream.
    pub(crate) fn apply(
        &mut self,
        name: &NodeName,
        id: StreamId,
        delta: Delta,
        at: Moment,
    ) -> Result<(), Refusal> {
        let replaced = || Refusal::Replaced(name.clone());
        if !self.is_current(name, id) {
            return Err(replaced());
        }
        let node = self.view.nodes.get_mut(name).ok_or_else(replaced)?;
        let total = count_after(&node.facts, &delta);
        if total > limits::FACTS {
            let limit = limits::FACTS;
            return Err(Refusal::field(
                "delta.upserts",
                format!("at most {limit} facts of one node, got {total}"),
            ));
        }
        let news = News::of(&delta);
        let told = node.facts.apply(delta);
        told.map_err(|error| Refusal::field("delta.moved", error.to_string()))?;
        node.steady_since = steady_since(node, at);
        node.last_report = at;
        self.news = self.news.max(news);
        Ok(())
    }

    /// Marks a stream as ended; says whether it was the node's present one.
    pub(crate) fn close(&mut self, name: &NodeName, id: StreamId, at: Moment) -> bool {
        if !self.is_current(name, id) {
            return false;
        }
        if let Some(member) = self.members.get_mut(name) {
            member.open = None;
        }
        if let Some(node) = self.view.nodes.get_mut(name) {
            node.stream = Stream::Closed(at);
        }
        self.news = News::Pressing;
        true
    }

    /// Ends a stream from here, and tells it why. One that is not the node's present one has been told already.
    pub(crate) fn end(&mut self, name: &NodeName, id: StreamId, at: Moment, why: Refusal) {
        let is_current = self.is_current(name, id);
        let member = self.members.get_mut(name).filter(|_| is_current);
        let open = member.and_then(|member| member.open.take());
        let Some(Open { end, .. }) = open else {
            return;
        };
        if let Some(node) = self.view.nodes.get_mut(name) {
            node.stream = Stream::Closed(at);
        }
        self.news = News::Pressing;
        // Who has just ended by himself no longer listens.
        drop(end.send(why));
    }

    /// The nodes that agents may probe: those that have told their key.
    pub(crate) fn peers(&self, now: Moment) -> Vec<PeerIdentity> {
        let one = |(name, node): (&NodeName, &NodeView)| {
            let identity = identity(&node.facts)?;
            Some(PeerIdentity {
                name: name.clone(),
                public_key: identity.public_key?,
                kubespan_address: identity.kubespan_address,
                reporting: is_live(node, now),
            })
        };
        self.view.nodes.iter().filter_map(one).collect()
    }

    pub(crate) fn node_count(&self) -> usize {
        self.members.len()
    }

    /// How much a judgement could differ from the last for another reason than the time.
    pub(crate) fn news(&self) -> News {
        self.news
    }

    /// Hands out the view to be judged; nothing else may be asked until it is given back.
    pub(crate) fn lend(&mut self) -> View {
        self.news = News::Nothing;
        self.recall();
        let empty = View {
            started: self.view.started,
            nodes: BTreeMap::new(),
            expectation: Expectation::default(),
            history: History::default(),
        };
        mem::replace(&mut self.view, empty)
    }

    pub(crate) fn give_back(&mut self, view: View) {
        self.view = view;
    }

    /// What pairs did before, as soon as both ends are there again.
    fn recall(&mut self) {
        let View { nodes, history, .. } = &mut self.view;
        let is_there = |node: &NodeRef| match node {
            NodeRef::Named { name } => nodes.contains_key(name),
            NodeRef::Unnamed { .. } => false,
        };
        let back = |past: &mut PairPast| is_there(&past.from) && is_there(&past.to);
        for past in self.returning.extract_if(.., back) {
            history.recall(past);
        }
    }

    /// Why the stream cannot be taken in. A conflict is noted in the view, once the node itself is there.
    fn objection(&mut self, agent: &Agent, facts: &Facts, at: Moment) -> Option<Refusal> {
        let other = |pinned: &Pins| {
            let pinned = pinned.get(&agent.mesh);
            pinned.is_some_and(|pinned| *pinned != agent.key)
        };
        let another_key = || Refusal::Key(agent.node.clone());
        let Some(member) = self.members.get(&agent.node) else {
            if let Some(node) = self.awaited.get_mut(&agent.node)
                && other(&node.pinned)
            {
                node.conflict = Some(conflict(agent, "certificate key", at));
                return Some(another_key());
            }
            return (self.members.len() >= limits::NODES).then_some(Refusal::Nodes);
        };
        let node = self.view.nodes.get_mut(&agent.node)?;
        let (what, refusal) = if other(&member.pinned) {
            ("certificate key", another_key())
        } else if is_live(node, at) && boot_id(&node.facts) != boot_id(facts) {
            ("boot id", Refusal::Machine(agent.node.clone()))
        } else {
            return None;
        };
        node.conflict = Some(conflict(agent, what, at));
        self.news = News::Pressing;
        Some(refusal)
    }

    /// Gives a stream its place; whoever came under the node's name before it did, in this run, is told.
    fn seat(&mut self, agent: &Agent, open: Open) -> Option<Conflict> {
        let awaited = self.awaited.remove(&agent.node);
        let (pinned, conflict) = match awaited {
            Some(Awaited { pinned, conflict }) => (pinned, conflict),
            None => (Pins::new(), None),
        };
        let member = self
            .members
            .entry(agent.node.clone())
            .or_insert(Member { pinned, open: None });
        member.pinned.entry(agent.mesh.clone()).or_insert(agent.key);
        if let Some(old) = member.open.replace(open) {
            // An old stream that has just ended by itself no longer listens.
            drop(old.end.send(Refusal::Replaced(agent.node.clone())));
        }
        conflict
    }

    fn is_current(&self, name: &NodeName, id: StreamId) -> bool {
        self.members
            .get(name)
            .and_then(|member| member.open.as_ref())
            .is_some_and(|open| open.id == id)
    }
}

fn conflict(agent: &Agent, what: &str, at: Moment) -> Conflict {
    let what = match agent.from {
        Some(from) => format!("another {what}, from {}", from.ip().to_canonical()),
        None => format!("another {what}"),
    };
    Conflict { at, what }
}

pub(crate) fn identity(facts: &Facts) -> Option<&Identity> {
    match facts.get(&FactKey::Identity)? {
        Fact::Identity(identity) => Some(identity),
        _ => None,
    }
}

fn boot_id(facts: &Facts) -> Option<&str> {
    identity(facts).map(|identity| identity.boot_id.as_str())
}

fn is_live(node: &NodeView, now: Moment) -> bool {
    node.stream == Stream::Open && now.since(node.last_report) <= LIVE
}

/// Since when the node's messages have come without a pause, with one that comes at `at`.
fn steady_since(node: &NodeView, at: Moment) -> Moment {
    if at.since(node.last_report) > PAUSE {
        at
    } else {
        node.steady_since
    }
}

/// How many facts there would be after `delta`.
fn count_after(facts: &Facts, delta: &Delta) -> usize {
    let most = facts.len() + delta.upserts.len();
    if most <= limits::FACTS {
        return most;
    }
    let upserts: BTreeSet<FactKey> = delta.upserts.iter().map(Fact::key).collect();
    let removed: BTreeSet<FactKey> = delta.removed.iter().copied().collect();
    let kept = facts
        .iter()
        .map(Fact::key)
        .filter(|key| !upserts.contains(key) && !removed.contains(key));
    kept.count() + upserts.len()
}

#[cfg(test)]
mod tests;
