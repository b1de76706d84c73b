//! The simulator as a stage for scenario files: the same expectations, in virtual time.

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant},
};

use diagnosis::Expectation;

use crate::lab::{
    LabError,
    faults::Action,
    runner::{self, RunResult, Staged},
    scenario::Scenario,
    stage_kind::StageKind,
    topology::Topology,
    verdict::{Evidence, Finding, Gate, Phase, Verdict},
};

use super::{
    carried,
    orders::{self, Order, Script},
    plan::Plan,
    time::{Micros, micros},
    world::World,
};

/// A world that a scenario is played in.
#[derive(Debug)]
pub struct Simulated {
    pub world: World,
    topology: Topology,
    /// What its time is counted from.
    began: Instant,
    /// What scripts in the background do next.
    planned: BTreeMap<(Micros, u64), (Script, Order)>,
    count: u64,
}

/// How far the sites are from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// As in the namespaces of one machine.
    Near,
    /// Some milliseconds, drawn from the seed, as between towns: what crosses on the way is another story each time.
    Far,
}

/// Plays the scenario; `log` gets what is done and when.
pub fn run(
    scenario: &Scenario,
    seed: u64,
    distance: Distance,
    log: &mut dyn Write,
) -> Result<RunResult, LabError> {
    let mut stage = Simulated::new(&scenario.topology, seed, distance)?;
    runner::play(scenario, StageKind::Sim, &mut stage, log)
}

impl Simulated {
    /// The network, without collector and agents.
    pub fn new(topology: &Topology, seed: u64, distance: Distance) -> Result<Self, LabError> {
        let plan = Plan::of(topology);
        let mut world = World::network(&plan, seed, Expectation::default());
        if distance == Distance::Near {
            world.network.is_near();
        }
        world.collector.stop();
        for (node, wanted) in world.nodes.iter_mut().zip(&topology.nodes) {
            let offset = carried::clock_offset(wanted).map_err(LabError::Impossible)?;
            node.clock_offset = offset;
        }
        Ok(Self {
            world,
            topology: topology.clone(),
            began: Instant::now(),
            planned: BTreeMap::new(),
            count: 0,
        })
    }

    fn obey(&mut self, order: Order) -> Result<(), LabError> {
        match order {
            Order::Later { script, orders } => {
                for (after, order) in orders {
                    self.count += 1;
                    let at = self.world.now + after;
                    self.planned
                        .insert((at, self.count), (script.clone(), order));
                }
                Ok(())
            }
            Order::End(script) => {
                self.planned.retain(|_, (planned, _)| *planned != script);
                Ok(())
            }
            order => self.world.obey(&order).map_err(LabError::Impossible),
        }
    }
}

impl Staged for Simulated {
    fn start_programs(&mut self) -> Result<(), LabError> {
        self.perform(&Action::StartCollector)?;
        let nodes = self.topology.nodes.clone();
        nodes
            .iter()
            .try_for_each(|node| self.perform(&Action::StartAgent(node.name.to_string())))
    }

    fn perform(&mut self, action: &Action) -> Result<(), LabError> {
        let orders = orders::of(action, &self.topology, &self.world.plan);
        let orders = orders.map_err(LabError::Impossible)?;
        orders.into_iter().try_for_each(|order| self.obey(order))
    }

    fn verdict(&mut self) -> Result<Result<Verdict, String>, LabError> {
        let verdict = self.world.collector.judge(self.world.now);
        Ok(verdict
            .map(|verdict| told(&verdict))
            .ok_or_else(|| "the collector is down".to_owned()))
    }

    fn fallen(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn now(&self) -> Instant {
        let since = u64::try_from(self.world.now).unwrap_or(0);
        self.began + Duration::from_micros(since)
    }

    fn pass(&mut self, time: Duration) -> Result<(), LabError> {
        let until = self.world.now.saturating_add(micros(time));
        while let Some(next) = self.planned.first_entry() {
            let (at, _) = *next.key();
            if at > until {
                break;
            }
            let (_, order) = next.remove();
            self.world.run_until(at);
            self.obey(order)?;
        }
        self.world.run_until(until);
        Ok(())
    }
}

/// What a verdict says, as far as scenarios ask for it.
fn told(verdict: &evidence::Verdict) -> Verdict {
    let findings = verdict.findings.iter().map(|finding| Finding {
        code: finding.code.clone(),
        subject_text: finding.subject_text.clone(),
        confidence: finding.confidence.as_str().to_owned(),
        evidence: finding
            .evidence
            .iter()
            .map(|cited| Evidence {
                text: cited.text.clone(),
            })
            .collect(),
        suppressed_by: finding.suppressed_by.clone(),
    });
    let gates = verdict.gates.iter().map(|gate| Gate {
        level: gate.level.clone(),
        phase: match gate.phase {
            evidence::Phase::Ready => Phase::Ready,
            evidence::Phase::NotReady => Phase::NotReady,
            evidence::Phase::Unknown => Phase::Unknown,
        },
    });
    Verdict {
        findings: findings.collect(),
        gates: gates.collect(),
    }
}
