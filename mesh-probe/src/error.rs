//! Why there is no answer: each with its exit code.
//!
//! - `advice`: what to do about it.
//! - `handshake`: whether a failed one was about keys.
//! - `said`: what a collector or an agent says instead of an answer.

mod advice;
mod handshake;
mod said;

use std::{error::Error, io, path::PathBuf, time::Duration};

use diagnosis::graph::Problems;
use evidence::NodeName;
use probe_io::{KnockError, PathSocketError, TapError};
use proto::{
    convert::ConvertError,
    transport::DialError,
    trust::{KeyError, OwnError, TrustError},
};
use sources::{links::LinksError, talosconfig::TalosconfigError};
use thiserror::Error;

use crate::{
    args::{AgentTarget, Proof, Target},
    bundle::{BundleError, GatherError, RedactError},
    document::Voice,
    exit::Exit,
    own_keys::OwnKeyError,
    render::{said_by, text::human},
    secret::{ReaderError, SecretError},
};

use handshake::refused_by_tls;
pub use said::Said;

/// Longest chain of causes that is printed.
const CAUSES: usize = 8;
/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// clap has printed it already; here for the JSON document.
    #[error("{0}")]
    Usage(String),
    #[error("no collector: give --collector HOST:PORT, or MESH_COLLECTOR")]
    NoCollector,
    #[error("this command asks one collector; only gate and wait ask several")]
    SeveralCollectors,
    #[error("the gate graph cannot be used:\n{0}")]
    Graph(Problems),
    #[error("failed to read the gate graph {}", path.display())]
    GraphFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("no usable mesh key")]
    Key(#[source] KeyError),
    #[error("there is no finding with the code {code:?}")]
    UnknownCode {
        code: String,
        nearest: Option<&'static str>,
        known: Vec<&'static str>,
    },
    #[error("there is no level {level:?}{}", at(target.as_ref()))]
    UnknownLevel {
        level: String,
        /// The collector that said so; `None` where agents were asked.
        target: Option<Target>,
        #[source]
        source: Said,
    },
    #[error("failed to set up TLS")]
    Trust(#[source] TrustError),
    #[error("no usable own certificate")]
    Own(#[source] OwnError),
    #[error("failed to start the runtime")]
    Runtime(#[source] io::Error),
    #[error("{}", handshake::failed("collector", target, *proof, source))]
    Dial {
        target: Target,
        proof: Proof,
        #[source]
        source: DialError,
    },
    #[error("the collector at {target} did not answer within {}", human(*after))]
    NoAnswer { target: Target, after: Duration },
    #[error("{}", said::failed(operation, target, source))]
    Request {
        operation: &'static str,
        target: Target,
        #[source]
        source: Said,
    },
    #[error("failed to understand the collector {target}: is it of another version?")]
    Answer {
        target: Target,
        #[source]
        source: ConvertError,
    },
    #[error("{}", handshake::failed("agent", target, *proof, source))]
    Agent {
        target: AgentTarget,
        proof: Proof,
        #[source]
        source: DialError,
    },
    #[error("the agent at {target} did not answer within {}", human(*after))]
    AgentSilent {
        target: AgentTarget,
        after: Duration,
    },
    #[error("failed to {operation} of the agent at {target}")]
    AgentRequest {
        operation: &'static str,
        target: AgentTarget,
        #[source]
        source: Said,
    },
    #[error("failed to understand the agent at {target}: is it of another version?")]
    AgentAnswer {
        target: AgentTarget,
        #[source]
        source: ConvertError,
    },
    #[error("the agent at {target} proves to be of {proved}, and says that it is of {claimed}")]
    AgentName {
        target: AgentTarget,
        proved: NodeName,
        claimed: NodeName,
    },
    #[error("the collector could not be reached while waiting {} for {level}{last}", human(*waited))]
    Unreachable {
        level: String,
        waited: Duration,
        /// The last state it told, as the end of the sentence.
        last: String,
        #[source]
        source: Box<ProbeError>,
    },
    /// The error of one of several collectors decides; the others have had their say all the same.
    #[error("{error}")]
    OfSeveral {
        error: Box<ProbeError>,
        /// Whose error it is.
        collector: String,
        /// What each said.
        voices: Vec<Voice>,
    },
    #[error("failed to find the address of {host}")]
    UnknownHost {
        host: String,
        #[source]
        source: io::Error,
    },
    #[error("failed to measure the path")]
    Path(#[source] PathSocketError),
    #[error("failed to ask the port")]
    Knock(#[source] KnockError),
    #[error("no usable credentials")]
    Credentials(#[source] ReaderError),
    #[error("no usable key for the handshake")]
    Secret(#[source] SecretError),
    #[error(
        "the key file holds the private key of --peer-key: a device does not shake hands with itself"
    )]
    PeerIsSelf,
    #[error("no handshake is made with this key")]
    OwnKey(#[source] OwnKeyError),
    #[error("failed to watch the interfaces")]
    Tap(#[source] TapError),
    #[error("failed to read this node")]
    Links(#[source] LinksError),
    #[error("no usable talosconfig")]
    Talosconfig(#[source] TalosconfigError),
    #[error("nobody to ask: the context {context:?} of {} has neither endpoints nor nodes", path.display())]
    NoEndpoint { context: String, path: PathBuf },
    #[error("no endpoint told the members of the cluster: {}", tried.join("; "))]
    NoMembers { tried: Vec<String>, refused: bool },
    #[error("failed to write the credentials to {}", path.display())]
    WriteCredentials {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to understand the evidence of the collector {target}")]
    Evidence {
        target: Target,
        #[source]
        source: GatherError,
    },
    #[error("failed to write {}", path.display())]
    WriteFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to read {}", path.display())]
    ReadFile {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("failed to write the bundle")]
    WriteBundle(#[source] BundleError),
    #[error("failed to replay {}", path.display())]
    Bundle {
        path: PathBuf,
        #[source]
        source: BundleError,
    },
    #[error("failed to redact the bundle")]
    Redact(#[source] RedactError),
    #[error("failed to print the answer")]
    Print(#[source] io::Error),
    #[error("failed to write the answer as JSON")]
    Json(#[source] serde_json::Error),
}

impl ProbeError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_)
            | Self::NoCollector
            | Self::SeveralCollectors
            | Self::Graph(_)
            | Self::GraphFile { .. }
            | Self::Key(_)
            | Self::Credentials(_)
            | Self::Secret(_)
            | Self::Own(_)
            | Self::PeerIsSelf
            | Self::OwnKey(_)
            | Self::Talosconfig(_)
            | Self::NoEndpoint { .. }
            | Self::Bundle { .. }
            | Self::WriteCredentials { .. }
            | Self::WriteFile { .. }
            | Self::ReadFile { .. }
            | Self::UnknownCode { .. }
            | Self::UnknownLevel { .. } => Exit::Usage,
            Self::OfSeveral { error, .. } => error.exit(),
            Self::Dial { source, .. } | Self::Agent { source, .. } if refused_by_tls(source) => {
                Exit::NotAuthorised
            }
            Self::Agent { source, .. } if is_shut(source) => Exit::NotAuthorised,
            Self::Request { source, .. } | Self::AgentRequest { source, .. }
                if source.is_refusal() =>
            {
                Exit::NotAuthorised
            }
            Self::NoMembers { refused: true, .. } => Exit::NotAuthorised,
            Self::NoMembers { .. }
            | Self::Trust(_)
            | Self::Runtime(_)
            | Self::Dial { .. }
            | Self::Agent { .. }
            | Self::AgentSilent { .. }
            | Self::AgentRequest { .. }
            | Self::AgentAnswer { .. }
            | Self::AgentName { .. }
            | Self::NoAnswer { .. }
            | Self::Request { .. }
            | Self::Answer { .. }
            | Self::Evidence { .. }
            | Self::WriteBundle(_)
            | Self::Redact(_)
            | Self::Unreachable { .. }
            | Self::UnknownHost { .. }
            | Self::Path(_)
            | Self::Knock(_)
            | Self::Tap(_)
            | Self::Links(_)
            | Self::Print(_)
            | Self::Json(_) => Exit::CannotTell,
        }
    }

    /// Whether a wait may go on: the collector may come, or come back.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Dial { source, .. } => !refused_by_tls(source),
            Self::NoAnswer { .. } => true,
            Self::Request { source, .. } => source.may_pass(),
            _ => false,
        }
    }

    /// The error itself, a line for each thing that is wrong. What others wrote is in a line, and never makes one.
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Graph(Problems(problems)) => {
                let heading = "the gate graph cannot be used:".to_owned();
                let problems = problems.iter().map(ToString::to_string);
                std::iter::once(heading).chain(problems).collect()
            }
            Self::OfSeveral { error, .. } => error.lines(),
            other => vec![other.to_string()],
        }
    }

    /// The same with its causes on one line, for who reads no more than that.
    pub fn one_line(&self) -> String {
        let mut lines = self.lines();
        let mut said = lines.remove(0);
        if !lines.is_empty() {
            said = format!("{said} {}", lines.join("; "));
        }
        for cause in self.causes() {
            said.push_str(": ");
            said.push_str(&cause);
        }
        for voice in self.others() {
            said.push_str("; ");
            said.push_str(&said_by(voice));
        }
        said
    }

    /// What each of several collectors said; empty unless there are several.
    pub fn voices(&self) -> &[Voice] {
        match self {
            Self::OfSeveral { voices, .. } => voices,
            _ => &[],
        }
    }

    /// What those said whose error this is not.
    pub fn others(&self) -> impl Iterator<Item = &Voice> {
        let whose = match self {
            Self::OfSeveral { collector, .. } => collector.as_str(),
            _ => "",
        };
        let voices = self.voices().iter();
        voices.filter(move |voice| voice.collector != whose)
    }

    /// The causes, outermost first, without the error itself.
    pub fn causes(&self) -> Vec<String> {
        if let Self::OfSeveral { error, .. } = self {
            return error.causes();
        }
        let first = self.source();
        let chain = std::iter::successors(first, |&cause| cause.source());
        let mut causes: Vec<String> = chain.take(CAUSES).map(ToString::to_string).collect();
        // Transport layers wrap each other with the same words.
        causes.dedup();
        causes
    }
}

fn at(target: Option<&Target>) -> String {
    target.map_or_else(String::new, |target| format!(" at the collector {target}"))
}

/// The socket is there, and not for us.
fn is_shut(error: &DialError) -> bool {
    matches!(error, DialError::Socket { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(status: tonic::Status) -> ProbeError {
        ProbeError::Request {
            operation: "read the verdict",
            target: "vps-1".parse().unwrap(),
            source: status.into(),
        }
    }

    fn tls(error: io::Error) -> ProbeError {
        ProbeError::Dial {
            target: "vps-1".parse().unwrap(),
            proof: Proof::MeshKey,
            source: DialError::Tls {
                address: "192.0.2.1:21820".parse().unwrap(),
                source: error,
            },
        }
    }

    #[test]
    fn a_refusal_of_credentials_is_told_apart_from_a_collector_in_trouble() {
        let refusal = request(tonic::Status::permission_denied("an agent may not"));
        assert_eq!(
            (refusal.exit(), refusal.may_pass()),
            (Exit::NotAuthorised, false)
        );
        let trouble = request(tonic::Status::unavailable("starting"));
        assert_eq!(
            (trouble.exit(), trouble.may_pass()),
            (Exit::CannotTell, true)
        );
    }

    #[test]
    fn only_a_certificate_or_an_alert_makes_a_failed_handshake_a_refusal() {
        let other_authority =
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let refused = tls(io::Error::new(io::ErrorKind::InvalidData, other_authority));
        assert_eq!(refused.exit(), Exit::NotAuthorised);
        assert!(!refused.may_pass());
        let reset = tls(io::ErrorKind::ConnectionReset.into());
        assert_eq!(reset.exit(), Exit::CannotTell);
        assert!(reset.may_pass());
    }
}
