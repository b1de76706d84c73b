//! One judgement: all surfaces are asked at one instant, and say the same.

use std::{net::SocketAddr, time::Duration};

use evidence::Phase;
use proto::wire::{
    self, CheckRequest, GraphRequest, Question, WaitRequest, gate_client::GateClient,
};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::{
    fixture::{API, Collector, MESH, soon},
    web::{get, get_tls},
};

/// What one surface says of a level: ready, and may start.
type Said = (String, (Phase, Phase));

pub(crate) async fn plain(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    soon(endpoint.connect()).await.unwrap()
}

fn phase(text: &str) -> Phase {
    match text {
        "ready" => Phase::Ready,
        "not-ready" => Phase::NotReady,
        "unknown" => Phase::Unknown,
        other => panic!("phase {other}"),
    }
}

fn from_wire(phase: wire::Phase) -> Phase {
    match phase {
        wire::Phase::Ready => Phase::Ready,
        wire::Phase::NotReady => Phase::NotReady,
        wire::Phase::Unknown => Phase::Unknown,
    }
}

async fn checked(gates: &mut GateClient<Channel>, level: &str) -> (Phase, Phase) {
    let request = CheckRequest {
        level: level.to_owned(),
        question: Question::Ready.into(),
    };
    let state = soon(gates.check(request)).await.unwrap().into_inner();
    (from_wire(state.ready()), from_wire(state.may_start()))
}

/// Health knows yes and no alone.
async fn served(channel: Channel, level: &str) -> (bool, bool) {
    let mut health = HealthClient::new(channel);
    let mut serves = Vec::new();
    for service in [level.to_owned(), format!("may-start/{level}")] {
        let request = HealthCheckRequest { service };
        let response = soon(health.check(request)).await.unwrap().into_inner();
        serves.push(response.status == 1);
    }
    (serves[0], serves[1])
}

/// Asks every surface of the collector; the first who was asked is asked again at the end, so that all is of one instant.
async fn everybody(collector: &Collector, level: &str) -> Vec<Said> {
    let mut gates = collector.gates().await;
    for _ in 0..100 {
        let first = checked(&mut gates, level).await;
        let mut said: Vec<Said> = vec![("Gate.Check".to_owned(), first)];
        let graph = soon(gates.graph(GraphRequest {}))
            .await
            .unwrap()
            .into_inner();
        let state = graph
            .levels
            .into_iter()
            .find(|one| one.name == level)
            .unwrap()
            .state
            .unwrap();
        said.push((
            "Gate.Graph".to_owned(),
            (from_wire(state.ready()), from_wire(state.may_start())),
        ));
        let verdict = collector.until(|_| true).await;
        let gate = verdict.gate(level).unwrap();
        said.push(("Mesh.Watch".to_owned(), (gate.phase, gate.may_start)));
        for (name, address) in [
            ("http", collector.bare),
            ("http, details", collector.detailed),
        ] {
            let ready = get(address, &format!("/gate/{level}")).await;
            let start = get(address, &format!("/gate/{level}/may-start")).await;
            said.push((name.to_owned(), http(&ready, &start)));
            let all = get(address, "/gates").await.json();
            let all = all["gates"].as_array().unwrap().clone();
            let one = all.into_iter().find(|gate| gate["level"] == level).unwrap();
            let phases = (
                phase(one["phase"].as_str().unwrap()),
                phase(one["mayStart"].as_str().unwrap()),
            );
            said.push((format!("{name}, /gates"), phases));
        }
        let ready = get_tls(collector.https, &format!("/gate/{level}")).await;
        let start = get_tls(collector.https, &format!("/gate/{level}/may-start")).await;
        said.push(("https".to_owned(), http(&ready, &start)));
        let mesh = get(collector.detailed, "/mesh").await.json();
        let gates_of_mesh = mesh["verdict"]["gates"].as_array().unwrap().clone();
        let one = gates_of_mesh
            .into_iter()
            .find(|gate| gate["level"] == level)
            .unwrap();
        said.push((
            "/mesh".to_owned(),
            (
                phase(one["phase"].as_str().unwrap()),
                phase(one["mayStart"].as_str().unwrap()),
            ),
        ));
        let yes = (first.0 == Phase::Ready, first.1 == Phase::Ready);
        for (name, channel) in [
            ("health, mTLS", collector.reader().await),
            ("health, plain", plain(collector.bare).await),
        ] {
            assert!(
                served(channel, level).await == yes || checked(&mut gates, level).await != first,
                "{name}"
            );
        }
        let metrics = get(collector.bare, "/metrics").await.body;
        let number = |name: &str, value: bool| {
            metrics.contains(&format!(
                "{name}{{level=\"{level}\"}} {}\n",
                u8::from(value)
            ))
        };
        let agrees = number("mesh_gate_ready", yes.0) && number("mesh_gate_may_start", yes.1);
        if checked(&mut gates, level).await == first {
            assert!(agrees, "/metrics of {level}, {first:?}: {metrics}");
            return said;
        }
    }
    panic!("the judgement never stands still");
}

