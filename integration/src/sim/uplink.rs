//! An agent's reports to the collector, and the collector: a stream as TCP carries it, in order and late.

use std::collections::BTreeMap;

use diagnosis::{Expectation, View};
use evidence::{Facts, Moment, NodeName, Verdict};
use mesh_collector::{OpenStream, Streams};
use proto::{
    convert::{delta_to_wire, snapshot_to_wire},
    limits,
    wire::ReportRequest,
};

use super::time::{MILLI, Micros, SECOND, micros, moment};

/// First and longest pause between two tries, as the agent's uplink has them.
const BACKOFF: (Micros, Micros) = (200 * MILLI, 5 * SECOND);
/// The collector's machine had been up for so long.
const BOOT: Micros = -90_000 * SECOND;

/// The sending side.
#[derive(Debug)]
pub struct Uplink {
    pub stream: Option<u64>,
    /// Messages that a link that is down holds up.
    pub held: Vec<ReportRequest>,
    sequence: u64,
    sent: Facts,
    spaced_until: Micros,
    /// Before it nothing goes out that is no news.
    routine_at: Micros,
    retry_at: Micros,
    pause: Micros,
}

impl Default for Uplink {
    fn default() -> Self {
        Self {
            stream: None,
            held: Vec::new(),
            sequence: 0,
            sent: Facts::new(),
            spaced_until: 0,
            routine_at: 0,
            retry_at: 0,
            pause: BACKOFF.0,
        }
    }
}

impl Uplink {
    /// Whether a new connection is to be tried.
    pub fn wants_to_dial(&self, now: Micros) -> bool {
        self.stream.is_none() && now >= self.retry_at
    }

    /// The connection is gone, or could not be made.
    pub fn lost(&mut self, now: Micros) {
        self.stream = None;
        self.held.clear();
        self.retry_at = now + self.pause;
        self.pause = (self.pause * 2).min(BACKOFF.1);
    }

    pub fn snapshot(&mut self, stream: u64, now: Moment, facts: &Facts) -> ReportRequest {
        self.stream = Some(stream);
        self.pause = BACKOFF.0;
        self.sequence = 1;
        self.sent = facts.clone();
        snapshot_to_wire(1, now, facts)
    }

    /// What changed, unless something was said a moment ago.
    pub fn delta(&mut self, at: Micros, now: Moment, facts: Facts) -> Option<ReportRequest> {
        if at < self.spaced_until {
            return None;
        }
        self.spaced_until = at + micros(limits::SPACING);
        let delta = facts.difference_from(&self.sent);
        if delta.routine && at < self.routine_at {
            return None;
        }
        let delta = delta.by_moves(&self.sent);
        self.routine_at = at + micros(limits::routine_spacing(facts.of_peers().len()));
        self.sent = facts;
        self.sequence += 1;
        Some(delta_to_wire(self.sequence, now, &delta))
    }
}

/// The receiving side.
#[derive(Debug)]
pub struct Collector {
    streams: Option<Streams>,
    open: BTreeMap<u64, OpenStream>,
    expectation: Expectation,
}

impl Collector {
    pub fn new(now: Micros, expectation: Expectation) -> Self {
        let streams = Streams::new(moment(now, BOOT), expectation.clone());
        Self {
            streams: Some(streams),
            open: BTreeMap::new(),
            expectation,
        }
    }

    pub fn is_up(&self) -> bool {
        self.streams.is_some()
    }

    pub fn stop(&mut self) {
        self.streams = None;
        self.open.clear();
    }

    pub fn start(&mut self, now: Micros) {
        self.streams = Some(Streams::new(moment(now, BOOT), self.expectation.clone()));
    }

    /// A message came; `Err` ends the stream.
    pub fn receive(
        &mut self,
        stream: u64,
        node: &NodeName,
        message: ReportRequest,
        now: Micros,
    ) -> Result<(), String> {
        let streams = self.streams.as_mut().ok_or("the collector is down")?;
        let at = moment(now, BOOT);
        if let Some(open) = self.open.get_mut(&stream) {
            return streams.apply(open, message, at);
        }
        if message.sequence != 1 {
            return Err("the stream has ended".to_owned());
        }
        let key = certificate(node);
        let open = streams.open(node, key, message, at)?;
        self.open.insert(stream, open);
        Ok(())
    }

    pub fn close(&mut self, stream: u64, now: Micros) {
        let open = self.open.remove(&stream);
        if let Some((streams, open)) = self.streams.as_mut().zip(open) {
            streams.close(&open, moment(now, BOOT));
        }
    }

    pub fn judge(&mut self, now: Micros) -> Option<Verdict> {
        Some(self.streams.as_mut()?.diagnose(moment(now, BOOT)))
    }

    pub fn view(&mut self) -> Option<View> {
        Some(self.streams.as_mut()?.view())
    }
}

/// What the collector pins of a node.
fn certificate(node: &NodeName) -> [u8; 32] {
    let mut key = [0; 32];
    for (place, byte) in node.as_str().bytes().enumerate() {
        key[place % 32] ^= byte;
    }
    key
}
