//! The whole collector: what is started, in which order, and how it ends.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use diagnosis::Expectation;
use proto::{
    limits,
    transport::incoming,
    trust::{MeshKey, TrustError},
    wire::{gate_server::GateServer, mesh_server::MeshServer, report_server::ReportServer},
};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tonic::transport::{Server, server::Router};
use tracing::{info, warn};

use crate::{
    clock,
    connections::bounded,
    counters::Counters,
    gates::Gates,
    intake::Intake,
    judge::{CHANGES, Change, Judge, Owner},
    mesh::Mesh,
    state::State,
    verdicts::Verdicts,
    witness::Witness,
};

/// Time between HTTP/2 pings of a quiet connection, and for the answer: a dead path ends its stream in twice this.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Time that open calls get to end after a stop.
const DRAIN: Duration = Duration::from_secs(3);

/// What a collector needs to know.
#[derive(Debug)]
pub struct Config {
    /// The secret that all trust is derived from.
    pub mesh_key: MeshKey,
    /// Which nodes must be there.
    pub expectation: Expectation,
    /// The function that judges.
    pub judge: Judge,
    /// What is counted; keep a clone to read it.
    pub counters: Arc<Counters>,
}

impl Config {
    /// A collector that judges with [`diagnosis::diagnose`].
    pub fn new(mesh_key: MeshKey, expectation: Expectation) -> Self {
        Self {
            mesh_key,
            expectation,
            judge: diagnosis::diagnose,
            counters: Arc::default(),
        }
    }
}

/// Why a collector ended by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// No certificates could be had.
    #[error("failed to set up trust from the mesh key")]
    Trust(#[from] TrustError),
    /// The listener has no address.
    #[error("failed to read the address of the listener")]
    Listener(#[source] io::Error),
    /// gRPC ended.
    #[error("failed to serve on {address}")]
    Serve {
        /// Where it listened.
        address: SocketAddr,
        /// Why; `None` if it ended without an error.
        #[source]
        source: Option<tonic::transport::Error>,
    },
    /// The owner of the view ended: a bug.
    #[error("the judge has ended, this is a bug")]
    Judge,
}

/// Serves on `listener` until `shutdown` is ready, or something fails.
///
/// Two tasks live as long as the collector; neither is restarted, and when one ends the collector ends. The *owner* of
/// the view is stopped first: that ends all report streams, waits and watches, so that *serving* can drain.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let address = listener.local_addr().map_err(RunError::Listener)?;
    let tls = Arc::new(config.mesh_key.server_config()?);
    let (changes, queue) = mpsc::channel(CHANGES);
    let state = State::new(clock::now(), config.expectation);
    let owner = Owner::new(state, config.judge, queue, Arc::clone(&config.counters));
    let router = services(&owner, changes, &config.counters);
    let connections = bounded(
        incoming(listener, tls),
        limits::CONNECTIONS,
        config.counters,
    );

    let (stop, stopped) = watch::channel(());
    let mut owner = tokio::spawn(owner.run(dropped(stopped.clone())));
    let mut server = tokio::spawn(async move {
        router
            .serve_with_incoming_shutdown(connections, dropped(stopped))
            .await
    });
    info!(%address, "collector serves");
    tokio::select! {
        () = shutdown => {}
        _ = &mut owner => return Err(RunError::Judge),
        ended = &mut server => {
            let source = ended.ok().and_then(Result::err);
            return Err(RunError::Serve { address, source });
        }
    }
    drop(stop);
    owner.await.map_err(|_| RunError::Judge)?;
    if timeout(DRAIN, server).await.is_err() {
        warn!(seconds = DRAIN.as_secs(), "open calls did not end in time");
    }
    info!(%address, "collector stopped");
    Ok(())
}

fn services(owner: &Owner, changes: mpsc::Sender<Change>, counters: &Arc<Counters>) -> Router {
    let verdicts = Verdicts::new(owner.judgements());
    let witness = Witness::new(changes.clone());
    let report = Intake {
        changes,
        peers: owner.peers(),
        counters: Arc::clone(counters),
    };
    let gates = Gates {
        verdicts: verdicts.clone(),
        counters: Arc::clone(counters),
    };
    let mesh = Mesh {
        verdicts,
        witness,
        recent: owner.recent(),
        counters: Arc::clone(counters),
    };
    let bytes = limits::MESSAGE_BYTES;
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
        .add_service(
            ReportServer::new(report)
                .max_decoding_message_size(bytes)
                .max_encoding_message_size(bytes),
        )
        .add_service(
            GateServer::new(gates)
                .max_decoding_message_size(bytes)
                .max_encoding_message_size(bytes),
        )
        .add_service(
            MeshServer::new(mesh)
                .max_decoding_message_size(bytes)
                .max_encoding_message_size(bytes),
        )
}

/// Ready when the sender is dropped, also when that is because `run` itself was dropped.
async fn dropped(mut sender: watch::Receiver<()>) {
    while sender.changed().await.is_ok() {}
}
