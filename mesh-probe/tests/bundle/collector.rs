//! A real collector: what it judged is what its bundle is judged to be.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use diagnosis::{
    Expectation, View, Watch, diagnose,
    graph::{Graph, parse as parse_graph},
};
use evidence::{Facts, Moment, NodeName, Verdict};
use mesh_collector::{Config, run};
use mesh_probe::bundle::{Bundle, parse};
use proto::{
    convert::snapshot_to_wire,
    limits::MESSAGE_BYTES,
    transport::{Mark, dial, listen},
    trust::MeshKey,
    wire::{EvidenceRequest, ReportRequest, mesh_client::MeshClient, report_client::ReportClient},
};
use tokio::{process::Command, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, transport::Channel};
use zeroize::Zeroizing;

use crate::support::{Lab, NOW};

const KEY_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Longer than anything here takes.
const BOUND: Duration = Duration::from_secs(20);

/// What was judged, by its moment and by how many levels: each test has a graph of its own.
static JUDGED: Mutex<BTreeMap<(i64, usize), Verdict>> = Mutex::new(BTreeMap::new());

fn judge(_: &mut Watch, view: &View, now: Moment) -> Verdict {
    let verdict = diagnose(view, now);
    JUDGED.lock().unwrap().insert(
        (now.as_millis(), view.expectation.graph.levels().len()),
        verdict.clone(),
    );
    verdict
}

fn key() -> MeshKey {
    MeshKey::from_bytes(Zeroizing::new([7; 32]))
}

fn judged(bundle: &Bundle) -> Verdict {
    let levels = bundle.view.expectation.graph.levels().len();
    JUDGED.lock().unwrap()[&(bundle.at.as_millis(), levels)].clone()
}

fn start(graph: Graph) -> SocketAddr {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = Config::new(
        key(),
        Expectation {
            graph,
            ..Expectation::default()
        },
    );
    config.judge = judge;
    tokio::spawn(run(listener, config, std::future::pending()));
    address
}

async fn channel(address: SocketAddr, tls: rustls::ClientConfig) -> Channel {
    let target = address.to_string();
    let dialled = dial(&target, Mark::None, Arc::new(tls));
    timeout(BOUND, Box::pin(dialled)).await.unwrap().unwrap()
}

/// An agent that says once what it sees. It reports as long as the sender is kept.
async fn report(
    address: SocketAddr,
    name: &NodeName,
    facts: &Facts,
) -> mpsc::Sender<ReportRequest> {
    let tls = key().agent_config(name, b"machine").unwrap();
    let mut client = ReportClient::new(channel(address, tls).await);
    let (requests, receiver) = mpsc::channel(4);
    requests
        .send(snapshot_to_wire(1, NOW, facts))
        .await
        .unwrap();
    let stream = client.stream(ReceiverStream::new(receiver));
    let mut responses = timeout(BOUND, stream).await.unwrap().unwrap().into_inner();
    timeout(BOUND, responses.message()).await.unwrap().unwrap();
    tokio::spawn(async move { while let Ok(Some(_)) = responses.message().await {} });
    requests
}

async fn probe(address: SocketAddr, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-probe"));
    command
        .env_clear()
        .env("MESH_KEY", KEY_TEXT)
        .env("MESH_COLLECTOR", address.to_string())
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(BOUND, command.output()).await.unwrap().unwrap();
    assert!(output.stderr.is_empty() || output.status.code() != Some(0));
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[tokio::test]
async fn a_replay_says_what_the_collector_said_at_that_moment() {
    let address = start(Graph::default());
    let lab = Lab::healthy().lose("vps-1", "vps-2", 8000);
    let mut agents = Vec::new();
    for (name, node) in &lab.view.nodes {
        agents.push(report(address, name, &node.facts).await);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.jsonl");
    let path = file.to_str().unwrap();
    let (code, said) = probe(address, &["bundle", path]).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("4 nodes, "), "{said}");

    let bundle: Bundle = parse(&std::fs::read(&file).unwrap()).unwrap();
    let judged = judged(&bundle);
    assert_eq!((judged.nodes.len(), judged.pairs.len()), (4, 12));
    assert_eq!(bundle.judge(), judged);

    let (code, replayed) = probe(address, &["replay", path, "-o", "json"]).await;
    assert_eq!(code, Some(0));
    let replayed: serde_json::Value = serde_json::from_str(&replayed).unwrap();
    assert_eq!(replayed["verdict"], serde_json::to_value(&judged).unwrap());
    assert_eq!(replayed["note"], serde_json::Value::Null);

    let (code, _) = probe(address, &["bundle", path]).await;
    assert_eq!(code, Some(2), "a file that is there is not replaced");
    let (code, text) = probe(address, &["bundle", "--redact"]).await;
    assert_eq!(code, Some(0));
    let redacted = parse(text.as_bytes()).unwrap();
    assert!(redacted.redacted);
    let left: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("\"vps-1\""))
        .collect();
    assert!(left.is_empty(), "{left:#?}");
    drop(agents);
}

