//! Derived certificate authorities, the certificates they issue, and who a certificate says its holder is.

use std::fmt;

use evidence::NodeName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};
use zeroize::Zeroizing;

use super::{IdError, TrustError, expand, id::MeshId};

/// The name in every agent's certificate, beside that of its node: agents are dialled by address, and say who they are.
pub const AGENT_NAME: &str = "agent.mesh.internal";

/// What the holder of a certificate may do. The role is the authority that issued it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Serves.
    Collector,
    /// Reports as the node that its certificate names, and answers as it.
    Agent,
    /// Reads.
    Reader,
}

impl Role {
    const ALL: [Self; 3] = [Self::Collector, Self::Agent, Self::Reader];

    /// The word a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Collector => "collector",
            Self::Agent => "agent",
            Self::Reader => "reader",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Collector => "collector ca",
            Self::Agent => "agent ca",
            Self::Reader => "reader ca",
        }
    }

    const fn authority_name(self) -> &'static str {
        match self {
            Self::Collector => "mesh v1 collector authority",
            Self::Agent => "mesh v1 agent authority",
            Self::Reader => "mesh v1 reader authority",
        }
    }
}

/// Who called, as the certificate says that TLS has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub role: Role,
    /// The node, for agents.
    pub node: Option<NodeName>,
    /// What is pinned per node. SHA-256 of the certificate's public key, where that is derived and so never changes; of its
    /// SPIFFE ID where an authority vouches for it, and a renewed certificate comes with another key.
    pub key: [u8; 32],
    /// Which mesh key the authority was derived from: no secret, and the same for all that hold the key. With an operator's own
    /// authority: the trust domain.
    pub mesh: String,
}

/// Why a verified certificate does not say who its holder is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CallerError {
    /// The certificate cannot be parsed.
    #[error("client certificate is not valid X.509")]
    Malformed,
    /// Another authority.
    #[error("client certificate was issued by {0:?}, which has no role here")]
    Issuer(String),
    /// The subject is no node name.
    #[error("client certificate names {0:?}, which is not a node name")]
    Subject(String),
    /// One of an operator's own authority, without the name that it needs.
    #[error("client certificate has {0}")]
    Id(#[from] IdError),
}

/// How a collector knows its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callers {
    /// By the derived authority that issued their certificate.
    Derived,
    /// By the SPIFFE ID in it.
    Own {
        /// The trust domain that they must be of.
        domain: String,
    },
}

impl Callers {
    /// Says who holds a certificate that TLS has already verified.
    pub fn caller(&self, certificate: &[u8]) -> Result<Caller, CallerError> {
        match self {
            Self::Derived => caller(certificate),
            Self::Own { domain } => {
                let id = MeshId::of(certificate)?.in_domain(domain)?;
                Ok(Caller {
                    key: Sha256::digest(id.to_string()).into(),
                    role: id.role,
                    node: id.node,
                    mesh: id.domain,
                })
            }
        }
    }
}

/// A certificate and its key.
pub(super) struct Leaf {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
}

