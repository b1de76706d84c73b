//! What an agent says of itself to whoever asks it directly.

use std::{fmt, net::SocketAddr};

use serde::Serialize;

use crate::{Moment, NodeName};

/// What an agent is, and to whom it reports. All moments are on its own timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStatus {
    /// Its node.
    pub node: NodeName,
    /// Its version.
    pub version: String,
    /// The present.
    pub now: Moment,
    /// When it started.
    pub started: Moment,
    /// What it cannot begin without, and does not have yet.
    pub waits_for: Option<String>,
    /// Each collector that it reports to, or tries to.
    pub uplinks: Vec<Uplink>,
}

/// One collector, as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Uplink {
    /// As it was given, or the name of a control plane.
    pub collector: String,
    /// Since when it is so.
    pub since: Moment,
    /// Whether reports get there.
    pub state: UplinkState,
}

/// Whether reports get to a collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkState {
    /// They do.
    Reporting {
        /// The address.
        to: SocketAddr,
        /// How it is reached.
        way: UplinkWay,
    },
    /// They do not.
    NotReporting {
        /// Why; empty before the first try has ended.
        reason: String,
    },
}

/// How a collector is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UplinkWay {
    /// Past the tunnel.
    Underlay,
    /// As the routes say: through the tunnel, if they lead there.
    Routes,
    /// Through the tunnel: at the `KubeSpan` address of the collector's node.
    Tunnel,
}

impl fmt::Display for UplinkWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Underlay => "past the tunnel",
            Self::Routes => "as the routes lead there",
            Self::Tunnel => "through the tunnel",
        })
    }
}
