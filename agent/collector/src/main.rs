//! `mesh-collector`: the program around [`mesh_collector::run`].

use std::{
    env,
    io::{self, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Parser, value_parser};
use diagnosis::Expectation;
use evidence::NodeName;
use mesh_collector::{Config, run};
use proto::{
    limits::PORT,
    transport::listen,
    trust::{KeyError, KeySource},
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};
use tracing_subscriber::EnvFilter;

/// The exit code for a call that cannot work as written; clap uses the same.
const USAGE: u8 = 2;

/// Joins the reports of all nodes, judges them, and answers whether the next layer may be started.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-collector",
    version,
    after_help = "The mesh key is read from --mesh-key-file, else from --secrets, else from the environment variable \
                  MESH_KEY (base64 of 32 bytes).\nRUST_LOG sets what is logged (default: info).\n\n\
                  Exit codes: 0 stopped by a signal, 2 usage, 1 anything else."
)]
struct Arguments {
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from(([0, 0, 0, 0], PORT)))]
    listen: SocketAddr,
    /// File with the mesh key in base64
    #[arg(long, value_name = "FILE")]
    mesh_key_file: Option<PathBuf>,
    /// Talos' secrets.yaml; its cluster.secret is the mesh key
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// Nothing is ready while fewer nodes report
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = value_parser!(u16).range(1..=1024))]
    min_nodes: u16,
    /// Nodes that must report, besides all that appear as peers
    #[arg(long, value_name = "NAME[,NAME..]", value_delimiter = ',')]
    expect: Vec<NodeName>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match collect(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure:#}");
            let usage = matches!(failure.downcast_ref(), Some(KeyError::Missing));
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colours)
        .with_writer(io::stderr)
        .with_target(false)
        .init();
}

async fn collect(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments {
        listen: address,
        mesh_key_file: file,
        secrets,
        min_nodes,
        expect: names,
    } = arguments;
    let mesh_key = KeySource { file, secrets }.load()?;
    let expectation = Expectation {
        min_nodes: usize::from(min_nodes),
        names,
        ..Expectation::default()
    };
    let shutdown = Signals::new()?;
    let (listener, marked) = listen(address)?;
    if !marked {
        // Matters only on a node of the mesh; elsewhere nothing pulls the answers into a tunnel.
        info!("no firewall mark on the listener (needs CAP_NET_ADMIN)");
    }
    run(
        listener,
        Config::new(mesh_key, expectation),
        shutdown.first(),
    )
    .await?;
    Ok(())
}

/// The signals that stop the collector; registered before it listens, so that none is missed.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let register =
            |kind, name| signal(kind).with_context(|| format!("failed to wait for {name}"));
        Ok(Self {
            terminate: register(SignalKind::terminate(), "SIGTERM")?,
            interrupt: register(SignalKind::interrupt(), "SIGINT")?,
        })
    }

    async fn first(mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "stopping");
    }
}
