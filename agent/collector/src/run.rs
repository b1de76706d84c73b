//! The whole collector: what is started, in which order, and how it ends.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc, time::Duration};

use diagnosis::{Expectation, hold::Hold, standing::Standing, timing};
use evidence::{NodeName, PairPast};
use proto::{
    limits,
    transport::incoming_with,
    trust::MeshKey,
    wire::{gate_server::GateServer, mesh_server::MeshServer, report_server::ReportServer},
};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, watch},
    task::{JoinError, spawn_blocking},
    time::timeout,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Request,
    service::{Routes, interceptor::InterceptedService},
    transport::Server,
};
use tonic_health::pb::health_server::HealthServer;
use tracing::{info, warn};

use crate::{
    access,
    answer::Answers,
    apart::Apart,
    certificates::{Proof, ProofError, Tls},
    clock,
    connections::{Bounds, Connection, Parted, bounded, parted},
    contract,
    counters::Counters,
    desks::Desks,
    gates::Gates,
    health::Healths,
    http::{self, Http, Surface},
    inbox::{Inbox, inbox},
    intake::Intake,
    judge::{CHANGES, Change, Judge, Memory, Owner, Recent},
    mesh::{Mesh, WATCHES},
    otlp::{Otlp, Queue, Source, push},
    pairs::Pairs,
    rates::{Paced, Rates},
    reflection,
    state::State,
    store::{Pins, Store, StoreConfig},
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
    /// Where trust comes from.
    pub proof: Proof,
    /// Which nodes must be there.
    pub expectation: Expectation,
    /// The function that judges.
    pub judge: Judge,
    /// How long a cause that no waiting cures must have stood before a wait ends for it.
    pub patience: Duration,
    /// How long a cause must have shown to be named at all.
    pub confirm: Duration,
    /// Where HTTP is served, if anywhere.
    pub http: Vec<Http>,
    /// Where history and pinned keys are kept over restarts; in memory only if nowhere.
    pub store: Option<StoreConfig>,
    /// Where to push metrics and changes over OTLP, if anywhere.
    pub otlp: Option<Otlp>,
    /// What is counted; keep a clone to read it.
    pub counters: Arc<Counters>,
}

impl Config {
    /// A collector that judges with [`diagnosis::Watch::diagnose`], and derives all trust from a mesh key.
    pub fn new(mesh_key: MeshKey, expectation: Expectation) -> Self {
        Self::proving(Proof::of(mesh_key), expectation)
    }

    /// The same with trust from elsewhere.
    pub fn proving(proof: Proof, expectation: Expectation) -> Self {
        Self {
            proof,
            expectation,
            judge: diagnosis::Watch::diagnose,
            patience: timing::STANDS,
            confirm: timing::CONFIRMED,
            http: Vec::new(),
            store: None,
            otlp: None,
            counters: Arc::default(),
        }
    }
}

