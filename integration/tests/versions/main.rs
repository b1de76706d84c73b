//! Agents, collectors and readers of one minor version more or less, over real TLS: a real collector, the real command line.
//!
//! There is one version of the contract so far, so the others are made of it (`schema.rs`). What must hold of any of them: nobody is
//! refused for being of another version, nothing that is not understood is good news, and nobody is accused for it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../agent/diagnosis/benches/judgement/mesh.rs"]
#[expect(dead_code, reason = "the bench uses more of it")]
mod mesh;
mod raw;
mod schema;
mod stage;

use std::collections::BTreeSet;

use diagnosis::diagnose;
use evidence::{Facts, Finding, NodeName, Phase, Verdict};
use prost::Message as _;
use proto::{
    convert::{Incoming, Taken, gate_to_wire, incoming, snapshot_to_wire, verdict_to_wire},
    wire::{self, GetRequest, ReportRequest, mesh_client::MeshClient},
};
use protox::prost_reflect::{DynamicMessage, Value};
use schema::{LATER, Place};
use stage::{KEY, Stage};
use tonic::{Code, Request, Status};

/// Nodes of the mesh that everybody tells of: two of them public, two behind a NAT.
const NODES: usize = 4;
const GATES: [&str; 3] = ["underlay", "wireguard", "mesh"];

/// The snapshot of each node's agent, as it is written today.
fn snapshots() -> Vec<(NodeName, ReportRequest)> {
    let view = mesh::view(NODES, mesh::Fault::Nothing);
    let nodes = view.nodes.iter();
    nodes
        .map(|(name, node)| (name.clone(), snapshot_to_wire(1, mesh::NOW, &node.facts)))
        .collect()
}

/// What is judged when each node's facts have come over the wire as `told`; what was refused, by its words.
fn judged(told: &[Vec<u8>]) -> Result<(Verdict, usize), String> {
    let mut view = mesh::view(NODES, mesh::Fault::Nothing);
    let mut left_out = 0;
    for (node, bytes) in view.nodes.values_mut().zip(told) {
        let request = ReportRequest::decode(bytes.as_slice()).map_err(|error| error.to_string())?;
        let taken = incoming(request.body).map_err(|error| error.to_string())?;
        let Taken {
            said: Incoming::Snapshot(facts),
            left_out: more,
        } = taken
        else {
            return Err("a snapshot was told".to_owned());
        };
        node.facts = facts.iter().cloned().collect::<Facts>();
        left_out += more;
    }
    Ok((diagnose(&view, mesh::NOW), left_out))
}

/// All snapshots in the words of another version.
fn retold(
    pool: &protox::prost_reflect::DescriptorPool,
    mut change: impl FnMut(&mut DynamicMessage),
) -> Vec<Vec<u8>> {
    let told = snapshots().into_iter().map(|(_, snapshot)| {
        let mut message = schema::read(pool, "ReportRequest", &snapshot.encode_to_vec());
        change(&mut message);
        message.encode_to_vec()
    });
    told.collect()
}

fn roots(verdict: &Verdict) -> Vec<&Finding> {
    let findings = verdict.findings.iter();
    findings
        .filter(|finding| finding.suppressed_by.is_none())
        .collect()
}

fn phases(verdict: &Verdict) -> Vec<(String, Phase)> {
    let gates = verdict.gates.iter();
    gates.map(|gate| (gate.level.clone(), gate.phase)).collect()
}

/// No gate says more than on a mesh where everything is known.
fn no_better(verdict: &Verdict, whole: &Verdict, what: &str) {
    for (gate, known) in verdict.gates.iter().zip(&whole.gates) {
        let opened = gate.phase == Phase::Ready && known.phase != Phase::Ready;
        assert!(!opened, "{what} opens {}", gate.level);
    }
}

fn whole() -> Verdict {
    let (verdict, left_out) = judged(&retold(&schema::ours(), |_| {})).unwrap();
    assert_eq!(left_out, 0);
    for level in GATES {
        assert_eq!(verdict.gate(level).unwrap().phase, Phase::Ready, "{level}");
    }
    verdict
}

#[test]
fn fields_of_a_later_agent_change_no_verdict() {
    let told = retold(&schema::later(), schema::add_fields);
    let mine = retold(&schema::ours(), |_| {});
    assert!(told[0].len() > mine[0].len() + 1000, "fields were added");
    assert_eq!(judged(&told), Ok((whole(), 0)));
}

