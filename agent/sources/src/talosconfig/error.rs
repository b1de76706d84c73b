//! Why there is no usable talosconfig. Nothing here shows what was read: the key may be in it.

use std::{io, path::PathBuf};

use thiserror::Error;

use super::{EndpointError, MAX_FILE, MAX_HOSTS};

/// Why there is no usable talosconfig.
#[derive(Debug, Error)]
pub enum TalosconfigError {
    /// No file was named, and none is where they usually are.
    #[error("no talosconfig: there is none at {}", listed(.looked))]
    Nowhere {
        /// Where it was looked for.
        looked: Vec<PathBuf>,
    },
    /// The file cannot be read.
    #[error("failed to read the talosconfig {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is too large.
    #[error("the talosconfig {path} has more than {MAX_FILE} bytes")]
    Size {
        /// Which file.
        path: PathBuf,
    },
    /// Not YAML, or of another shape.
    #[error("{path}{} is not as a talosconfig is: expected context, and contexts with endpoints, ca, crt and key", at_line(*line))]
    Form {
        /// Which file.
        path: PathBuf,
        /// Where the parser stopped, from 1.
        line: Option<u64>,
    },
    /// No context was named, neither by the file nor otherwise.
    #[error("{path} says no current context: give --context, one of {}", words(.known))]
    NoContext {
        /// Which file.
        path: PathBuf,
        /// The contexts that it has.
        known: Vec<String>,
    },
    /// There is no such context.
    #[error("{path} has no context {name:?}, but {}", words(.known))]
    UnknownContext {
        /// Which file.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The contexts that it has.
        known: Vec<String>,
    },
    /// Another way to authenticate than by certificate.
    #[error(
        "not supported: context {context:?} of {path} authenticates by {method}, and only client certificates are"
    )]
    Authentication {
        /// Which file.
        path: PathBuf,
        /// Which context.
        context: String,
        /// `siderov1` (Omni) or `basic`.
        method: &'static str,
    },
    /// A field is not there.
    #[error("contexts.{context}.{field} is missing in {path}")]
    Missing {
        /// Which file.
        path: PathBuf,
        /// Which context.
        context: String,
        /// Which field.
        field: &'static str,
    },
    /// A field is not what it should be.
    #[error("contexts.{context}.{field} in {path} is not {expected}")]
    Field {
        /// Which file.
        path: PathBuf,
        /// Which context.
        context: String,
        /// Which field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// An endpoint or node is no host.
    #[error("contexts.{context}.{field} in {path} has {text:?}")]
    Host {
        /// Which file.
        path: PathBuf,
        /// Which context.
        context: String,
        /// Which field.
        field: &'static str,
        /// What stands there.
        text: String,
        /// Why it is none.
        #[source]
        source: EndpointError,
    },
    /// Too many endpoints or nodes.
    #[error("contexts.{context}.{field} in {path} has more than {MAX_HOSTS} entries")]
    Many {
        /// Which file.
        path: PathBuf,
        /// Which context.
        context: String,
        /// Which field.
        field: &'static str,
    },
    /// Key and certificates do not make a TLS client.
    #[error("ca, crt and key of context {context:?} in {path} make no TLS client")]
    Tls {
        /// Which file.
        path: PathBuf,
        /// Which context.
        context: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

fn listed(paths: &[PathBuf]) -> String {
    let shown: Vec<_> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    words(&shown)
}

fn words(known: &[String]) -> String {
    if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    }
}

fn at_line(line: Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(" (line {line})"))
}
