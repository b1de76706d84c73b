//! Why there is no answer: each with its exit code, and what to do about it.

use std::{error::Error, fmt, io, path::PathBuf, time::Duration};

use diagnosis::graph::Problems;
use evidence::NodeName;
use probe_io::{KnockError, PathSocketError, TapError};
use proto::{
    convert::ConvertError,
    limits::AGENT_PORT,
    transport::DialError,
    trust::{KeyError, OwnError, TrustError},
};
use sources::{links::LinksError, talosconfig::TalosconfigError};
use thiserror::Error;
use tonic::Code;

use crate::{
    args::{AgentTarget, Target},
    bundle::{BundleError, GatherError, RedactError},
    exit::Exit,
    own_keys::OwnKeyError,
    render::text::human,
    secret::SecretError,
};

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
    #[error("there is no level {level:?}")]
    UnknownLevel {
        level: String,
        #[source]
        source: Said,
    },
    #[error("failed to set up TLS")]
    Trust(#[source] TrustError),
    #[error("no usable own certificate")]
    Own(#[source] OwnError),
    #[error("failed to start the runtime")]
    Runtime(#[source] io::Error),
    #[error("failed to reach the collector at {target}")]
    Dial {
        target: Target,
        #[source]
        source: DialError,
    },
    #[error("the collector at {target} did not answer within {}", human(*after))]
    NoAnswer { target: Target, after: Duration },
    #[error("failed to {operation} of the collector at {target}")]
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
    #[error("failed to reach the agent at {target}")]
    Agent {
        target: AgentTarget,
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
            | Self::Secret(_)
            | Self::Own(_)
            | Self::PeerIsSelf
            | Self::OwnKey(_)
            | Self::Talosconfig(_)
            | Self::NoEndpoint { .. }
            | Self::Bundle { .. }
            | Self::WriteFile { .. }
            | Self::ReadFile { .. }
            | Self::UnknownCode { .. }
            | Self::Trust(TrustError::NoAgents)
            | Self::UnknownLevel { .. } => Exit::Usage,
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
            | Self::WriteCredentials { .. }
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

    /// The causes, outermost first, without the error itself.
    pub fn causes(&self) -> Vec<String> {
        let first = self.source();
        let chain = std::iter::successors(first, |&cause| cause.source());
        let mut causes: Vec<String> = chain.take(CAUSES).map(ToString::to_string).collect();
        // Transport layers wrap each other with the same words.
        causes.dedup();
        causes
    }

    /// What to do, where that is more than the message says.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::UnknownCode { nearest, known, .. } => Some(known_codes(*nearest, known)),
            Self::Unreachable { source, .. } => source.advice(),
            Self::Dial { .. } if self.exit() == Exit::NotAuthorised => Some(other_key()),
            Self::Agent { target, source } => Some(agent_advice(target, source)),
            Self::AgentSilent { target, .. } => Some(listens(target)),
            Self::Dial {
                source: DialError::Resolve { .. } | DialError::NoAddress(_),
                ..
            } => Some("give the collector's address instead of its name".to_owned()),
            Self::Path(PathSocketError::Mark { .. }) | Self::Knock(KnockError::Mark { .. }) => {
                Some("run as root, or without --mark".to_owned())
            }
            Self::OwnKey(OwnKeyError::OwnKey { .. }) => Some(OTHER_KEY.to_owned()),
            Self::OwnKey(_) => Some(LOOK.to_owned()),
            Self::NoEndpoint { .. } | Self::NoMembers { .. } => Some(NAME_THEM.to_owned()),
            Self::UnknownHost { .. } => Some("give its address instead of its name".to_owned()),
            Self::Dial { target, .. } | Self::NoAnswer { target, .. } => Some(format!(
                "is mesh-collector running there, and does every firewall on the way pass TCP to {target}?"
            )),
            _ => None,
        }
    }
}

const OTHER_KEY: &str =
    "make a key for diagnosis only (wg genkey), and add its public key as a peer at the other end";
const LOOK: &str = "run it where all WireGuard devices of the node can be read: as root or with CAP_NET_ADMIN, or on a machine without any";

const NAME_THEM: &str = "give the nodes with -n NODE,..: each is asked directly";

/// The socket is there, and not for us.
fn is_shut(error: &DialError) -> bool {
    matches!(error, DialError::Socket { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
}

fn agent_advice(target: &AgentTarget, error: &DialError) -> String {
    match error {
        DialError::Resolve { .. } | DialError::NoAddress(_) => {
            "give the agent's address instead of its name".to_owned()
        }
        error if refused_by_tls(error) => {
            "this mesh key is not the agent's: on Talos it is cluster.secret of the cluster's own secrets.yaml".to_owned()
        }
        error if is_shut(error) => "the socket is for the user that runs mesh-agent alone".to_owned(),
        DialError::Socket { .. } => {
            "is mesh-agent running on this machine, with this --socket?".to_owned()
        }
        _ => listens(target),
    }
}

fn listens(target: &AgentTarget) -> String {
    format!(
        "over the network an agent answers only if it is started with --listen, as in mesh-agent --listen [::]:{AGENT_PORT} (MESH_LISTEN); does every firewall on the way pass TCP to {target}?"
    )
}

fn other_key() -> String {
    "this mesh key is not the collector's: on Talos it is cluster.secret of the cluster's own secrets.yaml; a collector with own \
     certificates takes only such (--tls-cert)"
        .to_owned()
}

fn known_codes(nearest: Option<&str>, known: &[&str]) -> String {
    let nearest = nearest.map_or_else(String::new, |code| format!("did you mean {code}? "));
    format!("{nearest}known codes: {}", known.join(", "))
}

/// Whether one of the two sides refused the other's certificate; other failures of TLS say nothing about keys.
fn refused_by_tls(error: &DialError) -> bool {
    match error {
        DialError::Tls { source, .. } => source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .is_some_and(|error| {
                matches!(
                    error,
                    rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_)
                )
            }),
        _ => false,
    }
}

/// What a request got instead of its answer.
#[derive(Debug)]
pub struct Said(tonic::Status);

impl Said {
    pub fn code(&self) -> Code {
        self.0.code()
    }

    fn is_refusal(&self) -> bool {
        matches!(self.code(), Code::PermissionDenied | Code::Unauthenticated)
    }

    fn may_pass(&self) -> bool {
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
