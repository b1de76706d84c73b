//! Who is spoken about: node names and `WireGuard` public keys.

use std::{fmt, str::FromStr, sync::Arc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest node name that is accepted: a DNS name (RFC 1035 section 2.3.4).
pub const MAX_NODE_NAME: usize = 253;

/// The name of a node: lower-case letters, digits, `-` and `.`, at most [`MAX_NODE_NAME`] bytes.
///
/// Names are shown to people and used as keys, so nothing else can be in one. A clone shares the text: a verdict names each
/// node of a large mesh thousands of times.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

/// Why a text is not a [`NodeName`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NodeNameError {
    /// Nothing was given.
    #[error("node name is empty")]
    Empty,
    /// Too many bytes.
    #[error("node name has {0} bytes, at most {MAX_NODE_NAME} are allowed")]
    TooLong(usize),
    /// A character that a host name cannot have.
    #[error(
        "node name has the character {character:?} at byte {at}; letters, digits, '-' and '.' are allowed"
    )]
    Character {
        /// The offending character.
        character: char,
        /// Its byte offset.
        at: usize,
    },
}

impl NodeName {
    /// Parses a host name; upper-case letters become lower case, as DNS compares them.
    pub fn parse(text: &str) -> Result<Self, NodeNameError> {
        if text.is_empty() {
            return Err(NodeNameError::Empty);
        }
        if text.len() > MAX_NODE_NAME {
            return Err(NodeNameError::TooLong(text.len()));
        }
        let bad = |c: &char| !(c.is_ascii_alphanumeric() || *c == '-' || *c == '.');
        if let Some((at, character)) = text.char_indices().find(|(_, c)| bad(c)) {
            return Err(NodeNameError::Character { character, at });
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for NodeName {
    type Err = NodeNameError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for NodeName {
    type Error = NodeNameError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.0.as_ref().to_owned()
    }
}

/// A `WireGuard` public key (Curve25519, 32 bytes). Never a private or a preshared key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

/// Why bytes or text are not a [`PublicKey`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublicKeyError {
    /// Not 32 bytes.
    #[error("public key has {0} bytes, expected 32")]
    Length(usize),
    /// Not standard base64.
    #[error("public key is not standard base64 of 32 bytes")]
    Encoding,
}

impl PublicKey {
    /// Wraps the 32 bytes of a key.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight characters of the base64 form: enough to recognise a key in a log line.
    pub fn short(&self) -> String {
        self.to_string().chars().take(8).collect()
    }
}

impl TryFrom<&[u8]> for PublicKey {
    type Error = PublicKeyError;
    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| PublicKeyError::Length(bytes.len()))
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|_| PublicKeyError::Encoding)?;
        Self::try_from(bytes.as_slice())
    }
}

impl TryFrom<String> for PublicKey {
    type Error = PublicKeyError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}..)", self.short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_is_folded_to_lower_case() {
        assert_eq!(
            NodeName::parse("VPS-1.Home").unwrap().as_str(),
            "vps-1.home"
        );
    }

    #[test]
    fn a_node_name_refuses_what_could_break_a_table_or_a_terminal() {
        assert_eq!(NodeName::parse(""), Err(NodeNameError::Empty));
        assert_eq!(
            NodeName::parse("a\u{1b}[31m"),
            Err(NodeNameError::Character {
                character: '\u{1b}',
                at: 1
            })
        );
        assert_eq!(
            NodeName::parse(&"a".repeat(254)),
            Err(NodeNameError::TooLong(254))
        );
    }

    #[test]
    fn a_public_key_round_trips_through_base64() {
        let text = "Oak2fBEWngBhwslBxDVgnRNHXs88OAp4kjroSX0uqUE=";
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.short(), "Oak2fBEW");
        assert_eq!("AAAA".parse::<PublicKey>(), Err(PublicKeyError::Length(3)));
        assert_eq!("***".parse::<PublicKey>(), Err(PublicKeyError::Encoding));
    }
}
