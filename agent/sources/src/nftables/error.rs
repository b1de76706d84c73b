//! Why the nftables chains could not be read.

use std::{io, time::Duration};

use rustix::io::Errno;
use thiserror::Error;

use crate::netlink::{MAX_ATTEMPTS, MAX_DUMP, NetlinkError};

/// Why a reading of Talos' nftables chains has no answer.
#[derive(Debug, Error)]
pub enum NftablesError {
    /// A system call failed, or the kernel refused.
    #[error("{operation} for the nftables chains of KubeSpan")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Not allowed.
    #[error("the kernel does not show nftables to this process")]
    NoPermission,
    /// The kernel's reply is not what nftables says. `message` is counted from 1.
    #[error("decode the nftables chains of KubeSpan, message {message}: expected {what}")]
    Malformed {
        /// Which message.
        message: usize,
        /// What was expected.
        what: &'static str,
    },
    /// More than any sane node has.
    #[error(
        "read the nftables chains of KubeSpan: more than {limit} bytes, or too many sets or elements"
    )]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// They kept changing while they were read.
    #[error(
        "read the nftables chains of KubeSpan: the ruleset changed during each of {attempts} readings"
    )]
    KeptChanging {
        /// How often it was tried.
        attempts: u32,
    },
    /// No answer in time.
    #[error("read the nftables chains of KubeSpan: no answer within {after:?}")]
    TimedOut {
        /// The bound.
        after: Duration,
    },
}

impl NftablesError {
    /// What a person can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Io { .. } => {
                "allow AF_NETLINK sockets (seccomp, SELinux) and run in the host's network namespace"
            }
            Self::NoPermission => "give the agent CAP_NET_ADMIN",
            Self::Malformed { .. } => {
                "report it with the kernel version: this reply was not understood"
            }
            Self::TooLarge { .. } => {
                "look at 'talosctl get nftableschains' for sets that have grown"
            }
            Self::KeptChanging { .. } => "wait for the next reading",
            Self::TimedOut { .. } => {
                "look for a process that holds the kernel's nftables lock (dmesg: blocked tasks)"
            }
        }
    }
}

impl From<NetlinkError> for NftablesError {
    fn from(error: NetlinkError) -> Self {
        match error {
            NetlinkError::Io { operation, source } => Self::Io { operation, source },
            NetlinkError::Refused(source) => match Errno::from_io_error(&source) {
                Some(Errno::PERM | Errno::ACCESS) => Self::NoPermission,
                _ => Self::Io {
                    operation: "dump over netlink",
                    source,
                },
            },
            NetlinkError::Malformed { message, what } => Self::Malformed { message, what },
            NetlinkError::TooLarge => Self::TooLarge { limit: MAX_DUMP },
            NetlinkError::Interrupted => Self::KeptChanging {
                attempts: MAX_ATTEMPTS,
            },
        }
    }
}
