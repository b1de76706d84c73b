//! Starts the tasks.
//!
//! | task | owner of | ends | restarted by |
//! |---|---|---|---|
//! | wireguard reader | nothing | with the observer | never: it goes on after errors |
//! | links reader | notification socket | with the observer | itself |
//! | steering reader | nothing | with the observer | never: it goes on after errors |
//! | tap reader | tap socket | with the observer | itself, after ten seconds |
//! | discovery reader | connections to the discovery service | with the observer | never: it goes on after errors |
//! | pressure reader | nothing | with the observer | never: what it cannot read is not known |
//! | Talos follower | connection to machined | with the observer | itself, with back-off |
//! | host reader | nothing | with the observer | never: what it cannot read is not known |
//! | time server, one task each | nothing | with the observer | never: it asks again after 64 s, or 8 s after silence |
//! | observer | machines, echo socket, raw sender | on shutdown | never |
//! | uplink (one per collector) | connection | on shutdown, or with its control plane | itself, with back-off |
//! | collectors, if none were given | their uplinks | on shutdown | never |
//! | answers | its socket and listeners | on shutdown | each way in itself, after ten seconds |
//!
//! All channels are bounded. While a collector is away nothing is queued: the newest facts replace the older ones.

use std::{future::Future, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use evidence::{Facts, Moment, NodeName, limits};
use probe_core::{ProbeKey, echo};
use probe_io::{Sighted, clock};
use proto::trust::{AgentProof, KeyError, KeySource, MeshKey, OwnFiles, agent_server_config};
use sources::pressure::Pressure;
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
    time::sleep,
};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::{
    answers::{self, Answers, AnswersConfig, Own},
    collectors,
    discovery::{self, DiscoveryConfig},
    host, ntp,
    observer::{Observer, ObserverConfig},
    readers::{self, Reading, Readings, TapState},
    sockets::Sockets,
    steering,
    talos::{self, Machined},
    uplink::{self, Collector},
    uplinks::Uplinks,
};

/// Most echo requests a second.
pub const ECHO_BUDGET: u32 = echo::MAX_REQUESTS_PER_SECOND;
/// Datagrams that the tap has seen and the observer has not yet taken; over it the newest is dropped and counted.
const TAP_QUEUE: usize = 256;
/// Pause before the node is asked again for what a start needs.
const RETRY: Duration = Duration::from_secs(1);

/// What an agent is told.
#[derive(Debug)]
pub struct Config {
    /// Name of this node.
    pub node: NodeName,
    /// Collectors, as `host:port`; none: those on the control planes that Talos names.
    pub collectors: Vec<String>,
    /// Where the mesh key is, if not in the `kubespan` device.
    pub key: KeySource,
    /// Certificates of an operator's own authority, instead of derived ones.
    pub own: Option<OwnFiles>,
    /// Most echo requests a second.
    pub echo_budget: u32,
    /// Where its sources are.
    pub sources: SourcesConfig,
    /// Where it can be asked itself.
    pub answers: AnswersConfig,
    /// Milliseconds that are added to the wall clock before it is told to anybody: for tests alone.
    pub clock_offset_ms: i64,
}

/// Where the sources are that are not in the kernel.
#[derive(Clone, Debug)]
pub struct SourcesConfig {
    /// Talos, if it is there at all.
    pub machined: Machined,
    /// The discovery service.
    pub discovery: DiscoveryConfig,
    /// Time servers to ask, by name or address; none: those of Talos.
    pub ntp_servers: Vec<String>,
}

/// Everything that is known, and when it was put together.
pub(crate) type Published = Arc<(Moment, Facts)>;

/// Runs until `shutdown` ends.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    tokio::select! {
        () = shutdown => {
            info!("stopped");
            Ok(())
        }
        ended = observe(config) => ended,
    }
}

async fn observe(config: Config) -> anyhow::Result<()> {
    let most = limits::UPLINKS;
    let given = config.collectors.len();
    ensure!(
        given <= most,
        "at most {most} collectors can be reported to, got {given}"
    );
    // What is wrong with the files is told before the mesh key is waited for.
    let own = config
        .own
        .map(|files| AgentProof::own(files, config.node.clone()))
        .transpose()
        .context("failed to set up TLS from own certificates")?;
    let (published, facts) = watch::channel(Published::default());
    let uplinks = Uplinks::default();
    let (waits, waits_for) = watch::channel(Some("the mesh key"));
    let (credentials, known) = watch::channel(None);
    let answering = Own {
        node: config.node.clone(),
        started: clock::moment(),
        waits_for,
        facts: facts.clone(),
        uplinks: uplinks.clone(),
    };
    // From now on: an agent that waits says for what.
    let _answers = EndsWith(tokio::spawn(answers::serve(
        config.answers,
        Answers::new(answering),
        known,
    )));
    let (key, secret) = mesh_key(&config.key).await?;
    waits.send_replace(Some("the links of the node"));
    let machine = machine().await;
    let proof = match own {
        Some(own) => own,
        None => {
            AgentProof::derived(&key, &config.node, &machine).context("failed to set up TLS")?
        }
    };
    // Whoever asks an agent itself does so by what is derived from the mesh key, also beside own certificates.
    let server = agent_server_config(&key, &config.node, &machine)
        .context("failed to set up TLS for whoever asks")?;
    credentials.send_replace(Some(Arc::new(server)));
    let probe_key = ProbeKey::from_bytes(*key.probe_key());
    drop(key);
    waits.send_replace(None);
    info!(node = %config.node, collectors = ?config.collectors, "observing");

    let (tap_sender, tap) = mpsc::channel(TAP_QUEUE);
    let (tap_state_sender, tap_state) = watch::channel(None);
    tokio::spawn(readers::tap(tap_sender, tap_state_sender));
    let readings = read(config.sources, secret, tap, tap_state);
    let reporting: Vec<_> = if config.collectors.is_empty() {
        let talos = readings.talos.clone();
        let follow = collectors::follow(talos, proof, facts, uplinks);
        vec![EndsWith(tokio::spawn(follow))]
    } else {
        let given = config.collectors.iter().cloned().map(Collector::Given);
        let report = |collector| {
            EndsWith(tokio::spawn(uplink::run(
                collector,
                proof.clone(),
                facts.clone(),
                uplinks.clone(),
            )))
        };
        given.map(report).collect()
    };
    let observer = Observer::new(
        ObserverConfig {
            node: config.node,
            probe_key,
            echo_budget: config.echo_budget,
            boot_id: sources::host::boot_id().unwrap_or_default(),
            clock_offset_ms: config.clock_offset_ms,
        },
        Sockets::default(),
    );
    observer.run(readings, published).await;
    drop(reporting);
    Ok(())
}

