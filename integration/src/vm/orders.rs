//! What the machine is told, and what it answers: lines on its serial port.

use std::fmt;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    facts::{Facts, Subject},
    lab::{runner::RunResult, stage_kind::StageKind},
};

/// What a line begins with that is an order or an answer; all others are the output of programs.
const MARK: &str = "@lab ";
/// Longest line that is taken for an order or an answer.
pub const MAX_LINE: usize = 1 << 20;

/// What to do next: one lab, or the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The name of a scenario.
    Play(String),
    /// What is measured, and on which stage: the machine has both kinds of tunnels.
    Measure(Subject, StageKind),
    PowerOff,
}

/// One answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// It waits for the first order.
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
    /// Said by who started the machines, when all of them had ended.
    Ran {
        machines: usize,
        seconds: f64,
    },
}

impl Order {
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        to_line(self)
    }

    /// None for a line that is no order.
    pub fn from_line(line: &str) -> Option<Self> {
        from_line(line)
    }
}

impl Event {
    /// The scenario or the measurement that it is the answer to.
    pub fn subject(&self) -> Option<String> {
        match self {
            Self::Scenario { result, .. } => Some(result.scenario.clone()),
            Self::Broken { what, .. } => Some(what.clone()),
            Self::Facts { facts, .. } => {
                Some(Order::Measure(facts.subject, facts.stage).to_string())
            }
            Self::Started { .. } | Self::Ended { .. } | Self::Ran { .. } => None,
        }
    }

    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        to_line(self)
    }

    /// None for a line that is no answer, or one of a form that this side does not know.
    pub fn from_line(line: &str) -> Option<Self> {
        from_line(line)
    }
}

fn to_line(what: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(format!("{MARK}{}", serde_json::to_string(what)?))
}

fn from_line<T: DeserializeOwned>(line: &str) -> Option<T> {
    let text = line.trim().strip_prefix(MARK)?;
    if text.len() > MAX_LINE {
        return None;
    }
    serde_json::from_str(text).ok()
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Play(scenario) => f.write_str(scenario),
            Self::Measure(subject, stage) => write!(f, "facts: {} on {stage}", subject.name()),
            Self::PowerOff => f.write_str("power off"),
        }
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
            Self::Ran { machines, seconds } => write!(f, "{machines} machines, {seconds:.0} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_answers_survive_the_serial_line() {
        let event = Event::Ended { uptime_s: 4.5 };
        let line = format!("{}\r\n", event.to_line().unwrap());
        assert!(matches!(
            Event::from_line(&line),
            Some(Event::Ended { uptime_s }) if (uptime_s - 4.5).abs() < f64::EPSILON
        ));
        for order in [
            Order::Play("healthy".to_owned()),
            Order::Measure(Subject::Idle, StageKind::Kernel),
            Order::PowerOff,
        ] {
            let line = format!("{}\r\n", order.to_line().unwrap());
            assert_eq!(Order::from_line(&line), Some(order));
        }
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
            assert!(Order::from_line(line).is_none(), "{line}");
        }
    }
}
