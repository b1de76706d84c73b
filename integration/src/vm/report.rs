//! What came out of the machine: a table for people, and the file that is committed.

use std::fmt::{self, Write as _};

use crate::{
    facts::{Facts, Subject},
    lab::{
        runner::RunResult,
        stage_kind::{KERNEL_PATIENCE, StageKind},
    },
    vm::{answers::Answers, orders::Event},
};

/// All answers of all machines.
#[derive(Debug, Default)]
pub struct Report {
    kernel: String,
    seconds: f64,
    runs: usize,
    machines: usize,
    boot_s: Option<f64>,
    rows: Vec<Row>,
    facts: Vec<Facts>,
}

#[derive(Debug)]
struct Row {
    scenario: String,
    outcome: Outcome,
    verdict_s: Option<f64>,
    recovery_s: Option<f64>,
    seconds: f64,
    notes: Vec<String>,
}

/// In the notes of what was played after the run of all.
const AGAIN: &str = "played in a later run";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Pass,
    /// Nobody was accused wrongly, but what must be said was not said, or not in time.
    Fail,
    /// Somebody was.
    Wrong,
    NotCarried,
    NotRun,
}

impl Report {
    /// Of what is kept from several runs; what none of them played of `scenarios` is told as such.
    pub fn of(answers: &Answers, scenarios: &[&str]) -> Self {
        let mut report = Self::default();
        for answer in answers.iter() {
            let rows = report.rows.len();
            report.take(&answer.event);
            if answer.run > 0 {
                let new = report.rows[rows..].iter_mut();
                new.for_each(|row| row.notes.insert(0, AGAIN.to_owned()));
            }
        }
        for scenario in scenarios {
            if report.rows.iter().all(|row| row.scenario != *scenario) {
                let row = Row::empty((*scenario).to_owned(), Outcome::NotRun);
                report.rows.push(row);
            }
        }
        report.sort();
        report
    }

    /// Of one run.
    pub fn of_run(events: &[Event]) -> Self {
        let mut report = Self::default();
        for event in events {
            report.take(event);
        }
        report.sort();
        report
    }

    fn take(&mut self, event: &Event) {
        match event {
            Event::Started { kernel, uptime_s } => {
                self.kernel.clone_from(kernel);
                self.boot_s = Some(*uptime_s);
            }
            Event::Scenario {
                result, seconds, ..
            } => self.rows.push(Row::of(result, *seconds)),
            Event::Broken { what, seconds, log } => {
                self.rows.push(Row::broken(what.clone(), *seconds, log));
            }
            Event::Facts { facts, .. } => self.facts.push(facts.clone()),
            Event::Ended { .. } => {}
            Event::Ran { machines, seconds } => {
                self.runs += 1;
                self.machines = self.machines.max(*machines);
                self.seconds += seconds;
            }
        }
    }

    fn sort(&mut self) {
        self.rows
            .sort_by(|one, other| one.scenario.cmp(&other.scenario));
    }

    /// Whether the machines did all they were told and everything that they could show held.
    pub fn passes(&self, ordered: usize) -> bool {
        let bad = |row: &Row| matches!(row.outcome, Outcome::Fail | Outcome::Wrong);
        ordered > 0 && self.rows.len() + self.facts.len() == ordered && !self.rows.iter().any(bad)
    }

    /// The last line for people and for scripts.
    pub fn summary(&self) -> String {
        let count = |outcome| {
            self.rows
                .iter()
                .filter(|row| row.outcome == outcome)
                .count()
        };
        format!(
            "kernel lane: {} passed, {} failed, {} with a wrong accusation, {} not carried, {} not run, in {:.0} s",
            count(Outcome::Pass),
            count(Outcome::Fail),
            count(Outcome::Wrong),
            count(Outcome::NotCarried),
            count(Outcome::NotRun),
            self.seconds
        )
    }

