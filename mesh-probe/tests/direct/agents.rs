//! Agents on loopback, each with what one node of a mesh sees. Their facts stay as old as they are.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use evidence::{AgentStatus, Delta, Facts, Moment, NodeName, Uplink, UplinkState, UplinkWay};
use proto::{
    convert::{agent_status_to_wire, delta_to_wire, snapshot_to_wire},
    limits::MESSAGE_BYTES,
    transport::{incoming, listen},
    trust::{MeshKey, agent_server_config},
    wire::{
        self, AgentStatusRequest, AgentWatchRequest, ReportRequest,
        agent_server::{Agent, AgentServer},
    },
};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, UnixListener},
    sync::mpsc,
    task::{AbortHandle, spawn},
    time::{Instant, sleep},
};
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::{Request, Response, Status, transport::Server};
use zeroize::Zeroizing;

use crate::support::{Lab, NOW, name};

/// The mesh key of these tests, as bytes and as `MESH_KEY` takes it.
const KEY: u8 = 7;
pub(crate) const KEY_TEXT: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// Far more often than a real one must say something.
const PACE: Duration = Duration::from_millis(300);

pub(crate) fn key(byte: u8) -> MeshKey {
    MeshKey::from_bytes(Zeroizing::new([byte; 32]))
}

#[derive(Clone)]
struct Canned {
    node: NodeName,
    facts: Facts,
    waits_for: Option<String>,
}

/// An agent that answers until it is stopped, or the runtime of the test ends.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    tasks: Vec<AbortHandle>,
}

impl Running {
    /// As if its machine had lost power: connections end, and nobody listens.
    pub(crate) fn stop(self) {
        for task in self.tasks {
            task.abort();
        }
    }
}

/// One agent for each node of a mesh, in the order of their names.
pub(crate) fn all(lab: &Lab) -> Vec<Running> {
    let names = lab.view.nodes.keys();
    names.map(|node| one(lab, node.as_str())).collect()
}

pub(crate) fn one(lab: &Lab, node: &str) -> Running {
    proving(node, KEY, lab, node)
}

/// The agent of a mesh key whose certificate names `proved`, with what `node` sees.
pub(crate) fn proving(proved: &str, byte: u8, lab: &Lab, node: &str) -> Running {
    of_machine(proved, byte, b"machine", lab, node)
}

pub(crate) fn of_machine(proved: &str, byte: u8, machine: &[u8], lab: &Lab, node: &str) -> Running {
    let tls = agent_server_config(&key(byte), &name(proved), machine).unwrap();
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    served(listener, tls, lab, node)
}

/// One that begins to listen now, where nobody did.
pub(crate) fn at(address: SocketAddr, lab: &Lab, node: &str) -> Running {
    let tls = agent_server_config(&key(KEY), &name(node), b"machine").unwrap();
    let (listener, _) = listen(address).unwrap();
    served(listener, tls, lab, node)
}

fn served(listener: TcpListener, tls: ServerConfig, lab: &Lab, node: &str) -> Running {
    let address = listener.local_addr().unwrap();
    let connections = ReceiverStream::new(incoming(listener, Arc::new(tls), Arc::default()));
    let served = Server::builder()
        .add_service(service(lab, node))
        .serve_with_incoming(connections);
    let task = spawn(async move { served.await.unwrap() });
    Running {
        address,
        tasks: vec![task.abort_handle()],
    }
}

pub(crate) fn on_socket(path: &Path, lab: &Lab, node: &str) {
    let connections = UnixListenerStream::new(UnixListener::bind(path).unwrap());
    let served = Server::builder()
        .add_service(service(lab, node))
        .serve_with_incoming(connections);
    spawn(served);
}

/// One that has no mesh key yet.
pub(crate) fn waiting_on_socket(path: &Path, node: &str) {
    let connections = UnixListenerStream::new(UnixListener::bind(path).unwrap());
    let canned = Canned {
        node: name(node),
        facts: Facts::new(),
        waits_for: Some("the mesh key".to_owned()),
    };
    let served = Server::builder()
        .add_service(AgentServer::new(canned))
        .serve_with_incoming(connections);
    spawn(served);
}

fn service(lab: &Lab, node: &str) -> AgentServer<Canned> {
    let canned = Canned {
        node: name(node),
        facts: lab.view.nodes[&name(node)].facts.clone(),
        waits_for: None,
    };
    AgentServer::new(canned).max_encoding_message_size(MESSAGE_BYTES)
}

#[tonic::async_trait]
impl Agent for Canned {
    type WatchStream = ReceiverStream<Result<ReportRequest, Status>>;

    async fn status(
        &self,
        _: Request<AgentStatusRequest>,
    ) -> Result<Response<wire::AgentStatus>, Status> {
        let uplink = |collector: &str, state| Uplink {
            collector: collector.to_owned(),
            since: Moment::from_millis(2_000),
            state,
        };
        let status = AgentStatus {
            node: self.node.clone(),
            version: "0.1.0".to_owned(),
            now: Moment::from_millis(62_000),
            started: Moment::from_millis(1_000),
            waits_for: self.waits_for.clone(),
            uplinks: vec![
                uplink(
                    "vps-1:21820",
                    UplinkState::Reporting {
                        to: "203.0.113.11:21820".parse().unwrap(),
                        way: UplinkWay::Underlay,
                    },
                ),
                uplink(
                    "vps-2:21820",
                    UplinkState::NotReporting {
                        reason: "no answer from 203.0.113.12:21820 within 3 s".to_owned(),
                    },
                ),
            ],
        };
        Ok(Response::new(agent_status_to_wire(&status)))
    }

    async fn watch(
        &self,
        _: Request<AgentWatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if let Some(waits_for) = &self.waits_for {
            return Err(Status::unavailable(format!("it waits for {waits_for}")));
        }
        let (sender, receiver) = mpsc::channel(1);
        spawn(tell(self.facts.clone(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn tell(facts: Facts, sender: mpsc::Sender<Result<ReportRequest, Status>>) {
    let began = Instant::now();
    let mut sequence = 1;
    let mut message = snapshot_to_wire(sequence, NOW, &facts);
    while sender.send(Ok(message)).await.is_ok() {
        sleep(PACE).await; // Ends with its reader, above.
        let later = i64::try_from(began.elapsed().as_millis()).unwrap();
        let upserts = facts.iter().map(|fact| fact.clone().shifted(later));
        let delta = Delta {
            upserts: upserts.collect(),
            ..Delta::default()
        };
        sequence += 1;
        message = delta_to_wire(sequence, NOW.shifted(later), &delta);
    }
}
