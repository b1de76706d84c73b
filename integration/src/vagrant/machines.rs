//! What `vagrant/` says of its machines. Its files are read where this program was built.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::lab::LabError;

/// Which kind of Talos node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    ControlPlane,
    Worker,
}

impl Role {
    /// As `talosctl` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ControlPlane => "controlplane",
            Self::Worker => "worker",
        }
    }
}

/// Three control planes, so that one may be away; the worker is behind the NAT.
pub fn role(node: &str) -> Role {
    if node.ends_with("worker") {
        Role::Worker
    } else {
        Role::ControlPlane
    }
}

/// The patches of a node's config, in their order, relative to the project.
pub fn patches(node: &str) -> Vec<PathBuf> {
    let own = format!("{node}.yaml");
    let files = match role(node) {
        Role::ControlPlane => vec!["all.yaml", "control-plane.yaml", &own],
        Role::Worker => vec!["all.yaml", &own],
    };
    let folder = Path::new("vagrant/patches");
    files.into_iter().map(|file| folder.join(file)).collect()
}

/// A line of `vagrant/versions`.
pub fn version(key: &str) -> Result<String, LabError> {
    let text = read("versions")?;
    let mut lines = text.lines().filter_map(|line| line.split_once('='));
    let found = lines.find_map(|(name, value)| (name == key).then(|| value.to_owned()));
    found.ok_or_else(|| LabError::Impossible(format!("vagrant/versions has no {key}")))
}

/// The hardware address that the Vagrantfile gives to the only link of a node.
pub fn mac(node: &str) -> Result<String, LabError> {
    let text = read("Vagrantfile")?;
    let (_, nodes) = text.split_once("TALOS = {").unwrap_or_default();
    let line = nodes
        .lines()
        .find(|line| line.trim_start().starts_with(&format!("'{node}'")));
    let found =
        line.and_then(|line| Some(line.split_once("mac: '")?.1.split_once('\'')?.0.to_owned()));
    found.ok_or_else(|| LabError::Impossible(format!("vagrant/Vagrantfile has no link of {node}")))
}

/// A file of the folder.
pub fn read(name: &str) -> Result<String, LabError> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../vagrant")
        .join(name);
    fs::read_to_string(&file).map_err(LabError::io("read", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::topology::Topology;

    #[test]
    fn versions_and_links_are_read_from_the_files_that_use_them() {
        assert!(version("TALOS_VERSION").unwrap().starts_with("v1."));
        assert!(version("TALOS").unwrap_err().to_string().contains("TALOS"));
        assert!(mac("home-cp").unwrap().starts_with("52:54:00:"));
        assert_ne!(mac("home-cp").unwrap(), mac("home-worker").unwrap());
        assert!(mac("attic").is_err());
    }

    /// What Talos says of these documents is asked in `./dev conformance`; that they are of this lab shows without it.
    #[test]
    fn patches_links_and_routers_are_those_of_the_topology() {
        let topology = Topology::default();
        let (vagrantfile, network) = (read("Vagrantfile").unwrap(), read("network.sh").unwrap());
        for node in &topology.nodes {
            let name = node.name.as_str();
            let patch = read(&format!("patches/{name}.yaml")).unwrap();
            let length = topology.site_of(node).map_or(32, |site| site.lan.length);
            for part in [
                format!("hostname: {name}\n"),
                format!("address: {}/{length}\n", node.address),
                format!("\"{}\"", mac(name).unwrap()),
            ] {
                assert!(patch.contains(&part), "{name}: {part}");
            }
            if node.site.is_none() {
                let public = format!("public {} {name}\n", node.address);
                assert!(network.contains(&public), "{public}");
            }
        }
        let site = &topology.sites[0];
        let (wan, lan) = (
            format!("public {} {}\n", site.wan, site.router),
            format!("{} dev lan0", site.lan),
        );
        assert!(network.contains(&wan) && network.contains(&lan));
        for host in topology.hosts() {
            assert!(vagrantfile.contains(host), "{host}");
        }
    }

    #[test]
    fn a_worker_gets_no_patch_of_control_planes() {
        let of = |node| patches(node).len();
        assert_eq!((of("vps-2"), of("home-worker")), (3, 2));
    }
}
