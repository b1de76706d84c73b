//! The stages that can carry a scenario: the same hosts, faults and programs, with other tunnels.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    lab::{
        scenario::Scenario,
        topology::{Implementation, Topology},
    },
    sim,
    vagrant::carried,
};

/// How much longer may be waited in an emulated machine for anything: it has one slow processor for all nodes, and is asked less often.
/// What must hold, and for how long, is the same.
pub const KERNEL_PATIENCE: u32 = 2;
/// As much for machines of their own: Talos starts services one after the other, and tries a peer anew every 30 s.
const VAGRANT_PATIENCE: u32 = 3;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StageKind {
    /// Network namespaces with `WireGuard` in user space.
    #[default]
    Namespaces,
    /// Network namespaces with the kernel's `WireGuard`, as in the machine of `lab vm`.
    Kernel,
    /// Talos nodes on libvirt, as `vagrant/` describes them.
    Vagrant,
    /// A cluster in virtual time, on one thread.
    Sim,
}

impl StageKind {
    pub const ALL: [Self; 4] = [Self::Namespaces, Self::Kernel, Self::Vagrant, Self::Sim];
    /// Those in which a lab is made for each run.
    pub const LABS: [Self; 2] = [Self::Namespaces, Self::Kernel];

    pub fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Kernel => "kernel",
            Self::Vagrant => "vagrant",
            Self::Sim => "sim",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Why this stage cannot show what the scenario asks for.
    pub fn carries(self, scenario: &Scenario) -> Result<(), String> {
        match self {
            Self::Namespaces => Ok(()),
            Self::Kernel => kernel_carries(scenario),
            Self::Vagrant => carried::carried(scenario),
            Self::Sim => sim::carried::carried(scenario),
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
            Self::Namespaces | Self::Sim => limit,
            Self::Kernel => limit * KERNEL_PATIENCE,
            Self::Vagrant => limit * VAGRANT_PATIENCE,
        }
    }

    /// How often the collector is asked. A question is a process with a TLS handshake: 10 ms of a processor, and half a second
    /// of one that emulates.
    pub fn poll(self) -> Duration {
        match self {
            Self::Namespaces | Self::Sim => Duration::from_millis(250),
            Self::Kernel => Duration::from_secs(3),
            Self::Vagrant => Duration::from_secs(1),
        }
    }
}

fn kernel_carries(scenario: &Scenario) -> Result<(), String> {
    let mut nodes = scenario.topology.nodes.iter();
    if let Some(node) = nodes.find(|node| node.wireguard == Implementation::Boringtun) {
        return Err(format!(
            "{} is to have boringtun, and here all tunnels are the kernel's",
            node.name
        ));
    }
    in_kernel(scenario)
}

/// Whether the kernel's `WireGuard` can show it.
pub fn in_kernel(scenario: &Scenario) -> Result<(), String> {
    scenario.userspace_wireguard.clone().map_or(Ok(()), Err)
}

impl fmt::Display for StageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_kernel_stage_carries_no_other_implementation_and_says_which_node_asks_for_one() {
        let text = "name = \"x\"\nabout = \"y\"\n";
        let mut scenario = Scenario::parse(Path::new("x.toml"), text).unwrap();
        assert_eq!(StageKind::Kernel.carries(&scenario), Ok(()));
        scenario.topology.nodes[1].wireguard = Implementation::Boringtun;
        assert_eq!(StageKind::Namespaces.carries(&scenario), Ok(()));
        let reason = StageKind::Kernel.carries(&scenario).unwrap_err();
        assert!(
            reason.contains("vps-2") && reason.contains("boringtun"),
            "{reason}"
        );
    }

    #[test]
    fn what_the_kernels_wireguard_cannot_show_is_not_carried_where_it_runs() {
        let text =
            "name = \"x\"\nabout = \"y\"\nuserspace_wireguard = \"no checksum is looked at\"\n";
        let scenario = Scenario::parse(Path::new("x.toml"), text).unwrap();
        assert_eq!(StageKind::Namespaces.carries(&scenario), Ok(()));
        for kind in [StageKind::Kernel, StageKind::Vagrant] {
            let reason = kind.carries(&scenario).unwrap_err();
            assert_eq!(reason, "no checksum is looked at");
        }
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
