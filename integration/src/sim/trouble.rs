//! Faults from a seed: each is made, has to be named, is healed, and has to be forgotten.

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    benign::{self, Outcome, follow},
    fault::{Action, Fault},
    nat::NatKind,
    network::Weather,
    plan::Plan,
    reference::{Bounds, Reference},
    time::{MILLI, Micros, SECOND},
    world::World,
};

/// From the beginning to the first fault.
const STARTS: Micros = 90 * SECOND;
/// How long a fault lasts.
const LASTS: Micros = 75 * SECOND;

/// What is made and healed, and when.
#[derive(Clone, Debug)]
pub struct Story {
    pub plan: Plan,
    pub events: Vec<(Micros, Action)>,
    pub ends: Micros,
}

impl Story {
    /// One fault after the other, from a seed: in one of the usual clusters or in one of so many nodes.
    pub fn from_seed(seed: u64, faults: usize, nodes: Option<u8>) -> Self {
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(0x9e6c_63d0_876a_68ab));
        let usual = |seed: u64| match seed % 3 {
            0 => Plan::mixed(2, &[(NatKind::PortRestricted, 2)]),
            1 => Plan::mixed(3, &[(NatKind::FullCone, 2)]),
            _ => Plan::mixed(2, &[(NatKind::Symmetric, 2), (NatKind::None, 2)]),
        };
        let plan = nodes.map_or_else(|| usual(seed), |nodes| benign::large(nodes, seed));
        let Bounds {
            recovers, slower, ..
        } = Bounds::of(&plan);
        let weather = Weather {
            loss: random.random_range(0.0..0.005),
            jitter: random.random_range(0..10) * MILLI,
            ..Weather::default()
        };
        let mut events = vec![(0, Action::Weather(weather))];
        let mut at = STARTS;
        for _ in 0..faults {
            let fault = any_fault(&plan, &mut random);
            events.push((at, Action::Break(fault)));
            let ends = at + LASTS + slower;
            events.push((ends, Action::Heal(fault)));
            at = ends + recovers + 20 * SECOND;
        }
        Self {
            plan,
            events,
            ends: at,
        }
    }

    /// Some faults at once on a quiet day.
    pub fn of(plan: Plan, faults: &[Fault]) -> Self {
        let Bounds {
            recovers, slower, ..
        } = Bounds::of(&plan);
        let ends = STARTS + LASTS + slower;
        let mut events = Vec::new();
        for fault in faults {
            events.push((STARTS, Action::Break(*fault)));
            events.push((ends, Action::Heal(*fault)));
        }
        Self {
            plan,
            events,
            ends: ends + recovers + 20 * SECOND,
        }
    }

    pub fn play(&self, seed: u64, log: bool) -> Outcome {
        let mut world = World::new(&self.plan, seed);
        world.log = log.then(Vec::new);
        let mut reference = Reference::new(&self.plan);
        let mut events = self.events.clone();
        events.sort_by_key(|(at, _)| *at);
        for (at, action) in events {
            let until = (at / world.judge_every) * world.judge_every;
            follow(&mut world, &mut reference, until);
            reference.expect(at, &action);
            world.plan_action(at, action);
        }
        follow(&mut world, &mut reference, self.ends);
        Outcome {
            reference,
            world,
            seed,
        }
    }
}

fn any_fault(plan: &Plan, random: &mut StdRng) -> Fault {
    let count = plan.nodes.len();
    let node = random.random_range(0..count);
    let mut other = random.random_range(0..count);
    while other == node || plan.same_lan(node, other) {
        other = (other + 1) % count;
    }
    let shared: Vec<usize> = (0..plan.sites.len())
        .filter(|site| {
            plan.nodes
                .iter()
                .filter(|node| node.site == Some(*site))
                .count()
                > 1
        })
        .collect();
    let site = shared[random.random_range(0..shared.len())];
    match random.random_range(0..10) {
        0 => Fault::block_to(plan, node),
        1 => Fault::BlockInHost { node },
        2 => Fault::BlockOut { site },
        3 => Fault::OneWayLoss {
            from: node,
            to: other,
            percent: 100,
        },
        4 => Fault::DropData { node },
        5 => Fault::HoleAtSite { site, bytes: 1400 },
        6 => Fault::HoleOneWay {
            from: node,
            to: other,
            bytes: 1400,
        },
        7 => Fault::CutOff { node },
        8 => Fault::KillAgent { node },
        _ => Fault::StopWireguard { node },
    }
}
