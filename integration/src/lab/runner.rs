//! Stages one scenario: lab up, faults, wait for the verdict, heal, wait for recovery.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use crate::lab::{
    LabError,
    faults::Action,
    scenario::{Expect, ExpectedRoot, Scenario},
    stage::Stage,
    verdict::{NamedFinding, Phase, Verdict},
};

/// How often the collector is asked.
const POLL: Duration = Duration::from_millis(250);
/// How long the mesh may take to become ready after the start.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long a scenario without expectations is watched after its last step.
const WATCH: Duration = Duration::from_secs(30);
/// The gate that must be open before anything is broken.
const START_GATE: &str = "mesh";

/// What `lab run -o json` prints.
#[derive(Debug, Serialize)]
pub struct RunResult {
    pub scenario: String,
    pub stage: &'static str,
    pub pass: bool,
    pub roots: Vec<NamedFinding>,
    pub suppressed: Vec<NamedFinding>,
    pub gates: BTreeMap<String, Phase>,
    pub time_to_verdict_s: Option<f64>,
    pub time_to_recovery_s: Option<f64>,
    pub failures: Vec<String>,
}

/// Runs the scenario; `log` gets what is done and when.
pub fn run(
    scenario: &Scenario,
    folder: &Path,
    log: &mut dyn Write,
) -> Result<(RunResult, Stage), LabError> {
    let stage = Stage::up(scenario.topology.clone(), folder)?;
    let mut run = Run {
        stage,
        log,
        begin: Instant::now(),
        last: Verdict::default(),
        silence: None,
        accused: BTreeSet::new(),
        failures: Vec::new(),
    };
    let times = run.scenario(scenario)?;
    let Run {
        stage, failures, ..
    } = run;
    let result = RunResult {
        scenario: scenario.name.clone(),
        stage: "namespaces",
        pass: failures.is_empty(),
        roots: times.verdict.roots(),
        suppressed: times.verdict.suppressed(),
        gates: times.verdict.gates(),
        time_to_verdict_s: times.to_verdict,
        time_to_recovery_s: times.to_recovery,
        failures,
    };
    Ok((result, stage))
}

struct Run<'a> {
    stage: Stage,
    log: &'a mut dyn Write,
    begin: Instant,
    /// The last readable answer, and why the one after it was not.
    last: Verdict,
    silence: Option<String>,
    /// Codes that were a root at any time.
    accused: BTreeSet<String>,
    failures: Vec<String>,
}

/// The verdict on the broken lab, before it was healed.
#[derive(Default)]
struct Times {
    verdict: Verdict,
    to_verdict: Option<f64>,
    to_recovery: Option<f64>,
}

