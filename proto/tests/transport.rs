//! Mutual TLS on loopback: who gets in, and what is said to who does not.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    error::Error as _,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use evidence::NodeName;
use proto::{
    limits,
    transport::{
        Accepted, DialError, Incoming, Lanes, Mark, ReachedAgent, Unserved, dial, dial_agent,
        incoming, incoming_with, listen,
    },
    trust::{
        COLLECTOR_NAME, Credentials, MeshKey, Role, agent_server_config, caller, server_config,
    },
};
use rustls::{ClientConfig, ServerConfig};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Handle},
    sync::{oneshot, watch},
    time::timeout,
};
use tokio_rustls::{TlsConnector, server::TlsStream};
use zeroize::Zeroizing;

/// Bound on every wait.
const BOUND: Duration = Duration::from_secs(20);

fn key(byte: u8) -> MeshKey {
    MeshKey::from_bytes(Zeroizing::new([byte; 32]))
}

fn serve(tls: ServerConfig) -> (SocketAddr, Incoming) {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    (address, incoming(listener, Arc::new(tls), Arc::default()))
}

async fn reach(address: SocketAddr, tls: ClientConfig) -> Result<(), DialError> {
    let target = address.to_string();
    let reached = Box::pin(dial(&target, Mark::None, Arc::new(tls)));
    timeout(BOUND, reached).await.unwrap().map(drop)
}

#[tokio::test]
async fn an_agent_is_known_by_the_node_in_its_certificate() {
    let (address, mut connections) = serve(key(1).server_config().unwrap());
    let node = NodeName::parse("home-cp").unwrap();
    let agent = key(1).agent_config(&node, b"mac").unwrap();
    let accepted = async {
        let mut stream = connections.recv().await.unwrap().unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream
    };
    let (reached, stream) = tokio::join!(reach(address, agent), accepted);
    assert!(reached.is_ok(), "{reached:?}");
    let (_, session) = stream.get_ref();
    let who = caller(&session.peer_certificates().unwrap()[0]).unwrap();
    assert_eq!((who.role, who.node), (Role::Agent, Some(node)));
}

#[tokio::test]
async fn who_listens_on_all_addresses_of_ipv6_is_reached_over_both_families() {
    let (listener, _) = listen("[::]:0".parse().unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = key(1).server_config().unwrap();
    let _connections = incoming(listener, Arc::new(tls), Arc::default());
    for host in ["127.0.0.1", "::1"] {
        let address = SocketAddr::new(host.parse().unwrap(), port);
        let reached = reach(address, key(1).reader_config().unwrap()).await;
        assert!(reached.is_ok(), "{address}: {reached:?}");
    }
}

/// While a key is changed: whoever has the old one and whoever has the new one meet the same collector, and each trusts it.
#[tokio::test]
async fn a_collector_with_two_mesh_keys_serves_the_holders_of_both_and_of_no_third() {
    let keys = [key(1), key(2)];
    let (address, mut connections) = serve(server_config(&keys).unwrap());
    let node = NodeName::parse("home-cp").unwrap();
    let mut meshes = Vec::new();
    for byte in [1, 2, 1] {
        let agent = key(byte).agent_config(&node, b"mac").unwrap();
        let accepted = async {
            let mut stream = connections.recv().await.unwrap().unwrap();
            stream.write_all(b"hello").await.unwrap();
            stream
        };
        let (reached, stream) = tokio::join!(reach(address, agent), accepted);
        assert!(reached.is_ok(), "{byte}: {reached:?}");
        let (_, session) = stream.get_ref();
        let who = caller(&session.peer_certificates().unwrap()[0]).unwrap();
        assert_eq!((who.role, who.node), (Role::Agent, Some(node.clone())));
        meshes.push(who.mesh);
    }
    assert_eq!(meshes[0], meshes[2]);
    assert_ne!(meshes[0], meshes[1]);
    let stranger = reach(address, key(3).reader_config().unwrap()).await;
    assert!(
        matches!(stranger, Err(DialError::Tls { .. })),
        "{stranger:?}"
    );
}

#[tokio::test]
async fn a_reader_with_a_file_of_credentials_gets_in_as_a_reader() {
    let (address, mut connections) = serve(key(1).server_config().unwrap());
    let text = key(1).reader_credentials().unwrap();
    let reader = Credentials::parse(&text, "reader.pem").unwrap();
    let accepted = async {
        let mut stream = connections.recv().await.unwrap().unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream
    };
    let (reached, stream) = tokio::join!(reach(address, reader.client_config().unwrap()), accepted);
    assert!(reached.is_ok(), "{reached:?}");
    let (_, session) = stream.get_ref();
    let who = caller(&session.peer_certificates().unwrap()[0]).unwrap();
    assert_eq!((who.role, who.node), (Role::Reader, None));
}

#[tokio::test]
async fn another_mesh_key_is_refused_at_the_tls_handshake_and_the_message_says_why() {
    let (address, _connections) = serve(key(1).server_config().unwrap());
    let error = reach(address, key(2).reader_config().unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    assert!(!error.is_unanswered(), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "failed the TLS handshake with {address} (is it the same mesh key? with own certificates: the same authority and trust domain?)"
        )
    );
}

#[tokio::test]
async fn what_speaks_no_tls_is_said_to_speak_none() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let other = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let said = b"HTTP/1.1 400 Bad Request\r\n\r\n";
        stream.write_all(said).await.unwrap();
        stream
    };
    let (reached, _stream) = tokio::join!(reach(address, key(1).reader_config().unwrap()), other);
    let error = reached.unwrap_err();
    assert!(matches!(error, DialError::NotTls { .. }), "{error:?}");
}

