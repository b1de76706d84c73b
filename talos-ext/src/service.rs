//! The service files of an extension (siderolabs/talos, pkg/machinery/extensions/services/services.go): what Talos starts.

use serde::Deserialize;
use thiserror::Error;

use crate::manifest::first_line;

/// Where Talos looks for them.
pub const FOLDER: &str = "usr/local/etc/containers";
/// Where the root file systems of services are, by name.
pub const ROOTS: &str = "usr/local/lib/containers";

/// One service: `ext-<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Service {
    /// Its name, and that of its root file system.
    pub name: String,
    /// What runs.
    pub container: Container,
    /// What must be there first.
    #[serde(default)]
    pub depends: Vec<Dependency>,
    /// `always`, `never` or `untilSuccess`.
    pub restart: Restart,
    /// Whether its words go to the console, too.
    #[serde(default)]
    pub log_to_console: bool,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Container {
    /// The program, inside of the service's root file system.
    pub entrypoint: String,
    /// Its arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// `NAME=VALUE`
    #[serde(default)]
    pub environment: Vec<String>,
    /// A file with more of it; deprecated.
    #[serde(default)]
    pub environment_file: Option<String>,
    /// What of the host it sees.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// How much it may.
    #[serde(default)]
    pub security: Security,
}

/// A mount, as the OCI runtime specification has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// A path of the host.
    #[serde(default)]
    pub source: String,
    /// A path in the container.
    pub destination: String,
    /// `bind` or a file system.
    #[serde(default, rename = "type")]
    pub kind: String,
    /// Flags.
    #[serde(default)]
    pub options: Vec<String>,
}

/// How much a service may.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Security {
    /// Whether it may write to its own root.
    #[serde(default)]
    pub writeable_rootfs: bool,
    /// Whether it may write to `/sys`.
    #[serde(default)]
    pub writeable_sysfs: bool,
    /// Paths that it sees nothing of.
    #[serde(default)]
    pub masked_paths: Option<Vec<String>>,
    /// Paths that it cannot write to.
    #[serde(default)]
    pub readonly_paths: Option<Vec<String>>,
    /// How mounts spread.
    #[serde(default)]
    pub rootfs_propagation: Option<String>,
}

/// What must be there first; just one of these in one item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Another service.
    #[serde(default)]
    pub service: Option<String>,
    /// A file of the host.
    #[serde(default)]
    pub path: Option<String>,
    /// Parts of the network.
    #[serde(default)]
    pub network: Option<Vec<Network>>,
    /// The clock.
    #[serde(default)]
    pub time: Option<bool>,
    /// A document of its own.
    #[serde(default)]
    pub configuration: Option<bool>,
}

/// A part of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The node has addresses.
    Addresses,
    /// The internet answers.
    Connectivity,
    /// The node has its name.
    Hostname,
    /// `/etc/hosts` and `/etc/resolv.conf` are written.
    Etcfiles,
}

/// When it is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Restart {
    /// Whenever it ends.
    Always,
    /// Not at all.
    Never,
    /// Until it ends well.
    UntilSuccess,
}

/// A file that is no service.
#[derive(Debug, Error)]
#[error("not a service of an extension: {0}")]
pub struct ServiceError(String);

impl Service {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, ServiceError> {
        serde_saphyr::from_str(text).map_err(|error| ServiceError(first_line(&error.to_string())))
    }

    /// The path of its program in the tree of the extension, below `rootfs`.
    pub fn program(&self) -> String {
        let inside = self.container.entrypoint.trim_start_matches("./");
        format!("{ROOTS}/{}/{}", self.name, inside.trim_start_matches('/'))
    }

