//! Reports of agents, joined and judged as a collector does. No clock and no connection: time and messages are handed in.

use std::time::Duration;

use diagnosis::{Expectation, View, graph::Graph, hold::Hold, levels::Check, timing};
use evidence::{Gate, Moment, NodeName, Phase, Verdict};
use mesh_collector::{OpenStream, Streams};
use proto::wire::ReportRequest;

use super::Asked;

/// Agents that one reason names.
const NAMED: usize = 16;

/// The view, and who is missing in it.
#[derive(Debug)]
pub struct Joined {
    streams: Streams,
    hold: Hold,
    graph: Graph,
    members: Vec<Member>,
    judged: Moment,
}

/// One who was asked.
#[derive(Debug)]
struct Member {
    agent: String,
    state: State,
    /// Whether it was ever heard.
    heard: bool,
}

#[derive(Debug)]
enum State {
    /// It has neither answered nor failed to.
    Awaited,
    Heard {
        node: NodeName,
        is_local: bool,
        key: [u8; 32],
        stream: OpenStream,
    },
    Silent {
        why: String,
    },
}

impl Joined {
    /// Nobody has answered yet.
    pub fn new(started: Moment, expectation: Expectation, agents: Vec<String>) -> Self {
        let member = |agent| Member {
            agent,
            state: State::Awaited,
            heard: false,
        };
        Self {
            graph: expectation.graph.clone(),
            streams: Streams::new(started, expectation),
            hold: Hold::new(timing::STANDS),
            members: agents.into_iter().map(member).collect(),
            judged: started,
        }
    }

    /// An agent has told all that it sees; why that is not taken in, if it is not. `key` proves it: none on this machine.
    pub fn open(
        &mut self,
        place: usize,
        node: &NodeName,
        key: Option<[u8; 32]>,
        snapshot: ReportRequest,
        at: Moment,
    ) -> Result<(), String> {
        self.close(place, at);
        if let Some(other) = self.same(node, key) {
            return Err(format!("it is {node}, as {other} is: asked twice"));
        }
        let (is_local, key) = (key.is_none(), key.unwrap_or_default());
        let stream = self.streams.open(node, key, snapshot, at)?;
        if let Some(member) = self.members.get_mut(place) {
            member.heard = true;
            member.state = State::Heard {
                node: node.clone(),
                is_local,
                key,
                stream,
            };
        }
        Ok(())
    }

    /// Another agent that is heard as that node. One with another key is a second machine, which the view has to know of.
    fn same(&self, node: &NodeName, key: Option<[u8; 32]>) -> Option<&str> {
        let is_same = |member: &&Member| match &member.state {
            State::Heard {
                node: known,
                is_local,
                key: its,
                ..
            } => known == node && (*is_local || key.is_none_or(|key| key == *its)),
            State::Awaited | State::Silent { .. } => false,
        };
        let found = self.members.iter().find(is_same);
        found.map(|member| member.agent.as_str())
    }

    /// An agent has told what changed; why that is not taken in, if it is not.
    pub fn apply(
        &mut self,
        place: usize,
        message: ReportRequest,
        at: Moment,
    ) -> Result<(), String> {
        match self.members.get_mut(place).map(|member| &mut member.state) {
            Some(State::Heard { stream, .. }) => self.streams.apply(stream, message, at),
            _ => Ok(()),
        }
    }

    /// An agent is not heard, or not any more.
    pub fn lose(&mut self, place: usize, why: String, at: Moment) {
        self.close(place, at);
        if let Some(member) = self.members.get_mut(place) {
            member.state = State::Silent { why };
        }
    }

    fn close(&mut self, place: usize, at: Moment) {
        if let Some(member) = self.members.get_mut(place)
            && let State::Heard { stream, .. } = &member.state
        {
            self.streams.close(stream, at);
            member.state = State::Awaited;
        }
    }

    /// Judges what is known. Who was asked and is not heard shuts every level, and is named.
    pub fn judge(&mut self, now: Moment) -> Verdict {
        self.judged = now;
        let mut verdict = self.streams.diagnose(now);
        if let Some(reason) = self.silence() {
            for gate in &mut verdict.gates {
                self.shut(gate, &reason);
            }
        }
        self.hold.apply(&self.graph, &mut verdict.gates, now);
        verdict
    }

    fn shut(&self, gate: &mut Gate, reason: &str) {
        if self.measures(&gate.level) {
            if gate.phase == Phase::Ready {
                gate.phase = Phase::Unknown;
            }
            gate.reasons.insert(0, reason.to_owned());
        }
        if gate.may_start == Phase::Ready && !gate.depends_on.is_empty() {
            gate.may_start = Phase::Unknown;
        }
    }

    fn measures(&self, level: &str) -> bool {
        let level = self.graph.level(level);
        level.is_some_and(|level| level.check != Check::None)
    }

    /// Who was asked and is not heard, in one reason.
    fn silence(&self) -> Option<String> {
        let silent: Vec<String> = self
            .members
            .iter()
            .filter_map(|member| match &member.state {
                State::Heard { .. } => None,
                State::Awaited => Some(format!("{} (no answer yet)", member.agent)),
                State::Silent { why } => Some(format!("{} ({why})", member.agent)),
            })
            .collect();
        let named = silent.get(..NAMED).unwrap_or(&silent);
        let more = match silent.len() - named.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        (!silent.is_empty()).then(|| format!("asked, and not heard: {}{more}", named.join(", ")))
    }

    /// Whether somebody has neither answered nor failed to.
    pub fn awaits(&self) -> bool {
        let mut members = self.members.iter();
        members.any(|member| matches!(member.state, State::Awaited))
    }

    /// Whether anybody was ever heard.
    pub fn has_heard(&self) -> bool {
        self.members.iter().any(|member| member.heard)
    }

    /// Whether a level has been ready, or could be started, for so long without a break.
    pub fn is_stable(&self, level: &str, may_start: bool, long: Duration) -> bool {
        let since = self.hold.since(level, may_start);
        long.is_zero() || since.is_some_and(|since| self.judged.since(since) >= long)
    }

    /// Whether all levels that are measured are ready.
    pub fn is_all_well(&self, verdict: &Verdict) -> bool {
        let measured = |gate: &&Gate| self.measures(&gate.level);
        let mut gates = verdict.gates.iter().filter(measured);
        gates.all(|gate| gate.phase == Phase::Ready)
    }

    /// What was judged last, and when.
    pub fn evidence(&mut self) -> (View, Moment) {
        (self.streams.view(), self.judged)
    }

    /// Who was asked, and who answered.
    pub fn asked(&self) -> Vec<Asked> {
        let one = |member: &Member| {
            let (node, error) = match &member.state {
                State::Heard { node, .. } => (Some(node.clone()), None),
                State::Awaited => (None, Some("no answer yet".to_owned())),
                State::Silent { why } => (None, Some(why.clone())),
            };
            Asked {
                agent: member.agent.clone(),
                node,
                error,
            }
        };
        self.members.iter().map(one).collect()
    }
}
