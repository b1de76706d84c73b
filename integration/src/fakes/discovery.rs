//! The discovery service of a lab: what its nodes would have published, sealed as they seal it.
//!
//! Words of its mood, of connections: `hang`, `reset` (once the client has spoken), `garbage`, `untrusted` (another authority),
//! `http1` (no HTTP/2), `flood` (bytes without end inside TLS). Of answers: `limit` (the rate limiter), `redirect=HOST:PORT`,
//! `huge` (a list longer than the service allows), `babble` (affiliates that are noise), `stale` (a machine that was replaced),
//! `stranger` (one with another secret), `clock=SECONDS` (its clock runs ahead by so much).

mod connections;
mod sealing;
mod service;

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use upstream::discovery::cluster_server::ClusterServer;

use self::{connections::Connections, service::Service};
use super::{MoodFile, authority::Authority};

/// Connections that the service has not taken up yet.
const WAITING: usize = 16;

/// What the service holds, and where it listens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    pub listen: Vec<SocketAddr>,
    /// The name in its certificate.
    pub host: String,
    pub mood: PathBuf,
    /// Where the certificate of its authority is to be written.
    pub authority: PathBuf,
    pub cluster_id: String,
    /// In base64.
    pub secret: crate::lab::plan::Secret,
    pub affiliates: Vec<Published>,
}

/// What a node publishes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Published {
    pub name: String,
    /// Of its device, in base64.
    pub public_key: String,
    pub address: IpAddr,
    pub endpoint: Option<SocketAddr>,
}

/// Who asked for what, and when.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<Mutex<Vec<(Instant, &'static str)>>>);

impl Plan {
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("decode {}", path.display()))
    }
}

impl Asked {
    fn note(&self, call: &'static str) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.push((Instant::now(), call));
    }

    /// How often a call was made.
    pub fn count(&self, call: &str) -> usize {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|(_, made)| *made == call).count()
    }
}

/// Serves until the task is dropped.
pub async fn serve(plan: Plan) -> anyhow::Result<()> {
    let mut listeners = Vec::new();
    for address in &plan.listen {
        let listener = TcpListener::bind(address).await;
        listeners.push(listener.with_context(|| format!("listen on {address}"))?);
    }
    let authority = Authority::new("Lab CA")?;
    std::fs::write(&plan.authority, authority.pem())
        .with_context(|| format!("write {}", plan.authority.display()))?;
    serve_on(listeners, &plan, &authority, Asked::default()).await
}

/// Serves on sockets that are bound.
pub async fn serve_on(
    listeners: Vec<TcpListener>,
    plan: &Plan,
    authority: &Authority,
    asked: Asked,
) -> anyhow::Result<()> {
    let mood = MoodFile(plan.mood.clone());
    let service = Service::new(plan, mood.clone(), asked)?;
    let stranger = Authority::new("Example Inspection CA")?;
    let h2: &[&[u8]] = &[b"h2"];
    let acceptor = |config| TlsAcceptor::from(Arc::new(config));
    let (sender, streams) = mpsc::channel(WAITING);
    let connections = Arc::new(Connections {
        mood,
        trusted: acceptor(authority.server(&plan.host, h2)?),
        untrusted: acceptor(stranger.server(&plan.host, h2)?),
        http1: acceptor(authority.server(&plan.host, &[b"http/1.1"])?),
        sender,
    });
    for listener in listeners {
        tokio::spawn(connections::accept(listener, Arc::clone(&connections)));
    }
    drop(connections);
    Server::builder()
        .add_service(ClusterServer::new(service))
        .serve_with_incoming(ReceiverStream::new(streams))
        .await
        .context("serve")
}
