//! The level of the discovery service.

use evidence::{
    Discovery, Fact, FactKey, Gate, Phase,
    discovery::{DiscoveryEndpoint, FailureKind, NameOutcome, Stage},
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

#[test]
fn one_call_that_failed_is_no_proof_and_two_in_a_row_are() {
    let refused = |times: u32| {
        discovery::with("vps-2", move |seen: &mut DiscoveryEndpoint| {
            let address = &mut seen.addresses[0];
            address.calls_failed = times;
            address.hello = Some(discovery::stage(Stage::Hello, Some(FailureKind::Status)));
        })
    };
    assert_eq!(level(&refused(1)).phase, Phase::Unknown);
    assert!(refused(1).verdict().findings.is_empty());
    assert_eq!(level(&refused(2)).phase, Phase::NotReady);
    let roots = refused(2).verdict().findings;
    assert_eq!(roots[0].code, "discovery-unreachable");
}

#[test]
fn a_service_that_was_last_asked_long_ago_is_not_known_to_serve() {
    let old = discovery::with("vps-2", |seen: &mut DiscoveryEndpoint| {
        let hello = seen.addresses[0].hello.as_mut();
        hello.expect("a Hello").at = ago(600_000);
    });
    assert_eq!(level(&old).phase, Phase::Unknown);
    assert!(old.verdict().findings.is_empty());
}

#[test]
fn one_that_sends_its_clients_elsewhere_counts_as_where_it_sends_them() {
    let sent = |edit: fn(&mut DiscoveryEndpoint)| {
        let mut lab = discovery::with("vps-2", |seen: &mut DiscoveryEndpoint| {
            seen.redirect = Some("other.test:443".to_owned());
        });
        let facts = &lab.node("vps-2").facts;
        let Some(Fact::Discovery(mut seen)) = facts.get(&FactKey::Discovery).cloned() else {
            panic!("a fact about discovery")
        };
        let mut target = seen.endpoints[0].clone();
        target.redirect = None;
        target.host = "other.test".to_owned();
        edit(&mut target);
        seen.endpoints.push(target);
        lab.put("vps-2", Fact::Discovery(seen));
        level(&lab)
    };
    assert_eq!(sent(|_| {}).phase, Phase::Ready);
    let dead = sent(|target| discovery::shut(target, Stage::Tcp, FailureKind::Refused));
    assert_eq!(dead.phase, Phase::NotReady);
}

#[test]
fn a_proxy_whose_name_is_unknown_is_named_and_not_the_service() {
    let lab = discovery::with("vps-2", |seen: &mut DiscoveryEndpoint| {
        discovery::unnamed(seen, NameOutcome::NoSuchName, 2);
        seen.proxy = Some("proxy.test:3128".to_owned());
    });
    let roots = lab.verdict().findings;
    let summary = &roots[0].summary;
    assert!(summary.contains("proxy.test, the proxy"), "{summary}");
    assert!(!summary.contains("discovery.test"), "{summary}");
}
