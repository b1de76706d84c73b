//! What to do about an error.

use probe_io::{KnockError, PathSocketError};
use proto::{limits::AGENT_PORT, transport::DialError};

use super::{ProbeError, handshake::refused_by_tls, is_shut};
use crate::{args::AgentTarget, exit::Exit, own_keys::OwnKeyError};

const OTHER_KEY: &str =
    "make a key for diagnosis only (wg genkey), and add its public key as a peer at the other end";
const LOOK: &str = "run it where all WireGuard devices of the node can be read: as root or with CAP_NET_ADMIN, or on a machine without any";

const NAME_THEM: &str = "give the nodes with -n NODE,..: each is asked directly";

impl ProbeError {
    /// What to do, where that is more than the message says.
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::UnknownCode { nearest, known, .. } => Some(known_codes(*nearest, known)),
            Self::Unreachable { source: error, .. } | Self::OfSeveral { error, .. } => {
                error.advice()
            }
            Self::Dial { .. } if self.exit() == Exit::NotAuthorised => Some(other_key()),
            Self::Agent { target, source, .. } => Some(agent_advice(target, source)),
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
