//! The levels of the bootstrap, as a static graph: what must be ready before what.

use evidence::Rung;

/// One level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Its name, as `mesh-probe gate NAME` takes it.
    pub name: &'static str,
    /// The levels directly below it.
    pub depends_on: &'static [&'static str],
    /// The rung that every ordered pair must have reached; `None` if the level is not one of pairs, or if this version does not
    /// measure it.
    pub rung: Option<Rung>,
    /// What it stands for.
    pub about: &'static str,
}

/// The level of the discovery service, which is judged by node and not by pair.
pub(crate) const DISCOVERY: &str = "discovery";

/// The default graph, bottom up.
pub const LEVELS: [Level; 11] = [
    Level {
        name: "underlay",
        depends_on: &[],
        rung: Some(Rung::Underlay),
        about: "datagrams to UDP 51820 arrive, for every ordered pair",
    },
    Level {
        name: "wireguard",
        depends_on: &["underlay"],
        rung: Some(Rung::Handshake),
        about: "every pair has a live WireGuard session",
    },
    Level {
        name: "mesh",
        depends_on: &["wireguard"],
        rung: Some(Rung::Steering),
        about: "data passes inside the tunnel, and traffic to node addresses enters it, for every ordered pair",
    },
    Level {
        name: "mtu",
        depends_on: &["mesh"],
        rung: Some(Rung::OverlayMtu),
        about: "full-size packets pass inside the tunnel, and to the overlay's port",
    },
    Level {
        name: DISCOVERY,
        depends_on: &[],
        rung: None,
        about: "the discovery service serves every node",
    },
    Level {
        name: "kubernetes-api",
        depends_on: &["mesh", "mtu", "discovery"],
        rung: None,
        about: "the Kubernetes API answers",
    },
    Level {
        name: "cni",
        depends_on: &["kubernetes-api"],
        rung: None,
        about: "the overlay carries pods",
    },
    Level {
        name: "sealed-secrets",
        depends_on: &["cni"],
        rung: None,
        about: "the controller can unseal",
    },
    Level {
        name: "csi-hetzner",
        depends_on: &["sealed-secrets"],
        rung: None,
        about: "Hetzner volumes can be had",
    },
    Level {
        name: "csi-proxmox",
        depends_on: &["sealed-secrets"],
        rung: None,
        about: "Proxmox volumes can be had",
    },
    Level {
        name: "platform",
        depends_on: &["csi-hetzner", "csi-proxmox"],
        rung: None,
        about: "the platform services may start",
    },
];

/// A level by name.
pub fn level(name: &str) -> Option<&'static Level> {
    LEVELS.iter().find(|level| level.name == name)
}

/// All levels below `level`, nearest first, each once.
pub fn below(level: &Level) -> Vec<&'static Level> {
    let mut found: Vec<&'static Level> = Vec::new();
    let mut open: Vec<&str> = level.depends_on.to_vec();
    while !open.is_empty() {
        let name = open.remove(0);
        let Some(next) = self::level(name) else {
            continue;
        };
        if !found.contains(&next) {
            found.push(next);
            open.extend(next.depends_on);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dependency_is_declared_before_its_dependent_so_the_graph_has_no_cycle() {
        for (index, level) in LEVELS.iter().enumerate() {
            for name in level.depends_on {
                let at = LEVELS.iter().position(|other| other.name == *name).unwrap();
                assert!(
                    at < index,
                    "{} depends on {name}, which is declared after it",
                    level.name
                );
            }
        }
    }

    #[test]
    fn names_are_unique() {
        for level in &LEVELS {
            assert_eq!(
                LEVELS
                    .iter()
                    .filter(|other| other.name == level.name)
                    .count(),
                1,
                "{}",
                level.name
            );
        }
    }

    #[test]
    fn the_platform_rests_on_everything_else() {
        let platform = level("platform").unwrap();
        assert_eq!(below(platform).len(), LEVELS.len() - 1);
    }
}
