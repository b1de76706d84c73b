//! Who we are: the certificate of a context, its key, and the authority that both sides trust.

use std::{fmt, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use zeroize::Zeroizing;

/// Certificates in one field.
const MAX_CERTIFICATES: usize = 16;

/// What proves us to apid, and what it must prove to us.
pub struct Credentials {
    ca: Vec<CertificateDer<'static>>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What a field should have been.
pub(super) type Expected = &'static str;

impl Credentials {
    /// From the three fields of a context: base64 of PEM each. The error names the field and what it should be.
    pub(super) fn parse(ca: &str, crt: &str, key: &str) -> Result<Self, (&'static str, Expected)> {
        Ok(Self {
            ca: certificates(ca).ok_or(("ca", "base64 of certificates in PEM"))?,
            chain: certificates(crt).ok_or(("crt", "base64 of certificates in PEM"))?,
            key: private_key(key).ok_or(("key", "base64 of a private key in PEM"))?,
        })
    }

    /// The client's side of TLS to apid: version 1.3, both sides verified against `ca`.
    pub fn client(&self) -> Result<ClientConfig, rustls::Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &self.ca {
            roots.add(certificate.clone())?;
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        // Servers of gRPC refuse a client that does not say HTTP/2.
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

fn certificates(field: &str) -> Option<Vec<CertificateDer<'static>>> {
    let pem = decoded(field)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem)
        .take(MAX_CERTIFICATES)
        .collect();
    found.ok().filter(|found| !found.is_empty())
}

fn private_key(field: &str) -> Option<PrivateKeyDer<'static>> {
    let pem = decoded(field)?;
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&pem) {
        return Some(key);
    }
    // Talos calls its Ed25519 keys so; what is inside is PKCS#8 all the same.
    let text = std::str::from_utf8(&pem).ok()?;
    let usual = Zeroizing::new(text.replace("ED25519 PRIVATE KEY", "PRIVATE KEY"));
    PrivateKeyDer::from_pem_slice(usual.as_bytes()).ok()
}

/// White space is allowed: people fold long lines.
fn decoded(field: &str) -> Option<Zeroizing<Vec<u8>>> {
    let bare: Zeroizing<String> = Zeroizing::new(field.split_ascii_whitespace().collect());
    STANDARD.decode(bare.as_bytes()).ok().map(Zeroizing::new)
}
