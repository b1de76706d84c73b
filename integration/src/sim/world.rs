//! The loop: events in the order of virtual time, on one thread.

mod actions;
mod arrivals;
mod departures;
mod obey;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
};

use diagnosis::Expectation;
use evidence::{Facts, Verdict};
use proto::wire::ReportRequest;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    datagram::Datagram,
    fault::Action,
    network::{Arrival, Network},
    node::{Node, UplinkLink, here},
    plan::Plan,
    steering::Steers,
    time::{MILLI, Micros, SECOND},
    uplink::Collector,
    wireguard::{Device, Out, Peer},
};

/// Port of the agents' echo.
const ECHO_PORT: u16 = proto::limits::PORT;
const ECONNREFUSED: i32 = 111;
/// The collector ends a stream whose connection is dead after so long.
const DEAD: Micros = 10 * SECOND;
/// Lines of the log that are kept: a replay prints them.
const LOG: usize = 100_000;

/// A simulation.
#[derive(Debug)]
pub struct World {
    pub now: Micros,
    pub plan: Plan,
    pub nodes: Vec<Node>,
    pub network: Network,
    pub collector: Collector,
    /// Time from one judgement to the next.
    pub judge_every: Micros,
    /// What happened, if somebody wants to read it.
    pub log: Option<Vec<String>>,
    /// Datagrams that were sent.
    pub datagrams: u64,
    judge_at: Micros,
    queue: BinaryHeap<Reverse<Due>>,
    /// Breaks ties in the order in which events were planned.
    count: u64,
    streams: u64,
    lives: u64,
    /// When the newest message of each stream comes.
    carried: BTreeMap<u64, Micros>,
    /// Added to the way of each node's reports.
    report_delays: Vec<Micros>,
    random: StdRng,
}

#[derive(Debug)]
struct Due {
    at: Micros,
    count: u64,
    what: Event,
}

#[derive(Debug)]
enum Event {
    Step(usize, u64),
    Device(usize),
    Arrive(Arrival, Datagram),
    Report {
        node: usize,
        stream: u64,
        message: Box<ReportRequest>,
    },
    Dead {
        node: usize,
        stream: u64,
    },
    Do(Action),
}

impl World {
    /// All agents run, and the collector expects them.
    pub fn new(plan: &Plan, seed: u64) -> Self {
        let names = plan.nodes.iter().map(|node| node.name.clone()).collect();
        let expectation = Expectation {
            min_nodes: plan.nodes.len(),
            names,
            ..Expectation::default()
        };
        let mut world = Self::network(plan, seed, expectation);
        for node in 0..world.nodes.len() {
            world.start_agent(node);
        }
        world
    }

