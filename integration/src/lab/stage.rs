//! A lab with the programs under test in it: carries out what faults and runners decide.

use std::path::Path;

use crate::lab::{
    Lab, LabError,
    faults::Action,
    programs::{Binaries, Programs},
    runner::Staged,
    topology::Topology,
    verdict::{MeshStatus, Verdict},
};

#[derive(Debug)]
pub struct Stage {
    pub lab: Lab,
    pub programs: Programs,
}

impl Stage {
    /// Brings up the network, the collector and all agents. It is not waited for any of them.
    pub fn up(topology: Topology, folder: &Path) -> Result<Self, LabError> {
        let mut stage = Self::network(topology, folder)?;
        stage.start_programs()?;
        Ok(stage)
    }

    /// Brings up the network alone: what is broken now, no program has ever seen whole.
    pub fn network(topology: Topology, folder: &Path) -> Result<Self, LabError> {
        let programs = Programs::new(Binaries::find()?);
        let lab = Lab::up(topology, folder)?;
        Ok(Self { lab, programs })
    }
}

impl Staged for Stage {
    fn start_programs(&mut self) -> Result<(), LabError> {
        self.programs.start(&self.lab)
    }

    fn perform(&mut self, action: &Action) -> Result<(), LabError> {
        match action {
            Action::Shell { host, command } => self.lab.host(host)?.shell(command).map(drop),
            Action::KillAgent(node) => self.programs.kill_agent(node),
            Action::StartAgent(node) => self.programs.start_agent(&self.lab, node),
            Action::KillCollector => self.programs.kill_collector(),
            Action::StartCollector => self.programs.start_collector(&self.lab),
            Action::StopWireguard(node) => self.lab.stop_wireguard(node),
            Action::StartWireguard(node) => self.lab.start_wireguard(node),
        }
    }

    fn verdict(&mut self) -> Result<Result<Verdict, String>, LabError> {
        let output = self.programs.ask(&self.lab, &["status", "-o", "json"])?;
        let status: Result<MeshStatus, _> = serde_json::from_slice(&output.stdout);
        Ok(status.map(|status| status.verdict).map_err(|error| {
            let stderr = String::from_utf8_lossy(&output.stderr);
            format!(
                "mesh-probe status: {}; {error}; {}",
                output.status,
                stderr.trim()
            )
        }))
    }

    fn fallen(&mut self) -> Vec<String> {
        self.programs.fallen()
    }
}
