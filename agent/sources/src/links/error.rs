//! Why links, addresses, routes or rules could not be read.

use std::{io, time::Duration};

use thiserror::Error;

use crate::netlink::{MAX_ATTEMPTS, MAX_DUMP, NetlinkError};

/// Why a reading over rtnetlink has no answer. `subject` is what was asked for, such as "links".
#[derive(Debug, Error)]
pub enum LinksError {
    /// A system call failed, or the kernel refused.
    #[error("{operation} for {subject}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// What was asked for.
        subject: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kernel's reply is not netlink. `message` is counted from 1.
    #[error("decode the dump of {subject}, message {message}: expected {what}")]
    Malformed {
        /// What was asked for.
        subject: &'static str,
        /// Which message.
        message: usize,
        /// What was expected.
        what: &'static str,
    },
    /// More bytes than any sane node has.
    #[error("read {subject}: the reply is larger than {limit} bytes")]
    TooLarge {
        /// What was asked for.
        subject: &'static str,
        /// The limit.
        limit: usize,
    },
    /// They kept changing while they were dumped.
    #[error("read {subject}: they changed during each of {attempts} dumps")]
    KeptChanging {
        /// What was asked for.
        subject: &'static str,
        /// How often it was tried.
        attempts: u32,
    },
    /// No answer in time.
    #[error("read {subject}: no answer within {after:?}")]
    TimedOut {
        /// What was asked for.
        subject: &'static str,
        /// The bound.
        after: Duration,
    },
}

impl LinksError {
    /// What a person can do about it.
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Io { .. } => {
                "allow AF_NETLINK sockets (seccomp, SELinux) and run in the host's network namespace"
            }
            Self::Malformed { .. } => {
                "report it with the kernel version: this reply was not understood"
            }
            Self::TooLarge { .. } => {
                "look for leaked interfaces or addresses: 'talosctl get links', 'talosctl get addresses'"
            }
            Self::KeptChanging { .. } => {
                "wait for the next reading; if it stays, look for a link or address that flaps"
            }
            Self::TimedOut { .. } => {
                "look for a process that holds the kernel's rtnl lock (dmesg: blocked tasks)"
            }
        }
    }

    pub(super) fn new(subject: &'static str, error: NetlinkError) -> Self {
        match error {
            NetlinkError::Io { operation, source } => Self::Io {
                operation,
                subject,
                source,
            },
            NetlinkError::Refused(source) => Self::Io {
                operation: "dump over netlink",
                subject,
                source,
            },
            NetlinkError::Malformed { message, what } => Self::Malformed {
                subject,
                message,
                what,
            },
            NetlinkError::TooLarge => Self::TooLarge {
                subject,
                limit: MAX_DUMP,
            },
            NetlinkError::Interrupted => Self::KeptChanging {
                subject,
                attempts: MAX_ATTEMPTS,
            },
        }
    }
}
