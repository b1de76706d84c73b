//! Who a certificate of an operator's own authority is for: the SPIFFE ID among its alternative names.

use std::fmt;

use evidence::NodeName;
use thiserror::Error;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::Role;

const SCHEME: &str = "spiffe://";
/// Longest SPIFFE ID that is read; the standard asks for room for as many bytes.
const LONGEST: usize = 2048;
/// Characters of a wrong one that are repeated in a message.
const ECHOED: usize = 128;

/// `spiffe://DOMAIN/mesh/agent/NODE`, `spiffe://DOMAIN/mesh/reader` or `spiffe://DOMAIN/mesh/collector`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MeshId {
    /// The trust domain: that of the collector and of all who talk to it.
    pub(super) domain: String,
    pub(super) role: Role,
    /// The node, for agents.
    pub(super) node: Option<NodeName>,
}

/// Why a certificate does not say who its holder is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// The certificate cannot be parsed.
    #[error("not valid X.509")]
    Malformed,
    /// No SPIFFE ID, or several.
    #[error(
        "{0} SPIFFE IDs: expected one URI spiffe://DOMAIN/mesh/ROLE among the alternative names"
    )]
    Count(usize),
    /// Another form.
    #[error(
        "{0:?}: expected spiffe://DOMAIN/mesh/agent/NODE, spiffe://DOMAIN/mesh/reader or spiffe://DOMAIN/mesh/collector"
    )]
    Form(String),
    /// A role that may not do this.
    #[error("the role {got}, expected {expected}")]
    Role {
        /// Which one it has.
        got: &'static str,
        /// Which one is needed.
        expected: &'static str,
    },
    /// Another trust domain.
    #[error("the trust domain {got:?}, expected {expected:?}")]
    Domain {
        /// Which one it has.
        got: String,
        /// The own one.
        expected: String,
    },
}

impl MeshId {
    /// The ID in a certificate.
    pub(super) fn of(certificate: &[u8]) -> Result<Self, IdError> {
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| IdError::Malformed)?;
        let names = parsed.subject_alternative_name();
        let names = names.map_err(|_| IdError::Malformed)?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        let ids: Vec<&str> = names
            .filter_map(|name| match name {
                GeneralName::URI(text) if text.starts_with(SCHEME) => Some(*text),
                _ => None,
            })
            .collect();
        match ids.as_slice() {
            [id] => Self::parse(id),
            other => Err(IdError::Count(other.len())),
        }
    }

    fn parse(text: &str) -> Result<Self, IdError> {
        Self::read(text).ok_or_else(|| IdError::Form(text.chars().take(ECHOED).collect()))
    }

    fn read(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(SCHEME)?;
        if text.len() > LONGEST {
            return None;
        }
        let (domain, path) = rest.split_once('/')?;
        let allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if domain.is_empty() || !domain.bytes().all(allowed) {
            return None;
        }
        let (role, node) = match path.strip_prefix("mesh/")? {
            "collector" => (Role::Collector, None),
            "reader" => (Role::Reader, None),
            agent => {
                let node = NodeName::parse(agent.strip_prefix("agent/")?).ok()?;
                (Role::Agent, Some(node))
            }
        };
        Some(Self {
            domain: domain.to_owned(),
            role,
            node,
        })
    }

    /// Whether its holder is of the trust domain `expected`.
    pub(super) fn in_domain(self, expected: &str) -> Result<Self, IdError> {
        if self.domain == expected {
            return Ok(self);
        }
        Err(IdError::Domain {
            got: self.domain,
            expected: expected.to_owned(),
        })
    }

    /// Whether its holder may do what one of these may.
    pub(super) fn with_role(self, roles: &[Role], expected: &'static str) -> Result<Self, IdError> {
        if roles.contains(&self.role) {
            return Ok(self);
        }
        Err(IdError::Role {
            got: self.role.as_str(),
            expected,
        })
    }
}

impl fmt::Display for MeshId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, role, node } = self;
        write!(f, "{SCHEME}{domain}/mesh/{}", role.as_str())?;
        node.iter().try_for_each(|node| write!(f, "/{node}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_and_written_alike() {
        for text in [
            "spiffe://example.org/mesh/agent/vps-1",
            "spiffe://a/mesh/reader",
            "spiffe://cluster.local/mesh/collector",
        ] {
            assert_eq!(MeshId::parse(text).unwrap().to_string(), text);
        }
        let agent = MeshId::parse("spiffe://example.org/mesh/agent/vps-1").unwrap();
        assert_eq!(agent.node, NodeName::parse("vps-1").ok());
        assert_eq!(
            (agent.role, agent.domain.as_str()),
            (Role::Agent, "example.org")
        );
    }

    #[test]
    fn what_is_no_id_of_the_mesh_is_repeated_with_what_was_expected() {
        for text in [
            "spiffe://",
            "spiffe:///mesh/reader",
            "spiffe://example.org",
            "spiffe://example.org/reader",
            "spiffe://example.org/mesh/reader/x",
            "spiffe://example.org/mesh/agent",
            "spiffe://example.org/mesh/agent/",
            "spiffe://example.org/mesh/agent/a b",
            "spiffe://example.org/mesh/agent/a/b",
            "spiffe://EXAMPLE.org/mesh/reader",
            "spiffe://u@example.org/mesh/reader",
            "spiffe://example.org:1/mesh/reader",
            "spiffe://example.org/mesh/reader?x",
        ] {
            let error = MeshId::parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?}: expected ")),
                "{error}"
            );
        }
        let long = format!("spiffe://{}/mesh/reader", "a".repeat(LONGEST));
        assert!(MeshId::parse(&long).unwrap_err().to_string().len() < 400);
    }
}
