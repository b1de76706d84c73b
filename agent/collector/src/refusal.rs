//! Why a report is not taken in. Each reason has one status for the agent and one counter.

use evidence::{NodeName, limits};
use proto::{convert::ConvertError, limits::MESSAGE_BYTES};
use thiserror::Error;
use tonic::{Code, Status};

use crate::counters::{Counter, Counters};

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("certificate is for {certificate}, the report claims {claimed}")]
    Name {
        certificate: NodeName,
        claimed: NodeName,
    },
    #[error("field sequence: expected {expected}, got {got}")]
    Sequence { expected: u64, got: u64 },
    #[error(transparent)]
    Malformed(#[from] ConvertError),
    #[error("message cannot be decoded: {0}")]
    Encoding(String),
    #[error("message is larger than {MESSAGE_BYTES} bytes")]
    Size,
    #[error(
        "{0} has reported with another certificate key; if the machine was replaced, restart the collector, and with --forget {0} if it has a --store"
    )]
    Key(NodeName),
    #[error("another machine reports as {0} at present, with another boot id")]
    Machine(NodeName),
    #[error(
        "the view is full: it holds {} nodes, restart the collector to forget old ones",
        limits::NODES
    )]
    Nodes,
    #[error("a newer report stream of {0} has replaced this one")]
    Replaced(NodeName),
    #[error("the collector is stopping")]
    Stopping,
}

impl Refusal {
    pub(crate) fn field(field: &'static str, expected: impl Into<String>) -> Self {
        let expected = expected.into();
        Self::Malformed(ConvertError {
            field,
            expected,
            is_later: false,
        })
    }

    /// What a failed read of the stream means; `None` if only the connection has ended.
    pub(crate) fn of_read(status: &Status) -> Option<Self> {
        // tonic's decoder makes these two itself, without a source; what HTTP/2 says has one.
        let own = std::error::Error::source(status).is_none();
        match status.code() {
            Code::OutOfRange if own => Some(Self::Size),
            Code::Internal if own => Some(Self::Encoding(status.message().to_owned())),
            _ => None,
        }
    }

    pub(crate) fn status(&self) -> Status {
        let code = match self {
            Self::Name { .. } => Code::PermissionDenied,
            Self::Sequence { .. } => Code::FailedPrecondition,
            Self::Malformed(_) | Self::Encoding(_) | Self::Size => Code::InvalidArgument,
            Self::Key(_) | Self::Machine(_) => Code::AlreadyExists,
            Self::Nodes => Code::ResourceExhausted,
            Self::Replaced(_) => Code::Aborted,
            Self::Stopping => Code::Unavailable,
        };
        Status::new(code, self.to_string())
    }

    /// The counter of the reason; stopping is no refusal.
    pub(crate) fn counter<'c>(&self, counters: &'c Counters) -> Option<&'c Counter> {
        Some(match self {
            Self::Name { .. } => &counters.names_refused,
            Self::Sequence { .. } => &counters.sequences_refused,
            Self::Malformed(_) | Self::Encoding(_) => &counters.messages_malformed,
            Self::Size => &counters.messages_oversized,
            Self::Key(_) => &counters.keys_refused,
            Self::Machine(_) => &counters.machines_refused,
            Self::Nodes => &counters.nodes_refused,
            Self::Replaced(_) => &counters.streams_replaced,
            Self::Stopping => return None,
        })
    }
}
