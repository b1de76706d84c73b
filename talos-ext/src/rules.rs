//! What Talos demands of an extension, and every way in which a tree does not meet it.
//!
//! Sources: siderolabs/talos, pkg/machinery/extensions/{load,validate}.go and services/services.go at v1.13.9 and
//! v1.14.0-rc.1. Content rules are those of siderolabs' extensions-validator; the imager itself does not apply them.

use std::{collections::BTreeMap, fmt};

use semver::Version;

use crate::{
    architecture::Architecture,
    manifest::Manifest,
    program,
    service::{self, Service},
    tree::{Entry, Kind, Tree},
};

/// Where files of an extension may lie: plain prefixes, as Talos compares them.
const ALLOWED: [&str; 20] = [
    "/etc/cri/conf.d",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/vulkan",
    "/usr/bin/ldconfig",
    "/usr/bin/nvidia-cdi-hook",
    "/usr/bin/nvidia-ctk",
    "/usr/bin/nvidia-modprobe",
    "/usr/bin/nvidia-pcc",
    "/usr/bin/nvidia-smi",
    "/usr/bin/nvme",
    "/usr/lib/firmware",
    "/usr/lib/ld-linux-aarch64.so.1",
    "/usr/lib/ld-linux-x86-64.so.2",
    "/usr/lib/modules",
    "/usr/lib/udev/rules.d",
    "/usr/local",
    "/usr/share/egl",
    "/usr/share/glvnd",
    "/usr/share/vulkan",
];

const MANIFEST: &str = "manifest.yaml";
const ROOTFS: &str = "rootfs";

/// One thing that is wrong with an extension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Whether Talos refuses it or merely would not do what was meant.
    pub severity: Severity,
    /// Where, in the image.
    pub path: String,
    /// What.
    pub text: String,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Talos or its tools refuse it, or the service does not start.
    Refused,
    /// It is taken, and hardly what was meant.
    Doubtful,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Refused => "refused",
            Severity::Doubtful => "doubtful",
        };
        write!(f, "{severity}: {}: {}", self.path, self.text)
    }
}

/// All that is wrong with the tree of an image for this processor; `talos`: the version that it is to be built into.
pub fn violations(
    tree: &Tree,
    architecture: Architecture,
    talos: Option<&Version>,
) -> Vec<Violation> {
    let mut found = Found::default();
    found.top_level(tree);
    found.manifest(tree, talos);
    for (path, entry) in tree {
        if let Some(inside) = path.strip_prefix("rootfs/") {
            found.content(path, inside, entry);
        }
    }
    found.services(tree, architecture);
    found.0.sort();
    found.0
}

#[derive(Default)]
struct Found(Vec<Violation>);

impl Found {
    fn refuse(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.add(Severity::Refused, path, text);
    }

    fn doubt(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.add(Severity::Doubtful, path, text);
    }

    fn add(&mut self, severity: Severity, path: impl Into<String>, text: impl Into<String>) {
        self.0.push(Violation {
            severity,
            path: path.into(),
            text: text.into(),
        });
    }

    fn top_level(&mut self, tree: &Tree) {
        let top = tree.iter().filter(|(path, _)| !path.contains('/'));
        for (path, entry) in top {
            match (path.as_str(), &entry.kind) {
                (MANIFEST, Kind::File(_)) | (ROOTFS, Kind::Folder) => {}
                (MANIFEST | ROOTFS, _) => self.refuse(path, format!("is a {}", entry.kind_name())),
                _ => self.refuse(
                    path,
                    format!("unexpected file {path:?}: only {MANIFEST} and {ROOTFS} may be there"),
                ),
            }
        }
        for needed in [MANIFEST, ROOTFS] {
            if tree.get(needed).is_none() {
                self.refuse(needed, "is missing");
            }
        }
    }

    fn manifest(&mut self, tree: &Tree, talos: Option<&Version>) {
        let Some(bytes) = tree.bytes(MANIFEST) else {
            return;
        };
        let Ok(text) = str::from_utf8(bytes) else {
            return self.refuse(MANIFEST, "is not UTF-8");
        };
        match Manifest::parse(text) {
            Err(error) => self.refuse(MANIFEST, error.to_string()),
            Ok(manifest) => {
                if let Some(talos) = talos.filter(|talos| !manifest.fits(talos)) {
                    let range = &manifest.metadata.compatibility.talos.version;
                    self.refuse(MANIFEST, format!("Talos {talos} is not within {range:?}"));
                }
            }
        }
    }

