//! A collector of a mesh that does not exist: all its surfaces are real, and what it judges is a made-up view of any size.
//! `./dev page` and `./dev fleet` look at it; so can whoever works on a surface.
//!
//!     MESH_KEY=.. cargo run -p mesh-collector --example watched -- --fault one-node-inbound --http 127.0.0.1:21880

#[expect(dead_code, reason = "what is watched here does not report")]
#[path = "../../diagnosis/benches/judgement/mesh.rs"]
mod mesh;

use std::{net::SocketAddr, path::PathBuf, sync::OnceLock, time::Duration};

use anyhow::Context as _;
use clap::Parser;
use diagnosis::{Expectation, View, Watch, diagnose};
use evidence::{Moment, Verdict};
use mesh_collector::{Config, Http, Open, Proof, run};
use proto::{
    transport::listen,
    trust::{KeySource, OwnFiles},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

/// How long all is well at first, so that there is something in the history.
const WELL: Duration = Duration::from_secs(2);
/// What a node says that wants to be more than a text.
const HOSTILE: &str = "<script>document.title='obeyed'</script><img src=https://example.org/x onerror=alert(1)>\"'&amp;";

/// A collector of a made-up mesh: its status page and metrics, in plain with details, and over TLS.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many nodes there are
    #[arg(long, default_value_t = 12)]
    nodes: usize,
    /// What is wrong after two seconds: healthy, one-node-inbound, one-site, collapse
    #[arg(long, default_value = "healthy", value_parser = fault)]
    fault: mesh::Fault,
    /// A node, too, says what a browser must not obey
    #[arg(long)]
    hostile: bool,
    /// Where HTTP is served, with details
    #[arg(long)]
    http: Option<SocketAddr>,
    /// Where HTTPS is served, to readers
    #[arg(long)]
    https: Option<SocketAddr>,
    /// Own certificate, instead of one that is derived from a mesh key
    #[arg(long, requires_all = ["tls_key", "tls_client_ca"])]
    tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long)]
    tls_key: Option<PathBuf>,
    /// Authorities of readers' certificates
    #[arg(long)]
    tls_client_ca: Option<PathBuf>,
    /// It ends by itself after so many seconds
    #[arg(long, default_value_t = 600)]
    seconds: u64,
}

/// What is judged: at first, and from a moment on.
struct Watched {
    healthy: Verdict,
    faulty: Verdict,
    from: Instant,
}

static WATCHED: OnceLock<Watched> = OnceLock::new();

fn fault(text: &str) -> Result<mesh::Fault, String> {
    let mut known = mesh::Fault::ALL.into_iter();
    known.find(|fault| fault.name() == text).ok_or_else(|| {
        format!(
            "expected one of {:?}",
            mesh::Fault::ALL.map(mesh::Fault::name)
        )
    })
}

fn judge(_: &mut Watch, _: &View, _: Moment) -> Verdict {
    WATCHED.get().map_or_else(Verdict::default, |watched| {
        let faulty = Instant::now() >= watched.from;
        let verdict = if faulty {
            &watched.faulty
        } else {
            &watched.healthy
        };
        verdict.clone()
    })
}

fn verdict(nodes: usize, fault: mesh::Fault, hostile: bool) -> Verdict {
    let mut verdict = diagnose(&mesh::view(nodes, fault), mesh::NOW);
    if hostile && let Some(node) = verdict.nodes.first_mut() {
        node.gaps.push(HOSTILE.to_owned());
        node.version = Some(HOSTILE.to_owned());
    }
    verdict
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments {
        nodes,
        fault,
        hostile,
        http,
        https,
        tls_cert,
        tls_key,
        tls_client_ca,
        seconds,
    } = Arguments::parse();
    let watched = Watched {
        healthy: verdict(nodes, mesh::Fault::Nothing, false),
        faulty: verdict(nodes, fault, hostile),
        from: Instant::now() + WELL,
    };
    WATCHED.get_or_init(|| watched);
    let proof = match (tls_cert, tls_key, tls_client_ca) {
        (Some(certificate), Some(key), Some(authorities)) => Proof::Own(OwnFiles {
            certificate,
            key,
            authorities,
        }),
        _ => Proof::of(
            KeySource {
                file: None,
                secrets: None,
            }
            .load()?,
        ),
    };
    let mut config = Config::proving(proof, Expectation::default());
    config.judge = judge;
    for (address, open) in [(http, Open::Everything), (https, Open::Tls)] {
        if let Some(address) = address {
            let failed = || format!("failed to listen on {address}");
            let (listener, _) = listen(address).with_context(failed)?;
            config.http.push(Http { listener, open });
        }
    }
    let (listener, _) = listen(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            () = sleep(Duration::from_secs(seconds)) => {}
        }
    };
    run(listener, config, stop).await?;
    Ok(())
}
