//! Export to a receiver of OpenTelemetry, made of the services that are generated from its own files.

mod receiver;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use evidence::{Phase, Verdict};
use mesh_collector::Otlp;
use opentelemetry_proto::tonic::collector::{
    logs::v1::logs_service_server::LogsServiceServer,
    metrics::v1::metrics_service_server::MetricsServiceServer,
};
use proto::wire::{self, CheckRequest};
use rcgen::{CertificateParams, KeyPair};
use rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer};
use tokio::{
    net::TcpListener,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::{StreamExt as _, wrappers::TcpListenerStream};
use tonic::{Code, Status, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    fixture::{Collector, MESH, soon},
    web::get,
};
use receiver::{Answer, Desk, Receiver, Serving, body, points, text};

const INTERVAL: Duration = Duration::from_secs(1);

fn otlp(address: SocketAddr) -> Otlp {
    otlp_with(&format!("http://{address}"), &[])
}

fn otlp_with(endpoint: &str, variables: &[(&str, &str)]) -> Otlp {
    let variable = |name: &str| {
        let found = variables.iter().find(|(other, _)| *other == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    let asked = Otlp::asked(Some(endpoint), false, Some(INTERVAL), variable);
    asked.unwrap().unwrap()
}

/// The same of the text format.
async fn scraped(collector: &Collector) -> BTreeMap<String, String> {
    let answer = get(collector.detailed, "/metrics").await;
    let lines = answer.body.lines().filter(|line| !line.starts_with('#'));
    let split = lines.map(|line| line.rsplit_once(' ').unwrap());
    split
        .map(|(series, value)| (series.to_owned(), value.to_owned()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_gets_what_prometheus_scrapes() {
    let receiver = Receiver::default();
    let serving = Serving::start(&receiver).await;
    let collector = Collector::exporting(otlp(serving.address));
    let _one = collector.reporting("vps-1").await;
    let _two = collector.reporting("vps-2").await;
    collector.until(|verdict| verdict.nodes.len() == 2).await;
    let before = scraped(&collector).await;
    let began = Instant::now();
    let request = receiver
        .until(|desk| {
            let (at, last) = desk.metrics.last()?;
            // Made after the scrape: at least one whole interval later.
            (at.duration_since(began) > INTERVAL).then(|| last.clone())
        })
        .await;
    let pushed = points(&request);
    let after = scraped(&collector).await;
    assert!(pushed.len() > 250, "{}", pushed.len());
    assert_eq!(pushed["mesh_node_reporting{node=\"vps-1\"}"], "1");
    assert!(pushed.keys().eq(after.keys()) && before.keys().eq(after.keys()));
    let number = |of: &BTreeMap<String, String>, series: &str| of[series].parse::<f64>().unwrap();
    for series in pushed.keys() {
        let [least, told, most] = [&before, &pushed, &after].map(|of| number(of, series));
        if series.contains("_total") {
            // Counters go on between two looks.
            assert!(
                least <= told && told <= most,
                "{series}: {least} {told} {most}"
            );
        } else {
            assert!(
                least.to_bits() == told.to_bits() && told.to_bits() == most.to_bits(),
                "{series}: {least} {told} {most}"
            );
        }
    }
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    let attributes: BTreeMap<_, _> = resource
        .attributes
        .iter()
        .map(|one| (one.key.as_str(), text(one)))
        .collect();
    assert_eq!(attributes["service.name"], "mesh-collector");
    let port = format!(":{}", collector.address.port());
    assert!(
        attributes["service.instance.id"].ends_with(&port),
        "{attributes:?}"
    );
    collector.stop().await.unwrap();
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_changes_is_a_record() {
    let receiver = Receiver::default();
    let serving = Serving::start(&receiver).await;
    let collector = Collector::exporting(otlp(serving.address));
    let one = collector.reporting("vps-1").await;
    let two = collector.reporting("vps-2").await;
    let is_told = |desk: &mut Desk, end: &str| {
        let mut told = desk
            .records
            .iter()
            .filter(|record| record.event_name == "mesh.gate.changed");
        told.find(|record| body(record).contains(end)).cloned()
    };
    let opened = receiver
        .until(|desk| is_told(desk, "level mesh: ready not-ready -> ready"))
        .await;
    assert!(opened.time_unix_nano > 0);
    assert_eq!(opened.severity_text, "INFO");
    drop((one, two));
    let shut = receiver
        .until(|desk| is_told(desk, "level mesh: ready ready -> not-ready"))
        .await;
    assert_eq!(shut.severity_text, "WARN");
    assert_eq!(collector.counters.otlp_records_dropped.get(), 0);
    collector.stop().await.unwrap();
    serving.end().await;
}

/// What happened while nobody could be reached is told when somebody can, in its order and once.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_away_gets_everything_when_it_is_back() {
    let receiver = Receiver::default();
    let serving = Serving::start(&receiver).await;
    let address = serving.address;
    let collector = Collector::exporting(otlp(address));
    receiver.until(|desk| desk.metrics.pop()).await;
    serving.end().await;
    let one = collector.reporting("vps-1").await;
    let two = collector.reporting("vps-2").await;
    let open = |verdict: &Verdict| verdict.gate(MESH).unwrap().phase == Phase::Ready;
    collector.until(open).await;
    drop((one, two));
    collector.until(|verdict| !open(verdict)).await;
    let counters = &collector.counters;
    soon(async {
        while counters.otlp_requests_failed.get() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    receiver.desk(|desk| assert!(desk.records.is_empty(), "{desk:?}"));
    let serving = Serving::at(address, &receiver).await;
    let told = receiver
        .until(|desk| {
            let told: Vec<_> = desk
                .records
                .iter()
                .map(body)
                .filter(|body| body.starts_with("level mesh"))
                .collect();
            (told.len() > 1).then_some(told)
        })
        .await;
    let arrows: Vec<_> = told.iter().map(|body| body.contains("-> ready")).collect();
    assert_eq!(arrows, [true, false], "{told:?}");
    receiver.until(|desk| desk.metrics.pop()).await;
    collector.stop().await.unwrap();
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_says_later_is_asked_later() {
    let receiver = Receiver::default();
    let delay = Duration::from_secs(3);
    let details = ErrorDetails::with_retry_info(Some(delay));
    let later = Status::with_error_details(Code::ResourceExhausted, "full", details);
    receiver.desk(|desk| desk.for_records.push_back(Answer::Refuse(later)));
    let serving = Serving::start(&receiver).await;
    let collector = Collector::exporting(otlp(serving.address));
    let _one = collector.reporting("vps-1").await;
    let _two = collector.reporting("vps-2").await;
    receiver.until(|desk| desk.records.pop()).await;
    let calls = receiver.desk(|desk| desk.record_calls.clone());
    assert!(calls[1].duration_since(calls[0]) >= delay, "{calls:?}");
    assert_eq!(collector.counters.otlp_records_rejected.get(), 0);
    assert_eq!(collector.counters.otlp_requests_failed.get(), 1);
    collector.stop().await.unwrap();
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_is_counted_and_not_sent_again() {
    let receiver = Receiver::default();
    receiver.desk(|desk| {
        desk.for_records
            .push_back(Answer::Refuse(Status::invalid_argument("no")));
        desk.for_metrics.push_back(Answer::Partly(3));
        desk.for_metrics.push_back(Answer::Partly(1_000_000));
    });
    let serving = Serving::start(&receiver).await;
    let collector = Collector::exporting(otlp(serving.address));
    let one = collector.reporting("vps-1").await;
    let two = collector.reporting("vps-2").await;
    let counters = Arc::clone(&collector.counters);
    soon(async {
        while counters.otlp_records_rejected.get() == 0 || counters.otlp_points_rejected.get() <= 3
        {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    // No more than were sent, although it says so.
    let sent = receiver.desk(|desk| points(&desk.metrics[1].1).len());
    assert_eq!(
        counters.otlp_points_rejected.get(),
        u64::try_from(sent).unwrap() + 3
    );
    receiver.desk(|desk| assert!(desk.records.is_empty(), "{desk:?}"));
    drop((one, two));
    let next = receiver.until(|desk| desk.records.first().map(body)).await;
    assert!(next.contains("ready ready -> not-ready"), "{next}");
    collector.stop().await.unwrap();
    serving.end().await;
}

/// A receiver that takes calls and answers none costs one open call each, and nobody else anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_delays_no_report_and_no_gate() {
    let receiver = Receiver::default();
    receiver.desk(|desk| {
        desk.for_metrics = vec![Answer::Hang; 3].into();
        desk.for_records = vec![Answer::Hang; 3].into();
    });
    let serving = Serving::start(&receiver).await;
    let short = [("OTEL_EXPORTER_OTLP_TIMEOUT", "200")];
    let collector = Collector::exporting(otlp_with(&format!("http://{}", serving.address), &short));
    let began = Instant::now();
    let _one = collector.reporting("vps-1").await;
    let _two = collector.reporting("vps-2").await;
    let mut gates = collector.gates().await;
    loop {
        let asked = CheckRequest {
            level: MESH.to_owned(),
            ..CheckRequest::default()
        };
        let answer = soon(gates.check(asked)).await.unwrap().into_inner();
        if answer.ready() == wire::Phase::Ready {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    // The first answer of the receiver is still due then, or the machine is far too slow.
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    receiver.until(|desk| desk.records.pop()).await;
    receiver.until(|desk| desk.metrics.pop()).await;
    assert!(collector.counters.otlp_requests_failed.get() >= 6);
    soon(collector.stop()).await.unwrap();
    // It would wait for the calls that hang.
    serving.task.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_stops_tells_what_is_left() {
    let receiver = Receiver::default();
    let serving = Serving::start(&receiver).await;
    let collector = Collector::exporting(otlp(serving.address));
    receiver.until(|desk| desk.metrics.pop()).await;
    let _one = collector.reporting("vps-1").await;
    let _two = collector.reporting("vps-2").await;
    collector
        .until(|verdict| verdict.gate(MESH).unwrap().phase == Phase::Ready)
        .await;
    collector.stop().await.unwrap();
    let told = receiver.desk(|desk| desk.records.iter().map(body).collect::<Vec<_>>());
    assert!(
        told.iter().any(|body| body.contains("not-ready -> ready")),
        "{told:?}"
    );
    serving.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_trusted_by_its_certificate_alone() {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.crt");
    fs::write(&path, certificate.pem()).unwrap();
    let path = path.to_str().unwrap();
    let mut tls = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let receiver = Receiver::default();
    let incoming = TcpListenerStream::new(listener)
        .then(move |stream| {
            let acceptor = acceptor.clone();
            async move { Ok::<_, std::io::Error>(acceptor.accept(stream?).await.ok()) }
        })
        .filter_map(Result::transpose);
    let server = Server::builder()
        .add_service(MetricsServiceServer::new(receiver.clone()))
        .add_service(LogsServiceServer::new(receiver.clone()))
        .serve_with_incoming(incoming);
    let server = tokio::spawn(server);
    let token = (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=Bearer%20c2VjcmV0",
    );

    // By the system's trust alone it is a stranger.
    let endpoint = format!("https://localhost:{port}");
    let collector = Collector::exporting(otlp_with(&endpoint, &[token]));
    let counters = Arc::clone(&collector.counters);
    soon(async {
        while counters.otlp_requests_failed.get() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    receiver.desk(|desk| assert!(desk.tokens.is_empty() && desk.metrics.is_empty()));
    collector.stop().await.unwrap();

    let trusted = [token, ("OTEL_EXPORTER_OTLP_CERTIFICATE", path)];
    // The name counts, too.
    let other = otlp_with(&format!("https://127.0.0.1:{port}"), &trusted);
    let collector = Collector::exporting(other);
    let waited = timeout(
        Duration::from_secs(2),
        receiver.until(|desk| desk.metrics.pop()),
    );
    assert!(waited.await.is_err());
    assert!(collector.counters.otlp_requests_failed.get() > 0);
    collector.stop().await.unwrap();

    let collector = Collector::exporting(otlp_with(&endpoint, &trusted));
    receiver.until(|desk| desk.metrics.pop()).await;
    receiver.desk(|desk| assert_eq!(desk.tokens, ["Bearer c2VjcmV0"]));
    collector.stop().await.unwrap();
    server.abort();
}

/// The program, with a token for its receiver; what it logs until `enough` holds of it.
async fn logged(endpoint: &str, mut enough: impl FnMut(&str) -> bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut program = Command::new(env!("CARGO_BIN_EXE_mesh-collector"))
        .args([
            "--listen",
            "127.0.0.1:0",
            "--otlp-interval",
            "1s",
            "--otlp-endpoint",
            endpoint,
        ])
        .env("MESH_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")
        .env(
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20c2VjcmV0",
        )
        .env("RUST_LOG", "debug")
        .stdin(Stdio::null())
        .stderr(File::create(&path).unwrap())
        .spawn()
        .unwrap();
    let mut log = String::new();
    let began = Instant::now();
    while !enough(&log) && began.elapsed() < Duration::from_secs(20) {
        sleep(Duration::from_millis(50)).await;
        log = fs::read_to_string(&path).unwrap();
    }
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(enough(&log), "{log}");
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_is_told_once_and_a_token_never() {
    let receiver = Receiver::default();
    // It repeats what it was sent.
    let refused = Status::unauthenticated("no such token: Bearer c2VjcmV0");
    receiver.desk(|desk| desk.for_metrics = vec![Answer::Refuse(refused); 3].into());
    let serving = Serving::start(&receiver).await;
    let endpoint = format!("http://{}", serving.address);
    let log = logged(&endpoint, |log| {
        log.contains("receiver takes what is exported")
    })
    .await;
    receiver.desk(|desk| assert_eq!(desk.tokens, ["Bearer c2VjcmV0"]));
    assert!(log.contains("authorization"), "{log}");
    assert!(!log.contains("c2VjcmV0"), "{log}");
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("refuses what is exported"))
        .collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("no such token: ***"), "{told:#?}");
    serving.end().await;

    // Nobody is there any more.
    let began = Instant::now();
    let fails = "export to OpenTelemetry fails and is tried again";
    let log = logged(&endpoint, |_| began.elapsed() > Duration::from_secs(4)).await;
    let told: Vec<_> = log.lines().filter(|line| line.contains(fails)).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("Connection refused"), "{told:#?}");
}
