//! What to do about an error.

use std::io::ErrorKind;

use probe_io::{KnockError, PathSocketError};
use proto::{
    limits::{AGENT_PORT, PORT},
    transport::DialError,
};

use super::{ProbeError, handshake::refused_by_tls, is_shut};
use crate::{
    args::{AgentTarget, Proof},
    own_keys::OwnKeyError,
};

const OTHER_KEY: &str =
    "make a key for diagnosis only (wg genkey), and add its public key as a peer at the other end";
const LOOK: &str = "run it where all WireGuard devices of the node can be read: as root or with CAP_NET_ADMIN, or on a machine without any";

const NO_COLLECTOR: &str = "gate, wait, status, pairs and bundle can ask agents instead, where these run with --listen: --direct NODE,..";

const NOT_OVER: &str =
    "nothing is written over: name a file that does not exist, or remove this one first";
const NAME_THEM: &str = "give the nodes with -n NODE,..: each is asked directly";

impl ProbeError {
    /// What to do, where that is more than the message says.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::UnknownCode { nearest, known, .. } => Some(known_codes(*nearest, known)),
            Self::Unreachable { source: error, .. } | Self::OfSeveral { error, .. } => {
                error.advice()
            }
            Self::Dial { proof, source, .. } if refused_by_tls(source) => Some(whose(*proof)),
            Self::Dial {
                source: DialError::NotTls { .. },
                ..
            } => Some(other_port("which speaks TLS: is it that of --http?")),
            Self::Request { source, .. } if source.is_of_http() => {
                Some(other_port("but one of HTTP, as --https has"))
            }
            Self::Agent {
                target,
                proof,
                source,
            } => Some(agent_advice(target, *proof, source)),
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
                "is mesh-collector running there, and does every firewall on the way pass TCP to {target}? {NO_COLLECTOR}"
            )),
            Self::WriteCredentials { source, .. } | Self::WriteFile { source, .. }
                if source.kind() == ErrorKind::AlreadyExists =>
            {
                Some(NOT_OVER.to_owned())
            }
            Self::NoCollector => Some(NO_COLLECTOR.to_owned()),
            _ => None,
        }
    }
}

fn agent_advice(target: &AgentTarget, proof: Proof, error: &DialError) -> String {
    match error {
        DialError::Resolve { .. } | DialError::NoAddress(_) => {
            "give the agent's address instead of its name".to_owned()
        }
        error if refused_by_tls(error) => match proof {
            Proof::Credentials => "these credentials are of another mesh key than the agent's: make them anew (mesh-probe key) from that",
            Proof::MeshKey | Proof::Own => "this mesh key is not the agent's: on Talos it is cluster.secret of the cluster's own secrets.yaml",
        }
        .to_owned(),
        DialError::NotTls { .. } => {
            "this is not the port of mesh-agent --listen, which speaks TLS: is it that of --health?".to_owned()
        },
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

/// What did not fit, where certificates were refused.
fn whose(proof: Proof) -> String {
    match proof {
        Proof::MeshKey => {
            "this mesh key is not the collector's: on Talos it is cluster.secret of the cluster's own secrets.yaml; a collector with own \
             certificates takes only such (--tls-cert)"
        }
        Proof::Credentials => {
            "these credentials are of another mesh key than the collector's: make them anew (mesh-probe key) from that; a collector \
             with own certificates takes only such (--tls-cert)"
        }
        Proof::Own => {
            "with own certificates --tls-ca holds the authority of the collector's certificate, its --tls-client-ca that of this one, and \
             both certificates are of one trust domain; a collector without takes the mesh key, or credentials of it"
        }
    }
    .to_owned()
}

fn other_port(rest: &str) -> String {
    format!("this is not the port of mesh-collector --listen ({PORT} by default), {rest}")
}

fn known_codes(nearest: Option<&str>, known: &[&str]) -> String {
    let nearest = nearest.map_or_else(String::new, |code| format!("did you mean {code}? "));
    format!("{nearest}known codes: {}", known.join(", "))
}