/// The client's own handshake is done by then; the reason comes as an alert on a connection that looked fine.
#[tokio::test]
async fn a_client_that_the_collector_does_not_trust_is_told_by_the_alert_of_tls() {
    let mut tls = key(2).server_config().unwrap();
    tls.cert_resolver = key(1).server_config().unwrap().cert_resolver;
    let (address, _connections) = serve(tls);
    // Not once in a while: each time.
    for _ in 0..20 {
        let error = reach(address, key(1).reader_config().unwrap())
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
        let cause = error.source().unwrap().to_string();
        assert!(cause.starts_with("received fatal alert"), "{cause}");
    }
}

#[tokio::test]
async fn a_collector_that_hangs_up_is_not_blamed_on_the_key() {
    let (address, mut connections) = serve(key(1).server_config().unwrap());
    let hangs_up = async { drop(connections.recv().await) };
    let (reached, ()) = tokio::join!(reach(address, key(1).reader_config().unwrap()), hangs_up);
    let error = reached.unwrap_err();
    assert!(matches!(error, DialError::Closed { .. }), "{error:?}");
    assert!(!error.is_unanswered(), "{error:?}");
}

#[tokio::test]
async fn a_collector_that_is_slow_to_speak_is_not_taken_for_one_that_refuses() {
    let (address, _connections) = serve(key(1).server_config().unwrap());
    let reached = reach(address, key(1).reader_config().unwrap()).await;
    assert!(reached.is_ok(), "{reached:?}");
}

#[tokio::test]
async fn who_connects_and_says_nothing_keeps_nobody_out() {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let unserved = Arc::new(Unserved::default());
    let tls = Arc::new(key(1).server_config().unwrap());
    let _connections = incoming(listener, tls, Arc::clone(&unserved));
    let displaced = || unserved.displaced.load(Ordering::Relaxed);
    let mut silent = Vec::new();
    for _ in 0..limits::HANDSHAKES {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert_eq!(displaced(), 0, "no more than the limit allows");
    let reached = reach(address, key(1).reader_config().unwrap()).await;
    assert!(reached.is_ok(), "{reached:?}");
    assert_eq!(displaced(), 1);
    // The oldest one had to go, and sees it.
    let ended = timeout(BOUND, silent[0].read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
}

#[tokio::test]
async fn handshakes_that_come_to_nothing_are_counted_by_why() {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let unserved = Arc::new(Unserved::default());
    let tls = Arc::new(key(1).server_config().unwrap());
    let _connections = incoming(listener, tls, Arc::clone(&unserved));
    let mut silent = TcpStream::connect(address).await.unwrap();
    let strange = reach(address, key(2).reader_config().unwrap()).await;
    assert!(strange.is_err(), "another mesh key");
    let mut garbage = TcpStream::connect(address).await.unwrap();
    garbage.write_all(&[0; 4096]).await.unwrap();
    let ended = timeout(limits::TLS_HANDSHAKE * 2, silent.read(&mut [0])).await;
    assert!(ended.is_ok(), "still open");
    let all = async {
        while unserved.failed.load(Ordering::Relaxed) < 2
            || unserved.late.load(Ordering::Relaxed) < 1
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BOUND, all).await.unwrap();
    assert_eq!(unserved.displaced.load(Ordering::Relaxed), 0);
}

/// Shakes hands from an address of this machine.
async fn shake(from: &str, address: SocketAddr, tls: ClientConfig) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0))?;
    let stream = socket.connect(address).await?;
    let name = COLLECTOR_NAME.try_into().unwrap();
    let mut stream = TlsConnector::from(Arc::new(tls))
        .connect(name, stream)
        .await?;
    // Whether the certificate is taken shows after the handshake only.
    stream.read_exact(&mut [0]).await.map(drop)
}

