//! What could not be seen, and how to make it visible.

use std::fmt;

use crate::{
    host::HostError, links::LinksError, nftables::NftablesError, talos::TalosError,
    wireguard::WireGuardError,
};

/// A source that could not be read: unknown, which is neither fine nor broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Which source is missing.
    pub source: &'static str,
    /// What is missing and how to get it.
    pub reason: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

impl From<&WireGuardError> for Gap {
    fn from(error: &WireGuardError) -> Self {
        told("wireguard", error, error.advice())
    }
}

impl From<&LinksError> for Gap {
    fn from(error: &LinksError) -> Self {
        told("links", error, error.advice())
    }
}

impl From<&NftablesError> for Gap {
    fn from(error: &NftablesError) -> Self {
        told("nftables", error, error.advice())
    }
}

impl From<&TalosError> for Gap {
    fn from(error: &TalosError) -> Self {
        told("talos", error, error.advice())
    }
}

impl From<&HostError> for Gap {
    fn from(error: &HostError) -> Self {
        told("host", error, error.advice())
    }
}

/// The whole chain of causes, then the advice: a gap is read without the log beside it.
fn told(source: &'static str, error: &dyn std::error::Error, advice: &str) -> Gap {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    reason.push_str("; ");
    reason.push_str(advice);
    Gap { source, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_says_what_is_missing_why_and_how_to_get_it() {
        let error = WireGuardError::Io {
            operation: "netlink dump",
            interface: "kubespan".to_owned(),
            source: std::io::Error::other("out of buffers"),
        };
        let gap = Gap::from(&error).to_string();
        let cause = "wireguard: netlink dump of WireGuard device kubespan: out of buffers; ";
        assert!(gap.starts_with(cause), "{gap}");
        assert!(gap.ends_with(error.advice()), "{gap}");
    }
}
