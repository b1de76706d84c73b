//! What an agent says to the collector.

use evidence::{Delta, Fact, Facts, Moment, limits};
use prost::Message as _;
use proto::{
    convert::{Incoming, Taken, delta_to_wire, incoming, snapshot_to_wire},
    wire::{self, report_request::Body},
};

use super::wire_facts;
use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "report",
    run,
    seeds,
};

fn run(bytes: &[u8]) {
    let Ok(request) = wire::ReportRequest::decode(bytes) else {
        return;
    };
    let (sequence, now) = (request.sequence, Moment::from_millis(request.now_ms));
    let Taken { said, .. } = match incoming(request.body) {
        Err(error) => return drop(error.to_string()),
        Ok(taken) => taken,
    };
    match said {
        Incoming::Snapshot(facts) => {
            let sent = snapshot_to_wire(sequence, now, &facts);
            assert_eq!(carried(&sent), Incoming::Snapshot(facts.clone()));
            assert!(facts.len() <= limits::FACTS);
            check(&facts, request.now_ms);
        }
        Incoming::Delta(delta) => {
            let sent = delta_to_wire(sequence, now, &delta);
            assert_eq!(carried(&sent), Incoming::Delta(delta.clone()));
            for mut facts in [Facts::new(), known()] {
                let most = limits::FACTS + facts.len();
                // It may go on from others.
                if let Err(error) = facts.apply(delta.clone()) {
                    drop(error.to_string());
                }
                assert!(facts.len() <= most);
                check(&facts, request.now_ms);
            }
        }
    }
}

/// Each fact that can goes on.
fn moves() -> Delta {
    let older = known();
    let newer = older.iter().cloned().map(|mut fact| {
        match &mut fact {
            Fact::Source(_, source) => source.read_at = source.read_at.shifted(200),
            Fact::Peer(_, peer) => peer.rx_bytes += 136,
            Fact::EchoSent(_, echo) => echo.sent += 1,
            Fact::EchoHeard(_, echo) => echo.heard += 1,
            Fact::Sizes(_, layers) => {
                for sizes in layers {
                    sizes.full_arrived = sizes.full_arrived.map(|at| at.shifted(5_000));
                }
            }
            Fact::NodeEcho(_, echo) => {
                for asked in &mut echo.asked {
                    asked.answered += 1;
                }
            }
            _ => {}
        }
        fact
    });
    let newer: Facts = newer.collect();
    newer.difference_from(&older).by_moves(&older)
}

/// What the node said before.
fn known() -> Facts {
    let all = Body::Snapshot(wire::Snapshot {
        facts: wire_facts::all(),
    });
    match incoming(Some(all)).expect("the seeds are well-formed").said {
        Incoming::Snapshot(facts) => facts,
        Incoming::Delta(_) => unreachable!("it was a snapshot"),
    }
}

fn carried(request: &wire::ReportRequest) -> Incoming {
    let bytes = request.encode_to_vec();
    let decoded =
        wire::ReportRequest::decode(bytes.as_slice()).expect("what was encoded is well-formed");
    let taken = incoming(decoded.body).expect("what was taken once is taken again");
    assert_eq!(taken.left_out, 0, "what this version says it knows");
    taken.said
}

/// What the collector does next: shifts the facts onto its own timeline, and tells them apart from those before.
fn check(facts: &Facts, offset: i64) {
    let shifted: Facts = facts
        .iter()
        .map(|fact| fact.clone().shifted(offset))
        .collect();
    assert_eq!(shifted.len(), facts.len());
    let mut followed = Facts::new();
    let all = facts.difference_from(&Facts::new());
    followed.apply(all).expect("it is of these");
    assert_eq!(&followed, facts);
    for fact in facts.iter() {
        assert!(!fact.key().to_string().is_empty());
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let request = |body| wire::ReportRequest {
        sequence: 1,
        now_ms: 1000,
        body,
    };
    let all = wire_facts::all();
    let mut requests = vec![
        request(None),
        request(Some(Body::Snapshot(wire::Snapshot { facts: all.clone() }))),
        request(Some(Body::Delta(wire::Delta {
            upserts: all.clone(),
            removed: wire_facts::keys(),
            ..wire::Delta::default()
        }))),
        request(Some(Body::Delta(wire::Delta {
            upserts: all.clone(),
            routine: true,
            ..wire::Delta::default()
        }))),
    ];
    requests.push(delta_to_wire(2, Moment::ZERO, &moves()));
    // One of each kind alone, so that each is found quickly.
    requests.extend(all.into_iter().map(|fact| {
        let facts = vec![fact];
        request(Some(Body::Snapshot(wire::Snapshot { facts })))
    }));
    requests.iter().map(prost::Message::encode_to_vec).collect()
}
