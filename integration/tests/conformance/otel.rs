//! What a collector pushes over OTLP, as the receiver of a real OpenTelemetry Collector took it, beside what `/metrics` says.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use diagnosis::{Expectation, View, Watch};
use evidence::{Gate, Ladder, Moment, NodeName, NodeRef, NodeState, Phase, Tally, Verdict};
use mesh_collector::{Config, Counters, Http, Open, Otlp, run as collect};
use proto::{transport::listen, trust::MeshKey};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::spawn_blocking,
    time::sleep,
};

use crate::{
    real::{Real, build, versions},
    report::{Report, Row, Section},
};

const LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// What is judged: whether the mesh is ready.
static READY: AtomicBool = AtomicBool::new(false);

pub(crate) async fn run(report: &mut Report) {
    let program = spawn_blocking(|| build("otel", ".", "otel")).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("lines.jsonl");
    // Free a moment ago, and nobody else here asks for ports.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let receiver = free.local_addr().unwrap();
    drop(free);
    let config = folder.path().join("otel.yaml");
    fs::write(&config, receiver_config(receiver, &lines)).unwrap();
    let start = || {
        let mut command = Command::new(&program);
        command.arg("--config").arg(&config).stderr(Stdio::null());
        Real::start(command)
    };
    let real = start();
    let (metrics, counters, _stop) = collector(receiver);

    let mut pushed = Row::named("metrics beside `/metrics`");
    let taken = until(&lines, |lines| {
        lines
            .iter()
            .rfind(|line| line.get("metrics").is_some())
            .cloned()
    })
    .await;
    let scraped = scrape(metrics).await;
    compare(&mut pushed, &taken, &scraped);

    let mut records = Row::named("changes as log records");
    READY.store(true, Ordering::Relaxed);
    let told = until(&lines, |lines| {
        record(
            lines,
            "level mesh: ready not-ready -> ready, may start ready",
        )
    })
    .await;
    records.expect("name", &told["eventName"], &json!("mesh.gate.changed"));
    records.expect("severity", &told["severityText"], &json!("INFO"));
    records.expect("number of the severity", &told["severityNumber"], &json!(9));
    let attributes = attributes(&told["attributes"]);
    for (key, value) in [
        ("mesh.level", "mesh"),
        ("mesh.ready", "ready"),
        ("mesh.ready.before", "not-ready"),
    ] {
        records.expect(key, &attributes.get(key).map(String::as_str), &Some(value));
    }

    let mut away = Row::named("a receiver that is ended and started again");
    drop(real);
    READY.store(false, Ordering::Relaxed);
    let begun = Instant::now();
    while counters.otlp_requests_failed.get() == 0 && begun.elapsed() < LIMIT {
        sleep(POLL).await;
    }
    let _real = start();
    let told = until(&lines, |lines| {
        record(
            lines,
            "level mesh: ready ready -> not-ready, may start ready: no",
        )
    })
    .await;
    away.expect("severity", &told["severityText"], &json!("WARN"));
    away.expect("dropped", &counters.otlp_records_dropped.get(), &0);
    away.expect("rejected", &counters.otlp_points_rejected.get(), &0);

    report.sections.push(Section {
        title: "OpenTelemetry".to_owned(),
        versions: versions("otel"),
        rows: vec![pushed, records, away],
    });
}

fn receiver_config(receiver: SocketAddr, lines: &Path) -> String {
    let pipeline = json!({"receivers": ["otlp"], "exporters": ["lines"]});
    // JSON is YAML.
    json!({
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": receiver.to_string()}}}},
        "exporters": {"lines": {"path": lines}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"metrics": pipeline, "logs": pipeline},
        },
    })
    .to_string()
}

fn judge(_: &mut Watch, _: &View, _: Moment) -> Verdict {
    let ready = READY.load(Ordering::Relaxed);
    let node = |name: &str| NodeRef::named(&NodeName::parse(name).unwrap());
    let gate = |level: &str, phase: Phase| Gate {
        level: level.to_owned(),
        phase,
        may_start: Phase::Ready,
        depends_on: Vec::new(),
        reasons: if phase == Phase::Ready {
            Vec::new()
        } else {
            vec!["no".to_owned()]
        },
        terminal: false,
    };
    let ladder = |from: &str, to: &str| Ladder {
        from: node(from),
        to: node(to),
        rungs: Vec::new(),
        highest: None,
        broken_at: None,
        rtt_us: Some(12_345),
        loss_percent: None,
        handshake_age_ms: None,
        endpoint: None,
        flapping: None,
    };
    let state = |name: &str| NodeState {
        node: node(name),
        reporting: true,
        report_age_ms: None,
        version: None,
        kubespan_address: None,
        site: None,
        gaps: Vec::new(),
    };
    let pairs = vec![ladder("vps-1", "home-1"), ladder("home-1", "vps-1")];
    let mesh = if ready { Phase::Ready } else { Phase::NotReady };
    Verdict {
        gates: vec![gate("underlay", Phase::Ready), gate("mesh", mesh)],
        nodes: vec![state("vps-1"), state("home-1")],
        tally: Tally::of(&pairs),
        pairs,
        ..Verdict::default()
    }
}