/// One value after the other: each may cost what it says, and never a gate that opens or somebody who is accused.
#[test]
fn no_value_of_a_later_agent_is_refused_good_news_or_an_accusation() {
    let later = schema::later();
    let whole = whole();
    let mut places = BTreeSet::new();
    for (_, snapshot) in snapshots() {
        let message = schema::read(&later, "ReportRequest", &snapshot.encode_to_vec());
        places.extend(schema::enumerations(&message));
    }
    let named = |of: &str, field: &str| places.contains(&(of.to_owned(), field.to_owned()));
    assert!(
        named("Source", "id") && named("LayerSizes", "layer"),
        "{places:?}"
    );
    for place in &places {
        let what = format!("{place:?}");
        let told = retold(&later, |message| schema::set_later(message, place));
        let (verdict, _) = judged(&told).unwrap_or_else(|error| panic!("{what}: {error}"));
        no_better(&verdict, &whole, &what);
        assert!(roots(&verdict).is_empty(), "{what}: {:?}", roots(&verdict));
        assert_ne!(phases(&verdict), phases(&whole), "{what} costs nothing");
    }
}

/// What has been in the contract from the beginning, and without which a fact would say nothing: by the refusal.
const NEEDED: [&str; 3] = [
    "field clock.reading: expected a reading",
    "field steering.ipv4: expected the rule and the route of a family",
    "field steering.ipv6: expected the rule and the route of a family",
];
/// Where absence says something, as it has from the beginning, and what is found then. A field that comes later must not be
/// here: its absence is that of an earlier agent.
const MEANT: [&str; 2] = [
    "SteeredPrefix.marked_via: steering-bypassed",
    "SteeringFamily.rule_priority: steering-rule-missing",
];

#[test]
fn what_an_earlier_agent_does_not_say_is_unknown_and_no_fault() {
    let ours = schema::ours();
    let whole = whole();
    let mut places: BTreeSet<Place> = BTreeSet::new();
    for (_, snapshot) in snapshots() {
        let message = schema::read(&ours, "ReportRequest", &snapshot.encode_to_vec());
        places.extend(schema::optional(&message));
    }
    assert!(places.len() > 20, "{places:?}");
    let (mut refusals, mut meant) = (BTreeSet::new(), BTreeSet::new());
    for place in &places {
        let what = format!("{}.{}", place.0, place.1);
        match judged(&retold(&ours, |message| schema::clear(message, place))) {
            Err(refused) => {
                refusals.insert(refused);
            }
            Ok((verdict, left_out)) => {
                assert_eq!(left_out, 0, "{what}");
                no_better(&verdict, &whole, &what);
                let codes = roots(&verdict).into_iter().map(|root| root.code.clone());
                meant.extend(codes.map(|code| format!("{what}: {code}")));
            }
        }
    }
    assert_eq!(refusals, NEEDED.map(str::to_owned).into());
    assert_eq!(meant, MEANT.map(str::to_owned).into());
}

/// A later agent beside agents of today: its further kinds of facts are counted, the mesh is judged by the rest.
#[tokio::test]
async fn a_later_agent_reports_to_a_collector_of_today_and_the_command_line_shows_the_mesh() {
    let stage = Stage::start();
    let later = schema::later();
    let mut streams = Vec::new();
    for (number, (name, snapshot)) in snapshots().into_iter().enumerate() {
        let mut message = schema::read(&later, "ReportRequest", &snapshot.encode_to_vec());
        if number == 0 {
            add_later_facts(&mut message);
            schema::add_fields(&mut message);
        }
        streams.push(stage.report(&name, message.encode_to_vec()).await.unwrap());
    }
    let run = stage.ask("gate mesh --wait-timeout 10s").await;
    assert_eq!(run.code, 0, "{run:?}");
    // A kind of fact and a source that nobody knows yet.
    assert_eq!(stage.counters.facts_unknown.get(), 2);
    assert_eq!(stage.counters.messages_malformed.get(), 0);
    let metrics: Vec<_> = stage.counters.all().collect();
    assert!(metrics.contains(&("collector_facts_unknown_total", 2)));
    let status = stage.ask("status").await;
    assert!(status.stdout.contains("node-0003"), "{status:?}");
    // It goes on: deltas with nothing in them that is known, and one that says what is.
    for sequence in 2..5 {
        let delta = wire::Delta {
            upserts: vec![wire::Fact { fact: None }],
            removed: vec![wire::FactKey {
                kind: LATER,
                ..wire::FactKey::default()
            }],
            ..wire::Delta::default()
        };
        streams[0].send(sequence, delta).await.unwrap();
    }
    assert_eq!(stage.counters.facts_unknown.get(), 8);
    assert!(roots(&stage.verdict().await).is_empty());
}