impl Run<'_> {
    fn scenario(&mut self, scenario: &Scenario) -> Result<Times, LabError> {
        let mut times = Times::default();
        if scenario.start_healthy && !self.wait_for_start()? {
            times.verdict = self.last.clone();
            return Ok(times);
        }
        self.accused.clear();
        let heal = self.apply_steps(scenario)?;
        let Some(expect) = &scenario.expect else {
            self.watch()?;
            times.verdict = self.last.clone();
            return Ok(times);
        };
        times.to_verdict = self.wait_for_verdict(expect)?;
        times.verdict = self.last.clone();
        if expect.heals && !heal.is_empty() {
            times.to_recovery = self.heal_and_wait(&heal, expect)?;
        }
        self.judge_accusations(expect);
        let fallen = self.stage.programs.fallen();
        self.failures.extend(
            fallen
                .into_iter()
                .map(|program| format!("{program} ended by itself")),
        );
        Ok(times)
    }

    fn wait_for_start(&mut self) -> Result<bool, LabError> {
        let ready = self.poll_until(START_LIMIT, Duration::ZERO, |verdict| {
            verdict.phase(START_GATE) == Phase::Ready
        })?;
        match ready {
            Some(seconds) => self.note(&format_args!(
                "gate {START_GATE} is ready after {seconds:.1} s"
            )),
            None => self.fail(format!(
                "gate {START_GATE} was not ready within {} s",
                START_LIMIT.as_secs()
            )),
        }
        Ok(ready.is_some())
    }

    /// Returns what undoes the steps, last one first.
    fn apply_steps(&mut self, scenario: &Scenario) -> Result<Vec<Action>, LabError> {
        let mut steps: Vec<_> = scenario.steps.iter().enumerate().collect();
        steps.sort_by(|(_, one), (_, other)| one.at.total_cmp(&other.at));
        let begin = Instant::now();
        let mut heal = Vec::new();
        for (number, step) in steps {
            let due = begin + Duration::from_secs_f64(step.at);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let remedy = step.fault.remedy(&scenario.topology, number);
            let remedy = remedy.map_err(|error| LabError::Impossible(error.to_string()))?;
            self.perform(&remedy.apply)?;
            heal.splice(0..0, remedy.heal);
        }
        Ok(heal)
    }

    fn wait_for_verdict(&mut self, expect: &Expect) -> Result<Option<f64>, LabError> {
        let within = Duration::from_secs_f64(expect.within_s);
        let hold = Duration::from_secs_f64(expect.hold_s);
        let seconds = self.poll_until(within, hold, |verdict| {
            mismatches(expect, verdict).is_empty()
        })?;
        if let Some(seconds) = seconds {
            self.note(&format_args!(
                "the expected verdict stands, first seen after {seconds:.1} s"
            ));
            return Ok(Some(seconds));
        }
        let last = mismatches(expect, &self.last);
        self.fail(format!(
            "the expected verdict did not hold within {} s",
            expect.within_s
        ));
        self.failures.extend(last);
        Ok(None)
    }

    fn heal_and_wait(&mut self, heal: &[Action], expect: &Expect) -> Result<Option<f64>, LabError> {
        self.perform(heal)?;
        let within = Duration::from_secs_f64(expect.recover_within_s);
        let open = |verdict: &Verdict, level: &String| verdict.phase(level) == Phase::Ready;
        let seconds = self.poll_until(within, Duration::ZERO, |verdict| {
            expect.gates_after.iter().all(|level| open(verdict, level))
        })?;
        if let Some(seconds) = seconds {
            self.note(&format_args!("recovered after {seconds:.1} s"));
            return Ok(Some(seconds));
        }
        let levels = expect.gates_after.iter();
        let shut: Vec<_> = levels
            .filter(|level| !open(&self.last, level))
            .cloned()
            .collect();
        let (limit, shut) = (expect.recover_within_s, shut.join(", "));
        self.fail(format!("not ready within {limit} s after healing: {shut}"));
        Ok(None)
    }

    fn watch(&mut self) -> Result<(), LabError> {
        self.poll_until(WATCH, Duration::ZERO, |_| false).map(drop)
    }

    fn judge_accusations(&mut self, expect: &Expect) {
        for code in &expect.absent {
            if self.accused.contains(code) {
                self.failures.push(format!(
                    "{code} was named as a root, which it must never be"
                ));
            }
        }
    }

    /// Asks until `wanted` has held for `hold`, and returns the seconds until it began to. The first moment must be
    /// within `limit`; it may then still be held for `hold`.
    fn poll_until(
        &mut self,
        limit: Duration,
        hold: Duration,
        wanted: impl Fn(&Verdict) -> bool,
    ) -> Result<Option<f64>, LabError> {
        let begin = Instant::now();
        let mut since: Option<Instant> = None;
        loop {
            let asked = Instant::now();
            let holds = self.ask()? && wanted(&self.last);
            let answered = Instant::now();
            since = if holds {
                since.or(Some(answered))
            } else {
                None
            };
            match since {
                Some(first) if answered.duration_since(first) >= hold => {
                    return Ok(Some(seconds(first.duration_since(begin))));
                }
                None if begin.elapsed() >= limit => return Ok(None),
                _ => thread::sleep(POLL.saturating_sub(asked.elapsed())),
            }
        }
    }

    /// Whether there was a readable answer.
    fn ask(&mut self) -> Result<bool, LabError> {
        match self.stage.verdict()? {
            Ok(verdict) => {
                self.accused
                    .extend(verdict.roots().into_iter().map(|root| root.code));
                self.last = verdict;
                self.silence = None;
                Ok(true)
            }
            Err(reason) => {
                self.silence = Some(reason);
                Ok(false)
            }
        }
    }

    fn perform(&mut self, actions: &[Action]) -> Result<(), LabError> {
        for action in actions {
            self.note(action);
            self.stage.perform(action)?;
        }
        Ok(())
    }

    fn fail(&mut self, failure: String) {
        self.note(&failure);
        self.failures.push(failure);
        if let Some(silence) = &self.silence {
            self.failures.push(format!(
                "the collector's last answer was not readable: {silence}"
            ));
        }
    }

    /// A log that cannot be written must not change the result.
    fn note(&mut self, what: &dyn fmt::Display) {
        let at = seconds(self.begin.elapsed());
        drop(writeln!(self.log, "{at:7.2} s  {what}"));
    }
}

