//! What the collector says to its readers, and what an agent says of itself.

use evidence::{Phase, Verdict, limits};
use prost::Message as _;
use proto::{
    convert::{
        agent_status_from_wire, agent_status_to_wire, gate_from_wire, gate_to_wire,
        verdict_from_wire, verdict_to_wire,
    },
    wire::{self, uplink::State},
};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "verdict",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    if let Ok(state) = wire::GateState::decode(bytes) {
        let is_unknown = wire::Phase::try_from(state.ready).is_err();
        let gate = gate_from_wire(state);
        assert!(
            !is_unknown || gate.phase == Phase::Unknown,
            "a phase of the future is {:?}",
            gate.phase
        );
        assert_eq!(gate_from_wire(gate_to_wire(&gate)), gate);
    }
    if let Ok(message) = wire::AgentStatus::decode(bytes) {
        match agent_status_from_wire(message) {
            Err(error) => drop(error.to_string()),
            Ok(status) => {
                assert!(status.uplinks.len() <= limits::UPLINKS);
                let again = agent_status_from_wire(agent_status_to_wire(&status));
                assert_eq!(again, Ok(status));
            }
        }
    }
    let Ok(message) = wire::Verdict::decode(bytes) else {
        return;
    };
    match verdict_from_wire(message) {
        Err(error) => drop(error.to_string()),
        Ok(verdict) => {
            assert_eq!(
                verdict_from_wire(verdict_to_wire(&verdict)).as_ref(),
                Ok(&verdict)
            );
            is_shown_whole(&verdict);
        }
    }
}

/// What `-o json` prints can be read back.
fn is_shown_whole(verdict: &Verdict) {
    let text = serde_json::to_vec(verdict).expect("a verdict has only text keys");
    let read: Verdict = serde_json::from_slice(&text).expect("what was printed can be read");
    assert_eq!(&read, verdict);
}

const SHOWN: &str = r#"{
  "nodes": [{
    "node": {"kind": "named", "name": "vps-1"}, "reporting": true, "reportAgeMs": 5,
    "version": "0.1.0", "kubespanAddress": "fd00::1", "gaps": ["tap: not permitted"]
  }],
  "pairs": [{
    "from": {"kind": "named", "name": "vps-1"}, "to": {"kind": "named", "name": "vps-2"},
    "rungs": [{"rung": "underlay", "outcome": "fail", "method": "tap", "evidence": [
      {"reporter": "vps-2", "fact": "source/tap", "ageMs": 5, "text": "none came"}
    ]}],
    "highest": null, "brokenAt": "underlay", "rttUs": 5, "lossPercent": 100, "handshakeAgeMs": 9,
    "endpoint": "192.0.2.1:51820"
  }],
  "findings": [{
    "code": "path-broken", "subject": {"kind": "cluster"}, "subjectText": "cluster", "confidence": "likely",
    "summary": "x", "evidence": [], "fixes": [{"who": "you", "action": "look", "command": null}],
    "couldAlsoBe": ["y"], "decidedBy": null, "explains": [], "suppressedBy": null
  }],
  "gates": [{
    "level": "mesh", "phase": "not-ready", "mayStart": "ready", "dependsOn": ["wireguard"], "reasons": ["z"],
    "terminal": false
  }]
}"#;

fn status() -> wire::AgentStatus {
    let uplink = |state| wire::Uplink {
        collector: "vps-1:21820".to_owned(),
        since_ms: 20,
        state: Some(state),
    };
    let to = wire::Endpoint {
        address: vec![192, 0, 2, 1],
        port: 21_820,
    };
    wire::AgentStatus {
        node: "vps-1".to_owned(),
        version: "0.1.0".to_owned(),
        now_ms: 30,
        started_ms: 10,
        waits_for: Some("the mesh key".to_owned()),
        uplinks: vec![
            uplink(State::Reporting(wire::Reporting {
                to: Some(to),
                way: 1,
            })),
            uplink(State::NotReporting("no answer".to_owned())),
        ],
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let whole: Verdict = serde_json::from_str(SHOWN).expect("the seed is a verdict");
    let bytes = verdict_to_wire(&whole).encode_to_vec();
    let parts = [
        Verdict {
            nodes: whole.nodes.clone(),
            ..Verdict::default()
        },
        Verdict {
            pairs: whole.pairs.clone(),
            ..Verdict::default()
        },
        Verdict {
            findings: whole.findings.clone(),
            ..Verdict::default()
        },
    ];
    let mut seeds = vec![bytes, status().encode_to_vec()];
    seeds.extend(
        parts
            .iter()
            .map(|part| verdict_to_wire(part).encode_to_vec()),
    );
    seeds.extend(
        whole
            .gates
            .iter()
            .map(|gate| gate_to_wire(gate).encode_to_vec()),
    );
    seeds
}
