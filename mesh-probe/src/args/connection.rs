//! Where the collector is, and what proves us to it.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use proto::trust::{KeySource, OwnFiles};

use super::{Target, positive};

/// Where the collector is, and what proves us to it.
#[derive(Debug, Args)]
pub struct Connection {
    /// Where the collector listens; the port may be left out (21820). For gate and wait there may be several
    #[arg(
        long,
        global = true,
        env = "MESH_COLLECTOR",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    pub collector: Vec<Target>,
    /// File with the mesh key in base64; the key itself may also be in `MESH_KEY`
    #[arg(long, global = true, value_name = "FILE")]
    pub mesh_key_file: Option<PathBuf>,
    /// Talos' secrets.yaml, whose cluster.secret is the mesh key
    #[arg(long, global = true, value_name = "FILE")]
    pub secrets: Option<PathBuf>,
    /// A reader's credentials, as `mesh-probe key` prints them: instead of the mesh key
    #[arg(
        long,
        global = true,
        env = "MESH_CREDENTIALS",
        hide_env_values = true,
        value_name = "FILE",
        conflicts_with_all = ["mesh_key_file", "secrets"]
    )]
    pub credentials: Option<PathBuf>,
    /// Own certificate in PEM, instead of one derived from the mesh key; docs/certificates.md says who it must be for
    #[arg(
        long,
        global = true,
        env = "MESH_TLS_CERT",
        hide_env_values = true,
        value_name = "FILE",
        requires_all = ["tls_key", "tls_ca"],
        conflicts_with_all = ["mesh_key_file", "secrets", "credentials"]
    )]
    pub tls_cert: Option<PathBuf>,
    /// Its private key in PEM
    #[arg(
        long,
        global = true,
        env = "MESH_TLS_KEY",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub tls_key: Option<PathBuf>,
    /// Authorities of the certificates of collectors, in PEM
    #[arg(
        long,
        global = true,
        env = "MESH_TLS_CA",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub tls_ca: Option<PathBuf>,
    /// Time that connecting, and then each request, may take
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = positive)]
    pub timeout: Duration,
}

/// What proves us to whom we ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    MeshKey,
    /// A reader's file, made from a mesh key.
    Credentials,
    /// A certificate of the operator's own authority.
    Own,
}

impl Connection {
    /// What proves us to a collector. Agents take no certificates of an own authority.
    pub const fn proof(&self) -> Proof {
        if self.tls_cert.is_some() {
            Proof::Own
        } else if self.credentials.is_some() {
            Proof::Credentials
        } else {
            Proof::MeshKey
        }
    }

    /// The same to an agent.
    pub const fn proof_to_agents(&self) -> Proof {
        if self.credentials.is_some() {
            Proof::Credentials
        } else {
            Proof::MeshKey
        }
    }

    /// Where own certificates are, if there are any.
    pub fn own(&self) -> Option<OwnFiles> {
        Some(OwnFiles {
            certificate: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
            authorities: self.tls_ca.clone()?,
        })
    }

    /// Where to look for the mesh key.
    pub fn key_source(&self) -> KeySource {
        KeySource {
            file: self.mesh_key_file.clone(),
            secrets: self.secrets.clone(),
        }
    }
}
