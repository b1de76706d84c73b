//! What an answer of a receiver means, as OTLP's specification says: <https://opentelemetry.io/docs/specs/otlp/#failures>.

use std::{error::Error, time::Duration};

use opentelemetry_proto::tonic::collector::{
    logs::v1::ExportLogsServiceResponse, metrics::v1::ExportMetricsServiceResponse,
};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Characters of a far end's words that are repeated.
const WORDS: usize = 256;
/// Causes of an error that are told.
const CAUSES: usize = 8;

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Taken, but for so many, for this reason.
    Taken { rejected: u64, words: String },
    /// Not now; not before a time, if the receiver says so.
    Later {
        code: Code,
        after: Option<Duration>,
        words: String,
    },
    /// Never: the same again would be refused again.
    Refused { code: Code, words: String },
}

impl Outcome {
    pub(super) fn of_metrics(answer: Result<ExportMetricsServiceResponse, Status>) -> Self {
        Self::of(answer.map(|answer| {
            let partial = answer.partial_success;
            partial.map(|partial| (partial.rejected_data_points, partial.error_message))
        }))
    }

    pub(super) fn of_records(answer: Result<ExportLogsServiceResponse, Status>) -> Self {
        Self::of(answer.map(|answer| {
            let partial = answer.partial_success;
            partial.map(|partial| (partial.rejected_log_records, partial.error_message))
        }))
    }

    fn of(answer: Result<Option<(i64, String)>, Status>) -> Self {
        match answer {
            Ok(partial) => {
                let (rejected, words) = partial.unwrap_or_default();
                Self::Taken {
                    // Less than none is no number of anything.
                    rejected: u64::try_from(rejected).unwrap_or(0),
                    words: bounded(&words),
                }
            }
            Err(status) => Self::of_failure(&status),
        }
    }

    fn of_failure(status: &Status) -> Self {
        let code = status.code();
        let after = status
            .get_details_retry_info()
            .and_then(|info| info.retry_delay);
        let words = words(status);
        let later = match code {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unavailable
            | Code::DataLoss => true,
            // Only a receiver that says when it can be tried again can recover.
            Code::ResourceExhausted => after.is_some(),
            // What failed on the way and not at the receiver has no code of its own.
            Code::Unknown => status.source().is_some(),
            _ => false,
        };
        if later {
            Self::Later { code, after, words }
        } else {
            Self::Refused { code, words }
        }
    }
}

/// What a status says, and why.
fn words(status: &Status) -> String {
    let mut words = status.message().to_owned();
    let mut cause = status.source();
    for _ in 0..CAUSES {
        let Some(error) = cause else { break };
        let text = error.to_string();
        if !words.contains(&text) {
            if !words.is_empty() {
                words.push_str(": ");
            }
            words.push_str(&text);
        }
        cause = error.source();
    }
    bounded(&words)
}

fn bounded(words: &str) -> String {
    words.chars().take(WORDS).collect()
}
