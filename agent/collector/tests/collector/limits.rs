//! Who sends too much, too slowly or too often costs only himself.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    fixture::{Collector, MESH, mesh_key, soon},
    web::{ask, get, request},
};

/// The limits of `src/http/limits.rs`.
const CONNECTIONS: usize = 256;
const HEADER_TIME: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_head_that_is_too_large_or_has_too_many_headers_is_refused() {
    let collector = Collector::start();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(64 * 1024));
    let answer = ask(collector.bare, &long).await;
    assert!([0, 400, 414, 431].contains(&answer.status), "{answer:?}");
    let many: String = (0..100).fold("GET /livez HTTP/1.1\r\n".to_owned(), |head, n| {
        head + &format!("x-{n}: 1\r\n")
    });
    let answer = ask(collector.bare, &(many + "\r\n")).await;
    assert_eq!(answer.status, 431, "{answer:?}");
    let answer = ask(collector.bare, "\u{16}\u{3}\u{1} no HTTP\r\n\r\n").await;
    assert!([0, 400].contains(&answer.status), "{answer:?}");
    assert_eq!(get(collector.bare, "/livez").await.status, 200);
}

#[tokio::test]
async fn who_says_nothing_or_half_a_head_is_cut_off() {
    let collector = Collector::start();
    let begun = Instant::now();
    let mut silent = TcpStream::connect(collector.bare).await.unwrap();
    let mut slow = TcpStream::connect(collector.bare).await.unwrap();
    slow.write_all(b"GET /livez HT").await.unwrap();
    let mut half = TcpStream::connect(collector.bare).await.unwrap();
    half.write_all(b"P").await.unwrap();
    for stream in [&mut silent, &mut slow, &mut half] {
        let mut bytes = Vec::new();
        let ended = timeout(HEADER_TIME * 3, stream.read_to_end(&mut bytes)).await;
        assert!(ended.is_ok(), "still open after {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_and_closed_ones_make_room() {
    let collector = Collector::start();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        held.push(TcpStream::connect(collector.bare).await.unwrap());
    }
    // All are accepted once the one over the limit is refused.
    let refused = async {
        while collector.counters.http_connections_refused.get() == 0 {
            drop(ask(collector.bare, &request("GET", "/livez")).await);
        }
    };
    soon(refused).await;
    // The other listeners are not concerned.
    assert_eq!(get(collector.detailed, "/livez").await.status, 200);
    drop(held);
    let room = async { while get(collector.bare, "/livez").await.status != 200 {} };
    soon(room).await;
}

#[tokio::test]
async fn a_client_without_a_certificate_or_with_that_of_another_mesh_is_not_let_in() {
    let collector = Collector::start();
    let answer = get(collector.https, "/gates").await;
    assert_eq!(answer.status, 0, "plain HTTP to TLS: {answer:?}");
    let mut tls = mesh_key(2).reader_config().unwrap();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(collector.https).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    let name = rustls::pki_types::ServerName::try_from(proto::trust::COLLECTOR_NAME).unwrap();
    assert!(
        soon(Box::pin(connector.connect(name, stream)))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn waits_over_the_limit_are_refused_and_do_not_keep_anybody_from_asking_once() {
    // As many as one listener has connections for; the limit itself is tried in `src/answer.rs`.
    let collector = Collector::start();
    let waits = (0..100).map(|_| {
        let address = collector.bare;
        tokio::spawn(async move { get(address, &format!("/gate/{MESH}?wait=2s")).await })
    });
    let waits: Vec<_> = waits.collect();
    assert_eq!(
        get(collector.bare, &format!("/gate/{MESH}")).await.status,
        503
    );
    for wait in waits {
        let answer = soon(wait).await.unwrap();
        assert_eq!(answer.json()["timedOut"], true, "{answer:?}");
    }
}
