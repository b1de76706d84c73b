//! Certificates of an operator's own authority, instead of derived ones.
//!
//! Three PEM files: the certificate with what leads from it to the authority, its private key, and the authorities that the other
//! side is trusted by. Who a certificate is for is the SPIFFE ID in it ([`super::IdError`] has its form): authorities can be
//! told to issue no other, and it says nothing of addresses, by which collectors are dialled. All of a mesh are of one trust
//! domain.
//!
//! Unlike derived certificates these end one day, and whoever checks them goes by its own wall clock. They are read again for
//! each connection that a client makes, and by a collector when a file has changed.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use evidence::NodeName;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::{ParsedCertificate, WebPkiClientVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{IdError, Role, id::MeshId, provider};

/// Largest file that is read.
const LARGEST: u64 = 256 * 1024;
/// Most certificates in one file.
const MOST: usize = 32;
const CERTIFICATE: &str = "CERTIFICATE";

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnFiles {
    /// The own certificate, then those that lead from it to the authority.
    pub certificate: PathBuf,
    /// Its private key, not encrypted: PKCS#8, PKCS#1 or SEC 1.
    pub key: PathBuf,
    /// The authorities of whoever is at the other end.
    pub authorities: PathBuf,
}

/// Why the files cannot be used. Never shows what is in them.
#[derive(Debug, Error)]
pub enum OwnError {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is too large to be what it should be.
    #[error("{} is larger than the {LARGEST} bytes that are read of such a file", path.display())]
    Size {
        /// Which file.
        path: PathBuf,
    },
    /// A file holds something else.
    #[error("{}: {what}: expected {expected}", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
        /// What was found, and where.
        what: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// The key is that of another certificate.
    #[error("the private key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    OtherKey {
        /// The file with the key.
        key: PathBuf,
        /// The file with the certificate.
        certificate: PathBuf,
    },
    /// The certificate is not for this program.
    #[error("the certificate in {} has {reason}", path.display())]
    Id {
        /// Which file.
        path: PathBuf,
        /// What is wrong with its name.
        reason: IdError,
    },
    /// The certificate is for another node.
    #[error("the certificate in {} is for the node {got}, and this is {expected}", path.display())]
    Node {
        /// Which file.
        path: PathBuf,
        /// For whom it is.
        got: NodeName,
        /// Who this is.
        expected: NodeName,
    },
    /// rustls refused what was read.
    #[error("failed to set up TLS with {}", path.display())]
    Tls {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// What tells one state of the files from another.
pub type Stamp = [Option<(SystemTime, u64)>; 3];

/// What is in the files.
struct Own {
    id: MeshId,
    certified: CertifiedKey,
    authorities: RootCertStore,
}

impl OwnFiles {
    /// TLS for a collector: proves itself, demands a certificate of an agent or a reader. Also gives the trust domain.
    pub fn server_config(&self) -> Result<(ServerConfig, String), OwnError> {
        let own = self.load(&[Role::Collector], "collector")?;
        let refused =
            |path: &Path, source: Box<dyn std::error::Error + Send + Sync>| OwnError::Tls {
                path: path.to_owned(),
                source,
            };
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(own.authorities), provider())
                .build()
                .map_err(|source| refused(&self.authorities, source.into()))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| refused(&self.certificate, source.into()))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok((config, own.id.domain))
    }

    /// TLS for the agent of a node.
    pub fn agent_config(&self, node: &NodeName) -> Result<ClientConfig, OwnError> {
        let own = self.load(&[Role::Agent], "agent")?;
        match &own.id.node {
            Some(got) if got != node => Err(OwnError::Node {
                path: self.certificate.clone(),
                got: got.clone(),
                expected: node.clone(),
            }),
            _ => self.client_config(own),
        }
    }

    /// TLS for people and scripts. An agent may read, too.
    pub fn reader_config(&self) -> Result<ClientConfig, OwnError> {
        let own = self.load(&[Role::Reader, Role::Agent], "reader")?;
        self.client_config(own)
    }

    fn client_config(&self, own: Own) -> Result<ClientConfig, OwnError> {
        let verifier = CollectorOf {
            domain: own.id.domain,
            authorities: own.authorities,
            algorithms: provider().signature_verification_algorithms,
        };
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|source| OwnError::Tls {
                path: self.certificate.clone(),
                source: source.into(),
            })?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.certified)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    /// The present state of the files, to be compared. What cannot be looked at is `None`.
    pub fn stamp(&self) -> Stamp {
        [&self.certificate, &self.key, &self.authorities].map(|path| {
            let about = fs::metadata(path).ok()?;
            Some((about.modified().ok()?, about.len()))
        })
    }

    fn load(&self, roles: &[Role], role: &'static str) -> Result<Own, OwnError> {
        let chain = certificates(&self.certificate)?;
        let id = chain.first().map_or(Err(IdError::Malformed), |own| {
            MeshId::of(own)?.with_role(roles, role)
        });
        let id = id.map_err(|reason| OwnError::Id {
            path: self.certificate.clone(),
            reason,
        })?;
        let key = private_key(&self.key)?;
        let certified = CertifiedKey::from_der(chain, key, &provider());
        let certified = certified.map_err(|source| match source {
            rustls::Error::InconsistentKeys(_) => OwnError::OtherKey {
                key: self.key.clone(),
                certificate: self.certificate.clone(),
            },
            source => OwnError::Tls {
                path: self.key.clone(),
                source: source.into(),
            },
        })?;
        let mut authorities = RootCertStore::empty();
        for authority in certificates(&self.authorities)? {
            authorities.add(authority).map_err(|source| OwnError::Tls {
                path: self.authorities.clone(),
                source: source.into(),
            })?;
        }
        Ok(Own {
            id,
            certified,
            authorities,
        })
    }
}

