//! The trees of our own images: the extension, and the collector for where there is no Talos below it.

use std::collections::BTreeMap;

use semver::Version;
use thiserror::Error;

use crate::{
    architecture::Architecture,
    oci::Run,
    program::{ProgramError, static_for},
    service,
    tree::Tree,
};

/// Name of the extension.
pub const NAME: &str = "talos-mesh";
/// Versions of Talos that it is made for: before 1.10 there is no merged `/usr`.
pub const FITS: &str = ">= v1.10.0";

const AGENT: &str = "mesh-agent";
/// The program, and the image, of the collector.
pub const COLLECTOR: &str = "mesh-collector";
/// Where its image has it.
const COLLECTOR_PROGRAM: &str = "usr/local/bin/mesh-collector";
/// Where it listens unless it is told otherwise.
const COLLECTOR_PORT: &str = "21820/tcp";
/// Nobody: it needs no right, and what it is given to write to must be given to this user.
const NOBODY: &str = "65534:65534";

/// The programs that the extension brings, and how Talos starts each.
pub const SERVICES: [(&str, &str); 2] = [
    (AGENT, include_str!("../services/mesh-agent.yaml")),
    (COLLECTOR, include_str!("../services/mesh-collector.yaml")),
];

/// Most bytes of the agent, which is on every node: its image is loaded into memory at boot and kept there.
pub const LARGEST_AGENT: usize = 8_000_000;

/// Why the extension cannot be put together.
#[derive(Debug, Error)]
pub enum AssembleError {
    /// A program is missing.
    #[error("the program {0} was not given")]
    Missing(&'static str),
    /// A program cannot run in a container without libraries.
    #[error("{name}: {source}")]
    Program {
        /// Which.
        name: &'static str,
        /// Why.
        #[source]
        source: ProgramError,
    },
    /// An agent that has grown.
    #[error("{name} has {bytes} bytes, and {LARGEST_AGENT} are the most that a node should carry")]
    TooLarge {
        /// Which.
        name: &'static str,
        /// How large it is.
        bytes: usize,
    },
    /// A program for another processor.
    #[error("{name} is made for {made_for}, and the image is for {wanted}")]
    Processor {
        /// Which.
        name: &'static str,
        /// What it runs on.
        made_for: Architecture,
        /// What was wanted.
        wanted: Architecture,
    },
}

/// Puts the extension together. `programs`: the files by name. `sbom`: the list of what they are built from, SPDX in JSON.
pub fn tree(
    version: &Version,
    architecture: Architecture,
    programs: &BTreeMap<String, Vec<u8>>,
    sbom: &str,
) -> Result<Tree, AssembleError> {
    let mut tree = Tree::default();
    tree.file("manifest.yaml", 0o644, manifest(version));
    for (name, text) in SERVICES {
        let bytes = program(name, architecture, programs)?;
        if name == AGENT && bytes.len() > LARGEST_AGENT {
            let bytes = bytes.len();
            return Err(AssembleError::TooLarge { name, bytes });
        }
        let file = format!("rootfs/{}/{name}.yaml", service::FOLDER);
        tree.file(&file, 0o644, text);
        let program = format!("rootfs/{}/{name}/usr/local/bin/{name}", service::ROOTS);
        tree.file(&program, 0o755, bytes);
    }
    let file = format!("rootfs/usr/local/share/spdx/{NAME}.spdx.json");
    tree.file(&file, 0o644, sbom);
    Ok(tree)
}

/// Puts the collector's image together: the program and the list of what it is built from.
pub fn collector(
    architecture: Architecture,
    programs: &BTreeMap<String, Vec<u8>>,
    sbom: &str,
) -> Result<Tree, AssembleError> {
    let mut tree = Tree::default();
    let bytes = program(COLLECTOR, architecture, programs)?;
    tree.file(COLLECTOR_PROGRAM, 0o755, bytes);
    let file = format!("usr/local/share/spdx/{COLLECTOR}.spdx.json");
    tree.file(&file, 0o644, sbom);
    Ok(tree)
}

/// How a runtime starts it.
pub fn run_collector(labels: BTreeMap<String, String>) -> Run {
    Run {
        user: Some(NOBODY.to_owned()),
        exposed_ports: BTreeMap::from([(COLLECTOR_PORT.to_owned(), BTreeMap::new())]),
        entrypoint: vec![format!("/{COLLECTOR_PROGRAM}")],
        labels,
    }
}

/// A program that runs without libraries on that processor.
fn program<'p>(
    name: &'static str,
    architecture: Architecture,
    programs: &'p BTreeMap<String, Vec<u8>>,
) -> Result<&'p [u8], AssembleError> {
    let bytes = programs.get(name).ok_or(AssembleError::Missing(name))?;
    let made_for = static_for(bytes).map_err(|source| AssembleError::Program { name, source })?;
    if made_for != architecture {
        return Err(AssembleError::Processor {
            name,
            made_for,
            wanted: architecture,
        });
    }
    Ok(bytes)
}

fn manifest(version: &Version) -> String {
    format!(
        "version: v1alpha1\n\
         metadata:\n  \
           name: {NAME}\n  \
           version: {version}\n  \
           author: the authors of {NAME}\n  \
           description: |\n    \
             Watches the KubeSpan mesh of this node and reports what it sees: handshakes, reachability of UDP 51820,\n    \
             the discovery service, sizes that pass. It observes and never repairs.\n  \
           compatibility:\n    \
             talos:\n      \
               version: \"{FITS}\"\n"
    )
}
