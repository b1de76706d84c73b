//! `grpc-health-probe`, as Kubernetes users run it, against our health service: on the plain listener, and over TLS with the
//! certificates of a reader, derived ones and such of an operator's own authority.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use diagnosis::{Expectation, View, Watch};
use evidence::{Gate, Moment, Phase, Verdict};
use mesh_collector::{Config, Http, Open, Proof, run as collect};
use proto::{
    transport::listen,
    trust::{COLLECTOR_NAME, MeshKey},
};
use tokio::{sync::oneshot, task::spawn_blocking, time::timeout};

use crate::{
    authority::Authority,
    real::{build, versions},
    report::{Report, Row, Section},
};

const PROBE: &str = "github.com/grpc-ecosystem/grpc-health-probe";
const LIMIT: Duration = Duration::from_secs(20);
/// Exit codes of the probe.
const SERVING: i32 = 0;
const NO_CONNECTION: i32 = 2;
const NO_ANSWER: i32 = 3;
const NOT_SERVING: i32 = 4;

pub(crate) async fn run(report: &mut Report) {
    let probe = build("health", PROBE, "grpc-health-probe");
    let rows = vec![
        plain(&probe).await,
        derived(&probe).await,
        own(&probe).await,
    ];
    report.sections.push(Section {
        title: "gRPC health".to_owned(),
        versions: versions("health"),
        rows,
    });
}

/// The underlay is ready, the mesh is not, nobody measures anything else.
fn judge(_: &mut Watch, _: &View, _: Moment) -> Verdict {
    let gate = |level: &str, phase| Gate {
        level: level.to_owned(),
        phase,
        may_start: Phase::Ready,
        depends_on: Vec::new(),
        reasons: Vec::new(),
        terminal: false,
    };
    Verdict {
        gates: vec![
            gate("underlay", Phase::Ready),
            gate("mesh", Phase::NotReady),
        ],
        ..Verdict::default()
    }
}

/// A collector that ends with the sender; where gRPC and where plain HTTP is.
fn collector(proof: Proof) -> (SocketAddr, SocketAddr, oneshot::Sender<()>) {
    let bound = || {
        let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    };
    let mut config = Config::proving(proof, Expectation::default());
    config.judge = judge;
    let (listener, http) = bound();
    config.http.push(Http {
        listener,
        open: Open::Gates,
    });
    let (listener, grpc) = bound();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(collect(listener, config, async move {
        drop(stopped.await);
    }));
    (grpc, http, stop)
}

async fn ask(probe: &Path, address: SocketAddr, service: &str, more: &[String]) -> Output {
    let mut command = Command::new(probe);
    command.arg(format!("-addr={address}"));
    command.arg(format!("-service={service}")).args(more);
    let output = spawn_blocking(move || command.output());
    let output = timeout(LIMIT, output).await;
    output.expect("the probe ends in time").unwrap().unwrap()
}

/// What the probe exits with, and whether it says what it must.
async fn expect(
    row: &mut Row,
    probe: &Path,
    (address, more): (SocketAddr, &[String]),
    (service, code): (&str, i32),
) {
    let output = ask(probe, address, service, more).await;
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("{service:?} ({})", said.trim());
    row.expect(&what, &output.status.code(), &Some(code));
}

async fn plain(probe: &Path) -> Row {
    let mut row = Row::named("grpc-health-probe, without credentials");
    let (_, http, _stop) = collector(Proof::of(key()));
    for asked in [
        ("underlay", SERVING),
        ("mesh", NOT_SERVING),
        ("may-start/mesh", SERVING),
        ("", NOT_SERVING),
        ("no-such-level", NO_ANSWER),
    ] {
        expect(&mut row, probe, (http, &[]), asked).await;
    }
    row
}

async fn derived(probe: &Path) -> Row {
    let mut row = Row::named("grpc-health-probe, with a reader's credentials");
    let (grpc, _, _stop) = collector(Proof::of(key()));
    let folder = tempfile::tempdir().unwrap();
    // As `mesh-probe key` prints them: the certificate, its key, the authorities of collectors and of agents.
    let text = key().reader_credentials().unwrap();
    let end = "-----END CERTIFICATE-----\n";
    let (certificate, rest) = text.split_at(text.find(end).unwrap() + end.len());
    let (secret, authority) = rest.split_at(rest.find("-----BEGIN CERT").unwrap());
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let files = [
        write("reader.crt", certificate),
        write("reader.key", secret),
        write("ca.crt", authority),
    ];
    over_tls(&mut row, probe, grpc, (&files, COLLECTOR_NAME)).await;
    row
}

async fn own(probe: &Path) -> Row {
    let mut row = Row::named("grpc-health-probe, with own certificates");
    let authority = Authority::new();
    let issue = |role: &str| authority.issue(&format!("spiffe://example.org/mesh/{role}"));
    let (grpc, _, _stop) = collector(Proof::Own(issue("collector")));
    let files = issue("reader");
    let files = [files.certificate, files.key, files.authorities];
    over_tls(&mut row, probe, grpc, (&files, "mesh.example.org")).await;
    row
}

async fn over_tls(
    row: &mut Row,
    probe: &Path,
    address: SocketAddr,
    ([certificate, key, authority], name): (&[PathBuf; 3], &str),
) {
    let anonymous = vec![
        "-tls".to_owned(),
        format!("-tls-ca-cert={}", authority.display()),
        format!("-tls-server-name={name}"),
    ];
    let mut known = anonymous.clone();
    known.push(format!("-tls-client-cert={}", certificate.display()));
    known.push(format!("-tls-client-key={}", key.display()));
    for asked in [("underlay", SERVING), ("mesh", NOT_SERVING)] {
        expect(row, probe, (address, &known), asked).await;
    }
    expect(
        row,
        probe,
        (address, &anonymous),
        ("underlay", NO_CONNECTION),
    )
    .await;
}

fn key() -> MeshKey {
    MeshKey::from_bytes([7; 32].into())
}