fn add_later_facts(request: &mut DynamicMessage) {
    let snapshot = request.get_field_by_name_mut("snapshot").unwrap();
    let facts = snapshot.as_message_mut().unwrap();
    let facts = facts.get_field_by_name_mut("facts").unwrap();
    let facts = facts.as_list_mut().unwrap();
    let is_source = |fact: &&Value| fact.as_message().unwrap().has_field_by_name("source");
    let mut source = facts.iter().find(is_source).unwrap().clone();
    schema::set_later(
        source.as_message_mut().unwrap(),
        &("Source".to_owned(), "id".to_owned()),
    );
    let mut kind = source.clone();
    schema::take_later_case(kind.as_message_mut().unwrap());
    facts.extend([source, kind]);
}

#[tokio::test]
async fn another_contract_is_refused_with_both_named_by_agents_collectors_and_the_command_line() {
    let stage = Stage::start();
    let (name, snapshot) = snapshots().swap_remove(0);
    let path = "/mesh.v2.Report/Stream";
    let refused = stage.report_at(path, &name, snapshot.encode_to_vec()).await;
    let status = refused.err().unwrap();
    assert_eq!(status.code(), Code::Unimplemented);
    for part in ["mesh.v1", "mesh.v2"] {
        assert!(status.message().contains(part), "{status}");
    }
    // The other way round: a collector of the next contract answers as ours does.
    let words = "mesh.v1 was asked for, and this collector speaks mesh.v2";
    let no = || Err(Status::unimplemented(words));
    let address = raw::serve(
        &stage::key(KEY),
        raw::Answers::from([
            ("/mesh.v1.Gate/Check", no()),
            ("/mesh.v1.Gate/Wait", no()),
            ("/mesh.v1.Mesh/Get", no()),
        ]),
    );
    for question in ["gate mesh --wait-timeout 0", "status"] {
        let run = stage::ask(address, question).await;
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stderr.contains(words), "{run:?}");
    }
}

/// What the command line makes of a collector that says more than it understands.
#[tokio::test]
async fn a_later_collector_is_read_and_what_is_not_understood_opens_no_gate() {
    let later = schema::later();
    let told = verdict_to_wire(&whole()).encode_to_vec();
    let mut verdict = schema::read(&later, "Verdict", &told);
    let place = |of: &str, field: &str| (of.to_owned(), field.to_owned());
    schema::set_later(&mut verdict, &place("RungState", "outcome"));
    schema::set_later(&mut verdict, &place("GateState", "ready"));
    schema::add_fields(&mut verdict);
    let mut gate = schema::read(
        &later,
        "GateState",
        &gate_to_wire(whole().gate("mesh").unwrap()).encode_to_vec(),
    );
    schema::set_later(&mut gate, &place("GateState", "ready"));
    schema::add_fields(&mut gate);
    let gate = gate.encode_to_vec();
    let address = raw::serve(
        &stage::key(KEY),
        raw::Answers::from([
            ("/mesh.v1.Gate/Check", Ok(gate.clone())),
            ("/mesh.v1.Gate/Wait", Ok(gate)),
            ("/mesh.v1.Mesh/Get", Ok(verdict.encode_to_vec())),
        ]),
    );
    let run = stage::ask(address, "gate mesh --wait-timeout 0").await;
    assert_eq!(run.code, 3, "{run:?}");
    let status = stage::ask(address, "status").await;
    let doubts = [
        "No problem found, but not all is proved",
        "12 called good for reasons that this version does not know",
        "gates: none is ready",
        "node-0003",
    ];
    for part in doubts {
        assert!(status.stdout.contains(part), "{part}: {status:?}");
    }

    // A rung that nobody here knows: the pair is not shown, and not counted as good.
    let mut verdict = schema::read(&later, "Verdict", &told);
    schema::set_later(&mut verdict, &place("RungState", "rung"));
    verdict.clear_field_by_name("tally");
    let verdict = verdict.encode_to_vec();
    let read =
        proto::convert::verdict_from_wire(wire::Verdict::decode(verdict.as_slice()).unwrap());
    let read = read.unwrap();
    assert!(read.pairs.is_empty());
    assert_eq!((read.tally.good, read.tally.unproved), (0, 12));
    let address = raw::serve(
        &stage::key(KEY),
        raw::Answers::from([("/mesh.v1.Mesh/Get", Ok(verdict))]),
    );
    let status = stage::ask(address, "status").await;
    assert!(status.stdout.contains("12 not proved"), "{status:?}");
    assert!(status.stdout.contains("node-0003"), "{status:?}");
}

