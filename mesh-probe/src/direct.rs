//! The mesh without a collector: agents are asked, and what they report is joined and judged here.
//!
//! - `asking`: one agent, from connecting to each of its reports.
//! - `joined`: the view of a collector, by a collector's own code, and who is missing in it.
//! - [`Looking`]: all of them together, for as long as somebody wants to know.
//!
//! A collector watches for days, this for seconds: what comes and goes is not seen, and a cause is named once it has stood for as
//! long as a collector waits for it, too. Everything fails closed: who was asked and is not heard shuts every gate.

mod asking;
mod joined;

use std::{sync::Arc, time::Duration};

use diagnosis::{Expectation, View};
use evidence::{Moment, NodeName, Verdict};
use probe_io::clock;
use rustls::ClientConfig;
use serde::Serialize;
use tokio::{
    sync::mpsc,
    task::{AbortHandle, spawn},
    time::{Instant, sleep_until, timeout_at},
};

use crate::{
    args::{AgentTarget, Connection, DirectArgs},
    error::ProbeError,
    exit::Exit,
    graph, secret,
};

pub use asking::{Agent, Seen};
use asking::{Event, follow};
pub use joined::Joined;

/// Agents that are asked at most.
pub const ASKED: usize = 256;
/// Reports that wait to be taken in; over it agents wait.
const EVENTS: usize = 256;
/// Between two judgements, and a judgement takes no more than half of the time.
const PACE: Duration = Duration::from_millis(100);

/// One who was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    /// As it was given.
    pub agent: String,
    /// Who it is, if it was heard.
    pub node: Option<NodeName>,
    /// Why it is not heard.
    pub error: Option<String>,
}

/// What an answer that no collector gave rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Basis {
    /// Everybody who was asked.
    pub agents: Vec<Asked>,
    /// How long they were watched.
    pub watched_ms: u64,
}

