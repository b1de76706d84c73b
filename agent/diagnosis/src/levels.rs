//! The levels of the bootstrap that are built in: what each check proves, and the graph that is used unless a file gives another.

use std::{fmt, sync::LazyLock};

use evidence::Rung;

use crate::graph::{Graph, Level};

/// What proves that a level is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Datagrams to UDP 51820 arrive, for every ordered pair.
    Underlay,
    /// Every pair has a live `WireGuard` session.
    Wireguard,
    /// The tunnel carries, and node addresses are steered into it.
    Mesh,
    /// Full-size packets pass, and the overlay's port is open.
    Mtu,
    /// The discovery service serves every node.
    Discovery,
    /// Nothing: this version does not measure it. Always unknown, never ready.
    None,
}

impl Check {
    /// All of them, bottom up.
    pub const ALL: [Self; 6] = [
        Self::Underlay,
        Self::Wireguard,
        Self::Mesh,
        Self::Mtu,
        Self::Discovery,
        Self::None,
    ];

    /// As a file names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Underlay => "underlay",
            Self::Wireguard => "wireguard",
            Self::Mesh => "mesh",
            Self::Mtu => "mtu",
            Self::Discovery => "discovery",
            Self::None => "none",
        }
    }

    /// The check of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|check| check.as_str() == text)
    }

    /// The rung that every ordered pair must have reached; `None` if the check is not one of pairs.
    pub const fn rung(self) -> Option<Rung> {
        match self {
            Self::Underlay => Some(Rung::Underlay),
            Self::Wireguard => Some(Rung::Handshake),
            Self::Mesh => Some(Rung::Steering),
            Self::Mtu => Some(Rung::OverlayMtu),
            Self::Discovery | Self::None => None,
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Name, what it stands for, the levels directly below it, its check.
type Row = (&'static str, &'static str, &'static [&'static str], Check);

/// The chain from `WireGuard` to the applications, bottom up.
const ROWS: [Row; 11] = [
    (
        "underlay",
        "datagrams to UDP 51820 arrive, for every ordered pair",
        &[],
        Check::Underlay,
    ),
    (
        "wireguard",
        "every pair has a live WireGuard session",
        &["underlay"],
        Check::Wireguard,
    ),
    (
        "mesh",
        "data passes inside the tunnel, and traffic to node addresses enters it, for every ordered pair",
        &["wireguard"],
        Check::Mesh,
    ),
    (
        "mtu",
        "full-size packets pass inside the tunnel, and to the overlay's port",
        &["mesh"],
        Check::Mtu,
    ),
    (
        "discovery",
        "the discovery service serves every node",
        &[],
        Check::Discovery,
    ),
    (
        "kubernetes-api",
        "the Kubernetes API answers",
        &["mesh", "mtu", "discovery"],
        Check::None,
    ),
    (
        "cni",
        "the overlay carries pods",
        &["kubernetes-api"],
        Check::None,
    ),
    (
        "sealed-secrets",
        "the controller can unseal",
        &["cni"],
        Check::None,
    ),
    (
        "csi-hetzner",
        "Hetzner volumes can be had",
        &["sealed-secrets"],
        Check::None,
    ),
    (
        "csi-proxmox",
        "Proxmox volumes can be had",
        &["sealed-secrets"],
        Check::None,
    ),
    (
        "platform",
        "the platform services may start",
        &["csi-hetzner", "csi-proxmox"],
        Check::None,
    ),
];

/// Levels that rest on certificates. The tunnels below them ask no clock, so wrong ones do not shut those.
const NEED_CLOCKS: [&str; 2] = ["discovery", "kubernetes-api"];

static DEFAULT: LazyLock<Graph> = LazyLock::new(|| {
    let levels = ROWS.map(|(name, title, below, check)| Level {
        title: title.to_owned(),
        needs_clocks: NEED_CLOCKS.contains(&name),
        ..Level::new(name, below, check)
    });
    // A test asks for every row: nothing of this table can be left out here.
    Graph::new(levels.into()).unwrap_or_else(|_| Graph::empty())
});

/// The default graph.
pub(crate) fn default_graph() -> Graph {
    DEFAULT.clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_graph_has_every_row_and_no_flaw() {
        let graph = Graph::default();
        let names: Vec<&str> = graph.levels().iter().map(|level| &*level.name).collect();
        assert_eq!(names, ROWS.map(|row| row.0));
        for name in NEED_CLOCKS {
            assert!(graph.level(name).unwrap().needs_clocks, "{name}");
        }
    }

    #[test]
    fn the_platform_rests_on_everything_else() {
        let graph = Graph::default();
        let platform = graph.level("platform").unwrap();
        assert_eq!(graph.below(platform).len(), ROWS.len() - 1);
    }

    #[test]
    fn every_check_has_a_level_of_its_name() {
        let graph = Graph::default();
        for check in Check::ALL.into_iter().filter(|check| *check != Check::None) {
            assert_eq!(graph.level(check.as_str()).unwrap().check, check);
            assert_eq!(Check::parse(check.as_str()), Some(check));
        }
    }
}
