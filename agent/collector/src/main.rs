//! `mesh-collector`: the program around [`mesh_collector::run`].

use std::{
    env,
    fs::File,
    io::{self, IsTerminal as _, Read as _},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, bail};
use clap::{Parser, value_parser};
use diagnosis::{
    Expectation,
    graph::{LARGEST_FILE, Problems, parse},
};
use evidence::NodeName;
use mesh_collector::{Config, Http, Open, Otlp, Proof, SettingsError, StoreConfig, run};
use proto::{
    limits::PORT,
    transport::{ListenError, listen},
    trust::{KeyError, KeySource, OwnFiles},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// The exit code for a call that cannot work as written; clap uses the same.
const USAGE: u8 = 2;

/// Most other mesh keys: one is being left, one may have been left half.
const MOST_OTHER_KEYS: usize = 2;

/// Joins the reports of all nodes, judges them, and answers whether the next layer may be started.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-collector",
    version,
    after_help = "The mesh key is read from --mesh-key-file, else from --secrets, else from the environment variable \
                  MESH_KEY (base64 of 32 bytes). With --tls-cert none is needed.\nRUST_LOG sets what is logged (default: info).\n\
                  OTEL_EXPORTER_OTLP_ENDPOINT, .._HEADERS, .._CERTIFICATE, .._TIMEOUT, .._INSECURE, OTEL_METRIC_EXPORT_INTERVAL, OTEL_SERVICE_NAME, \
                  OTEL_RESOURCE_ATTRIBUTES and OTEL_SDK_DISABLED are honoured.\n\n\
                  Exit codes: 0 stopped by a signal, 2 usage, 1 anything else."
)]
struct Arguments {
    /// Address to listen on [default: [::]:21820, which takes both families; 0.0.0.0:21820 where there is no IPv6]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// File with the mesh key in base64
    #[arg(long, value_name = "FILE")]
    mesh_key_file: Option<PathBuf>,
    /// Talos' secrets.yaml; its cluster.secret is the mesh key
    #[arg(long, value_name = "FILE")]
    secrets: Option<PathBuf>,
    /// File with another mesh key whose holders are served too, while keys are changed; repeatable
    #[arg(long, value_name = "FILE")]
    also_accept: Vec<PathBuf>,
    /// Own certificate in PEM, instead of one derived from a mesh key; docs/certificates.md says who it must be for
    #[arg(
        long,
        env = "MESH_TLS_CERT",
        value_name = "FILE",
        requires_all = ["tls_key", "tls_client_ca"],
        conflicts_with_all = ["mesh_key_file", "secrets", "also_accept"]
    )]
    tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(long, env = "MESH_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities of the certificates of agents and readers, in PEM
    #[arg(
        long,
        env = "MESH_TLS_CLIENT_CA",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_client_ca: Option<PathBuf>,
    /// YAML file with the gate graph; docs/gates.md has its fields [default: the built-in chain]
    #[arg(long, env = "MESH_GATES", value_name = "FILE")]
    gates: Option<PathBuf>,
    /// Nothing is ready while fewer nodes report [default: as the file says, else 2]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    min_nodes: Option<u16>,
    /// Nodes that must report, besides all that appear as peers
    #[arg(long, value_name = "NAME[,NAME..]", value_delimiter = ',')]
    expect: Vec<NodeName>,
    /// Plain HTTP, without credentials: whether levels are ready, and gRPC health for Kubernetes; loopback only
    #[arg(long, value_name = "ADDRESS")]
    http: Option<SocketAddr>,
    /// Let --http listen beyond loopback
    #[arg(long, requires = "http")]
    http_anywhere: bool,
    /// Tell everything on --http, to everybody who can connect: reasons, findings, the mesh
    #[arg(long, requires = "http")]
    http_details: bool,
    /// HTTP over TLS with the derived certificates: tells everything, to readers and agents
    #[arg(long, value_name = "ADDRESS")]
    https: Option<SocketAddr>,
    /// Folder in which history and pinned keys survive a restart; one collector each [default: in memory only]
    #[arg(long, env = "MESH_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// Forget the pinned keys of nodes whose machine was replaced
    #[arg(
        long,
        env = "MESH_FORGET",
        value_name = "NAME[,NAME..]",
        value_delimiter = ',',
        requires = "store"
    )]
    forget: Vec<NodeName>,
    /// Push metrics and changes to this OpenTelemetry receiver over gRPC: http://HOST:PORT or https://HOST:PORT [default: none]
    #[arg(long, value_name = "URL")]
    otlp_endpoint: Option<String>,
    /// Let --otlp-endpoint be http:// beyond loopback: names, findings and headers in plain
    #[arg(long)]
    otlp_insecure: bool,
    /// Time between two pushes of the metrics [default: 1m]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    otlp_interval: Option<Duration>,
}

/// A call that cannot work as written.
#[derive(Debug, thiserror::Error)]
enum Usage {
    #[error(
        "--http {0} is not loopback: everybody who can connect is answered without credentials, so that takes --http-anywhere"
    )]
    Anywhere(SocketAddr),
    #[error("failed to read the gate graph {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the gate graph cannot be used:\n{0}")]
    Graph(Problems),
    #[error(transparent)]
    Otlp(#[from] SettingsError),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log();
    match collect(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("{failure:#}");
            let usage = matches!(
                failure.downcast_ref(),
                Some(KeyError::Missing | KeyError::TooMany(_))
            ) || failure.is::<Usage>();
            ExitCode::from(if usage { USAGE } else { 1 })
        }
    }
}

