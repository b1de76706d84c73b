//! Scenario files: a topology, steps that break it, and what is expected to be said of it.
//!
//! ```toml
//! name = "blocked-inbound-at-vps"
//! about = "The provider's firewall drops UDP 51820 towards a public node."
//!
//! [[step]]
//! at = 0                        # seconds after the lab was ready
//! fault = "block-udp-51820-to"  # or: in = "<host>", run = "<command>", heal = "<command>"
//! node = "vps-1"
//!
//! [expect]
//! roots = [{ code = "udp-51820-blocked-inbound", subject = "vps-1" }]
//! gates = { mesh = "not-ready" }
//! ```

mod step;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use thiserror::Error;

use crate::lab::{
    faults::FaultError,
    services::Wanted,
    topology::{Topology, TopologyError},
    verdict::Phase,
};

pub use step::Step;

/// Most steps of one scenario.
pub const MAX_STEPS: usize = 32;
/// Longest a scenario may wait for any one thing, in seconds.
pub const MAX_SECONDS: f64 = 600.0;

/// What makes an agent ask a time server.
const NTP_SERVER: &str = "--ntp-server";

/// Among the absent codes: nothing at all may be accused.
pub const EVERY_CODE: &str = "*";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    pub name: String,
    pub about: String,
    #[serde(default)]
    pub topology: Topology,
    /// Why it can be shown only where `WireGuard` runs in user space; nothing if it can be shown with the kernel's as well.
    pub userspace_wireguard: Option<String>,
    /// A resolver and a discovery service outside of the cluster; without them the agents look at none.
    pub discovery: Option<Wanted>,
    /// Whether the mesh must be ready before the first step. Otherwise collector and agents start after the last step.
    #[serde(default = "yes")]
    pub start_healthy: bool,
    #[serde(rename = "step", default)]
    pub steps: Vec<Step>,
    pub expect: Option<Expect>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The roots that must be named, and no others unless `others_allowed`.
    #[serde(default)]
    pub roots: Vec<ExpectedRoot>,
    #[serde(default)]
    pub others_allowed: bool,
    /// Texts each of which a line of some root's evidence must contain.
    #[serde(default)]
    pub evidence: Vec<String>,
    /// Codes that must not be a root at any time of the run; [`EVERY_CODE`] stands for all.
    #[serde(default)]
    pub absent: Vec<String>,
    #[serde(default)]
    pub gates: BTreeMap<String, Phase>,
    #[serde(default = "within_default")]
    pub within_s: f64,
    /// How long the expectation must hold before it counts.
    #[serde(default = "hold_default")]
    pub hold_s: f64,
    /// Whether the faults are healed at the end and recovery is waited for.
    #[serde(default = "yes")]
    pub heals: bool,
    #[serde(default = "gates_after_default")]
    pub gates_after: Vec<String>,
    #[serde(default = "recovery_default")]
    pub recover_within_s: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedRoot {
    pub code: String,
    pub subject: String,
}

#[derive(Debug, Error)]
pub enum ScenarioError {
    #[error("read {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is not a scenario: {source}")]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    #[error("{path} has an impossible topology: {source}")]
    Topology {
        path: PathBuf,
        source: TopologyError,
    },
    #[error("{path}, step {step}: {source}")]
    Fault {
        path: PathBuf,
        step: usize,
        source: FaultError,
    },
    #[error("{path}: {key} is {value}, allowed is 0 to {max}")]
    Range {
        path: PathBuf,
        key: &'static str,
        value: f64,
        max: f64,
    },
}

impl Scenario {
    /// Reads and checks a file; nothing is left to fail for a reason that the file already shows.
    pub fn load(path: &Path) -> Result<Self, ScenarioError> {
        let text = fs::read_to_string(path).map_err(|source| ScenarioError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(path, &text)
    }

    /// Checks the text of a file; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|source| ScenarioError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        scenario
            .topology
            .validate()
            .map_err(|source| ScenarioError::Topology {
                path: path.to_owned(),
                source,
            })?;
        scenario.check_faults(path)?;
        scenario.check_ranges(path)?;
        Ok(scenario)
    }

