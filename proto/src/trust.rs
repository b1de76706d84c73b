//! Trust: one 32-byte mesh key, and from it by HKDF (RFC 5869) a key per use.
//!
//! ```text
//! mesh key --HKDF--> probe authentication            (echo and inert datagrams)
//!               \--> collector CA ----> server certificates
//!                \-> agent CA    ----> a certificate per node: its subject is the node's name. It proves the node to collectors,
//!                 |                    and to whoever asks the node's agent itself
//!                 \> reader CA   ----> the certificate of people and scripts
//! ```
//!
//! Transport is mutual TLS 1.3. Certificates are derived when a process starts. Their validity spans all of time,
//! because a wrong wall clock is one of the things to be reported: it must not break the report. A role is the CA that
//! issued the certificate. Keys are wiped when dropped and have no `Debug` output.
//!
//! While a mesh key is changed, a collector serves two ([`server_config`]): a client says by which authority it knows its
//! collector, and gets the certificate of that one.
//!
//! An operator who has an authority brings certificates of that instead ([`OwnFiles`]); then nothing of TLS is derived.

mod certificate;
mod credentials;
mod id;
mod own;
mod proof;
mod serve;
mod source;

use std::{fmt, slice, sync::Arc};

use evidence::NodeName;
use hkdf::Hkdf;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::CertificateDer,
};
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use certificate::Authority;
pub use certificate::{AGENT_NAME, Caller, CallerError, Callers, Role, caller};
pub use credentials::{Credentials, CredentialsError};
pub use id::IdError;
pub use own::{OwnError, OwnFiles, Stamp};
pub use proof::AgentProof;
pub use serve::{agent_server_config, server_config};
pub use source::{KeyError, KeySource, MESH_KEY_VARIABLE};

/// The name in every collector's certificate; collectors are dialled by address.
pub const COLLECTOR_NAME: &str = "collector.mesh.internal";

/// HKDF salt: separates our keys from any other use of the cluster secret.
const SALT: &[u8] = b"talos-mesh v1";

/// The one secret of a mesh. On Talos it is the `KubeSpan` preshared key, which is the cluster secret.
pub struct MeshKey(Zeroizing<[u8; 32]>);

/// Why TLS could not be set up. Never names key material.
#[derive(Debug, Error)]
pub enum TrustError {
    /// A certificate could not be made from the derived keys.
    #[error("failed to derive the {role} certificate")]
    Certificate {
        /// For which role.
        role: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A file that was made before agents could be asked.
    #[error("the credentials name no authority of agents: make the file anew with mesh-probe key")]
    NoAgents,
    /// rustls refused the configuration.
    #[error("failed to set up TLS for the {role}")]
    Tls {
        /// For which role.
        role: &'static str,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl MeshKey {
    /// Wraps 32 bytes.
    pub fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The key that authenticates echo and inert datagrams.
    pub fn probe_key(&self) -> Zeroizing<[u8; 32]> {
        self.derive("probe authentication")
    }

    /// TLS for a collector: proves itself, demands a certificate of an agent or a reader.
    pub fn server_config(&self) -> Result<ServerConfig, TrustError> {
        server_config(slice::from_ref(self))
    }

    /// TLS for the agent of a node. `machine` binds the key to the machine (its first hardware address), so that a
    /// clone under the same name shows up as a second key; it is the same after a restart.
    pub fn agent_config(
        &self,
        node: &NodeName,
        machine: &[u8],
    ) -> Result<ClientConfig, TrustError> {
        self.client_config(Role::Agent, node.as_str(), machine)
    }

    /// TLS for people and scripts: may read, may not report.
    pub fn reader_config(&self) -> Result<ClientConfig, TrustError> {
        self.client_config(Role::Reader, "reader", b"")
    }

    /// The same towards agents: whom it reaches is the node of that agent's certificate.
    pub fn reader_of_agents_config(&self) -> Result<ClientConfig, TrustError> {
        let leaf = self.authority(Role::Reader)?.issue("reader", b"")?;
        let servers = self.authority(Role::Agent)?.certificate();
        credentials::client_config(vec![servers], leaf, Role::Reader)
    }

    fn client_config(
        &self,
        role: Role,
        subject: &str,
        machine: &[u8],
    ) -> Result<ClientConfig, TrustError> {
        let leaf = self.authority(role)?.issue(subject, machine)?;
        let servers = self.authority(Role::Collector)?.certificate();
        credentials::client_config(vec![servers], leaf, role)
    }

    fn authority(&self, role: Role) -> Result<Authority, TrustError> {
        Authority::new(role, self.derive(role.label()), &self.id())
    }

    /// What tells this key from others and gives nothing of it away.
    fn id(&self) -> String {
        let id = self.derive("id");
        id.iter()
            .take(4)
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        expand(self.0.as_slice(), SALT, label.as_bytes())
    }
}

impl fmt::Debug for MeshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshKey(..)")
    }
}

/// HKDF-SHA256 to 32 bytes.
fn expand(secret: &[u8], salt: &[u8], label: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), secret)
        .expand(label, out.as_mut_slice())
        .expect("32 bytes are within HKDF-SHA256's limit of 8160");
    out
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn add_root(
    store: &mut RootCertStore,
    root: CertificateDer<'static>,
    role: &'static str,
) -> Result<(), TrustError> {
    store.add(root).map_err(|source| TrustError::Tls {
        role,
        source: source.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> MeshKey {
        MeshKey::from_bytes(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn every_use_has_its_own_key_and_none_is_the_mesh_key() {
        let mesh = key(7);
        let labels = [
            "probe authentication",
            "collector ca",
            "agent ca",
            "reader ca",
        ];
        let mut keys: Vec<[u8; 32]> = labels.iter().map(|label| *mesh.derive(label)).collect();
        keys.push([7; 32]);
        let mut unique = keys.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), keys.len());
    }

    #[test]
    fn the_probe_key_is_the_same_on_every_node_and_release() {
        // HKDF-SHA256, salt "talos-mesh v1", info "probe authentication", computed with Python's hmac module.
        let expected = "669aa5660c47f02c9e1366d28b12c2f43710814950b558811aefd6f503ae37c2";
        let hex = key(7)
            .probe_key()
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_mesh_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", key(7)), "MeshKey(..)");
    }

    #[test]
    fn all_three_configurations_can_be_made() {
        let mesh = key(1);
        let node = NodeName::parse("vps-1").unwrap();
        mesh.server_config().unwrap();
        mesh.agent_config(&node, &[2, 0, 0, 0, 0, 1]).unwrap();
        mesh.reader_config().unwrap();
    }
}