/// The certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, OwnError> {
    const EXPECTED: &str = "PEM with CERTIFICATE blocks, 32 at most";
    let form = |what| OwnError::Form {
        path: path.to_owned(),
        what,
        expected: EXPECTED,
    };
    let mut all = Vec::new();
    for (number, block) in (1..).zip(blocks(path, EXPECTED)?) {
        if block.tag() != CERTIFICATE || number > MOST {
            return Err(form(format!("block {number} is {}", tag(&block))));
        }
        let der = CertificateDer::from(block.into_contents());
        if ParsedCertificate::try_from(&der).is_err() {
            return Err(form(format!("block {number} is not valid X.509")));
        }
        all.push(der);
    }
    Ok(all)
}

/// The one private key of a file. Others put certificates or parameters beside it, which are passed over.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, OwnError> {
    const EXPECTED: &str =
        "PEM with one PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY, not encrypted";
    let form = |what: String| OwnError::Form {
        path: path.to_owned(),
        what,
        expected: EXPECTED,
    };
    let mut found = None;
    for (number, block) in (1..).zip(blocks(path, EXPECTED)?) {
        let der = || block.contents().to_vec();
        let key = match block.tag() {
            "PRIVATE KEY" => PrivateKeyDer::Pkcs8(der().into()),
            "RSA PRIVATE KEY" => PrivateKeyDer::Pkcs1(der().into()),
            "EC PRIVATE KEY" => PrivateKeyDer::Sec1(der().into()),
            CERTIFICATE | "EC PARAMETERS" => continue,
            _ => return Err(form(format!("block {number} is {}", tag(&block)))),
        };
        if found.replace(key).is_some() {
            return Err(form(format!("block {number} is a second key")));
        }
    }
    found.ok_or_else(|| form("no private key".to_owned()))
}

fn tag(block: &pem::Pem) -> String {
    let tag: String = block.tag().chars().take(40).collect();
    format!("{tag:?}")
}

fn blocks(path: &Path, expected: &'static str) -> Result<Vec<pem::Pem>, OwnError> {
    let failed = |source| OwnError::Read {
        path: path.to_owned(),
        source,
    };
    // With its room made beforehand a key is never moved, which would leave a copy behind.
    let room = usize::try_from(2 * LARGEST).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(OwnError::Size {
            path: path.to_owned(),
        });
    }
    // The parser's own message may repeat what it read.
    let blocks = pem::parse_many(bytes.as_slice()).unwrap_or_default();
    if blocks.is_empty() {
        return Err(OwnError::Form {
            path: path.to_owned(),
            what: "no PEM".to_owned(),
            expected,
        });
    }
    Ok(blocks)
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Own({})", self.id)
    }
}

/// Why a certificate is not that of a collector of the own mesh.
#[derive(Error)]
#[error("the collector's certificate has {0}")]
struct NoCollector(IdError);

/// rustls shows a foreign error by its `Debug`.
impl fmt::Debug for NoCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A collector of the own trust domain, whatever its address is.
#[derive(Debug)]
struct CollectorOf {
    domain: String,
    authorities: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for CollectorOf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.authorities,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        MeshId::of(end_entity)
            .and_then(|id| id.in_domain(&self.domain))
            .and_then(|id| id.with_role(&[Role::Collector], Role::Collector.as_str()))
            .map_err(|error| CertificateError::Other(OtherError(Arc::new(NoCollector(error)))))?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // TLS 1.2 is not spoken.
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