/// Not the built-in one in any way: names, an order, bounds, a node and a cost.
const GATES: &str = "\
levels:
  - name: wires
    title: wires, and vps-1
    check: underlay
    expect: {min_nodes: 3, nodes: [vps-1]}
  - name: tunnels
    check: wireguard
    fresh_within: 3s
    stable_for: 30s
    depends_on: [{level: wires, cost: 7}]
  - name: vps-2
    check: none
    needs_clocks: true
    depends_on: [tunnels, wires]
";

#[tokio::test]
async fn a_replay_judges_by_the_graph_of_the_collector() {
    let graph = parse_graph("gates.yaml", GATES).unwrap().graph;
    let address = start(graph.clone());
    let lab = Lab::healthy().lose("vps-1", "vps-2", 8000);
    let mut agents = Vec::new();
    for (name, node) in &lab.view.nodes {
        agents.push(report(address, name, &node.facts).await);
    }
    let (code, text) = probe(address, &["bundle"]).await;
    assert_eq!(code, Some(0));
    let bundle = parse(text.as_bytes()).unwrap();
    assert_eq!(bundle.view.expectation.graph, graph);
    let judged = judged(&bundle);
    let levels: Vec<&str> = judged.gates.iter().map(|gate| &*gate.level).collect();
    assert_eq!(levels, ["wires", "tunnels", "vps-2"]);
    assert_eq!(bundle.judge(), judged);

    let (code, text) = probe(address, &["bundle", "--redact"]).await;
    assert_eq!(code, Some(0));
    let redacted = parse(text.as_bytes()).unwrap().view.expectation.graph;
    let names = |graph: &Graph| -> Vec<String> {
        let levels = graph.levels().iter();
        levels.map(|level| level.name.clone()).collect()
    };
    assert_eq!(names(&redacted), names(&graph), "levels keep their names");
    let (made, real) = (&redacted.levels()[0], &graph.levels()[0]);
    assert_ne!(made.nodes, real.nodes, "nodes do not");
    assert!(!made.title.contains("vps-1"), "{}", made.title);
    assert_eq!(
        redacted.levels()[2].depends_on,
        graph.levels()[2].depends_on
    );
    drop(agents);
}

#[tokio::test]
async fn one_reader_at_a_time_is_told_the_evidence_and_no_agent_waits_for_him() {
    let address = start(Graph::default());
    // More than what fits between the two ends without being read.
    let lab = Lab::healthy();
    let facts = &lab.view.nodes.values().next().unwrap().facts;
    let mut agents = Vec::new();
    for name in lab.view.nodes.keys() {
        agents.push(report(address, name, &lab.view.nodes[name].facts).await);
    }
    assert!(!facts.is_empty());
    let reader = key().reader_config().unwrap();
    let mut client =
        MeshClient::new(channel(address, reader).await).max_decoding_message_size(MESSAGE_BYTES);
    let told = client.evidence(EvidenceRequest {});
    let mut parts = timeout(BOUND, told).await.unwrap().unwrap().into_inner();
    timeout(BOUND, parts.message()).await.unwrap().unwrap();
    // Four nodes give more parts than wait for a reader, unless the transport takes them all: then he is done.
    match timeout(BOUND, client.evidence(EvidenceRequest {}))
        .await
        .unwrap()
    {
        Err(status) => assert_eq!(status.code(), Code::ResourceExhausted),
        Ok(_) => {
            while timeout(BOUND, parts.message())
                .await
                .unwrap()
                .unwrap()
                .is_some()
            {}
        }
    }
    drop(parts);
    drop(agents);
}