/// What of the expectation does not hold, in words.
fn mismatches(expect: &Expect, verdict: &Verdict) -> Vec<String> {
    let named: BTreeSet<_> = verdict.roots().iter().map(ExpectedRoot::from).collect();
    let wanted: BTreeSet<_> = expect.roots.iter().cloned().collect();
    let missing = wanted.difference(&named);
    let mut found: Vec<_> = missing
        .map(|root| format!("not named as root: {root}"))
        .collect();
    if !expect.others_allowed {
        let wrong = named.difference(&wanted);
        found.extend(wrong.map(|root| format!("wrongly named as root: {root}")));
    }
    for (level, wanted) in &expect.gates {
        let phase = verdict.phase(level);
        if phase != *wanted {
            found.push(format!("gate {level} is {phase}, expected {wanted}"));
        }
    }
    found
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100.0).round() / 100.0
}

impl From<&NamedFinding> for ExpectedRoot {
    fn from(finding: &NamedFinding) -> Self {
        Self {
            code: finding.code.clone(),
            subject: finding.subject.clone(),
        }
    }
}

impl fmt::Display for ExpectedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.code, self.subject)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
            Self::Unknown => "unknown",
        })
    }
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.pass { "pass" } else { "FAIL" };
        writeln!(f, "{}: {mark}", self.scenario)?;
        for root in &self.roots {
            writeln!(
                f,
                "  root       {} ({}), {}",
                root.code, root.subject, root.confidence
            )?;
            for evidence in &root.evidence {
                writeln!(f, "               {evidence}")?;
            }
        }
        for effect in &self.suppressed {
            writeln!(f, "  effect     {} ({})", effect.code, effect.subject)?;
        }
        for (level, phase) in &self.gates {
            writeln!(f, "  gate       {level}: {phase}")?;
        }
        if let Some(seconds) = self.time_to_verdict_s {
            writeln!(f, "  verdict    after {seconds} s")?;
        }
        if let Some(seconds) = self.time_to_recovery_s {
            writeln!(f, "  recovery   after {seconds} s")?;
        }
        self.failures
            .iter()
            .try_for_each(|failure| writeln!(f, "  failure    {failure}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::verdict::{Finding, Gate};

    fn verdict(roots: &[(&str, &str)], mesh: Phase) -> Verdict {
        let finding = |(code, subject): &(&str, &str)| Finding {
            code: (*code).to_owned(),
            subject_text: (*subject).to_owned(),
            confidence: "certain".to_owned(),
            evidence: Vec::new(),
            suppressed_by: None,
        };
        let gate = Gate {
            level: "mesh".to_owned(),
            phase: mesh,
        };
        Verdict {
            findings: roots.iter().map(finding).collect(),
            gates: vec![gate],
        }
    }

    fn expect(text: &str) -> Expect {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_root_that_is_not_expected_is_a_wrong_accusation() {
        let one = expect("roots = [{ code = 'a', subject = 'x' }]");
        assert!(mismatches(&one, &verdict(&[("a", "x")], Phase::Ready)).is_empty());
        let two = verdict(&[("a", "x"), ("b", "y")], Phase::Ready);
        assert_eq!(mismatches(&one, &two), ["wrongly named as root: b (y)"]);
        let lenient = expect("roots = [{ code = 'a', subject = 'x' }]\nothers_allowed = true");
        assert!(mismatches(&lenient, &two).is_empty());
    }

    #[test]
    fn the_right_code_on_the_wrong_subject_does_not_count() {
        let wanted = expect("roots = [{ code = 'a', subject = 'x' }]");
        let found = mismatches(&wanted, &verdict(&[("a", "y")], Phase::Ready));
        assert_eq!(
            found,
            ["not named as root: a (x)", "wrongly named as root: a (y)"]
        );
    }

    #[test]
    fn a_gate_must_be_in_the_expected_phase() {
        let wanted = expect("gates = { mesh = 'not-ready' }");
        let found = mismatches(&wanted, &verdict(&[], Phase::Unknown));
        assert_eq!(found, ["gate mesh is unknown, expected not-ready"]);
    }
}
