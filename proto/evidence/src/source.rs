//! What an agent reads, and whether it could.

use serde::{Deserialize, Serialize};

use crate::Moment;

/// The sources an agent reads. A source that cannot be read is a stated [`Gap`], never silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SourceId {
    /// The state of the `kubespan` `WireGuard` device.
    WireGuard,
    /// Links and addresses by rtnetlink.
    Links,
    /// The packet tap on UDP 51820.
    Tap,
    /// The in-tunnel echo.
    Echo,
    /// Inert datagrams on the true five-tuple.
    Inert,
    /// The listener for probes of the overlay's port.
    Overlay,
    /// Echoes to the nodes' own addresses.
    NodeEcho,
    /// Policy rules, table 180, and the kernel's answers to route questions.
    Routes,
    /// Talos' nftables chains.
    Nftables,
    /// Talos over machined's socket.
    Talos,
    /// The discovery service.
    Discovery,
    /// The kernel's word on its clock.
    Clock,
    /// The configured time servers.
    Ntp,
    /// What the host says of itself.
    Host,
}

impl SourceId {
    /// All sources, in the order in which they are shown.
    pub const ALL: [Self; 14] = [
        Self::WireGuard,
        Self::Links,
        Self::Tap,
        Self::Echo,
        Self::Inert,
        Self::Overlay,
        Self::NodeEcho,
        Self::Routes,
        Self::Nftables,
        Self::Talos,
        Self::Discovery,
        Self::Clock,
        Self::Ntp,
        Self::Host,
    ];

    /// The name a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WireGuard => "wireguard",
            Self::Links => "links",
            Self::Tap => "tap",
            Self::Echo => "echo",
            Self::Inert => "inert-probe",
            Self::Overlay => "overlay-listener",
            Self::NodeEcho => "node-echo",
            Self::Routes => "routes",
            Self::Nftables => "nftables",
            Self::Talos => "talos",
            Self::Discovery => "discovery",
            Self::Clock => "clock",
            Self::Ntp => "ntp",
            Self::Host => "host",
        }
    }
}

/// Whether a source could be read, and when that was last tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// When the source was last tried.
    pub read_at: Moment,
    /// Since when it has been as it is now: readable, or not. What a source did not see before this moment, it
    /// was not there to see.
    pub since: Moment,
    /// Why it could not be read; `None` if it could.
    pub gap: Option<Gap>,
}

/// Why a source could not be read, and how to get it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// One sentence for a person; never holds a key.
    pub reason: String,
}
