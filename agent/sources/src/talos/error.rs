//! Why Talos could not be asked, or was not understood.

use std::{io, path::PathBuf};

use thiserror::Error;
use tonic::{Code, Status};

use super::TEXT;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum TalosError {
    /// The socket is not there, or nobody listens on it.
    #[error("connect to {path}")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// HTTP/2 did not start.
    #[error("start HTTP/2 on {path}")]
    Http {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// A value cannot be sent as metadata.
    #[error("send metadata {key}: the value is not plain text")]
    Metadata {
        /// Its key.
        key: &'static str,
    },
    /// No whole answer in time.
    #[error("{operation} {kind}: no answer within {seconds} s")]
    Timeout {
        /// What was tried.
        operation: &'static str,
        /// The type of resource.
        kind: &'static str,
        /// How long was waited.
        seconds: u64,
    },
    /// Talos refused.
    #[error("{operation} {kind}: {code:?}: {message}")]
    Call {
        /// What was tried.
        operation: &'static str,
        /// The type of resource.
        kind: &'static str,
        /// The code of gRPC.
        code: Code,
        /// Its words, cleaned and shortened.
        message: String,
    },
    /// More than a node can have.
    #[error("{operation} {kind}: more than {limit} entries")]
    TooMany {
        /// What was tried.
        operation: &'static str,
        /// The type of resource.
        kind: &'static str,
        /// How many are taken.
        limit: usize,
    },
    /// A watch ended.
    #[error("watch {kind}: it ended")]
    Ended {
        /// The type of resource.
        kind: &'static str,
    },
    /// A watch was given up by the other side, as for a reader that is too slow.
    #[error("watch {kind}: {message}")]
    Errored {
        /// The type of resource.
        kind: &'static str,
        /// Its words, cleaned and shortened.
        message: String,
    },
    /// A resource that is not what it should be.
    #[error("decode {kind}")]
    Malformed {
        /// The type of resource.
        kind: &'static str,
        /// What is wrong.
        #[source]
        source: Malformed,
    },
}

/// What is wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("field {field}: expected {expected}")]
pub struct Malformed {
    /// The field.
    pub field: &'static str,
    /// What it should have been.
    pub expected: &'static str,
}

impl TalosError {
    /// Whether this is how Talos says that its version has no such type: unknown types are refused, not missed. It is also
    /// how it refuses a caller, so it tells something only after another type was answered.
    pub const fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Call {
                code: Code::PermissionDenied | Code::Unimplemented,
                ..
            }
        )
    }

    /// Whether the watch was too slow or its place was lost: list and watch again.
    pub const fn is_relist(&self) -> bool {
        matches!(
            self,
            Self::Errored { .. }
                | Self::Call {
                    code: Code::FailedPrecondition,
                    ..
                }
        )
    }

    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Connect { .. } => {
                "mount machined's socket into the extension; without Talos this is as it should be"
            }
            Self::Call {
                code: Code::PermissionDenied,
                ..
            } => {
                "run as a Talos extension service named mesh-agent; Talos refuses callers that it did not start itself"
            }
            Self::Metadata { .. } => "give an address or a host name",
            Self::Malformed { .. } | Self::TooMany { .. } => "report it with the version of Talos",
            _ => "it is tried again",
        }
    }

    pub(super) fn call(operation: &'static str, kind: &'static str, status: &Status) -> Self {
        Self::Call {
            operation,
            kind,
            code: status.code(),
            message: clean(status.message()),
        }
    }
}

impl Malformed {
    pub(super) const fn new(field: &'static str, expected: &'static str) -> Self {
        Self { field, expected }
    }
}

/// What others say is shown to people: no control characters, and not without end.
pub(super) fn clean(text: &str) -> String {
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    let mut text: String = text.chars().take(TEXT).map(visible).collect();
    text.truncate(text.floor_char_boundary(TEXT / 2));
    text
}
