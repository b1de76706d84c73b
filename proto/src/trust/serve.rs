//! What a collector proves itself with.

use std::sync::Arc;

use rustls::{
    DistinguishedName, RootCertStore, ServerConfig,
    server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::{COLLECTOR_NAME, MeshKey, Role, TrustError, add_root, provider};

/// TLS for a collector that holders of any of these keys may call. The first is its own; others are taken while a key is
/// changed, until every node and every reader has the new one.
pub fn server_config(keys: &[MeshKey]) -> Result<ServerConfig, TrustError> {
    let mut clients = RootCertStore::empty();
    let mut certificates = ByAuthority::default();
    for key in keys {
        for role in [Role::Agent, Role::Reader] {
            let root = key.authority(role)?.certificate();
            add_root(&mut clients, root, role.as_str())?;
        }
        certificates.add(key)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients), provider())
        .build()
        .map_err(|source| refused(source.into()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| refused(source.into()))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn refused(source: Box<dyn std::error::Error + Send + Sync>) -> TrustError {
    TrustError::Tls {
        role: Role::Collector.as_str(),
        source,
    }
}

/// A certificate for each mesh key, by the name of the authority that issued it.
#[derive(Debug, Default)]
struct ByAuthority(Vec<(DistinguishedName, Arc<CertifiedKey>)>);

impl ByAuthority {
    fn add(&mut self, key: &MeshKey) -> Result<(), TrustError> {
        let authority = key.authority(Role::Collector)?;
        let leaf = authority.issue(COLLECTOR_NAME, b"")?;
        let certified = CertifiedKey::from_der(vec![leaf.certificate], leaf.key, &provider())
            .map_err(|source| refused(source.into()))?;
        let mut root = RootCertStore::empty();
        add_root(&mut root, authority.certificate(), Role::Collector.as_str())?;
        let certified = Arc::new(certified);
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
