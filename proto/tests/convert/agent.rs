//! What an agent says of itself comes off the wire as it went on, and is refused by the field that is wrong.

use evidence::{AgentStatus, Moment, NodeName, Uplink, UplinkState, UplinkWay, limits};
use proto::{
    convert::{agent_status_from_wire, agent_status_to_wire},
    wire::{self, uplink::State},
};

fn status() -> AgentStatus {
    let uplink = |collector: &str, state| Uplink {
        collector: collector.to_owned(),
        since: Moment::from_millis(20),
        state,
    };
    let reporting = |way| UplinkState::Reporting {
        to: "203.0.113.11:21820".parse().unwrap(),
        way,
    };
    let reason = "no answer from 203.0.113.12:21820 within 3 s".to_owned();
    AgentStatus {
        node: NodeName::parse("vps-1").unwrap(),
        version: "0.1.0".to_owned(),
        now: Moment::from_millis(1000),
        started: Moment::from_millis(10),
        waits_for: Some("the mesh key".to_owned()),
        uplinks: vec![
            uplink("vps-1:21820", reporting(UplinkWay::Underlay)),
            uplink("cp-2", reporting(UplinkWay::Routes)),
            uplink("cp-3", reporting(UplinkWay::Tunnel)),
            uplink("cp-4", UplinkState::NotReporting { reason }),
        ],
    }
}

fn refused(change: impl FnOnce(&mut wire::AgentStatus)) -> String {
    let mut message = agent_status_to_wire(&status());
    change(&mut message);
    agent_status_from_wire(message).unwrap_err().to_string()
}

#[test]
fn a_status_comes_off_the_wire_as_it_went_on() {
    let message = agent_status_to_wire(&status());
    assert_eq!(agent_status_from_wire(message), Ok(status()));
}

#[test]
fn a_status_is_refused_by_the_field_that_is_wrong() {
    let reporting = |message: &mut wire::AgentStatus, to, way| {
        let state = wire::Reporting { to, way };
        message.uplinks[0].state = Some(State::Reporting(state));
    };
    let to = || agent_status_to_wire(&status()).uplinks[0].state.clone();
    let Some(State::Reporting(good)) = to() else {
        panic!("the first one reports");
    };
    for (error, says) in [
        (
            refused(|message| message.node = "a b".to_owned()),
            "field node",
        ),
        (
            refused(|message| message.version = "v".repeat(limits::TEXT + 1)),
            "field version",
        ),
        (
            refused(|message| message.waits_for = Some("a\nb".to_owned())),
            "field waits_for",
        ),
        (
            refused(|message| {
                let one = message.uplinks[0].clone();
                message.uplinks = vec![one; limits::UPLINKS + 1];
            }),
            "field uplinks: expected at most 32 entries, got 33",
        ),
        (
            refused(|message| message.uplinks[0].state = None),
            "field uplink.state",
        ),
        (
            refused(|message| reporting(message, None, 1)),
            "field uplink.reporting.to",
        ),
        (
            refused(|message| reporting(message, good.to.clone(), 9)),
            "field uplink.reporting.way: expected 1, 2 or 3, got 9",
        ),
    ] {
        assert!(error.starts_with(says), "{error}");
    }
}