#[tokio::test]
async fn after_a_failure_handshakes_of_that_network_are_made_apart_from_those_of_others() {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let unserved = Arc::new(Unserved::default());
    let (_tls, told) = watch::channel(Arc::new(key(1).server_config().unwrap()));
    // Nothing runs there until somebody drives it.
    let idle = Builder::new_current_thread().enable_time().build().unwrap();
    let lanes = Lanes {
        first: Handle::current(),
        last: idle.handle().clone(),
    };
    let mut connections = incoming_with(listener, told, Arc::clone(&unserved), lanes);
    let (welcomed, mut served) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(mut stream)) = connections.recv().await {
            stream.write_all(b"x").await.unwrap();
            welcomed.send(stream).unwrap();
        }
    });
    let good = || key(1).reader_config().unwrap();
    let made_last = || unserved.last.load(Ordering::Relaxed);
    timeout(BOUND, shake("127.0.0.2", address, good()))
        .await
        .unwrap()
        .unwrap();
    let strange = shake("127.0.0.2", address, key(2).reader_config().unwrap());
    assert!(timeout(BOUND, strange).await.unwrap().is_err());
    let noted = async {
        while unserved.failed.load(Ordering::Relaxed) < 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(BOUND, noted).await.unwrap();
    assert_eq!(made_last(), 0);
    // Who comes from there now waits for those who drive the other lane; who comes from elsewhere does not.
    let again = tokio::spawn(shake("127.0.0.2", address, good()));
    timeout(BOUND, shake("127.0.0.3", address, good()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(made_last(), 1);
    assert!(!again.is_finished());
    let (stop, stopped) = oneshot::channel::<()>();
    let driver = thread::spawn(move || {
        // It ends when the sender is dropped.
        idle.block_on(async { drop(stopped.await) });
    });
    timeout(BOUND, again).await.unwrap().unwrap().unwrap();
    drop(stop);
    driver.join().unwrap();
    // The lane is gone, and what was served by the way of it lives on.
    served.recv().await.unwrap();
    let mut stream = served.recv().await.unwrap();
    stream.write_all(b"y").await.unwrap();
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_named_with_its_address() {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = reach(address, key(1).reader_config().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("failed to connect to {address}"));
    assert!(error.is_unanswered(), "{error:?}");
}

/// Another way leads to the same one, so it is no reason to look for one.
#[tokio::test]
async fn who_takes_the_connection_and_says_nothing_is_there() {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let error = reach(address, key(1).reader_config().unwrap())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{address} took the connection and was not done with the TLS handshake within 5 s")
    );
    assert!(!error.is_unanswered(), "{error:?}");
}

#[tokio::test]
async fn segments_are_so_short_that_they_pass_where_large_packets_are_lost() {
    let (address, mut connections) = serve(key(1).server_config().unwrap());
    let accepted = async {
        let mut stream = connections.recv().await.unwrap().unwrap();
        stream.write_all(b"hello").await.unwrap();
        stream
    };
    let reader = key(1).reader_config().unwrap();
    let (reached, stream) = tokio::join!(reach(address, reader), accepted);
    assert!(reached.is_ok(), "{reached:?}");
    // What the client is sent is as short, because it has said so.
    let segment = SockRef::from(stream.get_ref().0.tcp().unwrap())
        .tcp_mss()
        .unwrap();
    assert!(segment <= limits::SEGMENT, "{segment}");
}

fn agent_of(node: &str, byte: u8) -> (SocketAddr, Incoming) {
    let node = NodeName::parse(node).unwrap();
    serve(agent_server_config(&key(byte), &node, b"mac").unwrap())
}

async fn ask(address: SocketAddr, tls: ClientConfig) -> Result<ReachedAgent, DialError> {
    let target = address.to_string();
    let reached = Box::pin(dial_agent(&target, Mark::None, Arc::new(tls)));
    timeout(BOUND, reached).await.unwrap()
}

#[tokio::test]
async fn an_agent_that_is_asked_proves_which_node_it_is_by_the_key_that_collectors_know() {
    let (address, _connections) = agent_of("home-cp", 1);
    let file = Credentials::parse(&key(1).reader_credentials().unwrap(), "reader.pem").unwrap();
    let readers = [
        key(1).reader_of_agents_config().unwrap(),
        file.agents_config().unwrap(),
    ];
    let mut keys = Vec::new();
    for tls in readers {
        let who = ask(address, tls).await.unwrap().who;
        let node = NodeName::parse("home-cp").unwrap();
        assert_eq!((who.role, who.node), (Role::Agent, Some(node)));
        keys.push(who.key);
    }
    let (collector, mut connections) = serve(key(1).server_config().unwrap());
    let node = NodeName::parse("home-cp").unwrap();
    let agent = key(1).agent_config(&node, b"mac").unwrap();
    let (reached, stream) = tokio::join!(reach(collector, agent), connections.recv());
    assert!(reached.is_ok(), "{reached:?}");
    let stream = stream.unwrap().unwrap();
    let (_, session) = stream.get_ref();
    keys.push(
        caller(&session.peer_certificates().unwrap()[0])
            .unwrap()
            .key,
    );
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

/// Else an agent of one node could answer for the mesh, or a collector in the name of a node.
#[tokio::test]
async fn an_agent_does_not_pass_for_a_collector_nor_a_collector_for_an_agent() {
    let (agent, _connections) = agent_of("vps-1", 1);
    let (collector, _others) = serve(key(1).server_config().unwrap());
    let error = reach(agent, key(1).reader_config().unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    let tls = key(1).reader_of_agents_config().unwrap();
    let error = ask(collector, tls).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
}

#[tokio::test]
async fn an_agent_of_another_mesh_key_is_refused_on_both_sides() {
    let (address, _connections) = agent_of("vps-1", 1);
    let tls = key(2).reader_of_agents_config().unwrap();
    let error = ask(address, tls).await.unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    // It trusts whom it meets, and is not trusted.
    let mut tls = agent_server_config(&key(2), &NodeName::parse("vps-1").unwrap(), b"mac").unwrap();
    let own = agent_server_config(&key(1), &NodeName::parse("vps-1").unwrap(), b"mac").unwrap();
    tls.cert_resolver = own.cert_resolver;
    let (address, _connections) = serve(tls);
    let tls = key(1).reader_of_agents_config().unwrap();
    let error = ask(address, tls).await.unwrap_err();
    let cause = error.source().unwrap().to_string();
    assert!(cause.starts_with("received fatal alert"), "{cause}");
}

/// What one runtime has accepted is read and written in another one, also after the first has ended.
#[test]
fn a_connection_that_went_over_needs_the_runtime_that_accepted_it_no_more() {
    let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
    let (told, address) = oneshot::channel();
    let (given, taken) = oneshot::channel();
    let there = thread::spawn(move || {
        runtime().block_on(async move {
            let tls = Arc::new(key(1).reader_config().unwrap());
            let tcp = TcpStream::connect(address.await.unwrap()).await.unwrap();
            let dialled = TlsConnector::from(tls).connect(COLLECTOR_NAME.try_into().unwrap(), tcp);
            let mut client = timeout(BOUND, dialled).await.unwrap().unwrap();
            let mut served: TlsStream<Accepted> = taken.await.unwrap();
            served.get_mut().0.go_over().unwrap();
            for _ in 0..2 {
                let mut word = [0; 4];
                client.write_all(b"word").await.unwrap();
                let heard = timeout(BOUND, served.read_exact(&mut word)).await;
                heard.unwrap().unwrap();
                served.write_all(&word).await.unwrap();
                let heard = timeout(BOUND, client.read_exact(&mut word)).await;
                heard.unwrap().unwrap();
                assert_eq!(&word, b"word");
            }
        });
    });
    let here = runtime();
    let accepted = here.block_on(async {
        let (address, mut connections) = serve(key(1).server_config().unwrap());
        told.send(address).unwrap();
        timeout(BOUND, connections.recv()).await.unwrap()
    });
    drop(here);
    given.send(accepted.unwrap().unwrap()).unwrap();
    there.join().unwrap();
}
