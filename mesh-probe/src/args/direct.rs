//! Whom to ask where no collector lives.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::Args;
use evidence::NodeName;
use proto::limits;
use thiserror::Error;

use super::{Target, positive};

/// For gate, wait, status, pairs and bundle.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Without a collector")]
pub struct DirectArgs {
    /// gate, wait, status, pairs, bundle: ask these agents, and judge here. All nodes of the mesh, each with --listen, the port may
    /// be left out (21821); unix:PATH for the one on this machine
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        value_name = "NODE[:PORT]|unix:PATH"
    )]
    pub direct: Vec<AgentTarget>,
    /// With --direct: nodes that must answer, by name. All who are asked must, in any case
    #[arg(long, global = true, value_delimiter = ',', value_name = "NODE")]
    pub expect: Vec<NodeName>,
    /// With --direct: a gate graph, as a collector takes it
    #[arg(long, global = true, value_name = "FILE")]
    pub gates: Option<PathBuf>,
    /// With --direct: how long to watch where the answer is not yes at once
    #[arg(long, global = true, value_name = "TIME", default_value = "6s", value_parser = positive)]
    pub look: Duration,
}

impl DirectArgs {
    /// Whether agents are to be asked instead of a collector.
    pub const fn is_asked(&self) -> bool {
        !self.direct.is_empty()
    }
}

/// An agent that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentTarget {
    /// The one on this machine.
    Socket(PathBuf),
    /// One that listens: `host:port`, an IPv6 address in brackets.
    Network(Target),
}

/// Why a text names no agent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AgentTargetError {
    #[error(
        "expected an absolute path behind unix:, as unix:{}",
        limits::AGENT_SOCKET
    )]
    Path,
    #[error(
        "expected a host or address, and a port unless it is 21821, as 10.0.0.1, [fd00::1]:21821 or vps-1; or unix:PATH"
    )]
    Host,
}

impl fmt::Display for AgentTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix:{}", path.display()),
            Self::Network(target) => target.fmt(f),
        }
    }
}

impl FromStr for AgentTarget {
    type Err = AgentTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = PathBuf::from(path);
            return if path.is_absolute() {
                Ok(Self::Socket(path))
            } else {
                Err(AgentTargetError::Path)
            };
        }
        Target::parse(text, limits::AGENT_PORT)
            .map(Self::Network)
            .map_err(|_| AgentTargetError::Host)
    }
}

#[derive(Debug, Args)]
pub struct AgentArgs {
    /// The agent: unix:PATH for one on this machine, or NODE or NODE:PORT for one with --listen
    #[arg(value_name = "AGENT", default_value_t = AgentTarget::Socket(limits::AGENT_SOCKET.into()))]
    pub agent: AgentTarget,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, AgentTargetError> {
        text.parse().map(|target: AgentTarget| target.to_string())
    }

    #[test]
    fn an_agent_is_named_by_a_path_or_by_a_host_whose_port_may_be_left_out() {
        for (text, says) in [
            ("unix:/run/a.sock", "unix:/run/a.sock"),
            ("vps-1", "vps-1:21821"),
            ("10.0.0.1:99", "10.0.0.1:99"),
            ("fd00::1", "[fd00::1]:21821"),
            ("[fd00::1]:99", "[fd00::1]:99"),
        ] {
            assert_eq!(shown(text), Ok(says.to_owned()));
        }
        assert_eq!(shown("unix:a.sock"), Err(AgentTargetError::Path));
        assert_eq!(shown("unix:"), Err(AgentTargetError::Path));
        assert_eq!(shown("a b"), Err(AgentTargetError::Host));
        assert_eq!(shown(""), Err(AgentTargetError::Host));
    }
}
