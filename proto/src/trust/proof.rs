//! What an agent proves itself with, each time that it connects.

use std::sync::Arc;

use evidence::NodeName;
use rustls::ClientConfig;

use super::{MeshKey, OwnError, OwnFiles, TrustError};

/// TLS of an agent: derived once, or from files that are renewed now and then.
#[derive(Clone, Debug)]
pub enum AgentProof {
    /// From the mesh key.
    Derived(Arc<ClientConfig>),
    /// From an operator's own authority.
    Own {
        /// Where they are.
        files: Arc<OwnFiles>,
        /// The node that they must be for.
        node: NodeName,
    },
}

impl AgentProof {
    /// From the mesh key; `machine` tells the machine from a clone of it.
    pub fn derived(key: &MeshKey, node: &NodeName, machine: &[u8]) -> Result<Self, TrustError> {
        let config = key.agent_config(node, machine)?;
        Ok(Self::Derived(Arc::new(config)))
    }

    /// From files, which are read to see that they are good.
    pub fn own(files: OwnFiles, node: NodeName) -> Result<Self, OwnError> {
        files.agent_config(&node)?;
        let files = Arc::new(files);
        Ok(Self::Own { files, node })
    }

    /// TLS for the next connection.
    pub fn config(&self) -> Result<Arc<ClientConfig>, OwnError> {
        match self {
            Self::Derived(config) => Ok(Arc::clone(config)),
            Self::Own { files, node } => files.agent_config(node).map(Arc::new),
        }
    }
}
