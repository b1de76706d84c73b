//! The story for a newcomer: a healthy mesh, one broken path, the gate that closes, the finding, the recovery.

use std::{
    fmt,
    io::{self, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::lab::{
    LabError,
    faults::{Action, Fault, FaultError},
    programs::shown_question,
    runner::{SETTLE, Staged as _},
    stage::Stage,
    topology::Topology,
    verdict::{Phase, Verdict},
};

/// The node that is cut off, and what must be said of it.
const VICTIM: &str = "home-worker";
const EXPECTED_ROOT: &str = "udp-51820-blocked-inbound";
const GATE: &str = "mesh";
/// How long any one thing may take before the story is over.
const LIMIT: Duration = Duration::from_mins(1);
/// `LIMIT` as `mesh-probe` takes it.
const WAIT_TIMEOUT: &str = "60s";
const POLL: Duration = Duration::from_millis(250);

#[derive(Debug, Error)]
pub enum DemoError {
    #[error(transparent)]
    Lab(#[from] LabError),
    #[error("the demo's fault does not fit its topology")]
    Fault(#[from] FaultError),
    #[error("print")]
    Print(#[from] io::Error),
    #[error("`{command}` ended with {status}")]
    Answer { command: String, status: String },
    #[error("{what} did not happen within {} s{last}", LIMIT.as_secs())]
    Missing { what: String, last: String },
}

/// Figures of one turn of breaking and healing, in seconds.
#[derive(Clone, Copy, Debug)]
struct Turn {
    closed: f64,
    verdict: f64,
    recovery: f64,
}

/// Tells the story, breaking and healing `turns` times, and returns the stage for whoever wants to keep it.
pub fn run(folder: &Path, turns: u32, out: &mut dyn Write) -> Result<Stage, DemoError> {
    let topology = Topology::default();
    let fault = Fault::BlockTo {
        node: VICTIM.to_owned(),
    };
    let begin = Instant::now();
    let stage = Stage::up(topology, folder)?;
    let up = begin.elapsed().as_secs_f64();
    let mut story = Story { stage, out };
    story.introduce(up)?;
    story.show(&["gate", "wireguard", "--wait-timeout", WAIT_TIMEOUT])?;
    story.show(&["gate", GATE, "--wait-timeout", WAIT_TIMEOUT])?;
    story.settle()?;
    story.show(&["pairs"])?;
    let turns: Result<Vec<_>, _> = (0..turns)
        .map(|number| story.turn(&fault, number))
        .collect();
    story.sum_up(&turns?)?;
    Ok(story.stage)
}

struct Story<'a> {
    stage: Stage,
    out: &'a mut dyn Write,
}

impl Story<'_> {
    fn introduce(&mut self, seconds: f64) -> Result<(), DemoError> {
        let lab = &self.stage.lab;
        let nodes = lab.topology().nodes.iter();
        let nodes: Vec<_> = nodes
            .map(|node| format!("{} {}", node.name, node.address))
            .collect();
        let collector = &lab.collector_node()?.name;
        writeln!(
            self.out,
            "# lab: {} (up in {seconds:.2} s)",
            nodes.join(", ")
        )?;
        writeln!(
            self.out,
            "# an agent on every node, the collector on {collector}; commands run on {collector}\n"
        )?;
        Ok(())
    }

    /// Why it is waited at all is said where [`SETTLE`] is.
    fn settle(&mut self) -> Result<(), DemoError> {
        writeln!(
            self.out,
            "# {} s later every pair has answered the agents' echo at least once\n",
            SETTLE.as_secs()
        )?;
        self.out.flush()?;
        thread::sleep(SETTLE);
        Ok(())
    }

    /// A path that comes and goes is held back as flapping, and its gate with it. Every figure is of a first outage, so
    /// between turns the collector, which keeps that history, is started anew.
    fn forget(&mut self) -> Result<(), DemoError> {
        writeln!(
            self.out,
            "# the collector starts anew: it would hold a path back that fails again so soon, as flapping"
        )?;
        self.perform(&[Action::KillCollector, Action::StartCollector])?;
        self.wait_until(&format!("opening of gate {GATE}"), opens)?;
        self.settle()
    }

    fn turn(&mut self, fault: &Fault, number: u32) -> Result<Turn, DemoError> {
        if number > 0 {
            self.forget()?;
        }
        let table = usize::try_from(number).unwrap_or_default();
        let remedy = fault.remedy(self.stage.lab.topology(), table)?;
        writeln!(
            self.out,
            "# break: the router in front of {VICTIM} drops UDP 51820 and forgets its translations"
        )?;
        self.perform(&remedy.apply)?;
        let broken = Instant::now();
        let closed = |verdict: &Verdict| verdict.phase(GATE) != Phase::Ready;
        self.wait_until(&format!("closing of gate {GATE}"), closed)?;
        let closed_after = broken.elapsed().as_secs_f64();
        self.wait_until(&format!("finding {EXPECTED_ROOT} ({VICTIM})"), names_victim)?;
        let named_after = broken.elapsed().as_secs_f64();
        writeln!(
            self.out,
            "# gate {GATE} closed {closed_after:.1} s after the fault, its cause was named after {named_after:.1} s\n"
        )?;
        // One telling is enough; the other turns are for the median.
        if number == 0 {
            self.show_refusal(&["gate", GATE, "--wait-timeout", "0"])?;
            self.show_anyway(&["status"])?;
        }
        writeln!(self.out, "# heal")?;
        self.perform(&remedy.heal)?;
        let healed = Instant::now();
        self.wait_until(&format!("opening of gate {GATE}"), opens)?;
        let recovery = healed.elapsed().as_secs_f64();
        writeln!(
            self.out,
            "# gate {GATE} opened {recovery:.1} s after healing\n"
        )?;
        if number == 0 {
            self.show(&["gate", GATE, "--wait-timeout", WAIT_TIMEOUT])?;
        }
        Ok(Turn {
            closed: closed_after,
            verdict: named_after,
            recovery,
        })
    }

    fn sum_up(&mut self, turns: &[Turn]) -> Result<(), DemoError> {
        let figures = [
            ("time to closed gate", median(turns, |turn| turn.closed)),
            ("time to verdict", median(turns, |turn| turn.verdict)),
            ("time to recovery", median(turns, |turn| turn.recovery)),
        ];
        let of = median_of(turns.len());
        for (name, seconds) in figures {
            writeln!(self.out, "{:<24}{seconds:>7.1} s{of}", format!("{name}:"))?;
        }
        let memory = self.stage.programs.agent_memory();
        for (node, kib) in &memory {
            let (name, megabytes) = (format!("agent on {node}:"), megabytes(*kib));
            writeln!(self.out, "{name:<24}{megabytes:>7.1} MB resident")?;
        }
        let [_, (_, verdict), (_, recovery)] = figures;
        let largest = megabytes(memory.values().copied().max().unwrap_or_default());
        let agents = memory.len();
        writeln!(
            self.out,
            "summary: verdict {verdict:.1} s, recovery {recovery:.1} s, agent memory {largest:.1} MB (largest of {agents}){of}"
        )?;
        Ok(self.out.flush()?)
    }

    /// Prints the command and its output; it must succeed.
    fn show(&mut self, arguments: &[&str]) -> Result<(), DemoError> {
        let success = self.show_anyway(arguments)?;
        self.expect(success.code() == Some(0), arguments, success)
    }

    /// Like [`Self::show`] for a question that must be answered with no.
    fn show_refusal(&mut self, arguments: &[&str]) -> Result<(), DemoError> {
        let status = self.show_anyway(arguments)?;
        self.expect(
            status.code().is_some_and(|code| code != 0),
            arguments,
            status,
        )
    }

    fn show_anyway(&mut self, arguments: &[&str]) -> Result<std::process::ExitStatus, DemoError> {
        let command = shown_question(&self.stage.lab, arguments)?;
        writeln!(self.out, "$ {command}")?;
        self.out.flush()?;
        let output = self.stage.programs.ask(&self.stage.lab, arguments)?;
        self.out.write_all(&output.stdout)?;
        self.out.write_all(&output.stderr)?;
        writeln!(self.out)?;
        Ok(output.status)
    }

    fn expect(
        &self,
        holds: bool,
        arguments: &[&str],
        status: std::process::ExitStatus,
    ) -> Result<(), DemoError> {
        if holds {
            return Ok(());
        }
        Err(DemoError::Answer {
            command: shown_question(&self.stage.lab, arguments)?,
            status: status.to_string(),
        })
    }

    fn perform(&mut self, actions: &[Action]) -> Result<(), DemoError> {
        for action in actions {
            writeln!(self.out, "$ {action}")?;
            self.stage.perform(action)?;
        }
        Ok(self.out.flush()?)
    }

    fn wait_until(
        &mut self,
        what: &str,
        wanted: impl Fn(&Verdict) -> bool,
    ) -> Result<(), DemoError> {
        let begin = Instant::now();
        loop {
            let asked = Instant::now();
            let answer = self.stage.verdict()?;
            if answer.as_ref().is_ok_and(&wanted) {
                return Ok(());
            }
            if begin.elapsed() > LIMIT {
                return Err(self.missing(what, answer));
            }
            thread::sleep(POLL.saturating_sub(asked.elapsed()));
        }
    }

    fn missing(&mut self, what: &str, answer: Result<Verdict, String>) -> DemoError {
        let mut last = match answer {
            Ok(verdict) => Roots(&verdict).to_string(),
            Err(silence) => format!("; {silence}"),
        };
        for program in self.stage.programs.fallen() {
            last.push_str("; ended by itself: ");
            last.push_str(&program);
        }
        DemoError::Missing {
            what: what.to_owned(),
            last,
        }
    }
}

fn opens(verdict: &Verdict) -> bool {
    verdict.phase(GATE) == Phase::Ready
}

fn names_victim(verdict: &Verdict) -> bool {
    let roots = verdict.roots();
    roots
        .iter()
        .any(|root| root.code == EXPECTED_ROOT && root.subject == VICTIM)
}

/// Said behind figures of several turns.
fn median_of(turns: usize) -> String {
    match turns {
        1 => String::new(),
        turns => format!(", median of {turns}"),
    }
}

fn megabytes(kib: u64) -> f64 {
    f64::from(u32::try_from(kib).unwrap_or(u32::MAX)) * 1024.0 / 1e6
}

fn median(turns: &[Turn], figure: impl Fn(&Turn) -> f64) -> f64 {
    let mut values: Vec<_> = turns.iter().map(figure).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

struct Roots<'a>(&'a Verdict);

impl fmt::Display for Roots<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roots = self.0.roots();
        let roots: Vec<_> = roots
            .iter()
            .map(|root| format!("{} ({})", root.code, root.subject))
            .collect();
        let roots = if roots.is_empty() {
            "nothing".to_owned()
        } else {
            roots.join(", ")
        };
        write!(f, "; named instead: {roots}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_sorted_figures() {
        let turn = |verdict| Turn {
            closed: 0.0,
            verdict,
            recovery: 0.0,
        };
        let turns = [turn(9.0), turn(1.0), turn(2.0)];
        assert!((median(&turns, |turn| turn.verdict) - 2.0).abs() < f64::EPSILON);
        assert!(median(&[], |turn| turn.verdict).is_nan());
        assert_eq!(
            (median_of(1).as_str(), median_of(3).as_str()),
            ("", ", median of 3")
        );
    }

    #[test]
    fn a_megabyte_is_a_million_bytes() {
        assert!((megabytes(10_000) - 10.24).abs() < f64::EPSILON);
    }
}
