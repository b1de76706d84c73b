//! Clusters in virtual time.

use evidence::{Ladder, Rung};
use integration::sim::{
    benign,
    fault::{Action, Fault},
    nat::NatKind,
    plan::Plan,
    reference::FlawKind,
    time::SECOND,
    trouble::Story,
    world::World,
};

fn home() -> Plan {
    Plan::mixed(2, &[(NatKind::PortRestricted, 2)])
}

#[test]
fn the_same_seed_plays_the_same_again() {
    let story = Story::of(home(), &[Fault::KillAgent { node: 1 }]);
    let log = |seed| story.play(seed, true).world.log.unwrap();
    let first = log(7);
    assert!(first.len() > 50, "{} lines", first.len());
    assert!(first == log(7), "a seed does not replay");
    assert!(first != log(8), "the seed decides nothing");
}

#[test]
fn a_killed_agent_is_named_and_forgotten_and_no_gate_stays_open() {
    let story = Story::of(home(), &[Fault::KillAgent { node: 1 }]);
    let reference = story.play(3, false).reference;
    assert_eq!(reference.times.len(), 1, "{:?}", reference.flaws);
    let flaws: Vec<_> = reference.flaws.iter().map(ToString::to_string).collect();
    assert!(flaws.is_empty(), "{flaws:#?}");
    assert!(reference.ready > 0, "the mesh was never ready");
}

#[test]
fn no_gate_stays_open_over_a_blocked_port() {
    let plan = home();
    let story = Story::of(plan.clone(), &[Fault::block_to(&plan, 0)]);
    let reference = story.play(5, false).reference;
    assert_eq!(reference.times.len(), 1, "{:?}", reference.flaws);
    let open = reference
        .flaws
        .iter()
        .any(|flaw| flaw.kind == FlawKind::OpenGate);
    assert!(!open, "{:?}", reference.flaws);
}

/// Larger ones are played by `lab sim --nodes`.
#[test]
fn in_a_mesh_of_24_nodes_a_blocked_port_is_named_and_nothing_else() {
    let plan = benign::large(24, 0);
    assert_eq!(plan.nodes.len(), 24);
    let behind_nat = plan.named("site-1-2").unwrap();
    let fault = Fault::block_to(&plan, behind_nat);
    let story = Story {
        plan,
        events: vec![(30 * SECOND, Action::Break(fault))],
        ends: 55 * SECOND,
    };
    let reference = story.play(1, false).reference;
    let named: Vec<_> = reference.times.iter().map(|(fault, _)| *fault).collect();
    assert_eq!(named, [fault], "{:?}", reference.flaws);
    let flaws: Vec<_> = reference.flaws.iter().map(ToString::to_string).collect();
    assert!(flaws.is_empty(), "{flaws:#?}");
}

#[test]
fn every_direction_is_proved_by_an_echo_to_the_node_address() {
    let plan = home();
    let mut world = World::new(&plan, 4);
    world.run_until(60 * SECOND);
    let verdict = world.next_verdict().unwrap();
    let steering = |ladder: &Ladder| {
        let mut rungs = ladder.rungs.iter();
        rungs.any(|state| {
            state.rung == Rung::Steering && state.method.starts_with("echo to the node address")
        })
    };
    let proved = verdict
        .pairs
        .iter()
        .filter(|ladder| steering(ladder))
        .count();
    assert_eq!(proved, 12, "{:#?}", verdict.pairs);
}