    /// The nodes and their tunnels. No agent runs yet.
    pub fn network(plan: &Plan, seed: u64, expectation: Expectation) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let network = Network::new(plan, StdRng::seed_from_u64(random.random()));
        let mut world = Self {
            now: 0,
            plan: plan.clone(),
            nodes: Vec::new(),
            network,
            collector: Collector::new(0, expectation),
            judge_every: SECOND,
            log: None,
            datagrams: 0,
            judge_at: 0,
            queue: BinaryHeap::new(),
            count: 0,
            streams: 0,
            lives: 0,
            carried: BTreeMap::new(),
            report_delays: vec![0; plan.nodes.len()],
            random,
        };
        for number in 0..plan.nodes.len() {
            let node = world.node(number);
            world.nodes.push(node);
            world.follow_device(number);
        }
        world
    }

    fn node(&mut self, number: usize) -> Node {
        let plan = &self.plan;
        let far = (0..plan.nodes.len()).filter(|far| *far != number);
        let mut peers: Vec<Peer> = far
            .map(|far| {
                let allowed = vec![
                    plan.nodes[far].address.into(),
                    plan.tunnel_address(far).into(),
                ];
                Peer::new(far, plan.key(far), plan.endpoint(number, far), allowed)
            })
            .collect();
        peers.sort_by_key(|peer| peer.key);
        let key = plan.key(number);
        let random = StdRng::seed_from_u64(self.random.random());
        Node {
            number,
            boot: -self.random.random_range(600..60_000) * SECOND,
            boots: 1,
            powered: true,
            device: Device::new(key, peers, random),
            device_at: Micros::MAX,
            drops_tunnel: false,
            drops_overlay: false,
            uplink: UplinkLink::default(),
            steers: Steers::default(),
            vxlan: Vec::new(),
            clock_offset: 0,
            agent: None,
        }
    }

    /// Plans something.
    pub fn plan_action(&mut self, at: Micros, action: Action) {
        self.push(at, Event::Do(action));
    }

    /// Runs to the next judgement; `None` while the collector is down, and each time that something was done on the way:
    /// what is true between two things that are done is seen by nobody who looks at judgements only.
    pub fn next_verdict(&mut self) -> Option<Verdict> {
        if self.advance(self.judge_at) {
            return None;
        }
        self.judge_at += self.judge_every;
        self.collector.judge(self.now)
    }

    /// Runs until then.
    pub fn run_until(&mut self, until: Micros) {
        while self.advance(until) {}
    }

    /// Runs until then, or until something was done before; says so.
    fn advance(&mut self, until: Micros) -> bool {
        while let Some(Reverse(due)) = self.queue.peek() {
            if due.at > until {
                break;
            }
            let Some(Reverse(due)) = self.queue.pop() else {
                break;
            };
            self.now = due.at.max(self.now);
            let is_done = matches!(due.what, Event::Do(_));
            self.handle(due.what);
            if is_done {
                return true;
            }
        }
        self.now = until.max(self.now);
        false
    }

    fn push(&mut self, at: Micros, what: Event) {
        self.count += 1;
        self.queue.push(Reverse(Due {
            at,
            count: self.count,
            what,
        }));
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log
            && log.len() < LOG
        {
            log.push(format!("{} {}", Clock(self.now), what()));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Step(node, life) => {
                let planned = self.nodes[node]
                    .agent
                    .as_ref()
                    .map(|agent| (agent.life, agent.step_at));
                if planned.is_some_and(|(now, at)| now == life && at <= self.now) {
                    self.step(node);
                }
            }
            Event::Device(node) => {
                if self.nodes[node].powered && self.nodes[node].device_at <= self.now {
                    self.nodes[node].device_at = Micros::MAX;
                    let mut out = Out::default();
                    self.nodes[node].device.tick(self.now, &mut out);
                    self.carry(node, out);
                }
            }
            Event::Arrive(arrival, datagram) => self.arrive(&arrival, datagram),
            Event::Report {
                node,
                stream,
                message,
            } => self.report(node, stream, *message),
            Event::Dead { node, stream } => {
                let agent = self.nodes[node].agent.as_ref();
                let speaks = agent.is_some_and(|agent| agent.uplink.stream == Some(stream));
                if !speaks || self.network.is_cut_off(node) || !self.nodes[node].powered {
                    self.collector.close(stream, self.now);
                    self.carried.remove(&stream);
                }
            }
            Event::Do(action) => self.perform(action),
        }
    }

    // What an agent does.

    fn start_agent(&mut self, node: usize) {
        self.lives += 1;
        let (life, now) = (self.lives, self.now);
        self.nodes[node].start_agent(&self.plan, life, now, &mut self.random);
        self.plan_step(node);
    }

    fn stop_agent(&mut self, node: usize, closes: bool) {
        let agent = self.nodes[node].agent.take();
        let Some(stream) = agent.and_then(|agent| agent.uplink.stream) else {
            return;
        };
        if closes && !self.network.is_cut_off(node) {
            self.collector.close(stream, self.now);
        } else {
            self.push(self.now + DEAD, Event::Dead { node, stream });
        }
    }

    fn plan_step(&mut self, node: usize) {
        if let Some(agent) = &mut self.nodes[node].agent {
            agent.step_at = agent.step_at.max(agent.stalled_until).max(self.now);
            let (at, life) = (agent.step_at, agent.life);
            self.push(at, Event::Step(node, life));
        }
    }

    /// Something came for an agent that waits.
    fn wake(&mut self, node: usize) {
        let now = self.now;
        let Some(agent) = &mut self.nodes[node].agent else {
            return;
        };
        if agent.step_at > now {
            agent.step_at = now;
            self.plan_step(node);
        }
    }

    fn step(&mut self, node: usize) {
        let facts = self.nodes[node].step(&self.plan, self.now);
        let Some(agent) = &mut self.nodes[node].agent else {
            return;
        };
        for sent in std::mem::take(&mut agent.observer.ways().sent) {
            self.leave(node, sent);
        }
        if let Some(facts) = facts {
            self.publish(node, facts);
        }
        self.plan_step(node);
    }

    // Reports.

    fn publish(&mut self, node: usize, facts: Facts) {
        let (now, up, cut) = (
            self.now,
            self.collector.is_up(),
            self.network.is_cut_off(node),
        );
        let local = here(&self.nodes[node], now);
        let Some(agent) = &mut self.nodes[node].agent else {
            return;
        };
        let uplink = &mut agent.uplink;
        let message = if uplink.stream.is_some() {
            uplink.delta(now, local, facts)
        } else if !uplink.wants_to_dial(now) {
            None
        } else if up && !cut {
            self.streams += 1;
            Some(uplink.snapshot(self.streams, local, &facts))
        } else {
            uplink.lost(now);
            None
        };
        let (Some(message), Some(stream)) = (message, uplink.stream) else {
            return;
        };
        if cut {
            uplink.held.push(message);
        } else {
            self.send_report(node, stream, message, 0);
        }
    }

    fn send_report(&mut self, node: usize, stream: u64, message: ReportRequest, later: Micros) {
        let mut way = self.random.random_range(5..40) * MILLI + self.report_delays[node];
        // What TCP loses comes a retransmission later, and all behind it.
        if self.network.weather.loss > 0.0 && self.random.random_bool(self.network.weather.loss) {
            way += 250 * MILLI;
        }
        let after = self.carried.get(&stream).map_or(0, |last| last + 1);
        let at = (self.now + way + later).max(after);
        self.carried.insert(stream, at);
        let message = Box::new(message);
        self.push(
            at,
            Event::Report {
                node,
                stream,
                message,
            },
        );
    }

    fn report(&mut self, node: usize, stream: u64, message: ReportRequest) {
        if self.network.is_cut_off(node) {
            let agent = self.nodes[node].agent.as_mut();
            let uplink = agent.map(|agent| &mut agent.uplink);
            if let Some(uplink) = uplink.filter(|uplink| uplink.stream == Some(stream)) {
                uplink.held.push(message);
            }
            return;
        }
        let name = self.plan.nodes[node].name.clone();
        if let Err(reason) = self.collector.receive(stream, &name, message, self.now) {
            self.note(|| format!("report stream {stream} of {name} ends: {reason}"));
            self.collector.close(stream, self.now);
            self.carried.remove(&stream);
            let now = self.now;
            if let Some(agent) = &mut self.nodes[node].agent
                && agent.uplink.stream == Some(stream)
            {
                agent.uplink.lost(now);
            }
        }
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.count).cmp(&(other.at, other.count))
    }
}

/// Virtual time for a reader: hours, minutes, seconds.
#[derive(Clone, Copy, Debug)]
pub struct Clock(pub Micros);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.max(0) / MILLI;
        let (seconds, millis) = (millis / 1000, millis % 1000);
        write!(
            f,
            "{:02}:{:02}:{:02}.{millis:03}",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60
        )
    }
}
