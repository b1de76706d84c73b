//! The command line against a whole collector, and against every other surface of it at one instant.

use std::{net::SocketAddr, time::Duration};

use diagnosis::{
    Expectation, Stream, View, Watch,
    graph::{Graph, Level},
    levels::Check,
};
use evidence::{Fact, Facts, Gate, Identity, Moment, NodeName, NodeRef, NodeState, Phase, Verdict};
use mesh_collector::{Config, Http, Open, run};
use proto::{
    convert::snapshot_to_wire,
    transport::{Mark, dial, listen},
    wire::{CheckRequest, ReportRequest, gate_client::GateClient, report_client::ReportClient},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::{
    program::ask,
    server::{KEY, key},
};

const LIMIT: Duration = Duration::from_secs(20);

/// The mesh is ready while two nodes report; nobody measures the API above it.
fn judge(_: &mut Watch, view: &View, _: Moment) -> Verdict {
    let open = |node: &&diagnosis::NodeView| node.stream == Stream::Open;
    let reporting = view.nodes.values().filter(open).count();
    let phase = if reporting >= 2 {
        Phase::Ready
    } else {
        Phase::NotReady
    };
    let gate = |level: &str, phase, may_start, below: &[&str]| Gate {
        level: level.to_owned(),
        phase,
        may_start,
        depends_on: below.iter().map(|below| (*below).to_owned()).collect(),
        reasons: vec![format!("{reporting} nodes report")],
        terminal: false,
    };
    Verdict {
        nodes: view
            .nodes
            .iter()
            .map(|(name, node)| NodeState {
                node: NodeRef::named(name),
                reporting: node.stream == Stream::Open,
                report_age_ms: None,
                version: None,
                kubespan_address: None,
                site: None,
                gaps: Vec::new(),
            })
            .collect(),
        gates: vec![
            gate("mesh", phase, Phase::Ready, &[]),
            gate("api", Phase::Unknown, phase, &["mesh"]),
        ],
        ..Verdict::default()
    }
}

/// A collector that runs until the runtime of the test ends: gRPC, and plain HTTP.
fn collector() -> (SocketAddr, SocketAddr) {
    let bound = || -> (TcpListener, SocketAddr) {
        let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let levels = vec![
        Level::new("mesh", &[], Check::Mesh),
        Level::new("api", &["mesh"], Check::None),
    ];
    let expectation = Expectation {
        graph: Graph::new(levels).unwrap(),
        ..Expectation::default()
    };
    let mut config = Config::new(key(KEY), expectation);
    config.judge = judge;
    let (listener, http) = bound();
    config.http.push(Http {
        listener,
        open: Open::Gates,
    });
    let (listener, address) = bound();
    tokio::spawn(run(listener, config, std::future::pending()));
    (address, http)
}

async fn channel(address: SocketAddr, tls: rustls::ClientConfig) -> Channel {
    let target = address.to_string();
    let dialled = dial(&target, Mark::None, std::sync::Arc::new(tls));
    timeout(LIMIT, Box::pin(dialled)).await.unwrap().unwrap()
}

/// An agent that has said who it is; it is gone when what it gives is dropped.
async fn report(address: SocketAddr, node: &str) -> mpsc::Sender<ReportRequest> {
    let name = NodeName::parse(node).unwrap();
    let tls = key(KEY).agent_config(&name, b"machine").unwrap();
    let mut client = ReportClient::new(channel(address, tls).await);
    let (requests, receiver) = mpsc::channel(4);
    let identity = Fact::Identity(Identity {
        name,
        public_key: None,
        kubespan_address: None,
        addresses: Vec::new(),
        boot_id: "boot".to_owned(),
        instance: 1,
        version: "1".to_owned(),
    });
    let facts: Facts = [identity].into_iter().collect();
    let snapshot = snapshot_to_wire(1, Moment::ZERO, &facts);
    requests.send(snapshot).await.unwrap();
    let stream = client.stream(ReceiverStream::new(receiver));
    let mut responses = timeout(LIMIT, stream).await.unwrap().unwrap().into_inner();
    timeout(LIMIT, responses.message()).await.unwrap().unwrap();
    requests
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(LIMIT, stream.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    text
}

/// Ready, and may start.
async fn check(address: SocketAddr, level: &str) -> (i32, i32) {
    let mut gates = GateClient::new(channel(address, key(KEY).reader_config().unwrap()).await);
    let request = CheckRequest {
        level: level.to_owned(),
        question: 0,
    };
    let state = timeout(LIMIT, gates.check(request))
        .await
        .unwrap()
        .unwrap()
        .into_inner();
    (state.ready, state.may_start)
}

/// Waits until gRPC says so; then asks the others, and gRPC once more.
async fn all_say(grpc: SocketAddr, http: SocketAddr, level: &str, (ready, start): (i32, i32)) {
    let settled = async {
        while check(grpc, level).await != (ready, start) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LIMIT, settled).await.unwrap();
    let exit = |phase: i32| match phase {
        2 => 0,
        1 => 1,
        _ => 3,
    };
    let status = |phase: i32| if phase == 2 { " 200 " } else { " 503 " };
    let own = ask(grpc, &format!("gate {level}")).await;
    assert_eq!(own.code, exit(ready), "{own:?}");
    let below = ask(grpc, &format!("gate {level} --may-start")).await;
    assert_eq!(below.code, exit(start), "{below:?}");
    for (path, phase) in [("", ready), ("/may-start", start)] {
        let answer = get(http, &format!("/gate/{level}{path}")).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1{}", status(phase))),
            "{answer}"
        );
    }
    let metrics = get(http, "/metrics").await;
    for (name, phase) in [("ready", ready), ("may_start", start)] {
        let line = format!(
            "mesh_gate_{name}{{level=\"{level}\"}} {}\n",
            u8::from(phase == 2)
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
    assert_eq!(
        check(grpc, level).await,
        (ready, start),
        "the fault stood still"
    );
}

#[tokio::test]
async fn the_command_line_says_what_every_other_surface_says() {
    let (grpc, http) = collector();
    let (unknown, no, yes) = (0, 1, 2);
    let _first = report(grpc, "vps-1").await;
    let second = report(grpc, "vps-2").await;
    all_say(grpc, http, "mesh", (yes, yes)).await;
    all_say(grpc, http, "api", (unknown, yes)).await;
    drop(second);
    all_say(grpc, http, "mesh", (no, yes)).await;
    all_say(grpc, http, "api", (unknown, no)).await;
    let _back = report(grpc, "vps-2").await;
    all_say(grpc, http, "mesh", (yes, yes)).await;
    all_say(grpc, http, "api", (unknown, yes)).await;
}

#[tokio::test]
async fn a_wait_until_stable_asks_for_a_time_without_a_break() {
    let (grpc, _) = collector();
    let _first = report(grpc, "vps-1").await;
    let _second = report(grpc, "vps-2").await;
    let begun = std::time::Instant::now();
    let stable = ask(grpc, "wait mesh --stable-for 3s --wait-timeout 15s").await;
    assert_eq!(stable.code, 0, "{stable:?}");
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    let once = ask(grpc, "gate mesh --stable-for 1h").await;
    assert_eq!(once.code, 1, "{once:?}");
    assert!(
        once.stdout
            .contains("mesh: ready, but not yet for 1 h 0 m without a break"),
        "{once:?}"
    );
    let waited = ask(grpc, "wait mesh --stable-for 1h --wait-timeout 1s").await;
    assert_eq!(waited.code, 4, "{waited:?}");
    let graph = ask(grpc, "gate graph").await;
    assert!(graph.stdout.contains("api    unknown  ready"), "{graph:?}");
}
