//! The programs under test in the lab: where they are, how they are started, asked and killed.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Output},
};

use crate::{
    lab::{Lab, LabError, cluster::MESH_KEY_FILE},
    machined::SOCKET,
};

/// TCP port of the collector.
pub const COLLECTOR_PORT: u16 = 21820;
/// Folder of the programs when they are not beside `lab`.
pub const BINARY_FOLDER_VARIABLE: &str = "MESH_BIN_DIR";

const AGENT: &str = "mesh-agent";
const COLLECTOR: &str = "mesh-collector";
const PROBE: &str = "mesh-probe";

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Binaries(PathBuf);

/// The running ones.
#[derive(Debug)]
pub struct Programs {
    binaries: Binaries,
    agents: BTreeMap<String, Child>,
    collector: Option<Child>,
}

impl Binaries {
    /// All three must be there.
    pub fn find() -> Result<Self, LabError> {
        Self(binary_folder()?).complete()
    }

    /// The programs that another process of `program`'s would find.
    pub fn beside(program: &Path) -> Result<Self, LabError> {
        match env::var_os(BINARY_FOLDER_VARIABLE) {
            Some(_) => Self::find(),
            None => Self(folder_of(program)).complete(),
        }
    }

    fn complete(self) -> Result<Self, LabError> {
        let missing = [AGENT, COLLECTOR, PROBE]
            .into_iter()
            .find(|name| !self.path(name).is_file());
        match missing {
            None => Ok(self),
            Some(name) => Err(LabError::Impossible(format!(
                "{} is missing: cargo build -p mesh-agent -p mesh-collector -p mesh-probe, or set {BINARY_FOLDER_VARIABLE}",
                self.path(name).display()
            ))),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

/// The folder of `MESH_BIN_DIR`, or of this program.
pub fn binary_folder() -> Result<PathBuf, LabError> {
    if let Some(folder) = env::var_os(BINARY_FOLDER_VARIABLE) {
        let folder = PathBuf::from(folder);
        return folder
            .canonicalize()
            .map_err(LabError::io("find", folder.display()));
    }
    let own = env::current_exe().map_err(LabError::io("find", "this program"))?;
    Ok(folder_of(&own))
}

fn folder_of(program: &Path) -> PathBuf {
    program
        .parent()
        .unwrap_or_else(|| Path::new("/"))
        .to_owned()
}

impl Programs {
    /// None of them runs yet.
    pub fn new(binaries: Binaries) -> Self {
        Self {
            binaries,
            agents: BTreeMap::new(),
            collector: None,
        }
    }

    /// Starts the collector and an agent on every node.
    pub fn start(&mut self, lab: &Lab) -> Result<(), LabError> {
        self.start_collector(lab)?;
        let nodes = &lab.topology().nodes;
        nodes
            .iter()
            .try_for_each(|node| self.start_agent(lab, node.name.as_str()))
    }

    pub fn start_collector(&mut self, lab: &Lab) -> Result<(), LabError> {
        let node = lab.collector_node()?.name.as_str();
        let listen = format!("0.0.0.0:{COLLECTOR_PORT}");
        let arguments = ["--listen", &listen, "--mesh-key-file", MESH_KEY_FILE];
        let path = self.binaries.path(COLLECTOR);
        let child = lab
            .host(node)?
            .spawn(&path, &arguments, &lab.log(node, COLLECTOR))?;
        self.collector = Some(child);
        Ok(())
    }

    pub fn start_agent(&mut self, lab: &Lab, node: &str) -> Result<(), LabError> {
        let collector = collector_address(lab)?;
        let mut arguments = vec!["--collector", &collector, "--machined-socket", SOCKET];
        let own = lab.topology().node(node).map(|node| &node.agent);
        arguments.extend(own.into_iter().flatten().map(String::as_str));
        let path = self.binaries.path(AGENT);
        let child = lab.host(node)?.spawn_with(
            &path,
            &arguments,
            &lab.agent_environment(),
            &lab.log(node, AGENT),
        )?;
        self.agents.insert(node.to_owned(), child);
        Ok(())
    }

    pub fn kill_agent(&mut self, node: &str) -> Result<(), LabError> {
        end(self.agents.remove(node), AGENT, node)
    }

    pub fn kill_collector(&mut self) -> Result<(), LabError> {
        end(self.collector.take(), COLLECTOR, "the collector's node")
    }

    /// The programs that ended although nobody killed them.
    pub fn fallen(&mut self) -> Vec<String> {
        let ended = |child: &mut Child| matches!(child.try_wait(), Ok(Some(_)));
        let agents = self.agents.iter_mut();
        let mut fallen: Vec<_> = agents
            .filter_map(|(node, child)| ended(child).then(|| format!("{AGENT} on {node}")))
            .collect();
        if self.collector.as_mut().is_some_and(ended) {
            fallen.push(COLLECTOR.to_owned());
        }
        fallen
    }

    /// Resident memory of each agent in KiB, as the kernel counts it.
    pub fn agent_memory(&self) -> BTreeMap<String, u64> {
        let memory = |child: &Child| resident_kib(child.id());
        let agents = self.agents.iter();
        agents
            .filter_map(|(node, child)| Some((node.clone(), memory(child)?)))
            .collect()
    }

    /// Runs `mesh-probe` with the collector's address and key on the collector's node.
    pub fn ask(&self, lab: &Lab, arguments: &[&str]) -> Result<Output, LabError> {
        let host = lab.host(lab.collector_node()?.name.as_str())?;
        host.command(self.binaries.path(PROBE))
            .args(asking(lab)?)
            .args(arguments)
            .output()
            .map_err(LabError::io("run", PROBE))
    }
}

/// The command of [`Programs::ask`] as a reader would type it.
pub fn shown_question(lab: &Lab, arguments: &[&str]) -> Result<String, LabError> {
    Ok(format!(
        "{PROBE} {} {}",
        asking(lab)?.join(" "),
        arguments.join(" ")
    ))
}

fn asking(lab: &Lab) -> Result<[String; 4], LabError> {
    let address = collector_address(lab)?;
    Ok([
        "--collector".to_owned(),
        address,
        "--mesh-key-file".to_owned(),
        MESH_KEY_FILE.to_owned(),
    ])
}

fn collector_address(lab: &Lab) -> Result<String, LabError> {
    Ok(format!(
        "{}:{COLLECTOR_PORT}",
        lab.collector_node()?.address
    ))
}

fn end(child: Option<Child>, program: &str, host: &str) -> Result<(), LabError> {
    let Some(mut child) = child else {
        return Err(LabError::Impossible(format!(
            "{program} does not run on {host}"
        )));
    };
    child
        .kill()
        .and_then(|()| child.wait())
        .map(drop)
        .map_err(LabError::io("kill", program))
}

fn resident_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_a_process_is_read_and_that_of_none_is_unknown() {
        assert!(resident_kib(std::process::id()).is_some_and(|kib| kib > 0));
        assert_eq!(resident_kib(u32::MAX), None);
    }
}
