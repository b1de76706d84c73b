//! Documents as responses, none larger than its bound.

use std::io;

use axum::response::{IntoResponse as _, Response};
use evidence::document::API_VERSION;
use http::{StatusCode, header};
use serde::Serialize;
use tonic::{Code, Status};

use super::limits;

const JSON: &str = "application/json";

/// A document, or why there is none.
pub(super) fn json<D: Serialize>(status: StatusCode, document: &D) -> Response {
    let mut text = Bounded(Vec::new());
    match serde_json::to_writer(&mut text, document) {
        Ok(()) => {
            text.0.push(b'\n');
            (status, [(header::CONTENT_TYPE, JSON)], text.0).into_response()
        }
        Err(_) => error(
            StatusCode::NOT_IMPLEMENTED,
            &format!(
                "the answer has more than {} bytes: ask /gates, /findings or /metrics, or the collector by gRPC",
                limits::DOCUMENT_BYTES
            ),
        ),
    }
}

/// Why there is no answer.
pub(crate) fn error(status: StatusCode, message: &str) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct ErrorDocument<'a> {
        api_version: &'static str,
        kind: &'static str,
        message: &'a str,
    }
    let document = ErrorDocument {
        api_version: API_VERSION,
        kind: "Error",
        message,
    };
    json(status, &document)
}

/// The same of what gRPC would have said.
pub(super) fn refusal(status: &Status) -> Response {
    let code = match status.code() {
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    error(code, status.message())
}

/// Bytes, up to a bound.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > limits::DOCUMENT_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