/// A collector that pushes, and ends with the sender; where its metrics are.
fn collector(receiver: SocketAddr) -> (SocketAddr, Arc<Counters>, oneshot::Sender<()>) {
    let bound = || {
        let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let mut config = Config::new(MeshKey::from_bytes([7; 32].into()), Expectation::default());
    config.judge = judge;
    let variable = |name: &str| match name {
        "OTEL_RESOURCE_ATTRIBUTES" => Some("k8s.cluster.name=home".to_owned()),
        _ => None,
    };
    let endpoint = format!("http://{receiver}");
    let otlp = Otlp::asked(
        Some(&endpoint),
        false,
        Some(Duration::from_secs(1)),
        variable,
    );
    config.otlp = otlp.unwrap();
    let (listener, http) = bound();
    config.http.push(Http {
        listener,
        open: Open::Everything,
    });
    let counters = Arc::clone(&config.counters);
    let (listener, _) = bound();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(collect(listener, config, async move {
        drop(stopped.await);
    }));
    (http, counters, stop)
}

/// What the receiver wrote down, until something is in it.
async fn until(path: &Path, find: impl Fn(&[Value]) -> Option<Value>) -> Value {
    let begun = Instant::now();
    loop {
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may be half written.
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let lines: Vec<Value> = lines.collect();
        if let Some(found) = find(&lines) {
            return found;
        }
        assert!(
            begun.elapsed() < LIMIT,
            "the receiver has not got it: {text:.2000}"
        );
        sleep(POLL).await;
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn record(lines: &[Value], body: &str) -> Option<Value> {
    let resources = lines
        .iter()
        .flat_map(|line| list(&line["logs"]["resourceLogs"]));
    let scopes = resources.flat_map(|resource| list(&resource["scopeLogs"]));
    let mut records = scopes.flat_map(|scope| list(&scope["logRecords"]));
    records
        .find(|record| record["body"]["stringValue"] == body)
        .cloned()
}

fn attributes(of: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let pairs = list(of).map(|one| (text(&one["key"]), text(&one["value"]["stringValue"])));
    pairs.collect()
}

/// The body of `/metrics`, by series.
async fn scrape(address: SocketAddr) -> BTreeMap<String, String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let series = body.lines().filter(|line| line.starts_with("mesh_"));
    let series = series.filter_map(|line| line.rsplit_once(' '));
    series
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn compare(row: &mut Row, taken: &Value, scraped: &BTreeMap<String, String>) {
    let resource = &taken["metrics"]["resourceMetrics"][0];
    let said = attributes(&resource["resource"]["attributes"]);
    for (key, value) in [
        ("service.name", "mesh-collector"),
        ("k8s.cluster.name", "home"),
    ] {
        row.expect(key, &said.get(key).map(String::as_str), &Some(value));
    }
    let mut series = 0;
    for metric in list(&resource["scopeMetrics"][0]["metrics"]) {
        let name = metric["name"].as_str().unwrap();
        // Prometheus adds suffixes of its own to what comes over OTLP; to ours it must not.
        row.expect(name, name, taken["prometheus"][name].as_str().unwrap());
        let is_counter = name.ends_with("_total");
        let (kind, other) = if is_counter {
            ("sum", "gauge")
        } else {
            ("gauge", "sum")
        };
        row.expect(name, &metric.get(other), &None);
        if is_counter {
            row.expect(name, &metric[kind]["isMonotonic"], &json!(true));
            row.expect(name, &metric[kind]["aggregationTemporality"], &json!(2));
        }
        for point in list(&metric[kind]["dataPoints"]) {
            series += 1;
            let labels = list(&point["attributes"]).map(|one| {
                let (key, value) = (&one["key"], &one["value"]["stringValue"]);
                format!("{}={value}", key.as_str().unwrap())
            });
            let labels = labels.collect::<Vec<_>>().join(",");
            let full = if labels.is_empty() {
                name.to_owned()
            } else {
                format!("{name}{{{labels}}}")
            };
            let number = point["asInt"]
                .as_str()
                .map_or_else(|| point["asDouble"].as_f64(), |int| int.parse().ok());
            let number = number.unwrap();
            let there = scraped.get(&full).and_then(|text| text.parse::<f64>().ok());
            if is_counter {
                // It went on between the two looks.
                let grew = there.is_some_and(|there| there >= number);
                row.expect(&format!("{full} {number} {there:?}"), &grew, &true);
            } else {
                row.expect(&full, &Some(number), &there);
            }
        }
    }
    row.expect("series", &series, &scraped.len());
}