/// A certificate authority that exists only as a derived key.
pub(super) struct Authority {
    role: Role,
    seed: Zeroizing<[u8; 32]>,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// `mesh` tells the authorities of different mesh keys apart.
    pub(super) fn new(
        role: Role,
        seed: Zeroizing<[u8; 32]>,
        mesh: &str,
    ) -> Result<Self, TrustError> {
        let wrap = |source| TrustError::Certificate {
            role: role.as_str(),
            source,
        };
        let key = key_pair(&seed).map_err(wrap)?;
        let mut params = params(role.authority_name());
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, mesh);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = params.self_signed(&key).map_err(wrap)?.der().clone();
        Ok(Self {
            role,
            seed,
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    pub(super) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// A certificate for `subject`; its key is derived, so the same subject and machine give the same key.
    pub(super) fn issue(&self, subject: &str, machine: &[u8]) -> Result<Leaf, TrustError> {
        let wrap = |source| TrustError::Certificate {
            role: self.role.as_str(),
            source,
        };
        let seed = expand(
            self.seed.as_slice(),
            machine,
            format!("leaf {subject}").as_bytes(),
        );
        let key = key_pair(&seed).map_err(wrap)?;
        let mut params = params(subject);
        let mut names = vec![subject];
        if self.role == Role::Agent {
            names.push(AGENT_NAME);
        }
        for name in names {
            let name = rcgen::SanType::DnsName(name.try_into().map_err(wrap)?);
            params.subject_alt_names.push(name);
        }
        params.extended_key_usages = match self.role {
            Role::Collector => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Role::Reader => vec![ExtendedKeyUsagePurpose::ClientAuth],
            // One key for both: it is the one that collectors have pinned for the node.
            Role::Agent => vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
        };
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(wrap)?
            .der()
            .clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        Ok(Leaf { certificate, key })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.role.as_str())
    }
}

/// Says who holds a derived certificate that TLS has already verified.
pub fn caller(certificate: &[u8]) -> Result<Caller, CallerError> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| CallerError::Malformed)?;
    let issuer = common_name(parsed.issuer());
    let role = Role::ALL
        .into_iter()
        .find(|role| role.authority_name() == issuer)
        .ok_or(CallerError::Issuer(issuer))?;
    let subject = common_name(parsed.subject());
    let node = match role {
        Role::Agent => Some(NodeName::parse(&subject).map_err(|_| CallerError::Subject(subject))?),
        Role::Collector | Role::Reader => None,
    };
    let mesh = parsed
        .issuer()
        .iter_organizational_unit()
        .next()
        .and_then(|attribute| attribute.as_str().ok());
    Ok(Caller {
        role,
        node,
        mesh: mesh.unwrap_or_default().to_owned(),
        key: Sha256::digest(parsed.public_key().raw).into(),
    })
}

/// Whether an authority's own certificate is that of agents.
pub(super) fn is_of_agents(authority: &[u8]) -> bool {
    X509Certificate::from_der(authority)
        .is_ok_and(|(_, parsed)| common_name(parsed.subject()) == Role::Agent.authority_name())
}

fn common_name(name: &X509Name<'_>) -> String {
    name.iter_common_name()
        .next()
        .and_then(|attribute| attribute.as_str().ok())
        .unwrap_or_default()
        .to_owned()
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    params.distinguished_name = name;
    params.serial_number = Some(SerialNumber::from(1_u64));
    // All of time that webpki can express: the wall clock of a node may say 1970.
    params.not_before = date_time_ymd(1970, 1, 1);
    params.not_after = date_time_ymd(9999, 12, 31);
    params
}

/// An Ed25519 key from its seed, by way of the fixed PKCS#8 prefix of RFC 8410 section 7.
fn key_pair(seed: &Zeroizing<[u8; 32]>) -> Result<KeyPair, rcgen::Error> {
    const PREFIX: [u8; 16] = [
        0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
    ];
    let mut der = Zeroizing::new([0; 48]);
    der[..16].copy_from_slice(&PREFIX);
    der[16..].copy_from_slice(seed.as_slice());
    KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(der.as_slice()),
        &rcgen::PKCS_ED25519,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authority(role: Role) -> Authority {
        Authority::new(role, Zeroizing::new([9; 32]), "0a0b").unwrap()
    }

    #[test]
    fn an_agent_certificate_names_its_node_and_keeps_its_key_over_a_restart() {
        let first = authority(Role::Agent).issue("vps-1", b"machine").unwrap();
        let again = authority(Role::Agent).issue("vps-1", b"machine").unwrap();
        let clone = authority(Role::Agent)
            .issue("vps-1", b"another machine")
            .unwrap();
        let who = caller(&first.certificate).unwrap();
        assert_eq!((who.role, who.mesh.as_str()), (Role::Agent, "0a0b"));
        assert_eq!(who.node, Some(NodeName::parse("vps-1").unwrap()));
        assert_eq!(who.key, caller(&again.certificate).unwrap().key);
        assert_ne!(who.key, caller(&clone.certificate).unwrap().key);
    }

    #[test]
    fn a_reader_certificate_is_never_an_agent() {
        let leaf = authority(Role::Reader).issue("reader", b"").unwrap();
        let who = caller(&leaf.certificate).unwrap();
        assert_eq!((who.role, who.node), (Role::Reader, None));
    }

    #[test]
    fn garbage_is_refused_by_name() {
        assert_eq!(caller(b"nonsense"), Err(CallerError::Malformed));
    }
}
