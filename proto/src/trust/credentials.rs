//! What a client proves itself with: derived from a mesh key, or from a file.
//!
//! The file is PEM, made by `mesh-probe key`: the client's certificate, its private key, then the authorities of collectors and agents. Who
//! has only that can read and nothing else: neither the mesh key nor the key of any authority is in it.

use std::{fmt, sync::Arc};

use pem::{EncodeConfig, LineEnding, Pem, encode_many_config};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{
    MeshKey, Role, TrustError, add_root,
    certificate::{Leaf, is_of_agents},
    provider,
};

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
/// Most blocks that are read.
const MOST: usize = 16;

/// A client's certificate and key, and whom it trusts.
pub struct Credentials {
    authorities: Vec<CertificateDer<'static>>,
    leaf: Leaf,
}

/// Why a file holds no credentials. Never shows what was read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CredentialsError {
    /// No PEM at all.
    #[error("{0} is not PEM: expected what mesh-probe key prints")]
    Form(String),
    /// Something that does not belong there, or too much.
    #[error(
        "{origin} has an unexpected block {block:?}: expected CERTIFICATE and PRIVATE KEY, {MOST} blocks at most"
    )]
    Block {
        /// Which file.
        origin: String,
        /// What was found.
        block: String,
    },
    /// A part is missing.
    #[error(
        "{origin} has no {part}: expected a certificate, its PRIVATE KEY, and the certificates of the authorities behind it"
    )]
    Missing {
        /// Which file.
        origin: String,
        /// What is missing.
        part: &'static str,
    },
}

impl MeshKey {
    /// A reader's credentials as a file: whoever has it may read, may not report, and cannot make more of its kind.
    pub fn reader_credentials(&self) -> Result<Zeroizing<String>, TrustError> {
        let leaf = self.authority(Role::Reader)?.issue("reader", b"")?;
        let collectors = self.authority(Role::Collector)?.certificate();
        let agents = self.authority(Role::Agent)?.certificate();
        let blocks = [
            Pem::new(CERTIFICATE, leaf.certificate.to_vec()),
            Pem::new(PRIVATE_KEY, leaf.key.secret_der()),
            Pem::new(CERTIFICATE, collectors.to_vec()),
            Pem::new(CERTIFICATE, agents.to_vec()),
        ];
        let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
        Ok(Zeroizing::new(encode_many_config(&blocks, config)))
    }
}

