//! The level of the discovery service.

use evidence::{
    Discovery, Fact, FactKey, Gate, Phase,
    discovery::{DiscoveryEndpoint, FailureKind, Stage},
};

use crate::support::{Lab, NODES, ago, cases::discovery};

fn level(lab: &Lab) -> Gate {
    let verdict = lab.verdict();
    verdict.gate("discovery").cloned().expect("a level")
}

/// Talos on a node says that it does not use the service.
fn off(mut lab: Lab, node: &str) -> Lab {
    let said = Discovery {
        since: ago(590_000),
        cluster: None,
        registry_off: true,
        endpoints: Vec::new(),
    };
    lab.put(node, Fact::Discovery(said));
    lab
}

#[test]
fn what_no_node_uses_is_not_waited_for_and_every_node_has_to_say_so() {
    let none = NODES
        .iter()
        .fold(discovery::served(), |lab, node| off(lab, node));
    let gate = level(&none);
    assert_eq!(gate.phase, Phase::Ready);
    assert!(
        gate.reasons[0].starts_with("not applicable"),
        "{:?}",
        gate.reasons
    );
    assert!(none.verdict().findings.is_empty());
    let one_silent = none.without("vps-2", &FactKey::Discovery);
    assert_eq!(level(&one_silent).phase, Phase::Unknown);
}

#[test]
fn a_node_that_does_not_use_it_among_others_that_do_is_introduced_to_nobody() {
    let gate = level(&off(discovery::served(), "vps-2"));
    assert_eq!(gate.phase, Phase::NotReady);
    assert!(
        gate.reasons[0].starts_with("vps-2: Talos does not use"),
        "{:?}",
        gate.reasons
    );
}

#[test]
fn the_level_of_discovery_is_ready_when_every_node_is_served() {
    assert_eq!(level(&discovery::served()).phase, Phase::Ready);
    let shut = |seen: &mut DiscoveryEndpoint| {
        discovery::shut(seen, Stage::Tcp, FailureKind::Silent);
    };
    let gate = level(&discovery::with("vps-2", shut));
    assert_eq!(gate.phase, Phase::NotReady);
    assert!(
        gate.reasons[0].starts_with("vps-2: the discovery service fails at TCP"),
        "{:?}",
        gate.reasons
    );
    let once = |seen: &mut DiscoveryEndpoint| {
        shut(seen);
        seen.addresses[0].failed = 1;
    };
    assert_eq!(level(&discovery::with("vps-2", once)).phase, Phase::Unknown);
    let silent = discovery::served().without("vps-2", &FactKey::Discovery);
    assert_eq!(level(&silent).phase, Phase::Unknown);
    let gate = level(&Lab::healthy());
    assert_eq!(gate.phase, Phase::Unknown);
    assert!(
        gate.reasons[0].contains("--discovery"),
        "{:?}",
        gate.reasons
    );
}