/// A change of a kind that came later has no place in the history that is shown; the others have.
#[tokio::test]
async fn a_history_with_a_kind_of_change_of_a_later_collector_shows_the_others() {
    let known = wire::Transition {
        at_ms: 1_000,
        change: Some(wire::transition::Change::Finding(wire::FindingChange {
            code: "path-broken".to_owned(),
            subject: "vps-1".to_owned(),
            ..wire::FindingChange::default()
        })),
        earlier: None,
    };
    let unknown = wire::Transition {
        change: None,
        ..known.clone()
    };
    let history = wire::HistoryResponse {
        now_ms: 2_000,
        transitions: vec![unknown, known],
        run: None,
    };
    let mut later = schema::read(
        &schema::later(),
        "HistoryResponse",
        &history.encode_to_vec(),
    );
    schema::add_fields(&mut later);
    let address = raw::serve(
        &stage::key(KEY),
        raw::Answers::from([("/mesh.v1.Mesh/History", Ok(later.encode_to_vec()))]),
    );
    let run = stage::ask(address, "history").await;
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(run.stdout.matches("path-broken").count(), 1, "{run:?}");
}

/// An earlier collector tells no tally, no counts and no gates' details; the command line shows the rest.
#[tokio::test]
async fn an_earlier_collector_is_read_without_what_it_does_not_say() {
    let ours = schema::ours();
    let mut verdict = schema::read(&ours, "Verdict", &verdict_to_wire(&whole()).encode_to_vec());
    for place in schema::optional(&verdict) {
        let needed = [("Ladder", "from"), ("Ladder", "to"), ("NodeState", "node")];
        if !needed.contains(&(place.0.as_str(), place.1.as_str())) {
            schema::clear(&mut verdict, &place);
        }
    }
    let address = raw::serve(
        &stage::key(KEY),
        raw::Answers::from([("/mesh.v1.Mesh/Get", Ok(verdict.encode_to_vec()))]),
    );
    let status = stage::ask(address, "status").await;
    assert_eq!(status.code, 0, "{status:?}");
    assert!(status.stdout.contains("node-0003"), "{status:?}");
}

/// A later reader: what its questions hold besides ours is passed over, and a question that we do not know is not answered as another.
#[tokio::test]
async fn a_later_reader_is_answered_what_it_asked_or_not_at_all() {
    let stage = Stage::start();
    let later = schema::later();
    let mut get = schema::read(&later, "GetRequest", &GetRequest {}.encode_to_vec());
    schema::add_fields(&mut get);
    let bytes = stage
        .call("/mesh.v1.Mesh/Get", get.encode_to_vec())
        .await
        .unwrap();
    wire::Verdict::decode(bytes.as_slice()).unwrap();
    let mut check = schema::read(&later, "CheckRequest", &[]);
    check.set_field_by_name("level", Value::String("mesh".to_owned()));
    schema::add_fields(&mut check);
    stage
        .call("/mesh.v1.Gate/Check", check.encode_to_vec())
        .await
        .unwrap();
    check.set_field_by_name("question", Value::EnumNumber(LATER));
    let refused = stage
        .call("/mesh.v1.Gate/Check", check.encode_to_vec())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    let refused = stage
        .call("/mesh.v1.Forecast/Get", Vec::new())
        .await
        .unwrap_err();
    assert!(refused.message().contains("too old to have"), "{refused}");
    let mut client = MeshClient::new(stage.reader().await);
    assert!(client.get(Request::new(GetRequest {})).await.is_ok());
}