fn http(ready: &crate::web::Answer, start: &crate::web::Answer) -> (Phase, Phase) {
    let one = |answer: &crate::web::Answer| {
        let document = answer.json();
        let said = phase(document["answer"].as_str().unwrap());
        let status = if said == Phase::Ready { 200 } else { 503 };
        assert_eq!(answer.status, status, "{answer:?}");
        assert_eq!(document["ready"], said == Phase::Ready);
        said
    };
    (one(ready), one(start))
}

async fn all_agree_on(collector: &Collector, mesh: (Phase, Phase), api: (Phase, Phase)) {
    for (level, wanted) in [(MESH, mesh), (API, api)] {
        let said = everybody(collector, level).await;
        assert_eq!(said.len(), 9);
        for (surface, phases) in said {
            assert_eq!(phases, wanted, "{surface} of {level}");
        }
    }
    let overall = HealthCheckRequest::default();
    let mut health = HealthClient::new(plain(collector.bare).await);
    let overall = soon(health.check(overall)).await.unwrap().into_inner();
    assert_eq!(overall.status == 1, mesh.0 == Phase::Ready, "overall");
}

#[tokio::test]
async fn all_surfaces_say_the_same_during_a_fault_and_after_healing() {
    use Phase::{NotReady, Ready, Unknown};
    let collector = Collector::start();
    all_agree_on(&collector, (NotReady, Ready), (Unknown, NotReady)).await;
    let _first = collector.reporting("vps-1").await;
    let second = collector.reporting("vps-2").await;
    let reporting = |wanted: usize| {
        move |verdict: &evidence::Verdict| {
            verdict.nodes.iter().filter(|node| node.reporting).count() == wanted
        }
    };
    collector.until(reporting(2)).await;
    all_agree_on(&collector, (Ready, Ready), (Unknown, Ready)).await;
    drop(second);
    collector.until(reporting(1)).await;
    all_agree_on(&collector, (NotReady, Ready), (Unknown, NotReady)).await;
    let _back = collector.reporting("vps-2").await;
    collector.until(reporting(2)).await;
    all_agree_on(&collector, (Ready, Ready), (Unknown, Ready)).await;
}

#[tokio::test]
async fn why_a_level_may_not_start_is_told_of_the_level_below_that_shuts_it() {
    let collector = Collector::start();
    let mut gates = collector.gates().await;
    let mut asked = async |question: Question, waits: bool| {
        let (level, question) = (API.to_owned(), question.into());
        let state = if waits {
            let request = WaitRequest {
                level,
                question,
                timeout_ms: 1,
                ..WaitRequest::default()
            };
            soon(gates.wait(request)).await
        } else {
            soon(gates.check(CheckRequest { level, question })).await
        };
        state.unwrap().into_inner().reasons
    };
    let itself = asked(Question::Ready, false).await;
    let by_check = asked(Question::MayStart, false).await;
    let by_wait = asked(Question::MayStart, true).await;
    let path = format!("/gate/{API}/may-start");
    let by_http = get(collector.detailed, &path).await.json()["gate"]["reasons"].clone();
    let blocked = format!("{MESH} is not ready: ");
    assert!(by_check[0].starts_with(&blocked), "{by_check:?}");
    assert_eq!(by_check, by_wait);
    assert_eq!(by_http, serde_json::json!(by_check));
    assert_ne!(by_check, itself);
    let bare = get(collector.bare, &path).await.json()["gate"]["reasons"].clone();
    assert_eq!(bare, serde_json::json!([]));
}

#[tokio::test]
async fn a_wait_by_http_ends_when_the_level_is_ready_and_times_out_with_the_last_state() {
    let collector = Collector::start();
    let timed_out = get(collector.bare, &format!("/gate/{MESH}?wait=300ms")).await;
    assert_eq!(
        (timed_out.status, timed_out.json()["timedOut"].clone()),
        (503, true.into())
    );
    let path = format!("/gate/{MESH}?wait=1m");
    let waiting = get(collector.bare, &path);
    let arrive = async {
        [
            collector.reporting("vps-1").await,
            collector.reporting("vps-2").await,
        ]
    };
    let (answer, _agents) = soon(Box::pin(async { tokio::join!(waiting, arrive) })).await;
    assert_eq!(
        (answer.status, answer.json()["timedOut"].clone()),
        (200, false.into())
    );
}

#[tokio::test]
async fn a_wait_until_stable_ends_after_a_time_without_a_break() {
    let collector = Collector::start();
    let _agents = [
        collector.reporting("vps-1").await,
        collector.reporting("vps-2").await,
    ];
    let begun = std::time::Instant::now();
    let stable = get(collector.bare, &format!("/gate/{MESH}?wait=1m&stable=2s")).await;
    assert_eq!(stable.status, 200, "{stable:?}");
    assert!(
        begun.elapsed() >= Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    let not_yet = get(collector.bare, &format!("/gate/{MESH}?stable=10m")).await;
    assert_eq!(
        (not_yet.status, not_yet.json()["ready"].clone()),
        (503, false.into())
    );
    let ready = get(collector.bare, &format!("/gate/{MESH}")).await;
    assert_eq!(ready.status, 200);
}