/// Why a collector ended by itself.
#[derive(Debug, Error)]
pub enum RunError {
    /// No certificates could be had.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// There are no threads to be had.
    #[error("failed to start threads: is there a limit on them?")]
    Threads(#[source] io::Error),
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
    /// What reflection would serve does not fit together: a bug.
    #[error("failed to set up reflection, this is a bug")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The owner of the view ended: a bug.
    #[error("the judge has ended, this is a bug")]
    Judge,
}

/// Serves on `listener` until `shutdown` is ready, or something fails.
///
/// Three tasks live as long as the collector; none is restarted, and when one ends the collector ends. The *owner* of
/// the view is stopped first: that ends all report streams, waits and watches, so that *serving* agents, and everybody else, can drain.
pub async fn run(
    listener: TcpListener,
    config: Config,
    shutdown: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let address = listener.local_addr().map_err(RunError::Listener)?;
    let tls = Arc::new(Tls::start(config.proof)?);
    let counters = Arc::clone(&config.counters);
    let (mut memory, pins, pasts) = remember(config.store, &counters).await;
    let export = Queue::new(Arc::clone(&counters));
    memory.export = config.otlp.is_some().then(|| export.clone());
    let expectation = config.expectation.clone();
    let (changes, queue) = mpsc::channel(CHANGES);
    let (inbox, waiting) = inbox();
    let state = State::new(clock::now(), config.expectation).remembering(pins, pasts);
    let hold = Hold::new(config.patience);
    let standing = Standing::new(config.confirm);
    let owner = Owner::new(
        state,
        config.judge,
        (hold, standing),
        (queue, waiting),
        memory.clone(),
        Arc::clone(&counters),
    );
    let desks = Desks::start().map_err(RunError::Threads)?;
    let surface = Surface {
        answers: Answers::new(Verdicts::new(owner.judgements()), Arc::clone(&counters)),
        expectation,
        recent: memory.recent.clone(),
        pairs: Pairs::new(changes.clone(), Arc::clone(&counters)),
        documents: desks.documents(),
        rates: Rates::new(&counters),
        counters,
    };
    let services = services(&owner, (changes, inbox), &memory, &surface)?;
    let bounds = Bounds::of_reports();
    let connections = bounded(
        incoming_with(
            listener,
            tls.grpc.clone(),
            Arc::clone(&config.counters.handshakes),
            desks.lanes(),
        ),
        bounds,
        Arc::clone(&tls.callers),
        config.counters,
    );
    let Parted { agents, readers } = parted(connections, bounds);

    let (stop, stopped) = watch::channel(());
    for http in config.http {
        // One that ends by itself takes no other down: gates are also asked by gRPC.
        let trust = (Arc::clone(&tls), desks.lanes());
        let served = http::serve(http, surface.clone(), trust, stopped.clone());
        tokio::spawn(served);
    }
    let exporting = config.otlp.map(|otlp| {
        let source = Source {
            verdicts: surface.answers.verdicts.clone(),
            queue: export,
            counters: Arc::clone(&surface.counters),
            port: address.port(),
        };
        // It ends with nothing that others wait for.
        desks.documents().spawn(push(otlp, source, stopped.clone()))
    });
    drop(surface);
    let mut owner = desks.judge().spawn(owner.run(dropped(stopped.clone())));
    // Both have all services: who may call what is judged at each call.
    let mut readers = tokio::spawn(serve(services.clone(), readers, stopped.clone()));
    // Woken from here, they would keep these threads busy.
    let agents = agents.map(|accepted| accepted.and_then(Connection::go_over));
    let mut agents = desks.reports().spawn(serve(services, agents, stopped));
    info!(%address, "collector serves");
    let failed = |ended: Result<Served, JoinError>| RunError::Serve {
        address,
        source: ended.ok().and_then(Result::err),
    };
    let outcome = tokio::select! {
        () = shutdown => Ok(()),
        _ = &mut owner => Err(RunError::Judge),
        ended = &mut readers => Err(failed(ended)),
        ended = &mut agents => Err(failed(ended)),
    };
    // Also after a failure everybody is told that the collector stops.
    drop(stop);
    let judged = match outcome {
        Err(RunError::Judge) => Ok(()),
        _ => owner.await.map_err(|_| RunError::Judge),
    };
    if let Some(store) = memory.store {
        // The bound on it is its own.
        drop(spawn_blocking(move || store.close()).await);
    }
    if let Some(exporting) = exporting {
        // The bound on what is left to push is shorter than this one.
        drop(timeout(DRAIN, exporting).await);
    }
    let drained = async {
        for server in [readers, agents] {
            // One that has ended may be why all end, and is asked no more.
            if !server.is_finished() {
                drop(server.await);
            }
        }
    };
    if timeout(DRAIN, drained).await.is_err() {
        warn!(seconds = DRAIN.as_secs(), "open calls did not end in time");
    }
    info!(%address, "collector stopped");
    outcome.and(judged)
}

/// Opens the store, if there is to be one; what earlier runs have left.
async fn remember(
    store: Option<StoreConfig>,
    counters: &Arc<Counters>,
) -> (Memory, BTreeMap<NodeName, Pins>, Vec<PairPast>) {
    let Some(config) = store else {
        info!("no store: history and pinned keys are kept in memory only");
        return Default::default();
    };
    let Some(Store { writer, restored }) = Store::open(config, counters).await else {
        return Default::default();
    };
    let memory = Memory {
        recent: Recent::of(restored.transitions),
        store: Some(writer),
        export: None,
    };
    (memory, restored.pins, restored.pasts)
}

fn services(
    owner: &Owner,
    (changes, inbox): (mpsc::Sender<Change>, Inbox),
    memory: &Memory,
    surface: &Surface,
) -> Result<Routes, tonic_reflection::server::Error> {
    let Surface {
        answers,
        expectation,
        pairs,
        documents,
        rates,
        counters,
        ..
    } = surface;
    let witness = Witness::new(changes.clone());
    let report = Intake {
        changes,
        inbox,
        peers: owner.peers(),
        streams: rates.streams.clone(),
        counters: Arc::clone(counters),
    };
    let gates = Gates {
        answers: answers.clone(),
        expectation: expectation.clone(),
        counters: Arc::clone(counters),
    };
    let mesh = Mesh {
        verdicts: answers.verdicts.clone(),
        witness,
        pairs: pairs.clone(),
        memory: memory.clone(),
        watches: Arc::new(Semaphore::new(WATCHES)),
        counters: Arc::clone(counters),
    };
    let health = Healths {
        answers: answers.clone(),
        graph: expectation.graph.clone(),
    };
    let bytes = limits::MESSAGE_BYTES;
    let reading = Arc::clone(counters);
    // Health and reflection are the services of others: who may read is asked before they are.
    let reader = move |request: Request<()>| {
        access::reader(&request, &reading)?;
        Ok(request)
    };
    let mut routes = Routes::new(
        ReportServer::new(report)
            .max_decoding_message_size(bytes)
            .max_encoding_message_size(bytes),
    );
    routes = routes
        .add_service(Paced::new(
            GateServer::new(gates)
                .max_decoding_message_size(bytes)
                .max_encoding_message_size(bytes),
            rates.questions.clone(),
        ))
        .add_service(Paced::new(
            Apart::new(
                MeshServer::new(mesh)
                    .max_decoding_message_size(bytes)
                    .max_encoding_message_size(bytes),
                documents.clone(),
            ),
            rates.documents.clone(),
        ))
        .add_service(InterceptedService::new(
            Paced::new(HealthServer::new(health), rates.questions.clone()),
            reader.clone(),
        ))
        .add_service(InterceptedService::new(reflection::v1()?, reader.clone()))
        .add_service(InterceptedService::new(reflection::v1alpha()?, reader));
    Ok(contract::told(routes))
}

type Served = Result<(), tonic::transport::Error>;

/// Serves where it is called, until the sender of `stopped` is gone.
async fn serve(
    services: Routes,
    connections: impl Stream<Item = io::Result<Connection>> + Send + 'static,
    stopped: watch::Receiver<()>,
) -> Served {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(limits::STREAMS_PER_CONNECTION)
        .add_routes(services)
        .serve_with_incoming_shutdown(connections, dropped(stopped))
        .await
}

/// Ready when the sender is dropped, also when that is because `run` itself was dropped.
async fn dropped(mut sender: watch::Receiver<()>) {
    while sender.changed().await.is_ok() {}
}
