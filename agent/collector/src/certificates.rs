//! What the collector proves itself with, and by what it knows its callers.

use std::{sync::Arc, time::Duration};

use proto::trust::{Callers, MeshKey, OwnError, OwnFiles, TrustError, server_config};
use rustls::ServerConfig;
use thiserror::Error;
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time::sleep,
};
use tracing::{info, warn};

/// Time between two looks whether the files have changed.
const LOOK: Duration = Duration::from_secs(10);

/// Where trust comes from.
#[derive(Clone, Debug)]
pub enum Proof {
    /// From mesh keys. The first is the own one; holders of the others are served as well, while keys are changed.
    Derived(Arc<Vec<MeshKey>>),
    /// From an operator's own authority.
    Own(OwnFiles),
}

/// Why no certificates could be had.
#[derive(Debug, Error)]
pub enum ProofError {
    /// From the mesh keys.
    #[error("failed to set up trust from the mesh key")]
    Derived(#[from] TrustError),
    /// From the operator's files.
    #[error("failed to set up trust from own certificates")]
    Own(#[from] OwnError),
}

impl Proof {
    /// From one mesh key.
    pub fn of(key: MeshKey) -> Self {
        Self::of_all(key, Vec::new())
    }

    /// From a mesh key, beside others whose holders are served as well.
    pub fn of_all(key: MeshKey, others: Vec<MeshKey>) -> Self {
        Self::Derived(Arc::new([key].into_iter().chain(others).collect()))
    }
}

/// TLS of all listeners. It is renewed as long as this value lives.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) callers: Arc<Callers>,
    pub(crate) grpc: watch::Receiver<Arc<ServerConfig>>,
    /// For browsers and scripts as well.
    pub(crate) https: watch::Receiver<Arc<ServerConfig>>,
    follower: Option<JoinHandle<()>>,
}

impl Tls {
    pub(crate) fn start(proof: Proof) -> Result<Self, ProofError> {
        match proof {
            Proof::Derived(keys) => {
                let tls = server_config(&keys)?;
                let (_, grpc) = watch::channel(Arc::new(tls.clone()));
                let (_, https) = watch::channel(for_http(tls));
                Ok(Self {
                    callers: Arc::new(Callers::Derived),
                    grpc,
                    https,
                    follower: None,
                })
            }
            Proof::Own(files) => {
                let stamp = files.stamp();
                let (tls, domain) = files.server_config()?;
                info!(
                    certificate = %files.certificate.display(),
                    domain,
                    "own certificates: nothing is derived from a mesh key"
                );
                let (to_grpc, grpc) = watch::channel(Arc::new(tls.clone()));
                let (to_https, https) = watch::channel(for_http(tls));
                let callers = Arc::new(Callers::Own {
                    domain: domain.clone(),
                });
                let follower = tokio::spawn(follow(files, stamp, domain, to_grpc, to_https));
                Ok(Self {
                    callers,
                    grpc,
                    https,
                    follower: Some(follower),
                })
            }
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        if let Some(follower) = &self.follower {
            follower.abort();
        }
    }
}

fn for_http(mut tls: ServerConfig) -> Arc<ServerConfig> {
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(tls)
}

/// Reads the files again when one has changed. What cannot be used changes nothing: the last good ones stay.
async fn follow(
    files: OwnFiles,
    mut used: proto::trust::Stamp,
    domain: String,
    grpc: watch::Sender<Arc<ServerConfig>>,
    https: watch::Sender<Arc<ServerConfig>>,
) {
    let mut told = None;
    loop {
        sleep(LOOK).await;
        let (again, last) = (files.clone(), used);
        let read = spawn_blocking(move || {
            let stamp = again.stamp();
            (stamp != last).then(|| (stamp, again.server_config()))
        });
        let (stamp, outcome) = match read.await {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            // The runtime ends.
            Err(_) => return,
        };
        let reason = match outcome {
            Ok((tls, now)) if now == domain => {
                grpc.send_replace(Arc::new(tls.clone()));
                https.send_replace(for_http(tls));
                info!("own certificates were read again; open connections stay as they are");
                (used, told) = (stamp, None);
                continue;
            }
            Ok((_, now)) => format!("the trust domain is now {now:?}: restart the collector"),
            Err(error) => {
                let cause = std::error::Error::source(&error);
                cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
            }
        };
        if told.as_ref() != Some(&reason) {
            warn!(
                reason,
                "own certificates have changed and cannot be used; the last good ones stay"
            );
            told = Some(reason);
        }
    }
}
