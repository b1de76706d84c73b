//! The view, and who may change which part of it.
//!
//! The first certificate key that reports for a node is pinned until the collector ends, for each mesh key by itself: while
//! mesh keys are changed a node comes with one certificate, then with the other. What another key, or a second
//! machine beside a live first one, claims is never taken in: the attempt is kept as a conflict for the diagnosis.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use diagnosis::{Conflict, Expectation, History, NodeView, Stream, View, timing::PAUSE};
use evidence::{Delta, Fact, FactKey, Facts, Identity, Moment, NodeName, limits};
use proto::convert::PeerIdentity;
use tokio::sync::oneshot;

use crate::{access::Agent, refusal::Refusal};

/// A stream whose last message is older is silent: a rebooted machine may take its place. Five missed heartbeats.
pub(crate) const LIVE: Duration = Duration::from_secs(5);

/// One report stream of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    last_id: u64,
    dirty: bool,
}

/// What is known of a node besides its view; there is one for each node of the view.
#[derive(Debug)]
struct Member {
    /// By mesh key; the collector has few.
    pinned: BTreeMap<String, [u8; 32]>,
    open: Option<Open>,
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
            last_id: 0,
            dirty: false,
        }
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
        self.seat(agent, Open { id, end });
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
        self.dirty = true;
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
        node.steady_since = steady_since(node, at);
        node.last_report = at;
        self.dirty |= !delta.is_empty();
        node.facts.apply(delta);
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
        self.dirty = true;
        true
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

    /// Whether a judgement could differ from the last for another reason than the time.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Hands out the view to be judged; nothing else may be asked until it is given back.
    pub(crate) fn lend(&mut self) -> View {
        self.dirty = false;
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

    /// Why the stream cannot be taken in. A conflict is noted in the view.
    fn objection(&mut self, agent: &Agent, facts: &Facts, at: Moment) -> Option<Refusal> {
        let Some(member) = self.members.get(&agent.node) else {
            return (self.members.len() >= limits::NODES).then_some(Refusal::Nodes);
        };
        let node = self.view.nodes.get_mut(&agent.node)?;
        let (what, refusal) = if member
            .pinned
            .get(&agent.mesh)
            .is_some_and(|pinned| *pinned != agent.key)
        {
            ("certificate key", Refusal::Key(agent.node.clone()))
        } else if is_live(node, at) && boot_id(&node.facts) != boot_id(facts) {
            ("boot id", Refusal::Machine(agent.node.clone()))
        } else {
            return None;
        };
        let what = match agent.from {
            Some(from) => format!("another {what}, from {}", from.ip().to_canonical()),
            None => format!("another {what}"),
        };
        node.conflict = Some(Conflict { at, what });
        self.dirty = true;
        Some(refusal)
    }

    fn seat(&mut self, agent: &Agent, open: Open) {
        let member = self
            .members
            .entry(agent.node.clone())
            .or_insert_with(|| Member {
                pinned: BTreeMap::new(),
                open: None,
            });
        member.pinned.entry(agent.mesh.clone()).or_insert(agent.key);
        if let Some(old) = member.open.replace(open) {
            // An old stream that has just ended by itself no longer listens.
            drop(old.end.send(Refusal::Replaced(agent.node.clone())));
        }
    }

    fn is_current(&self, name: &NodeName, id: StreamId) -> bool {
        self.members
            .get(name)
            .and_then(|member| member.open.as_ref())
            .is_some_and(|open| open.id == id)
    }
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
