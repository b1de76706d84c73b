//! A collector with certificates of an operator's own authority.

use std::{fs, sync::Arc, time::Duration};

use mesh_collector::Proof;
use proto::{
    transport::{Mark, dial},
    trust::{COLLECTOR_NAME, OwnFiles},
    wire::{CheckRequest, gate_client::GateClient},
};
use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, time::sleep};
use tokio_rustls::TlsConnector;
use tonic::Code;

use crate::{
    authority::Authority,
    fixture::{Agent, Collector, MESH, identity, mesh_key, name, node, soon},
};

const COLLECTOR: &str = "spiffe://example.org/mesh/collector";
const READER: &str = "spiffe://example.org/mesh/reader";

async fn agent(collector: &Collector, authority: &Authority, node: &str) -> Agent {
    let files = authority.issue(&format!("spiffe://example.org/mesh/agent/{node}"));
    let tls = files.agent_config(&name(node)).unwrap();
    Agent::on(collector.channel(tls).await).await.unwrap()
}

/// The certificate that a collector shows.
async fn proved_by(collector: &Collector, authority: &Authority) -> Vec<u8> {
    let stream = TcpStream::connect(collector.address).await.unwrap();
    let tls = Arc::new(authority.issue(READER).reader_config().unwrap());
    let server = ServerName::try_from(COLLECTOR_NAME).unwrap();
    let connecting = TlsConnector::from(tls).connect(server, stream);
    let stream = soon(Box::pin(connecting)).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// The certificate in the files.
fn der(files: &OwnFiles) -> Vec<u8> {
    let text = fs::read(&files.certificate).unwrap();
    pem::parse(text).unwrap().into_contents()
}

#[tokio::test]
async fn agents_report_and_readers_ask_by_own_certificates_and_the_mesh_key_opens_nothing() {
    let authority = Authority::new();
    let collector = Collector::proving(Proof::Own(authority.issue(COLLECTOR)));
    let mut first = agent(&collector, &authority, "vps-1").await;
    first.snapshot([identity("vps-1", "boot-a")]).await;
    first.response().await.unwrap();
    let reader = authority.issue(READER).reader_config().unwrap();
    let reader = collector.channel(reader).await;
    let check = CheckRequest {
        level: MESH.to_owned(),
        ..CheckRequest::default()
    };
    let mut gates = GateClient::new(reader.clone());
    let state = soon(gates.check(check)).await.unwrap().into_inner();
    assert_eq!(state.level, MESH);
    // A reader may not report, an agent not for another node.
    let refused = soon(Agent::on(reader)).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let mut liar = agent(&collector, &authority, "vps-2").await;
    liar.snapshot([identity("vps-3", "boot-a")]).await;
    assert_eq!(liar.refusal().await.code(), Code::PermissionDenied);
    assert_eq!(collector.counters.names_refused.get(), 1);
    // Every node has the mesh key; here it proves nothing.
    let tls = Arc::new(mesh_key(1).reader_config().unwrap());
    let target = collector.address.to_string();
    let dialled = soon(Box::pin(dial(&target, Mark::None, tls))).await;
    assert!(dialled.is_err(), "the mesh key was taken");
}

#[tokio::test]
async fn an_agent_whose_certificate_was_renewed_is_no_clone() {
    let authority = Authority::new();
    let collector = Collector::proving(Proof::Own(authority.issue(COLLECTOR)));
    for boot in ["boot-a", "boot-b"] {
        // Each time with a new key; the machine has rebooted in between.
        let mut agent = agent(&collector, &authority, "vps-1").await;
        agent.snapshot([identity("vps-1", boot)]).await;
        agent.response().await.unwrap();
        drop(agent);
        let gone = |verdict: &evidence::Verdict| {
            node(verdict, "vps-1").is_some_and(|node| !node.reporting)
        };
        let reader = authority.issue(READER).reader_config().unwrap();
        collector
            .until_on(collector.channel(reader).await, gone)
            .await;
    }
    assert_eq!(collector.counters.keys_refused.get(), 0);
    assert_eq!(collector.counters.streams_opened.get(), 2);
}

#[tokio::test]
async fn renewed_files_are_used_for_new_connections_and_broken_ones_are_not() {
    let authority = Authority::new();
    let files = authority.issue(COLLECTOR);
    let collector = Collector::proving(Proof::Own(files.clone()));
    let old = proved_by(&collector, &authority).await;
    assert_eq!(old, der(&files));
    // The certificate first, and the key a while later: what does not fit together changes nothing.
    let key = fs::read_to_string(&files.key).unwrap();
    authority.issue(COLLECTOR);
    let new_key = fs::read_to_string(&files.key).unwrap();
    authority.write("spiffe___example.org_mesh_collector.key", &key);
    sleep(Duration::from_secs(11)).await;
    assert_eq!(proved_by(&collector, &authority).await, old);
    authority.write("spiffe___example.org_mesh_collector.key", &new_key);
    let renewed = async {
        while proved_by(&collector, &authority).await != der(&files) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    soon(renewed).await;
}