    /// `integration/KERNEL_LANE.md`.
    pub fn markdown(&self, accelerator: &str) -> String {
        let mut text = String::from("# Kernel lane\n\n");
        let boot = self.boot_s.unwrap_or_default();
        let head = format!(
            "Written by `./dev vm`, from all runs whose answers were kept; do not edit. Kernel {}, qemu with {accelerator}, up to {} machines at a time, one lab in each.\n\
             First order after {boot:.1} s of a machine; {} runs took {:.0} s together, the scenarios {:.0} s on the clocks of the machines.\n\n\
             Each scenario runs with the kernel's own WireGuard on every node. A machine's clock counts the instructions of its one\n\
             processor, a nanosecond each, and skips what is only waited for: how busy the host is shows in none of these seconds.\n\
             The limits of time of the scenario files are multiplied by {KERNEL_PATIENCE}; what must be named, what must never be, and for how long\n\
             something must hold, is not. FAIL: something was not said, or not in time. WRONG: somebody was accused who must not be.\n\n\
             | scenario | result | verdict | recovery | run | note |\n|---|---|---|---|---|---|\n",
            self.kernel,
            self.machines,
            self.runs,
            self.seconds,
            self.rows.iter().map(|row| row.seconds).sum::<f64>()
        );
        text.push_str(&head);
        for row in &self.rows {
            writeln!(
                text,
                "| {} | {} | {} | {} | {:.0} | {} |",
                row.scenario,
                row.outcome,
                shown(row.verdict_s),
                shown(row.recovery_s),
                row.seconds,
                row.notes.join("; ").replace('|', "/")
            )
            .expect("writing to a string cannot fail");
        }
        writeln!(text, "\n{}", self.summary()).expect("writing to a string cannot fail");
        text.push_str(&self.facts_table());
        text
    }
}

impl Report {
    /// What was measured, side by side: the same machine, the same labs, two kinds of tunnels.
    fn facts_table(&self) -> String {
        let mut text = String::from(
            "\n## What the implementation of WireGuard decides\n\n\
             Measured in the same machines. How each figure was taken stands below the table.\n\n\
             | what | user space (wireguard-go) | kernel |\n|---|---|---|\n",
        );
        let mut hows = String::from("\n");
        for (what, how) in self.subjects() {
            let cell = |stage| self.seen(what, stage).unwrap_or("-").replace('\n', "<br>");
            let (ours, kernel) = (cell(StageKind::Namespaces), cell(StageKind::Kernel));
            writeln!(text, "| {what} | {ours} | {kernel} |")
                .expect("writing to a string cannot fail");
            writeln!(hows, "- {what}: {how}").expect("writing to a string cannot fail");
        }
        text + &hows
    }

    /// What was measured, in the order of the subjects, each once.
    fn subjects(&self) -> Vec<(&str, &str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for subject in Subject::ALL {
            let of_subject = self.facts.iter().filter(|facts| facts.subject == subject);
            for fact in of_subject.flat_map(|facts| &facts.facts) {
                if found.iter().all(|(what, _)| *what != fact.what) {
                    found.push((&fact.what, &fact.how));
                }
            }
        }
        found
    }

    fn seen(&self, what: &str, stage: StageKind) -> Option<&str> {
        let facts = self.facts.iter().filter(|facts| facts.stage == stage);
        let mut facts = facts.flat_map(|facts| &facts.facts);
        let fact = facts.find(|fact| fact.what == what)?;
        Some(&fact.seen)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<34} {:<12} {:>8} {:>9} {:>6}",
            "scenario", "result", "verdict", "recovery", "run"
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "{:<34} {:<12} {:>8} {:>9} {:>6.0}",
                row.scenario,
                row.outcome.name(),
                shown(row.verdict_s),
                shown(row.recovery_s),
                row.seconds
            )?;
            row.notes
                .iter()
                .try_for_each(|note| writeln!(f, "    {note}"))?;
        }
        self.facts.iter().try_for_each(|facts| write!(f, "{facts}"))
    }
}

impl Row {
    fn of(result: &RunResult, seconds: f64) -> Self {
        let outcome = match (&result.not_carried, result.pass) {
            (Some(_), _) => Outcome::NotCarried,
            (None, true) => Outcome::Pass,
            (None, false) if result.wrong.is_empty() => Outcome::Fail,
            (None, false) => Outcome::Wrong,
        };
        Self {
            scenario: result.scenario.clone(),
            outcome,
            verdict_s: result.time_to_verdict_s,
            recovery_s: result.time_to_recovery_s,
            seconds,
            notes: result
                .failures
                .iter()
                .chain(&result.not_carried)
                .cloned()
                .collect(),
        }
    }