    /// Everything that Talos, or the runtime that it uses, would object to.
    pub fn objections(&self) -> Vec<String> {
        let mut found = Vec::new();
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(legal) {
            found.push(format!(
                "name {:?}: only a-z, 0-9, - and _ are allowed",
                self.name
            ));
        }
        if self.container.entrypoint.is_empty() {
            found.push("container.entrypoint is empty".to_owned());
        }
        let entries = self.container.environment.iter();
        for entry in entries.filter(|entry| !entry.contains('=')) {
            found.push(format!(
                "container.environment {entry:?}: expected NAME=VALUE"
            ));
        }
        for mount in &self.container.mounts {
            found.extend(mount.objections());
        }
        for (number, dependency) in self.depends.iter().enumerate() {
            found.extend(dependency.objections(number));
        }
        found
    }

    /// Whether it waits until the internet answers: it is then not there when it is needed most.
    pub fn waits_for_the_internet(&self) -> bool {
        let parts = self.depends.iter().filter_map(|item| item.network.as_ref());
        parts.flatten().any(|part| *part == Network::Connectivity)
    }
}

impl Mount {
    fn objections(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !self.destination.starts_with('/') {
            found.push(format!(
                "mount {:?}: the destination must be an absolute path",
                self.destination
            ));
        }
        let binds = self.kind == "bind" || self.options.iter().any(|flag| flag.ends_with("bind"));
        if binds && !self.source.starts_with('/') {
            found.push(format!(
                "mount {:?}: the source {:?} must be an absolute path",
                self.destination, self.source
            ));
        }
        if self.kind.is_empty() {
            found.push(format!("mount {:?} has no type", self.destination));
        }
        found
    }
}

impl Dependency {
    fn objections(&self, number: usize) -> Option<String> {
        let given = [
            self.service.is_some(),
            self.path.is_some(),
            self.network.is_some(),
            self.time.is_some(),
            self.configuration.is_some(),
        ];
        match given.into_iter().filter(|given| *given).count() {
            1 => self
                .path
                .as_ref()
                .filter(|path| !path.starts_with('/'))
                .map(|path| format!("depends[{number}].path {path:?} must be absolute")),
            count => Some(format!(
                "depends[{number}] has {count} of service, path, network, time and configuration: expected one"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "
name: x
container:
  entrypoint: ./usr/local/bin/x
  mounts: [{source: /run, destination: /run, type: bind, options: [rbind, ro]}]
depends: [{path: /a}, {network: [addresses, etcfiles]}, {configuration: true}]
restart: untilSuccess
";

    #[test]
    fn a_service_is_read_and_its_program_found() {
        let service = Service::parse(WHOLE).unwrap();
        assert_eq!(service.objections(), Vec::<String>::new());
        assert_eq!(
            service.program(),
            "usr/local/lib/containers/x/usr/local/bin/x"
        );
        assert!(!service.waits_for_the_internet());
    }

    #[test]
    fn what_talos_would_object_to_is_all_said_at_once() {
        let text = "
name: Mesh Agent
container: {entrypoint: '', environment: [A], mounts: [{source: run, destination: run, type: bind}]}
depends: [{}, {path: a}, {path: /a, time: true}]
restart: always
";
        let found = Service::parse(text).unwrap().objections().join("\n");
        for part in [
            "name \"Mesh Agent\"",
            "entrypoint is empty",
            "\"A\": expected NAME=VALUE",
            "the destination must be",
            "the source \"run\"",
            "depends[0] has 0",
            "depends[1].path \"a\"",
            "depends[2] has 2",
        ] {
            assert!(found.contains(part), "{part}: {found}");
        }
    }

    #[test]
    fn what_cannot_be_read_names_the_field() {
        for (text, part) in [
            ("name: x", "container"),
            ("name: x\ncontainer: {entrypoint: /x}", "restart"),
            (
                "name: x\ncontainer: {entrypoint: /x}\nrestart: sometimes",
                "sometimes",
            ),
            (
                "name: x\ncontainer: {entrypoint: /x, image: y}\nrestart: always",
                "image",
            ),
        ] {
            let error = Service::parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