    /// Whether it is about services outside of the cluster: a resolver and a discovery service, or time servers.
    pub fn is_of_services(&self) -> bool {
        let mut nodes = self.topology.nodes.iter();
        let asks = |argument: &String| argument == NTP_SERVER;
        self.discovery.is_some() || nodes.any(|node| node.agent.iter().any(asks))
    }

    fn check_faults(&self, path: &Path) -> Result<(), ScenarioError> {
        for (step, fault) in self.steps.iter().map(|step| &step.fault).enumerate() {
            let remedy = fault.remedy(&self.topology, step);
            remedy.map_err(|source| ScenarioError::Fault {
                path: path.to_owned(),
                step: step + 1,
                source,
            })?;
        }
        Ok(())
    }

    fn check_ranges(&self, path: &Path) -> Result<(), ScenarioError> {
        let mut values: Vec<_> = self.steps.iter().map(|step| ("at", step.at)).collect();
        if let Some(expect) = &self.expect {
            values.push(("within_s", expect.within_s));
            values.push(("hold_s", expect.hold_s));
            values.push(("recover_within_s", expect.recover_within_s));
        }
        let out_of_range = |(_, value): &(&str, f64)| !(0.0..=MAX_SECONDS).contains(value);
        let range = |key, value, max| ScenarioError::Range {
            path: path.to_owned(),
            key,
            value,
            max,
        };
        if let Some((key, value)) = values.into_iter().find(out_of_range) {
            return Err(range(key, value, MAX_SECONDS));
        }
        if self.steps.len() > MAX_STEPS {
            return Err(range(
                "number of steps",
                count(self.steps.len()),
                count(MAX_STEPS),
            ));
        }
        Ok(())
    }
}

fn count(items: usize) -> f64 {
    u32::try_from(items).map_or(f64::INFINITY, f64::from)
}

fn yes() -> bool {
    true
}

fn within_default() -> f64 {
    30.0
}

fn hold_default() -> f64 {
    3.0
}

fn recovery_default() -> f64 {
    60.0
}

fn gates_after_default() -> Vec<String> {
    vec!["mesh".to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::faults::Fault;

    fn error(body: &str) -> String {
        let text = format!("name = \"x\"\nabout = \"y\"\n{body}");
        Scenario::parse(Path::new("x.toml"), &text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_key_names_the_file_the_key_and_what_is_allowed() {
        let text = error("[expect]\nrots = []\n");
        for part in ["x.toml", "rots", "roots", "recover_within_s"] {
            assert!(text.contains(part), "{part} is not in: {text}");
        }
    }

    #[test]
    fn a_step_says_which_key_its_fault_lacks_or_does_not_know() {
        assert!(error("[[step]]\nfault = \"drop-data\"\n").contains("key `node` is missing"));
        let odd = error("[[step]]\nfault = \"kill-collector\"\nsite = \"home\"\n");
        assert!(
            odd.contains("key `site` does not belong to this fault"),
            "{odd}"
        );
        let name = error("[[step]]\nfault = \"drop-dta\"\nnode = \"vps-1\"\n");
        assert!(
            name.contains("drop-dta") && name.contains("stop-wireguard"),
            "{name}"
        );
        let node = error("[[step]]\nfault = \"drop-data\"\nnode = \"vps-9\"\n");
        assert!(node.contains("step 1") && node.contains("vps-9"), "{node}");
        let typo = error("[[step]]\nfualt = \"drop-data\"\n");
        assert!(typo.contains("fualt") && typo.contains("`fault`"), "{typo}");
    }

    #[test]
    fn times_are_bounded() {
        assert!(error("[expect]\nwithin_s = 1e9\n").contains("within_s is 1000000000"));
        assert!(error("[[step]]\nat = -1\nfault = \"kill-collector\"\n").contains("at is -1"));
    }

    #[test]
    fn a_file_without_expectations_brings_its_own_trouble() {
        let text = "name = \"x\"\nabout = \"y\"\n[[step]]\nin = \"home-router\"\nrun = \"true\"\n";
        let scenario = Scenario::parse(Path::new("x.toml"), text).unwrap();
        assert!(scenario.expect.is_none() && scenario.start_healthy);
        assert!(
            matches!(&scenario.steps[0].fault, Fault::Raw { host, heal: None, .. } if host == "home-router")
        );
    }
}
