//! `mesh-agent`: sees one node of a `KubeSpan` mesh and reports what it sees.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use evidence::NodeName;
use mesh_agent::Config;
use proto::trust::KeySource;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Sees one node of a KubeSpan mesh and reports what it sees. It observes and never repairs: no handshake with the
/// node's key, no write to the host's network.
#[derive(Debug, Parser)]
#[command(version, after_help = "RUST_LOG sets what is logged (default: info).")]
struct Arguments {
    /// Collectors to report to, as HOST:PORT; each is told everything.
    #[arg(
        long = "collector",
        env = "MESH_COLLECTORS",
        value_delimiter = ',',
        required = true
    )]
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
    /// Most echo requests a second; fewer make detection slower, never wrong.
    #[arg(long, env = "MESH_ECHO_BUDGET", default_value_t = mesh_agent::ECHO_BUDGET, value_parser = clap::value_parser!(u32).range(1..=i64::from(mesh_agent::ECHO_BUDGET)))]
    echo_budget: u32,
    /// Socket on which machined listens. Without Talos there is none, and all that needs only WireGuard and Linux works.
    #[arg(long, env = "MESH_MACHINED_SOCKET", default_value = sources::talos::MACHINED_SOCKET)]
    machined_socket: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    match start(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Privileges are given up while there is one thread; the runtime starts the others.
fn start(arguments: Arguments) -> anyhow::Result<()> {
    let kept = mesh_agent::privileges::give_up()?;
    tracing::info!(
        net_admin = kept.net_admin,
        net_raw = kept.net_raw,
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
    let config = Config {
        node,
        collectors: arguments.collectors,
        key: KeySource {
            file: arguments.mesh_key_file,
            secrets: arguments.secrets,
        },
        echo_budget: arguments.echo_budget,
        machined: arguments.machined_socket,
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
