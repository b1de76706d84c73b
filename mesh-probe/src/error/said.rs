//! What a collector or an agent says instead of an answer.

use std::{error::Error, fmt};

use tonic::Code;

/// The sentence of a request to a collector that failed.
pub(super) fn failed(operation: &str, target: &impl fmt::Display, said: &Said) -> String {
    if said.is_of_http() {
        return format!(
            "{target} was reached, but answers as a web server, and not as a collector"
        );
    }
    format!("failed to {operation} of the collector at {target}")
}

/// What a request got instead of its answer.
#[derive(Debug)]
pub struct Said(tonic::Status);

impl Said {
    pub fn code(&self) -> Code {
        self.0.code()
    }

    pub(super) fn is_refusal(&self) -> bool {
        matches!(self.code(), Code::PermissionDenied | Code::Unauthenticated)
    }

    /// Whether it is no answer of gRPC at all. tonic tells that in words alone.
    pub(super) fn is_of_http(&self) -> bool {
        let says = |words: &str| self.0.message().contains(words);
        says("invalid compression flag") || says("mapped from HTTP status code")
    }

    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self.code(),
            Code::Unavailable
                | Code::Unknown
                | Code::Internal
                | Code::Cancelled
                | Code::Aborted
                | Code::DeadlineExceeded
                | Code::ResourceExhausted
        )
    }
}

impl From<tonic::Status> for Said {
    fn from(status: tonic::Status) -> Self {
        Self(status)
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.message() {
            "" => write!(f, "{}", self.0.code()),
            message => f.write_str(message),
        }
    }
}

impl Error for Said {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
