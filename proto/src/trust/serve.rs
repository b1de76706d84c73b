//! What a collector, and an agent that is asked itself, prove themselves with.

use std::{slice, sync::Arc};

use evidence::NodeName;

use rustls::{
    DistinguishedName, RootCertStore, ServerConfig,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::{COLLECTOR_NAME, MeshKey, Role, TrustError, add_root, certificate::Leaf, provider};

/// TLS for a collector that holders of any of these keys may call. The first is its own; others are taken while a key is
/// changed, until every node and every reader has the new one.
pub fn server_config(keys: &[MeshKey]) -> Result<ServerConfig, TrustError> {
    let mut certificates = ByAuthority::default();
    for key in keys {
        certificates.add(key)?;
    }
    serve(keys, certificates, Role::Collector)
}

/// TLS for the agent of a node that is asked itself: it proves which node it is, by the key that collectors know it by
/// ([`MeshKey::agent_config`]), and demands a certificate of a reader or an agent.
pub fn agent_server_config(
    key: &MeshKey,
    node: &NodeName,
    machine: &[u8],
) -> Result<ServerConfig, TrustError> {
    let leaf = key.authority(Role::Agent)?.issue(node.as_str(), machine)?;
    let certificate = Only(certified(leaf, Role::Agent)?);
    serve(slice::from_ref(key), certificate, Role::Agent)
}

/// TLS for whoever agents and readers with one of these keys may call.
fn serve(
    keys: &[MeshKey],
    certificates: impl ResolvesServerCert + 'static,
    role: Role,
) -> Result<ServerConfig, TrustError> {
    let mut clients = RootCertStore::empty();
    for key in keys {
        for role in [Role::Agent, Role::Reader] {
            let root = key.authority(role)?.certificate();
            add_root(&mut clients, root, role.as_str())?;
        }
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider())
        .build()
        .map_err(|source| refused(source.into(), role))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| refused(source.into(), role))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn certified(leaf: Leaf, role: Role) -> Result<Arc<CertifiedKey>, TrustError> {
    CertifiedKey::from_der(vec![leaf.certificate], leaf.key, &provider())
        .map(Arc::new)
        .map_err(|source| refused(source.into(), role))
}

fn refused(source: Box<dyn std::error::Error + Send + Sync>, role: Role) -> TrustError {
    TrustError::Tls {
        role: role.as_str(),
        source,
    }
}

/// One certificate for everybody.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A certificate for each mesh key, by the name of the authority that issued it.
#[derive(Debug, Default)]
struct ByAuthority(Vec<(DistinguishedName, Arc<CertifiedKey>)>);

impl ByAuthority {
    fn add(&mut self, key: &MeshKey) -> Result<(), TrustError> {
        let authority = key.authority(Role::Collector)?;
        let leaf = authority.issue(COLLECTOR_NAME, b"")?;
        let certified = certified(leaf, Role::Collector)?;
        let mut root = RootCertStore::empty();
        add_root(&mut root, authority.certificate(), Role::Collector.as_str())?;
        let names = root.subjects().into_iter();
        self.0
            .extend(names.map(|name| (name, Arc::clone(&certified))));
        Ok(())
    }
}

impl ResolvesServerCert for ByAuthority {
    /// That of the authority which the client says it trusts; else the first, which it will refuse if it must.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let trusted = hello.certificate_authorities().unwrap_or_default();
        let is_trusted =
            |name: &DistinguishedName| trusted.iter().any(|known| known.as_ref() == name.as_ref());
        let meant = self.0.iter().find(|(name, _)| is_trusted(name));
        let (_, certified) = meant.or_else(|| self.0.first())?;
        Some(Arc::clone(certified))
    }
}
