//! Trouble that accuses nobody: loss by chance, jitter, stalls, restarts, late reports. In chapters of ten minutes, each from a
//! seed of its own, so that any can be played again without those before it.

use evidence::{Finding, Verdict};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use super::{
    fault::Action,
    nat::NatKind,
    network::Weather,
    plan::Plan,
    reference::Reference,
    time::{HOUR, MILLI, Micros, SECOND},
    world::World,
};

/// One chapter.
pub const CHAPTER: Micros = HOUR / 6;

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    pub reference: Reference,
    pub world: World,
    pub seed: u64,
}

/// The clusters that chapters take turns with.
pub fn plan(seed: u64) -> Plan {
    match seed % 4 {
        0 => Plan::mixed(2, &[(NatKind::PortRestricted, 2)]),
        1 => Plan::mixed(3, &[(NatKind::Symmetric, 1), (NatKind::None, 1)]),
        2 => Plan::mixed(2, &[(NatKind::FullCone, 2)]),
        _ => Plan::mixed(4, &[]),
    }
}

/// A large cluster: a half of it by itself, a quarter behind one translation, and two sites that are routed. Sites that both
/// translate would not reach each other.
pub fn large(nodes: u8, seed: u64) -> Plan {
    let nat = [
        NatKind::PortRestricted,
        NatKind::FullCone,
        NatKind::Symmetric,
    ];
    let nat = nat[usize::try_from(seed % 3).unwrap_or(0)];
    let (home, routed) = ((nodes / 4).max(2), (nodes / 8).max(2));
    let public = nodes.saturating_sub(home + 2 * routed).max(1);
    let routed = (NatKind::None, routed);
    Plan::mixed(public, &[(nat, home), routed, routed])
}

/// Plays one chapter, in one of the usual clusters or in one of so many nodes.
pub fn chapter(seed: u64, nodes: Option<u8>, log: bool) -> Outcome {
    let plan = nodes.map_or_else(|| plan(seed), |nodes| large(nodes, seed));
    let mut random = StdRng::seed_from_u64(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let mut world = World::new(&plan, random.random());
    world.log = log.then(Vec::new);
    let mut reference = Reference::new(&plan);
    for (at, action) in events(&plan, &mut random) {
        reference.expect(at, &action);
        world.plan_action(at, action);
    }
    follow(&mut world, &mut reference, CHAPTER);
    Outcome {
        reference,
        world,
        seed,
    }
}

/// Judges until then.
pub fn follow(world: &mut World, reference: &mut Reference, until: Micros) {
    let mut named = String::new();
    while world.now < until {
        let Some(verdict) = world.next_verdict() else {
            reference.look(world);
            continue;
        };
        if world.log.is_some() {
            let now_named = roots(&verdict);
            if now_named != named {
                world.note(|| format!("=== named: [{now_named}]"));
                named = now_named;
            }
        }
        let before = reference.flaws.len();
        reference.check(world, &verdict);
        let new: Vec<String> = reference.flaws[before..]
            .iter()
            .map(ToString::to_string)
            .collect();
        for flaw in new {
            world.note(|| format!("!!! {flaw}"));
        }
    }
}

/// What a verdict names, in short.
pub fn roots(verdict: &Verdict) -> String {
    let one = |root: &Finding| format!("{} ({})", root.code, root.subject_text);
    verdict.roots().map(one).collect::<Vec<_>>().join(", ")
}

fn events(plan: &Plan, random: &mut StdRng) -> Vec<(Micros, Action)> {
    let count = plan.nodes.len();
    let weather = Weather {
        loss: random.random_range(0.0..0.05),
        jitter: random.random_range(0..40) * MILLI,
        reordered: random.random_range(0.0..0.02),
        doubled: random.random_range(0.0..0.01),
        slow: random.random_range(0..80) * MILLI,
    };
    let mut events = vec![(0, Action::Weather(weather))];
    let mut at = random.random_range(60..120) * SECOND;
    while at < CHAPTER - 60 * SECOND {
        let node = random.random_range(0..count);
        let millis =
            |random: &mut StdRng, from: Micros, to: Micros| random.random_range(from..to) * MILLI;
        match random.random_range(0..10) {
            0..4 => {
                let time = millis(random, 300, 3000);
                events.push((at, Action::Stall { node, time }));
            }
            4 | 5 => {
                let away = millis(random, 100, 2000);
                events.push((at, Action::RestartAgent { node, away }));
            }
            6 => {
                let away = millis(random, 100, 5000);
                events.push((at, Action::RestartCollector { away }));
            }
            7 => {
                let away = millis(random, 15_000, 60_000);
                events.push((at, Action::Reboot { node, away }));
            }
            _ => {
                let by = millis(random, 100, 2500);
                let until = at + millis(random, 5000, 60_000);
                events.push((at, Action::DelayReports { node, by }));
                events.push((until, Action::DelayReports { node, by: 0 }));
            }
        }
        at += random.random_range(20..180) * SECOND;
    }
    events
}