/// A task that ends when this is dropped.
struct EndsWith(JoinHandle<()>);

impl Drop for EndsWith {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What this node says of itself, as an agent would state it, without an agent: each source is read once, nothing is sent, no
/// packet is watched. Ends as soon as all have been tried, and after `patience` in any case.
pub async fn look(node: NodeName, config: SourcesConfig, patience: Duration) -> (Moment, Facts) {
    let (_, tap) = mpsc::channel(1);
    let (_, tap_state) = watch::channel(None);
    let observer = Observer::new(
        ObserverConfig {
            node,
            probe_key: ProbeKey::from_bytes([0; 32]),
            echo_budget: 1,
            boot_id: sources::host::boot_id().unwrap_or_default(),
            clock_offset_ms: 0,
        },
        Sockets::default(),
    );
    observer
        .read_once(read(config, None, tap, tap_state), patience)
        .await
}

/// Starts the readers of all sources but the tap.
fn read(
    config: SourcesConfig,
    secret: Option<Zeroizing<[u8; 32]>>,
    tap: mpsc::Receiver<Sighted>,
    tap_state: watch::Receiver<Option<Reading<TapState>>>,
) -> Readings {
    let (wireguard_sender, wireguard) = watch::channel(None);
    let (links_sender, links) = watch::channel(None);
    let (route_sender, route_changes) = watch::channel(0);
    let (steering_sender, steering) = watch::channel(None);
    let (talos_sender, talos) = watch::channel(None);
    let (discovery_sender, discovery) = watch::channel(None);
    let (pressure_sender, pressure) = watch::channel(Pressure::default());
    let (host_sender, host) = watch::channel(None);
    tokio::spawn(host::read(host_sender));
    tokio::spawn(readers::wireguard(wireguard_sender));
    tokio::spawn(readers::links(links_sender, route_sender));
    tokio::spawn(steering::read_steering(
        steering_sender,
        wireguard.clone(),
        links.clone(),
    ));
    tokio::spawn(readers::pressure(pressure_sender));
    let (machined, snapshots) = (config.machined, links.clone());
    tokio::spawn(async move { talos::follow(&machined, talos_sender, snapshots).await });
    tokio::spawn(discovery::read(
        discovery_sender,
        wireguard.clone(),
        talos.clone(),
        config.discovery,
        secret,
    ));
    let ntp = ntp::start(config.ntp_servers, talos.clone());
    Readings {
        wireguard,
        links,
        route_changes,
        steering,
        tap,
        tap_state,
        pressure,
        talos,
        discovery,
        ntp,
        host,
    }
}

/// The mesh key: given, or else the preshared key that the `kubespan` device already holds, once it is up. Only the latter is
/// sure to be the secret by which the nodes of this cluster seal what they tell the discovery service.
async fn mesh_key(source: &KeySource) -> anyhow::Result<(MeshKey, Option<Zeroizing<[u8; 32]>>)> {
    match source.load() {
        Ok(key) => return Ok((key, None)),
        Err(KeyError::Missing) => {}
        Err(error) => return Err(error).context("failed to get the mesh key"),
    }
    let mut told = None;
    loop {
        match sources::wireguard::preshared_key(sources::links::KUBESPAN).await {
            Ok(bytes) => return Ok((MeshKey::from_bytes(bytes.clone()), Some(bytes))),
            Err(error) => {
                let reason = sources::Gap::from(&error).to_string();
                if told.as_ref() != Some(&reason) {
                    warn!(%reason, "waiting for the mesh key: no key was given, and the kubespan device has none to read");
                    told = Some(reason);
                }
            }
        }
        sleep(RETRY).await;
    }
}

/// What tells this machine from a clone of it: its first hardware address. Read once; a node has one early in boot.
async fn machine() -> Vec<u8> {
    loop {
        match sources::links::read().await {
            Ok(snapshot) => {
                let first = sources::links::first_hardware_address(&snapshot);
                return first.map_or_else(Vec::new, |address| address.to_vec());
            }
            Err(error) => warn!(reason = %sources::Gap::from(&error), "waiting for the links"),
        }
        sleep(RETRY).await;
    }
}
