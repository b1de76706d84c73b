//! Strangers, and holders of credentials that misbehave, while a good agent reports. `./dev bench collector-attack` measures the same
//! with ten thousand.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use proto::{
    limits,
    transport::{Mark, dial},
    trust::COLLECTOR_NAME,
    wire::GetRequest,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::Code;

use crate::fixture::{Agent, Collector, identity, mesh_key, name, node, soon};

/// Of each kind.
const ATTEMPTS: usize = 40;
/// The limit of `src/mesh.rs`.
const WATCHES: usize = 256;

/// TLS as a reader, and then not a word.
async fn silent(collector: &Collector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(collector.address).await.unwrap();
    let tls = Arc::new(mesh_key(1).reader_config().unwrap());
    let server = ServerName::try_from(COLLECTOR_NAME).unwrap();
    let connecting = TlsConnector::from(tls).connect(server, stream);
    soon(Box::pin(connecting)).await.unwrap()
}

#[tokio::test]
async fn attacks_delay_no_report_keep_no_agent_out_and_are_counted() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    let mut open = Vec::new();
    let mut silents = Vec::new();
    let mut watches = Vec::new();
    let garbage: Vec<u8> = (0..=u8::MAX).cycle().take(4096).collect();
    for attempt in 0..ATTEMPTS {
        // Nothing is said,
        open.push(TcpStream::connect(collector.address).await.unwrap());
        // or what is no TLS,
        let mut stream = TcpStream::connect(collector.address).await.unwrap();
        stream.write_all(&garbage).await.unwrap();
        open.push(stream);
        // or with the certificate of another mesh.
        let tls = Arc::new(mesh_key(2).reader_config().unwrap());
        let target = collector.address.to_string();
        let refused = soon(Box::pin(dial(&target, Mark::None, tls))).await;
        assert!(refused.is_err(), "another mesh was let in");
        // A reader reports,
        let refused = soon(Agent::on(collector.reader().await)).await;
        assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
        // says nothing,
        silents.push(silent(&collector).await);
        // or watches without reading.
        let mut mesh = collector.mesh().await;
        watches.push(soon(mesh.watch(GetRequest {})).await.unwrap());
        // What a good agent says is taken in all the same.
        let version = format!("boot-{attempt}");
        agent.delta(vec![identity("vps-1", &version)], vec![]).await;
        let begun = Instant::now();
        let shows = |verdict: &evidence::Verdict| {
            let told = node(verdict, "vps-1").and_then(|node| node.version.clone());
            told.as_ref() == Some(&version)
        };
        if attempt % 8 == 0 {
            collector.until(shows).await;
            assert!(
                begun.elapsed() < Duration::from_secs(5),
                "{:?}",
                begun.elapsed()
            );
        }
    }
    let attempts = u64::try_from(ATTEMPTS).unwrap();
    let counters = &collector.counters;
    assert!(counters.handshakes.failed.load(Ordering::Relaxed) >= 2 * attempts);
    assert_eq!(counters.roles_refused.get(), attempts);
    let _new = collector.reporting("vps-2").await;
}

#[tokio::test]
async fn who_says_nothing_after_the_handshake_is_cut_off() {
    let collector = Collector::start();
    let mut silent = silent(&collector).await;
    let ended = async { while matches!(silent.read(&mut [0; 1024]).await, Ok(1..)) {} };
    let bound = limits::FIRST_WORD * 3;
    assert!(timeout(bound, ended).await.is_ok(), "still open");
    assert_eq!(collector.counters.connections_silent.get(), 1);
}

#[tokio::test]
async fn readers_that_take_all_their_places_keep_no_agent_out() {
    let collector = Collector::start();
    let mut held = Vec::new();
    for _ in 0..limits::READER_CONNECTIONS {
        held.push(silent(&collector).await);
    }
    let _over = silent(&collector).await;
    let refused = async {
        while collector.counters.connections_refused.get() == 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    soon(refused).await;
    let _agent = collector.reporting("vps-1").await;
}

#[tokio::test]
async fn an_agent_that_takes_all_its_places_keeps_no_other_one_out() {
    let collector = Collector::start();
    let machine = |node: &str| mesh_key(1).agent_config(&name(node), b"machine").unwrap();
    let mut held = Vec::new();
    for _ in 0..limits::CONNECTIONS_OF_AN_AGENT {
        held.push(collector.channel(machine("vps-1")).await);
    }
    let target = collector.address.to_string();
    let over = dial(&target, Mark::None, Arc::new(machine("vps-1")));
    assert!(
        soon(Box::pin(over)).await.is_err(),
        "one more than its share"
    );
    assert_eq!(collector.counters.connections_refused.get(), 1);
    let _other = collector.reporting("vps-2").await;
}

#[tokio::test]
async fn watches_over_the_limit_are_refused_and_one_that_ends_makes_room() {
    let collector = Collector::start();
    let mut watches = Vec::new();
    let per_connection = usize::try_from(limits::STREAMS_PER_CONNECTION).unwrap();
    for _ in 0..WATCHES / per_connection {
        let mut mesh = collector.mesh().await;
        for _ in 0..per_connection {
            watches.push(soon(mesh.watch(GetRequest {})).await.unwrap());
        }
    }
    let mut mesh = collector.mesh().await;
    let refused = soon(mesh.watch(GetRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(collector.counters.watches_refused.get(), 1);
    watches.pop();
    let room = async { while mesh.watch(GetRequest {}).await.is_err() {} };
    soon(room).await;
}
