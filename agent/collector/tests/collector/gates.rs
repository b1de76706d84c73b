//! Check, Wait and Watch.

use std::time::{Duration, Instant};

use proto::wire::{CheckRequest, GateState, Phase, Question, WaitRequest, gate_client::GateClient};
use tokio::{net::TcpStream, time::sleep};
use tonic::Code;

use crate::fixture::{API, Collector, MESH, identity, mesh_key, name, soon};

fn check(level: &str) -> CheckRequest {
    CheckRequest {
        level: level.to_owned(),
        question: Question::Ready.into(),
    }
}

fn wait(level: &str, question: Question, timeout: Duration) -> WaitRequest {
    WaitRequest {
        level: level.to_owned(),
        question: question.into(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap(),
        sit_out: false,
        stable_ms: 0,
    }
}

async fn waited(collector: &Collector, request: WaitRequest) -> GateState {
    let mut gates = collector.gates().await;
    soon(gates.wait(request)).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_gate_is_answered_before_any_agent_has_come() {
    let collector = Collector::start();
    let mut gates = collector.gates().await;
    let state = soon(gates.check(check(MESH))).await.unwrap().into_inner();
    assert_eq!(state.ready(), Phase::NotReady);
    assert_eq!(state.reasons, ["0 nodes report"]);
    let state = soon(gates.check(check(API))).await.unwrap().into_inner();
    assert_eq!(state.may_start(), Phase::NotReady);
    assert_eq!(state.depends_on, [MESH]);
}

#[tokio::test]
async fn an_agent_may_read_gates_too() {
    let collector = Collector::start();
    let tls = mesh_key(1)
        .agent_config(&name("vps-1"), b"machine")
        .unwrap();
    let mut gates = GateClient::new(collector.channel(tls).await);
    assert!(soon(gates.check(check(MESH))).await.is_ok());
}

#[tokio::test]
async fn an_unknown_level_is_answered_with_the_known_ones() {
    let collector = Collector::start();
    let mut gates = collector.gates().await;
    let wanted = format!("no level \"mseh\"; known levels: {MESH}, {API}");
    let checked = soon(gates.check(check("mseh"))).await.unwrap_err();
    assert_eq!(
        (checked.code(), checked.message()),
        (Code::NotFound, wanted.as_str())
    );
    let request = wait("mseh", Question::Ready, Duration::from_mins(1));
    assert_eq!(
        soon(gates.wait(request)).await.unwrap_err().code(),
        Code::NotFound
    );
    assert_eq!(
        soon(gates.watch(check("mseh"))).await.unwrap_err().code(),
        Code::NotFound
    );
}

#[tokio::test]
async fn a_question_of_a_later_version_is_refused() {
    let collector = Collector::start();
    let mut gates = collector.gates().await;
    let request = CheckRequest {
        level: MESH.to_owned(),
        question: 7,
    };
    let refused = soon(gates.check(request)).await.unwrap_err();
    assert_eq!(refused.message(), "field question: expected 0 or 1, got 7");
}

#[tokio::test]
async fn a_wait_that_times_out_says_so_with_the_last_state() {
    let collector = Collector::start();
    let started = Instant::now();
    let timeout = Duration::from_millis(300);
    let state = waited(&collector, wait(MESH, Question::Ready, timeout)).await;
    assert!(state.timed_out && started.elapsed() >= timeout);
    assert_eq!(state.ready(), Phase::NotReady);
    assert_eq!(state.reasons, ["0 nodes report"]);
    let at_once = waited(&collector, wait(MESH, Question::Ready, Duration::ZERO)).await;
    assert!(at_once.timed_out);
}

#[tokio::test]
async fn a_wait_returns_when_enough_nodes_report() {
    let collector = Collector::start();
    let long = Duration::from_hours(24);
    let ready = async { waited(&collector, wait(MESH, Question::Ready, long)).await };
    let may_start = async { waited(&collector, wait(API, Question::MayStart, long)).await };
    let arrive = async {
        [
            collector.reporting("vps-1").await,
            collector.reporting("vps-2").await,
        ]
    };
    let (ready, may_start, _agents) =
        soon(Box::pin(async { tokio::join!(ready, may_start, arrive) })).await;
    assert_eq!((ready.ready(), ready.timed_out), (Phase::Ready, false));
    assert_eq!(may_start.may_start(), Phase::Ready);
    assert_eq!(may_start.ready(), Phase::Unknown);
}

#[tokio::test]
async fn what_waiting_cannot_cure_ends_a_wait_unless_it_is_sat_out() {
    let collector = Collector::start();
    let _first = collector.reporting("vps-1").await;
    let mut clone = collector.agent("vps-1", b"another machine").await;
    clone.snapshot([identity("vps-1", "boot-b")]).await;
    clone.refusal().await;
    let request = wait(MESH, Question::Ready, Duration::from_hours(1));
    let state = waited(&collector, request.clone()).await;
    assert!(state.terminal && !state.timed_out);
    let sitting_out = WaitRequest {
        sit_out: true,
        timeout_ms: 200,
        ..request
    };
    assert!(waited(&collector, sitting_out).await.timed_out);
}

#[tokio::test]
async fn a_watch_gives_the_present_state_and_then_each_change() {
    let collector = Collector::start();
    let mut gates = collector.gates().await;
    let mut states = soon(gates.watch(check(MESH))).await.unwrap().into_inner();
    let mut reasons = Vec::new();
    let mut agents = Vec::new();
    for node in ["vps-1", "vps-2", "home-cp"] {
        reasons.push(soon(states.message()).await.unwrap().unwrap().reasons);
        agents.push(collector.reporting(node).await);
    }
    let last = soon(states.message()).await.unwrap().unwrap();
    assert_eq!(
        reasons,
        [["0 nodes report"], ["1 nodes report"], ["2 nodes report"]]
    );
    assert_eq!(last.ready(), Phase::Ready);
}

#[tokio::test]
async fn a_collector_that_stops_ends_the_waits() {
    let collector = Collector::start();
    let mut gates = collector.gates().await;
    let mut states = soon(gates.watch(check(MESH))).await.unwrap().into_inner();
    soon(states.message()).await.unwrap();
    let mut later = gates.clone();
    let waiting = tokio::spawn(async move {
        let request = wait(MESH, Question::Ready, Duration::from_hours(1));
        gates.wait(request).await
    });
    // The answer to a later call on the same connection shows that the wait has begun.
    soon(later.check(check(MESH))).await.unwrap();
    let stopped = collector.stop().await;
    assert!(stopped.is_ok(), "{stopped:?}");
    let ended = soon(waiting).await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended}");
    assert_eq!(
        soon(states.message()).await.unwrap_err().code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn nobody_is_let_in_by_a_collector_that_has_stopped() {
    let collector = Collector::start();
    let address = collector.address;
    // One connection of a reader, and one of an agent.
    let (_gates, _agent) = (collector.gates().await, collector.reporting("vps-1").await);
    collector.stop().await.unwrap();
    let closed = async {
        while TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    soon(closed).await;
}