/// Agents that are watched; they are left alone when this is dropped.
#[derive(Debug)]
pub struct Looking {
    joined: Joined,
    events: mpsc::Receiver<Event>,
    tasks: Vec<AbortHandle>,
    /// The newest error of each.
    errors: Vec<Option<ProbeError>>,
    began: Instant,
    due: Instant,
    /// When everybody had answered, or failed to.
    settled: Option<Instant>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Looking {
    /// Begins to ask everybody. No key is needed for agents on this machine.
    pub fn begin(arguments: &DirectArgs, connection: &Connection) -> Result<Self, ProbeError> {
        let targets = &arguments.direct;
        if targets.len() > ASKED {
            let got = targets.len();
            let text = format!("at most {ASKED} agents can be asked, got {got}");
            return Err(ProbeError::Usage(text));
        }
        let tls = credentials(targets, connection)?;
        let expectation = expectation(arguments)?;
        let (sender, events) = mpsc::channel(EVENTS);
        let proof = connection.proof_to_agents();
        let agent =
            |target: &AgentTarget| Agent::new(target.clone(), (proof, &tls), connection.timeout);
        let task =
            |(place, target)| spawn(follow(agent(target), place, sender.clone())).abort_handle();
        let began = Instant::now();
        Ok(Self {
            joined: Joined::new(
                clock::moment(),
                expectation,
                targets.iter().map(ToString::to_string).collect(),
            ),
            events,
            tasks: targets.iter().enumerate().map(task).collect(),
            errors: targets.iter().map(|_| None).collect(),
            began,
            due: began,
            settled: None,
        })
    }

    /// The next judgement. An error only if one refuses us, or we it: that is no matter of time.
    pub async fn judge(&mut self) -> Result<Verdict, ProbeError> {
        loop {
            match timeout_at(self.due, self.events.recv()).await {
                Ok(Some(event)) => self.take(event)?,
                // All followers live as long as this does.
                Ok(None) => sleep_until(self.due).await,
                Err(_) => break,
            }
        }
        if self.settled.is_none() && !self.joined.awaits() {
            self.settled = Some(Instant::now());
        }
        let started = Instant::now();
        let verdict = self.joined.judge(clock::moment());
        let took = started.elapsed();
        self.due = started + (took * 2).max(PACE);
        Ok(verdict)
    }

    fn take(&mut self, event: Event) -> Result<(), ProbeError> {
        let Event { place, at, seen } = event;
        let refused = match seen {
            Seen::Opened {
                node,
                key,
                snapshot,
            } => self.joined.open(place, &node, key, snapshot, at),
            Seen::Message(message) => self.joined.apply(place, message, at),
            Seen::Ended(error) => {
                if error.exit() == Exit::NotAuthorised {
                    return Err(error);
                }
                self.joined.lose(place, innermost(&error), at);
                if let Some(slot) = self.errors.get_mut(place) {
                    *slot = Some(error);
                }
                return Ok(());
            }
        };
        // What it says cannot be taken in: nothing of it is, and it is asked no more.
        if let (Err(why), Some(task)) = (refused, self.tasks.get(place)) {
            task.abort();
            self.joined.lose(place, why, at);
        }
        Ok(())
    }

    /// Whether they were watched for so long since everybody had answered, or failed to.
    pub fn has_watched(&self, long: Duration) -> bool {
        self.settled
            .is_some_and(|settled| settled.elapsed() >= long)
    }

    /// Why there is nobody to judge by, if nobody was ever heard.
    pub fn nobody(&mut self) -> Option<ProbeError> {
        if self.joined.has_heard() {
            return None;
        }
        self.errors.iter_mut().find_map(Option::take)
    }

    /// Since when a level is as it is, for whoever asks for a time without a break.
    pub fn is_stable(&self, level: &str, may_start: bool, long: Duration) -> bool {
        self.joined.is_stable(level, may_start, long)
    }

    /// Whether all levels that are measured are ready.
    pub fn is_all_well(&self, verdict: &Verdict) -> bool {
        self.joined.is_all_well(verdict)
    }

    /// What was judged last, and when.
    pub fn evidence(&mut self) -> (View, Moment) {
        self.joined.evidence()
    }

    /// Who was asked, and who answered.
    pub fn basis(&self) -> Basis {
        let watched = self.began.elapsed().as_millis();
        Basis {
            agents: self.joined.asked(),
            watched_ms: u64::try_from(watched).unwrap_or(u64::MAX),
        }
    }
}

/// A mesh key or a reader's file, where somebody is asked over the network.
pub fn credentials(
    targets: &[AgentTarget],
    connection: &Connection,
) -> Result<Option<Arc<ClientConfig>>, ProbeError> {
    let is_asked = |target: &AgentTarget| matches!(target, AgentTarget::Network(_));
    if !targets.iter().any(is_asked) {
        return Ok(None);
    }
    let tls = if let Some(file) = &connection.credentials {
        secret::reader_of_agents_config(file).map_err(ProbeError::Credentials)?
    } else {
        let key = connection.key_source().load().map_err(ProbeError::Key)?;
        key.reader_of_agents_config().map_err(ProbeError::Trust)?
    };
    Ok(Some(Arc::new(tls)))
}

/// As a collector has it: flags go before the file. All who are asked are expected, in any case.
fn expectation(arguments: &DirectArgs) -> Result<Expectation, ProbeError> {
    let mut expectation = match &arguments.gates {
        Some(path) => graph::expectation(graph::file(path)?),
        None => Expectation::default(),
    };
    if !arguments.expect.is_empty() {
        expectation.names.clone_from(&arguments.expect);
    }
    expectation.min_nodes = expectation.min_nodes.max(arguments.direct.len());
    Ok(expectation)
}

/// The last of its causes: a gate's reason is one line.
fn innermost(error: &ProbeError) -> String {
    error.causes().pop().unwrap_or_else(|| error.to_string())
}
