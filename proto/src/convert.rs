//! Between the wire and the nouns of [`evidence`](::evidence).
//!
//! Wire types never leave this crate's users' edges: what comes in is checked here, field by field, against the limits.
//! Structs are taken apart whole, so that a new field does not compile until somebody decides what it means.

mod agent;
mod clock;
mod data;
mod discovery;
mod evidence;
mod facts;
mod graph;
mod health;
mod history;
mod host;
mod inert;
mod moved;
mod node_echo;
mod report;
mod sizes;
mod steering;
mod talos;
mod verdict;
mod vxlan;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ::evidence::PublicKey;
use thiserror::Error;

use crate::wire;

pub use self::agent::{agent_status_from_wire, agent_status_to_wire};
pub use self::evidence::{
    EvidenceHeader, EvidencePart, NodeEvidence, checked, evidence_from_wire, evidence_to_wire,
    facts_to_wire,
};
pub use graph::{expect_to_wire, level_from_wire, level_to_wire};
pub use history::{past_from_wire, past_to_wire, transition_from_wire, transition_to_wire};
pub use report::{
    Incoming, PeerIdentity, Taken, delta_to_wire, incoming, peers_from_wire, peers_to_wire,
    snapshot_to_wire,
};
pub use verdict::{
    gate_from_wire, gate_to_wire, pair_from_wire, pair_to_wire, pairs_from_wire, pairs_to_wire,
    verdict_from_wire, verdict_to_wire,
};

/// What is wrong with a message: which field, and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("field {field}: expected {expected}")]
pub struct ConvertError {
    /// Path of the field.
    pub field: &'static str,
    /// What it should have been.
    pub expected: String,
    /// Whether it is a kind or a value that this version does not know: not wrong, but said by a later one.
    pub is_later: bool,
}

impl ConvertError {
    pub(crate) fn new(field: &'static str, expected: impl Into<String>) -> Self {
        Self {
            field,
            expected: expected.into(),
            is_later: false,
        }
    }

    /// A number of an enumeration, or a case of a union, that came after this version.
    pub(crate) fn later(field: &'static str, expected: &str) -> Self {
        Self {
            is_later: true,
            ..Self::new(field, expected)
        }
    }
}

/// A number of an enumeration that this version knows. Zero is none of them, in any version, and not for this to judge.
pub(crate) fn known<E: TryFrom<i32>>(
    field: &'static str,
    expected: &str,
    number: i32,
) -> Result<E, ConvertError> {
    E::try_from(number).map_err(|_| ConvertError::later(field, expected))
}

/// `None` for what a later version says; what is wrong stays an error.
pub(crate) fn unless_later<T>(
    converted: Result<T, ConvertError>,
) -> Result<Option<T>, ConvertError> {
    match converted {
        Ok(known) => Ok(Some(known)),
        Err(error) if error.is_later => Ok(None),
        Err(error) => Err(error),
    }
}

pub(crate) fn at_most(field: &'static str, got: usize, limit: usize) -> Result<(), ConvertError> {
    if got > limit {
        return Err(ConvertError::new(
            field,
            format!("at most {limit} entries, got {got}"),
        ));
    }
    Ok(())
}

pub(crate) fn short_text(field: &'static str, text: String) -> Result<String, ConvertError> {
    let limit = ::evidence::limits::TEXT;
    if text.len() > limit || text.chars().any(char::is_control) {
        let got = text.len();
        return Err(ConvertError::new(
            field,
            format!("at most {limit} bytes without control characters, got {got} bytes"),
        ));
    }
    Ok(text)
}

pub(crate) fn link_name(field: &'static str, name: String) -> Result<String, ConvertError> {
    let limit = ::evidence::limits::LINK_NAME;
    let name = short_text(field, name)?;
    if name.len() > limit {
        return Err(ConvertError::new(
            field,
            format!("a link's name of at most {limit} bytes, got {}", name.len()),
        ));
    }
    Ok(name)
}

pub(crate) fn key_from_wire(field: &'static str, bytes: &[u8]) -> Result<PublicKey, ConvertError> {
    let got = bytes.len();
    PublicKey::try_from(bytes)
        .map_err(|_| ConvertError::new(field, format!("a public key of 32 bytes, got {got}")))
}

pub(crate) fn ip_from_wire(field: &'static str, bytes: &[u8]) -> Result<IpAddr, ConvertError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::V4(Ipv4Addr::from(v4)));
    }
    if let Ok(v6) = <[u8; 16]>::try_from(bytes) {
        return Ok(IpAddr::V6(Ipv6Addr::from(v6)));
    }
    let got = bytes.len();
    Err(ConvertError::new(
        field,
        format!("4 or 16 bytes of an IP address, got {got}"),
    ))
}

pub(crate) fn ip_to_wire(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

pub(crate) fn endpoint_from_wire(
    field: &'static str,
    endpoint: &wire::Endpoint,
) -> Result<SocketAddr, ConvertError> {
    let wire::Endpoint { address, port } = endpoint;
    let port = port_from_wire(field, *port)?;
    Ok(SocketAddr::new(ip_from_wire(field, address)?, port))
}

pub(crate) fn port_from_wire(field: &'static str, port: u32) -> Result<u16, ConvertError> {
    u16::try_from(port)
        .map_err(|_| ConvertError::new(field, format!("a port of 16 bits, got {port}")))
}

pub(crate) fn endpoint_to_wire(endpoint: SocketAddr) -> wire::Endpoint {
    wire::Endpoint {
        address: ip_to_wire(endpoint.ip()),
        port: u32::from(endpoint.port()),
    }
}

pub(crate) fn optional_endpoint(
    field: &'static str,
    endpoint: Option<&wire::Endpoint>,
) -> Result<Option<SocketAddr>, ConvertError> {
    endpoint
        .map(|endpoint| endpoint_from_wire(field, endpoint))
        .transpose()
}