fn start_log() {
    let wanted = env::var("RUST_LOG").ok().filter(|text| !text.is_empty());
    let wanted = wanted.and_then(|text| text.parse::<Targets>().ok());
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let lines = fmt::layer()
        .with_ansi(colours)
        .with_writer(io::stderr)
        .with_target(false);
    tracing_subscriber::registry()
        .with(wanted.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO)))
        .with(lines)
        .init();
}

async fn collect(arguments: Arguments) -> anyhow::Result<()> {
    let expectation = expectation(&arguments)?;
    let http = http(&arguments)?;
    let otlp = otlp(&arguments)?;
    let proof = proof(&arguments)?;
    let Arguments {
        listen: wanted,
        store,
        forget,
        ..
    } = arguments;
    let shutdown = Signals::new()?;
    allow_descriptors();
    let (listener, marked) = wanted.map_or_else(listen_anywhere, listen)?;
    let address = listener
        .local_addr()
        .context("the address of the listener")?;
    if !marked {
        // Matters only on a node of the mesh; elsewhere nothing pulls the answers into a tunnel.
        info!("no firewall mark on the listener (needs CAP_NET_ADMIN)");
    }
    if address.is_ipv4() && address.ip().is_unspecified() {
        info!(
            "listening on IPv4 alone: agents that are stopped past the tunnel cannot come to this node's KubeSpan address, which takes --listen [::]:{}",
            address.port()
        );
    }
    let mut config = Config::proving(proof, expectation);
    config.otlp = otlp;
    config.store = store.map(|folder| StoreConfig { folder, forget });
    for (address, open) in http {
        let (listener, _) = listen(address)?;
        info!(%address, ?open, "HTTP serves");
        config.http.push(Http { listener, open });
    }
    run(listener, config, shutdown.first()).await?;
    Ok(())
}

/// Own certificates, or the mesh key and others that are accepted: never both.
fn proof(arguments: &Arguments) -> anyhow::Result<Proof> {
    let Arguments {
        mesh_key_file: file,
        secrets,
        also_accept,
        tls_cert,
        tls_key,
        tls_client_ca,
        ..
    } = arguments;
    if let (Some(certificate), Some(key), Some(authorities)) = (tls_cert, tls_key, tls_client_ca) {
        return Ok(Proof::Own(OwnFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            authorities: authorities.clone(),
        }));
    }
    let source = |file: Option<&PathBuf>, secrets: Option<&PathBuf>| KeySource {
        file: file.cloned(),
        secrets: secrets.cloned(),
    };
    let mesh_key = source(file.as_ref(), secrets.as_ref()).load()?;
    if also_accept.len() > MOST_OTHER_KEYS {
        bail!(KeyError::TooMany(MOST_OTHER_KEYS));
    }
    let others = also_accept
        .iter()
        .map(|file| source(Some(file), None).load())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Proof::of_all(mesh_key, others))
}

/// Flags go before the file, and the file before the defaults.
fn expectation(arguments: &Arguments) -> Result<Expectation, Usage> {
    let mut expectation = Expectation::default();
    if let Some(path) = &arguments.gates {
        let file = parse(&path.display().to_string(), &read(path)?).map_err(Usage::Graph)?;
        expectation.graph = file.graph;
        expectation.names = file.nodes;
        expectation.min_nodes = file.min_nodes.unwrap_or(expectation.min_nodes);
    }
    if let Some(least) = arguments.min_nodes {
        expectation.min_nodes = usize::from(least);
    }
    if !arguments.expect.is_empty() {
        expectation.names.clone_from(&arguments.expect);
    }
    Ok(expectation)
}

/// One byte over the limit is enough to be told that it is too large.
fn read(path: &Path) -> Result<String, Usage> {
    let most = u64::try_from(LARGEST_FILE + 1).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(most).read_to_string(&mut text))
        .map_err(|source| Usage::Read {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

fn http(arguments: &Arguments) -> Result<Vec<(SocketAddr, Open)>, Usage> {
    let mut listeners = Vec::new();
    if let Some(address) = arguments.http {
        if !address.ip().to_canonical().is_loopback() && !arguments.http_anywhere {
            return Err(Usage::Anywhere(address));
        }
        let open = if arguments.http_details {
            Open::Everything
        } else {
            Open::Gates
        };
        listeners.push((address, open));
    }
    listeners.extend(arguments.https.map(|address| (address, Open::Tls)));
    Ok(listeners)
}

/// Variables hold the headers, as they are secrets: arguments are seen by all users of a machine.
fn otlp(arguments: &Arguments) -> Result<Option<Otlp>, Usage> {
    let endpoint = arguments.otlp_endpoint.as_deref();
    let variable = |name: &str| env::var(name).ok();
    let otlp = Otlp::asked(
        endpoint,
        arguments.otlp_insecure,
        arguments.otlp_interval,
        variable,
    )?;
    Ok(otlp)
}

/// As many descriptors as the machine lets this user have: what is usual, 1,024, is less than the connections of a large mesh.
fn allow_descriptors() {
    let most = getrlimit(Resource::Nofile).maximum;
    let all = Rlimit {
        current: most,
        maximum: most,
    };
    if let Err(error) = setrlimit(Resource::Nofile, all) {
        warn!(%error, "the limit on open files stays as it is");
    }
}

/// On both families, as agents that are stopped past the tunnel come to this node's `KubeSpan` address; on IPv4 where there is no other.
fn listen_anywhere() -> Result<(TcpListener, bool), ListenError> {
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT));
    let one = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
    // If neither can be had, the reason is most likely that of the first: somebody else listens there.
    listen(both).or_else(|error| listen(one).map_err(|_| error))
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
