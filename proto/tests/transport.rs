//! Mutual TLS on loopback: who gets in, and what is said to who does not.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{net::SocketAddr, sync::Arc};

use evidence::NodeName;
use proto::{
    transport::{DialError, Mark, dial, incoming, listen},
    trust::{MeshKey, Role, caller},
};
use rustls::ClientConfig;
use zeroize::Zeroizing;

fn key(byte: u8) -> MeshKey {
    MeshKey::from_bytes(Zeroizing::new([byte; 32]))
}

/// Serves one connection and returns the client certificate that TLS verified.
fn serve(key: &MeshKey) -> (SocketAddr, tokio::task::JoinHandle<Option<Vec<u8>>>) {
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connections = incoming(listener, Arc::new(key.server_config().unwrap()));
    let task = tokio::spawn(async move {
        let stream = connections.recv().await?.ok()?;
        let (_, session) = stream.get_ref();
        session.peer_certificates().map(|chain| chain[0].to_vec())
    });
    (address, task)
}

async fn reach(address: SocketAddr, tls: ClientConfig) -> Result<(), DialError> {
    dial(&address.to_string(), Mark::None, Arc::new(tls))
        .await
        .map(drop)
}

#[tokio::test]
async fn an_agent_is_known_by_the_node_in_its_certificate() {
    let (address, task) = serve(&key(1));
    let node = NodeName::parse("home-cp").unwrap();
    let reached = reach(address, key(1).agent_config(&node, b"mac").unwrap()).await;
    assert!(reached.is_ok(), "{reached:?}");
    let who = caller(&task.await.unwrap().unwrap()).unwrap();
    assert_eq!((who.role, who.node), (Role::Agent, Some(node)));
}

#[tokio::test]
async fn another_mesh_key_is_refused_at_the_tls_handshake_and_the_message_says_why() {
    let (address, _task) = serve(&key(1));
    let error = reach(address, key(2).reader_config().unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::Tls { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("failed the TLS handshake with {address} (is it the same mesh key?)")
    );
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
}
