//! A certificate authority of the lab, made when it is needed and kept nowhere.

use anyhow::Context as _;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// One of this name.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().context("make a key")?;
        let issuer = CertifiedIssuer::self_signed(params, key).context("sign an authority")?;
        Ok(Self(issuer))
    }

    /// What a client must trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// The same in DER.
    pub fn der(&self) -> CertificateDer<'static> {
        self.0.der().clone()
    }

    /// A server of this name, which agrees on one of these protocols.
    pub fn server(&self, name: &str, protocols: &[&[u8]]) -> anyhow::Result<ServerConfig> {
        let params = CertificateParams::new(vec![name.to_owned()]).context("name a server")?;
        let key = KeyPair::generate().context("make a key")?;
        let leaf = params.signed_by(&key, &self.0).context("sign a server")?;
        let key = PrivateKeyDer::try_from(key.serialize_der());
        let key = key.map_err(|error| anyhow::anyhow!("take a key over: {error}"))?;
        let mut config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .context("set up TLS")?;
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}