    fn broken(scenario: String, seconds: f64, log: &str) -> Self {
        let last = log.lines().last().unwrap_or("no word of why");
        Self {
            seconds,
            notes: vec![last.trim().to_owned()],
            ..Self::empty(scenario, Outcome::Fail)
        }
    }

    fn empty(scenario: String, outcome: Outcome) -> Self {
        Self {
            scenario,
            outcome,
            verdict_s: None,
            recovery_s: None,
            seconds: 0.0,
            notes: Vec::new(),
        }
    }
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::Wrong => "WRONG",
            Self::NotCarried => "not carried",
            Self::NotRun => "not run",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn shown(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::scenario::Scenario;
    use std::path::Path;

    fn result(name: &str, failures: &[&str]) -> RunResult {
        let text = format!("name = \"{name}\"\nabout = \"y\"\n");
        let scenario = Scenario::parse(Path::new("x.toml"), &text).unwrap();
        RunResult {
            pass: failures.is_empty(),
            failures: failures.iter().map(|&failure| failure.to_owned()).collect(),
            not_carried: None,
            ..RunResult::not_carried(&scenario, StageKind::Kernel, String::new())
        }
    }

    fn events(results: Vec<RunResult>) -> Vec<Event> {
        let played = results.into_iter().map(|result| Event::Scenario {
            result: Box::new(result),
            seconds: 1.0,
            log: String::new(),
        });
        played.chain([Event::Ended { uptime_s: 9.0 }]).collect()
    }

    fn report(results: Vec<RunResult>) -> Report {
        Report::of_run(&events(results))
    }

    #[test]
    fn what_was_played_later_or_not_at_all_is_told() {
        let mut answers = Answers::default();
        answers.add_run(events(vec![result("a", &["late"]), result("b", &[])]));
        answers.add_run(events(vec![result("a", &[])]));
        let text = Report::of(&answers, &["a", "b", "c"]).markdown("tcg");
        assert!(text.contains("| a | pass | - | - | 1 | played in a later run |"));
        assert!(text.contains("| b | pass | - | - | 1 |  |"), "{text}");
        assert!(text.contains("| c | not run |"), "{text}");
        assert!(text.contains("2 passed, 0 failed") && text.contains("1 not run"));
    }

    #[test]
    fn one_failed_scenario_fails_the_lane_and_says_why() {
        assert!(report(vec![result("a", &[])]).passes(1));
        let failed = report(vec![result("b", &["gate mesh is ready"]), result("a", &[])]);
        assert!(!failed.passes(2));
        assert!(
            failed
                .markdown("s")
                .contains("| b | FAIL | - | - | 1 | gate mesh is ready |")
        );
        assert_eq!(
            failed.summary(),
            "kernel lane: 1 passed, 1 failed, 0 with a wrong accusation, 0 not carried, 0 not run, in 0 s"
        );
    }

    #[test]
    fn a_wrong_accusation_is_told_from_something_that_is_late() {
        let mut accused = result("a", &["x was named as a root, which it must never be"]);
        accused.wrong = vec!["x".to_owned()];
        let report = report(vec![accused, result("b", &["gate mesh is ready"])]);
        assert!(!report.passes(2));
        assert!(report.markdown("s").contains("| a | WRONG |"));
        assert!(
            report
                .summary()
                .contains("1 failed, 1 with a wrong accusation")
        );
    }

    #[test]
    fn what_was_ordered_and_never_answered_is_no_pass() {
        assert!(!report(vec![result("a", &[])]).passes(2));
        assert!(!Report::default().passes(0));
    }

    #[test]
    fn a_scenario_that_cannot_be_carried_is_told_and_fails_nothing() {
        let mut odd = result("odd", &[]);
        odd.pass = false;
        odd.not_carried = Some("no boringtun".to_owned());
        let report = report(vec![odd]);
        assert!(report.passes(1));
        assert!(
            report.to_string().contains("not carried")
                && report.to_string().contains("no boringtun")
        );
    }
}
