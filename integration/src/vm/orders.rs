//! What the machine is told, and the lines it answers on its serial port.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    facts::{Facts, Subject},
    lab::{runner::RunResult, stage_kind::StageKind},
};

/// Where the orders are inside of the machine.
pub const ORDERS_FILE: &str = "/vm/orders.json";
/// What a line begins with that is an answer; all others are the output of programs.
const MARK: &str = "@lab ";
/// Longest line that is taken for an answer.
pub const MAX_LINE: usize = 1 << 20;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// Names of scenarios.
    pub scenarios: Vec<String>,
    /// How many labs there may be at a time.
    pub at_once: usize,
    /// What is measured, and on which stage: this machine has both kinds of tunnels.
    pub facts: Vec<(Subject, StageKind)>,
}

/// One answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    Started {
        kernel: String,
        uptime_s: f64,
    },
    Scenario {
        result: Box<RunResult>,
        seconds: f64,
        /// What the run said while it went on; only of one that failed.
        log: String,
    },
    /// A run or a measurement that ended without a result.
    Broken {
        what: String,
        seconds: f64,
        log: String,
    },
    Facts {
        facts: Facts,
        seconds: f64,
    },
    Ended {
        uptime_s: f64,
    },
}

impl Event {
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{MARK}{}", serde_json::to_string(self)?))
    }

    /// None for a line that is no answer, or one of a form that this side does not know.
    pub fn from_line(line: &str) -> Option<Self> {
        let text = line.trim().strip_prefix(MARK)?;
        if text.len() > MAX_LINE {
            return None;
        }
        serde_json::from_str(text).ok()
    }
}

impl fmt::Display for Event {
    /// One line for a person who waits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { kernel, uptime_s } => write!(f, "kernel {kernel}, up {uptime_s:.1} s"),
            Self::Scenario {
                result,
                seconds,
                log,
            } => write!(
                f,
                "{}: {} ({seconds:.0} s) {log}",
                result.scenario,
                result.mark()
            ),
            Self::Broken { what, seconds, log } => {
                write!(f, "{what}: no result ({seconds:.0} s) {log}")
            }
            Self::Facts { facts, seconds } => {
                write!(
                    f,
                    "{} on {}: measured ({seconds:.0} s)",
                    facts.subject.name(),
                    facts.stage
                )
            }
            Self::Ended { uptime_s } => write!(f, "all done, up {uptime_s:.1} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_survives_the_serial_line() {
        let event = Event::Ended { uptime_s: 4.5 };
        let line = format!("{}\r\n", event.to_line().unwrap());
        assert!(matches!(
            Event::from_line(&line),
            Some(Event::Ended { uptime_s }) if (uptime_s - 4.5).abs() < f64::EPSILON
        ));
    }

    #[test]
    fn output_of_programs_and_cut_lines_are_no_answers() {
        for line in [
            "",
            "kernel: @lab {}",
            "@lab {\"event\":\"ended\",",
            "@lab {\"event\":\"x\"}",
        ] {
            assert!(Event::from_line(line).is_none(), "{line}");
        }
    }
}
