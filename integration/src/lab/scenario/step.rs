//! One step of a scenario: a named fault with the keys it needs, or a command of the file's own.

use serde::Deserialize;

use crate::lab::faults::{self, Fault};

/// A fault and its time after the start.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "RawStep")]
pub struct Step {
    pub at: f64,
    pub fault: Fault,
}

/// A step as the file has it, before it is known which keys its fault needs.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    #[serde(default)]
    at: f64,
    fault: Option<String>,
    node: Option<String>,
    site: Option<String>,
    from: Option<String>,
    to: Option<String>,
    percent: Option<u8>,
    r#in: Option<String>,
    run: Option<String>,
    heal: Option<String>,
}

impl RawStep {
    fn node(&mut self) -> Result<String, String> {
        needed("node", self.node.take())
    }

    fn take_fault(&mut self) -> Result<Fault, String> {
        let Some(name) = self.fault.take() else {
            return Ok(Fault::Raw {
                host: needed("in", self.r#in.take())?,
                run: needed("run", self.run.take())?,
                heal: self.heal.take(),
            });
        };
        Ok(match name.as_str() {
            "block-udp-51820-to" => Fault::BlockTo { node: self.node()? },
            "block-udp-51820-in-host" => Fault::BlockInHost { node: self.node()? },
            "block-udp-out" => Fault::BlockOut {
                site: needed("site", self.site.take())?,
            },
            "one-way-loss" => Fault::OneWayLoss {
                from: needed("from", self.from.take())?,
                to: needed("to", self.to.take())?,
                percent: percent(self.percent.take())?,
            },
            "drop-data" => Fault::DropData { node: self.node()? },
            "kill-agent" => Fault::KillAgent { node: self.node()? },
            "restart-agent" => Fault::RestartAgent { node: self.node()? },
            "kill-collector" => Fault::KillCollector,
            "restart-collector" => Fault::RestartCollector,
            "stop-wireguard" => Fault::StopWireguard { node: self.node()? },
            _ => {
                return Err(format!(
                    "unknown fault {name:?}, expected one of {}",
                    faults::NAMES.join(", ")
                ));
            }
        })
    }

    fn left_over(&self) -> Option<&'static str> {
        let given = [
            ("node", self.node.is_some()),
            ("site", self.site.is_some()),
            ("from", self.from.is_some()),
            ("to", self.to.is_some()),
            ("percent", self.percent.is_some()),
            ("in", self.r#in.is_some()),
            ("run", self.run.is_some()),
            ("heal", self.heal.is_some()),
        ];
        given
            .into_iter()
            .find_map(|(key, given)| given.then_some(key))
    }
}

impl TryFrom<RawStep> for Step {
    type Error = String;
    fn try_from(mut raw: RawStep) -> Result<Self, String> {
        let fault = raw.take_fault()?;
        match raw.left_over() {
            None => Ok(Self { at: raw.at, fault }),
            Some(key) => Err(format!("key `{key}` does not belong to this fault")),
        }
    }
}

fn needed(key: &str, value: Option<String>) -> Result<String, String> {
    value.ok_or_else(|| {
        format!("key `{key}` is missing; a step has `fault` and what it needs, or `in` and `run`")
    })
}

fn percent(value: Option<u8>) -> Result<u8, String> {
    match value {
        Some(percent @ 1..=100) => Ok(percent),
        Some(percent) => Err(format!("key `percent` is {percent}, allowed is 1 to 100")),
        None => Err("key `percent` is missing".to_owned()),
    }
}