impl Credentials {
    /// Reads the text of a file. `origin` is for messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self, CredentialsError> {
        let blocks =
            pem::parse_many(text).map_err(|_| CredentialsError::Form(origin.to_owned()))?;
        if blocks.is_empty() {
            return Err(CredentialsError::Form(origin.to_owned()));
        }
        let (mut own, mut key, mut authorities) = (Vec::new(), None, Vec::new());
        for (number, block) in blocks.into_iter().enumerate() {
            let unexpected = || CredentialsError::Block {
                origin: origin.to_owned(),
                block: block.tag().chars().take(40).collect(),
            };
            match block.tag() {
                CERTIFICATE if number < MOST => {
                    let certificate = CertificateDer::from(block.contents().to_vec());
                    let list = if key.is_some() {
                        &mut authorities
                    } else {
                        &mut own
                    };
                    list.push(certificate);
                }
                PRIVATE_KEY if key.is_none() => {
                    let der = PrivatePkcs8KeyDer::from(block.contents().to_vec());
                    key = Some(PrivateKeyDer::Pkcs8(der));
                }
                _ => return Err(unexpected()),
            }
        }
        let missing = |part| CredentialsError::Missing {
            origin: origin.to_owned(),
            part,
        };
        let certificate = own.into_iter().next();
        Ok(Self {
            leaf: Leaf {
                certificate: certificate.ok_or_else(|| missing("certificate before its key"))?,
                key: key.ok_or_else(|| missing("private key"))?,
            },
            authorities: if authorities.is_empty() {
                return Err(missing("authority"));
            } else {
                authorities
            },
        })
    }

    /// TLS with these credentials.
    pub fn client_config(self) -> Result<ClientConfig, TrustError> {
        let (_, collectors) = self.split();
        client_config(collectors, self.leaf, Role::Reader)
    }

    /// The same towards agents.
    pub fn agents_config(self) -> Result<ClientConfig, TrustError> {
        let (agents, _) = self.split();
        if agents.is_empty() {
            return Err(TrustError::NoAgents);
        }
        client_config(agents, self.leaf, Role::Reader)
    }

    /// An agent must not pass for a collector, nor the other way round: whom is asked decides which authorities count.
    fn split(&self) -> (Vec<CertificateDer<'static>>, Vec<CertificateDer<'static>>) {
        let all = self.authorities.iter().cloned();
        all.partition(|authority| is_of_agents(authority))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// TLS 1.3 towards a collector of one of these authorities.
pub(super) fn client_config(
    authorities: Vec<CertificateDer<'static>>,
    leaf: Leaf,
    role: Role,
) -> Result<ClientConfig, TrustError> {
    let mut collectors = RootCertStore::empty();
    for authority in authorities {
        add_root(&mut collectors, authority, role.as_str())?;
    }
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| TrustError::Tls {
        role: role.as_str(),
        source,
    };
    let names = collectors.subjects();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(collectors), provider())
        .build()
        .map_err(|source| refused(source.into()))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| refused(source.into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(SaysWhom { verifier, names }))
        .with_client_auth_cert(vec![leaf.certificate], leaf.key)
        .map_err(|source| refused(source.into()))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// The usual verifier, which also tells the collector whom it trusts: a collector may serve two mesh keys.
#[derive(Debug)]
struct SaysWhom {
    verifier: Arc<WebPkiServerVerifier>,
    names: Vec<DistinguishedName>,
}

impl ServerCertVerifier for SaysWhom {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
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
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        Some(&self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> MeshKey {
        MeshKey::from_bytes(Zeroizing::new([7; 32]))
    }

    fn parse(text: &str) -> Result<Credentials, CredentialsError> {
        Credentials::parse(text, "reader.pem")
    }

    #[test]
    fn a_file_of_credentials_is_read_back_and_holds_neither_the_mesh_key_nor_an_authoritys() {
        let text = key().reader_credentials().unwrap();
        parse(&text).unwrap().client_config().unwrap();
        parse(&text).unwrap().agents_config().unwrap();
        let secrets = [
            Zeroizing::new([7; 32]),
            key().derive(Role::Reader.label()),
            key().derive(Role::Collector.label()),
            key().derive(Role::Agent.label()),
        ];
        for block in pem::parse_many(text.as_str()).unwrap() {
            for secret in &secrets {
                let mut windows = block.contents().windows(32);
                assert!(!windows.any(|part| part == secret.as_slice()));
            }
        }
    }

    #[test]
    fn a_file_from_before_agents_could_be_asked_reads_collectors_and_says_what_it_lacks() {
        let text = key().reader_credentials().unwrap();
        let before = &text[..text.rfind("-----BEGIN CERT").unwrap()];
        parse(before).unwrap().client_config().unwrap();
        let error = parse(before).unwrap().agents_config().unwrap_err();
        assert!(error.to_string().contains("mesh-probe key"), "{error}");
    }

    #[test]
    fn what_holds_no_credentials_is_refused_by_what_is_wrong_with_it() {
        let text = key().reader_credentials().unwrap();
        let certificate = &text[..text.find("-----BEGIN PRIVATE").unwrap()];
        let key_ends = text.find("-----END PRIVATE KEY-----\n").unwrap();
        let without_authority = &text[..key_ends + "-----END PRIVATE KEY-----\n".len()];
        for (text, says) in [
            ("", "reader.pem is not PEM"),
            ("c2VjcmV0", "reader.pem is not PEM"),
            (certificate, "has no private key"),
            (without_authority, "has no authority"),
            (
                &text[certificate.len()..],
                "has no certificate before its key",
            ),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
                "unexpected block \"RSA PRIVATE KEY\"",
            ),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
        let many = certificate.repeat(MOST + 1);
        assert!(parse(&many).unwrap_err().to_string().contains("16 blocks"));
    }

    #[test]
    fn credentials_do_not_show_themselves() {
        let text = key().reader_credentials().unwrap();
        assert_eq!(format!("{:?}", parse(&text).unwrap()), "Credentials(..)");
    }
}
