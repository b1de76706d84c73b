//! Why the lab cannot do something: the operation, what it was done to, and the cause.

use std::{io, path::PathBuf, process::ExitStatus};

use thiserror::Error;

use crate::lab::topology::TopologyError;

#[derive(Debug, Error)]
pub enum LabError {
    #[error("{operation} {operand}")]
    Io {
        operation: &'static str,
        operand: String,
        #[source]
        source: io::Error,
    },
    #[error("{tool} is not installed: apt-get install {package}")]
    MissingTool {
        tool: &'static str,
        package: &'static str,
    },
    #[error("{operation} is forbidden on this machine; {fix}")]
    Forbidden {
        operation: &'static str,
        fix: String,
    },
    #[error("`{command}` on {host} ended with {status}: {stderr}")]
    Command {
        host: String,
        command: String,
        status: ExitStatus,
        stderr: String,
    },
    #[error("{what} on {host} did not happen within {seconds} s{hint}")]
    TooSlow {
        what: &'static str,
        host: String,
        seconds: u64,
        hint: String,
    },
    #[error("host {0:?} is not in this lab; it has {1}")]
    UnknownHost(String, String),
    #[error("no lab is running (none found in {0}); start one with `lab up`")]
    NoLab(PathBuf),
    #[error("several labs are running; name one with --lab: {0}")]
    SeveralLabs(String),
    #[error("{path} is not a lab's state file")]
    State {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("the topology is not possible")]
    Topology(#[from] TopologyError),
    #[error("{0}")]
    Impossible(String),
}

impl LabError {
    /// For `map_err`: names what was done to what.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "callers hand over temporaries such as `path.display()`"
    )]
    pub fn io<E: Into<io::Error>>(
        operation: &'static str,
        operand: impl ToString,
    ) -> impl FnOnce(E) -> Self {
        let operand = operand.to_string();
        move |source| Self::Io {
            operation,
            operand,
            source: source.into(),
        }
    }
}