    fn content(&mut self, path: &str, inside: &str, entry: &Entry) {
        if let Kind::Other(kind) = entry.kind {
            self.refuse(
                path,
                format!("is a {kind}: only files, folders and symbolic links are allowed"),
            );
        }
        let absolute = format!("/{inside}");
        let allowed = ALLOWED.iter().any(|prefix| absolute.starts_with(prefix));
        if !entry.is_folder() && !allowed {
            self.refuse(
                path,
                format!("{absolute} is outside of the paths that extensions may use; a service belongs below /usr/local"),
            );
        }
        if entry.mode & 0o6000 != 0 {
            self.refuse(
                path,
                format!(
                    "has the mode {:o}: set-user-id and set-group-id are not kept",
                    entry.mode
                ),
            );
        }
        let is_link = matches!(entry.kind, Kind::Link(_));
        if entry.mode & 0o002 != 0 && !is_link {
            self.refuse(path, format!("may be written by all ({:o})", entry.mode));
        }
    }

    fn services(&mut self, tree: &Tree, architecture: Architecture) {
        let folder = format!("{ROOTFS}/{}/", service::FOLDER);
        let mut names: BTreeMap<String, String> = BTreeMap::new();
        for (path, entry) in tree {
            let Some(file) = path.strip_prefix(&folder) else {
                continue;
            };
            if entry.is_folder() {
                continue;
            }
            let is_read = file.strip_suffix(".yaml").is_some() && !file.contains('/');
            if !is_read {
                self.doubt(
                    path,
                    "Talos reads only files that end with .yaml, here and not below",
                );
                continue;
            }
            if let Some(service) = self.service(path, entry) {
                self.program(tree, path, &service, architecture);
                if let Some(first) = names.insert(service.name.clone(), path.clone()) {
                    self.refuse(
                        path,
                        format!("the name {:?} is taken by {first}", service.name),
                    );
                }
            }
        }
        let roots = format!("{ROOTFS}/{}/", service::ROOTS);
        for (path, _) in tree {
            let name = path.strip_prefix(&roots).filter(|rest| !rest.contains('/'));
            if name.is_some_and(|name| !names.contains_key(name)) {
                self.doubt(path, "no service has this root file system");
            }
        }
    }

    fn service(&mut self, path: &str, entry: &Entry) -> Option<Service> {
        let Kind::File(bytes) = &entry.kind else {
            self.refuse(path, format!("is a {}", entry.kind_name()));
            return None;
        };
        let Ok(text) = str::from_utf8(bytes) else {
            self.refuse(path, "is not UTF-8");
            return None;
        };
        let service = match Service::parse(text) {
            Ok(service) => service,
            Err(error) => {
                self.refuse(path, error.to_string());
                return None;
            }
        };
        for objection in service.objections() {
            self.refuse(path, objection);
        }
        if service.waits_for_the_internet() {
            self.doubt(
                path,
                "depends on connectivity: it would not run when the network is in trouble",
            );
        }
        Some(service)
    }

    fn program(&mut self, tree: &Tree, path: &str, service: &Service, architecture: Architecture) {
        let program = format!("{ROOTFS}/{}", service.program());
        let Some(entry) = tree.get(&program) else {
            return self.refuse(
                path,
                format!(
                    "container.entrypoint {} is not there: expected {program}",
                    service.container.entrypoint
                ),
            );
        };
        let Kind::File(bytes) = &entry.kind else {
            return self.refuse(program, format!("is a {}", entry.kind_name()));
        };
        if entry.mode & 0o111 == 0 {
            self.refuse(&program, format!("may not be executed ({:o})", entry.mode));
        }
        match program::static_for(bytes) {
            Ok(made_for) if made_for == architecture => {}
            Ok(made_for) => self.refuse(
                program,
                format!("is made for {made_for}, and the image is for {architecture}"),
            ),
            Err(error) => self.refuse(program, error.to_string()),
        }
    }
}
