//! `mesh-agent`: sees one node of a `KubeSpan` mesh and reports what it sees.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{
    Parser,
    builder::{OsStringValueParser, TypedValueParser as _},
};
use evidence::NodeName;
use mesh_agent::{AnswersConfig, Config, DiscoveryConfig, Machined, SourcesConfig};
use proto::{
    limits,
    trust::{KeySource, OwnFiles},
};
use sources::discovery::{ClusterId, Endpoint};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Sees one node of a KubeSpan mesh and reports what it sees. It observes and never repairs: no handshake with the
/// node's key, no write to the host's network.
#[derive(Debug, Parser)]
#[command(version, after_help = "RUST_LOG sets what is logged (default: info).")]
struct Arguments {
    /// Collectors to report to, as HOST:PORT; each is told everything, past the tunnel if it can be, else through it. Default: the control planes that Talos names, port 21820.
    #[arg(long = "collector", env = "MESH_COLLECTORS", value_delimiter = ',')]
    collectors: Vec<String>,
    /// Name of this node; default: the host name.
    #[arg(long, env = "MESH_NODE")]
    node: Option<NodeName>,
    /// File with the mesh key in base64. Default: the variable `MESH_KEY`, then the preshared key of the kubespan device.
    #[arg(long, env = "MESH_KEY_FILE")]
    mesh_key_file: Option<PathBuf>,
    /// Talos secrets.yaml whose cluster.secret is the mesh key.
    #[arg(long)]
    secrets: Option<PathBuf>,
    /// Own certificate in PEM, instead of one derived from the mesh key; docs/certificates.md says who it must be for. The mesh key
    /// is needed all the same: it authenticates probes.
    #[arg(long, env = "MESH_TLS_CERT", value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, env = "MESH_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities of the certificates of collectors, in PEM.
    #[arg(long, env = "MESH_TLS_CA", value_name = "FILE", requires = "tls_cert")]
    tls_ca: Option<PathBuf>,
    /// Most echo requests a second; fewer make detection slower, never wrong.
    #[arg(long, env = "MESH_ECHO_BUDGET", default_value_t = mesh_agent::ECHO_BUDGET, value_parser = clap::value_parser!(u32).range(1..=i64::from(mesh_agent::ECHO_BUDGET)))]
    echo_budget: u32,
    /// Socket on which machined listens. Without Talos there is none, and all that needs only WireGuard and Linux works.
    #[arg(long, env = "MESH_MACHINED_SOCKET", default_value = sources::talos::MACHINED_SOCKET)]
    machined_socket: PathBuf,
    /// Let the agent ask Talos where the discovery service is. Talos keeps that one resource from readers: it is asked for as
    /// os:admin, and the key in it is dropped unread.
    #[arg(long, env = "MESH_DISCOVERY_FROM_TALOS")]
    discovery_from_talos: bool,
    /// Endpoints of the discovery service, as URLs; each is looked at once a minute. Default: none, or those of Talos.
    #[arg(
        long = "discovery",
        env = "MESH_DISCOVERY",
        value_name = "URL",
        value_delimiter = ','
    )]
    discovery: Vec<Endpoint>,
    /// The cluster whose affiliates are listed. Whoever knows it can overwrite them: better in the environment. Default: that of
    /// Talos.
    #[arg(long, env = "MESH_CLUSTER_ID", hide_env_values = true)]
    cluster_id: Option<ClusterId>,
    /// Time servers of this node, by name or address: each is asked once in 64 seconds, twice more after no answer. Default:
    /// those of Talos.
    #[arg(long = "ntp-server", env = "MESH_NTP_SERVERS", value_delimiter = ',', value_parser = mesh_agent::server_name)]
    ntp_servers: Vec<String>,
    /// A socket on which whoever may open it can ask what this agent sees: `mesh-probe agent`. Empty for none.
    #[arg(long, env = "MESH_SOCKET", value_name = "PATH", default_value = limits::AGENT_SOCKET, value_parser = OsStringValueParser::new().map(PathBuf::from))]
    socket: PathBuf,
    /// Let readers and agents ask over the network as well, by TLS with the derived certificates: `mesh-probe --direct`. Port by
    /// convention: 21821. Default: nowhere.
    #[arg(long, env = "MESH_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Answer /livez and /readyz over HTTP to everybody who can connect; nothing of the node is told there. Default: nowhere.
    #[arg(long, env = "MESH_HEALTH", value_name = "ADDRESS:PORT")]
    health: Option<SocketAddr>,
    /// Milliseconds to add to this node's wall clock before it is told: for tests, where all nodes share one clock.
    #[arg(long, hide = true, default_value_t = 0, allow_hyphen_values = true)]
    clock_offset: i64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start_log() {
    let wanted = std::env::var("RUST_LOG")
        .ok()
        .filter(|text| !text.is_empty());
    let wanted = wanted.and_then(|text| text.parse::<Targets>().ok());
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry()
        .with(wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)))
        .with(lines)
        .init();
}

/// Privileges are given up while there is one thread; the runtime starts the others.
fn start(arguments: Arguments) -> anyhow::Result<()> {
    let kept = mesh_agent::privileges::give_up(&arguments.machined_socket)?;
    tracing::info!(
        net_admin = kept.net_admin,
        net_raw = kept.net_raw,
        dac_override = kept.dac_override,
        "all other capabilities are given up"
    );
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("failed to start the runtime")?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let node = arguments.node.map_or_else(own_name, Ok)?;
    // A variable that is set to nothing gives one empty name.
    let mut collectors = arguments.collectors;
    collectors.retain(|collector| !collector.is_empty());
    let own = arguments
        .tls_cert
        .zip(arguments.tls_key)
        .zip(arguments.tls_ca);
    let own = own.map(|((certificate, key), authorities)| OwnFiles {
        certificate,
        key,
        authorities,
    });
    let config = Config {
        node,
        own,
        collectors,
        key: KeySource {
            file: arguments.mesh_key_file,
            secrets: arguments.secrets,
        },
        echo_budget: arguments.echo_budget,
        sources: SourcesConfig {
            machined: Machined {
                socket: arguments.machined_socket,
                as_admin: arguments.discovery_from_talos,
            },
            discovery: DiscoveryConfig {
                endpoints: arguments.discovery,
                cluster_id: arguments.cluster_id,
            },
            ntp_servers: arguments.ntp_servers,
        },
        answers: AnswersConfig {
            socket: Some(arguments.socket).filter(|path| !path.as_os_str().is_empty()),
            listen: arguments.listen,
            health: arguments.health,
        },
        clock_offset_ms: arguments.clock_offset,
    };
    mesh_agent::run(config, stop()).await
}

fn own_name() -> anyhow::Result<NodeName> {
    let name = sources::host::hostname().context("failed to read the host name")?;
    NodeName::parse(&name)
        .with_context(|| format!("the host name {name:?} cannot name a node; give --node"))
}

/// Ends with SIGTERM or SIGINT.
async fn stop() {
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
