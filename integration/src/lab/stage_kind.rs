//! The stages that can carry a scenario: the same hosts, faults and programs, with other tunnels.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::lab::topology::{Implementation, Topology};

/// How much longer may be waited in an emulated machine for anything. What must hold, and for how long, is the same.
const KERNEL_PATIENCE: u32 = 4;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// Network namespaces with `WireGuard` in user space.
    #[default]
    Namespaces,
    /// Network namespaces with the kernel's `WireGuard`, as in the machine of `lab vm`.
    Kernel,
}

impl StageKind {
    pub const ALL: [Self; 2] = [Self::Namespaces, Self::Kernel];

    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Kernel => "kernel",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Why this stage cannot show what the topology asks for.
    pub fn carries(self, topology: &Topology) -> Result<(), String> {
        let asks = |implementation| {
            let mut nodes = topology.nodes.iter();
            nodes.find(|node| node.wireguard == implementation)
        };
        match (self, asks(Implementation::Boringtun)) {
            (Self::Kernel, Some(node)) => Err(format!(
                "{} is to have boringtun, and here all tunnels are the kernel's",
                node.name
            )),
            _ => Ok(()),
        }
    }

    /// The topology with the tunnels of this stage.
    pub fn topology(self, topology: &Topology) -> Topology {
        let mut topology = topology.clone();
        if self == Self::Kernel {
            for node in &mut topology.nodes {
                node.wireguard = Implementation::Kernel;
            }
        }
        topology
    }

    /// How long to wait here for what takes up to `limit` on a machine of its own.
    pub fn patience(self, limit: Duration) -> Duration {
        match self {
            Self::Namespaces => limit,
            Self::Kernel => limit * KERNEL_PATIENCE,
        }
    }

    /// How often the collector is asked. A question is a process with a TLS handshake: 30 ms of a processor, and half a second
    /// of an emulated one, which the programs under test would then lack.
    pub fn poll(self) -> Duration {
        match self {
            Self::Namespaces => Duration::from_millis(250),
            Self::Kernel => Duration::from_secs(3),
        }
    }
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_stage_carries_no_other_implementation_and_says_which_node_asks_for_one() {
        let mut topology = Topology::default();
        assert_eq!(StageKind::Kernel.carries(&topology), Ok(()));
        topology.nodes[1].wireguard = Implementation::Boringtun;
        assert_eq!(StageKind::Namespaces.carries(&topology), Ok(()));
        let reason = StageKind::Kernel.carries(&topology).unwrap_err();
        assert!(
            reason.contains("vps-2") && reason.contains("boringtun"),
            "{reason}"
        );
    }

    #[test]
    fn all_tunnels_of_the_kernel_stage_are_the_kernels() {
        let topology = StageKind::Kernel.topology(&Topology::default());
        let mut nodes = topology.nodes.iter();
        assert!(nodes.all(|node| node.wireguard == Implementation::Kernel));
        let same = StageKind::Namespaces.topology(&Topology::default());
        assert_eq!(same, Topology::default());
    }

    #[test]
    fn a_name_leads_back_to_its_stage() {
        for kind in StageKind::ALL {
            assert_eq!(StageKind::named(kind.name()), Some(kind));
        }
        assert_eq!(StageKind::named("simulator"), None);
    }
}
