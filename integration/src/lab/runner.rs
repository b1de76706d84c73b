//! Stages one scenario: lab up, faults, wait for the verdict, heal, wait for recovery.

mod result;

use std::{
    collections::BTreeSet,
    fmt,
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::lab::{
    LabError,
    faults::Action,
    scenario::{EVERY_CODE, Expect, ExpectedRoot, Scenario},
    stage::Stage,
    stage_kind::StageKind,
    verdict::{Phase, Verdict},
};

pub use result::RunResult;
use result::{mismatches, not_expected};

/// How long the mesh may take to become ready after the start.
const START_LIMIT: Duration = Duration::from_mins(1);
/// How long a healthy mesh is left alone before it is broken: a gate opens on the first proof in each direction, and it takes
/// a round of the echo (2 s) and a report until every pair has answered at least once. A fault is then the loss of something
/// that worked, not a start that did not succeed.
pub const SETTLE: Duration = Duration::from_secs(5);
/// How long a scenario without expectations is watched after its last step.
const WATCH: Duration = Duration::from_secs(30);
/// The gate that must be open before anything is broken.
const START_GATE: &str = "mesh";

/// What carries out a scenario: a lab of this machine, machines that somebody else started, or a simulation.
pub trait Staged {
    /// Starts collector and agents; it is not waited for any of them.
    fn start_programs(&mut self) -> Result<(), LabError>;
    fn perform(&mut self, action: &Action) -> Result<(), LabError>;
    /// What the collector says now; that it says nothing (or nothing readable) is an ordinary answer.
    fn verdict(&mut self) -> Result<Result<Verdict, String>, LabError>;
    /// Programs that ended by themselves.
    fn fallen(&mut self) -> Vec<String>;

    /// The stage's time: that of this machine, unless it has one of its own.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Lets so much of that time pass.
    fn pass(&mut self, time: Duration) -> Result<(), LabError> {
        thread::sleep(time);
        Ok(())
    }
}

/// Makes a lab and runs the scenario in it; `log` gets what is done and when.
pub fn run(
    scenario: &Scenario,
    kind: StageKind,
    folder: &Path,
    log: &mut dyn Write,
) -> Result<(RunResult, Stage), LabError> {
    let mut stage = Stage::network(kind.topology(&scenario.topology), folder)?;
    if let Some(wanted) = scenario.discovery {
        stage.lab.serve(wanted)?;
    }
    let result = play(scenario, kind, &mut stage, log)?;
    Ok((result, stage))
}

/// Runs the scenario on a stage that carries it and whose programs do not run yet.
pub fn play(
    scenario: &Scenario,
    kind: StageKind,
    stage: &mut dyn Staged,
    log: &mut dyn Write,
) -> Result<RunResult, LabError> {
    let mut run = Run {
        begin: stage.now(),
        stage,
        kind,
        log,
        last: Verdict::default(),
        silence: None,
        accused: BTreeSet::new(),
        failures: Vec::new(),
        wrong: BTreeSet::new(),
    };
    let times = run.scenario(scenario)?;
    let Run {
        failures, wrong, ..
    } = run;
    Ok(RunResult {
        scenario: scenario.name.clone(),
        stage: kind,
        pass: failures.is_empty(),
        roots: times.verdict.roots(),
        suppressed: times.verdict.suppressed(),
        gates: times.verdict.gates(),
        time_to_verdict_s: times.to_verdict,
        time_to_recovery_s: times.to_recovery,
        failures,
        wrong: wrong.into_iter().collect(),
        not_carried: None,
    })
}

struct Run<'a> {
    stage: &'a mut dyn Staged,
    kind: StageKind,
    log: &'a mut dyn Write,
    begin: Instant,
    /// The last readable answer, and why the one after it was not.
    last: Verdict,
    silence: Option<String>,
    /// Codes that were a root at any time.
    accused: BTreeSet<String>,
    failures: Vec<String>,
    wrong: BTreeSet<String>,
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
        if scenario.start_healthy {
            self.stage.start_programs()?;
            if !self.wait_for_start()? {
                times.verdict = self.last.clone();
                return Ok(times);
            }
        }
        let heal = self.apply_steps(scenario)?;
        if !scenario.start_healthy {
            self.note(&"the programs start only now");
            self.stage.start_programs()?;
        }
        let Some(expect) = &scenario.expect else {
            self.watch(WATCH)?;
            times.verdict = self.last.clone();
            return Ok(times);
        };
        times.to_verdict = self.wait_for_verdict(expect)?;
        times.verdict = self.last.clone();
        let wrong = not_expected(expect, &self.last).into_iter();
        self.wrong.extend(wrong.map(|root| root.to_string()));
        if expect.heals && !heal.is_empty() {
            times.to_recovery = self.heal_and_wait(&heal, expect)?;
        }
        self.judge_accusations(expect);
        let fallen = self.stage.fallen();
        self.failures.extend(
            fallen
                .into_iter()
                .map(|program| format!("{program} ended by itself")),
        );
        Ok(times)
    }

    fn wait_for_start(&mut self) -> Result<bool, LabError> {
        let limit = self.kind.patience(START_LIMIT);
        let ready = self.poll_until(limit, Duration::ZERO, |verdict| {
            verdict.phase(START_GATE) == Phase::Ready
        })?;
        match ready {
            Some(seconds) => {
                self.note(&format_args!(
                    "gate {START_GATE} is ready after {seconds:.1} s"
                ));
                self.accused.clear();
                self.watch(SETTLE)?;
            }
            None => self.fail(format!(
                "gate {START_GATE} was not ready within {} s",
                limit.as_secs()
            )),
        }
        Ok(ready.is_some())
    }

    /// Returns what undoes the steps, last one first.
    fn apply_steps(&mut self, scenario: &Scenario) -> Result<Vec<Action>, LabError> {
        let mut steps: Vec<_> = scenario.steps.iter().enumerate().collect();
        steps.sort_by(|(_, one), (_, other)| one.at.total_cmp(&other.at));
        let begin = self.stage.now();
        let mut heal = Vec::new();
        for (number, step) in steps {
            let due = begin + Duration::from_secs_f64(step.at);
            let left = due.saturating_duration_since(self.stage.now());
            self.stage.pass(left)?;
            let remedy = step.fault.remedy(&scenario.topology, number);
            let remedy = remedy.map_err(|error| LabError::Impossible(error.to_string()))?;
            self.perform(&remedy.apply)?;
            heal.splice(0..0, remedy.heal);
        }
        Ok(heal)
    }

    fn wait_for_verdict(&mut self, expect: &Expect) -> Result<Option<f64>, LabError> {
        let within = self.kind.patience(Duration::from_secs_f64(expect.within_s));
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
            within.as_secs_f64()
        ));
        self.failures.extend(last);
        Ok(None)
    }

    fn heal_and_wait(&mut self, heal: &[Action], expect: &Expect) -> Result<Option<f64>, LabError> {
        self.perform(heal)?;
        let within = self
            .kind
            .patience(Duration::from_secs_f64(expect.recover_within_s));
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
        let (limit, shut) = (within.as_secs_f64(), shut.join(", "));
        self.fail(format!("not ready within {limit} s after healing: {shut}"));
        Ok(None)
    }

    fn watch(&mut self, time: Duration) -> Result<(), LabError> {
        self.poll_until(time, Duration::ZERO, |_| false).map(drop)
    }

    fn judge_accusations(&mut self, expect: &Expect) {
        let never = |code: &&String| {
            let absent = &expect.absent;
            absent.contains(*code) || absent.iter().any(|code| code == EVERY_CODE)
        };
        let wrong: Vec<_> = self.accused.iter().filter(never).cloned().collect();
        let said = wrong.iter();
        self.failures
            .extend(said.map(|code| format!("{code} was named as a root, which it must never be")));
        self.wrong.extend(wrong);
    }

    /// Asks until `wanted` has held for `hold`, and returns the seconds until it began to. The first moment must be
    /// within `limit`; it may then still be held for `hold`.
    fn poll_until(
        &mut self,
        limit: Duration,
        hold: Duration,
        wanted: impl Fn(&Verdict) -> bool,
    ) -> Result<Option<f64>, LabError> {
        let begin = self.stage.now();
        let poll = self.kind.poll();
        let mut since: Option<Instant> = None;
        loop {
            let asked = self.stage.now();
            let holds = self.ask()? && wanted(&self.last);
            let answered = self.stage.now();
            since = if holds {
                since.or(Some(answered))
            } else {
                None
            };
            match since {
                Some(first) if answered.duration_since(first) >= hold => {
                    return Ok(Some(seconds(first.duration_since(begin))));
                }
                None if answered.duration_since(begin) >= limit => return Ok(None),
                _ => self
                    .stage
                    .pass(poll.saturating_sub(answered.duration_since(asked)))?,
            }
        }
    }

    /// Whether there was a readable answer.
    fn ask(&mut self) -> Result<bool, LabError> {
        match self.stage.verdict()? {
            Ok(verdict) => {
                let named = named(&verdict);
                if named != self::named(&self.last) {
                    self.note(&format_args!("named: {named}"));
                }
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
        let at = seconds(self.stage.now().duration_since(self.begin));
        drop(writeln!(self.log, "{at:7.2} s  {what}"));
    }
}

/// The roots, for the log.
fn named(verdict: &Verdict) -> String {
    let roots: BTreeSet<_> = verdict.roots().iter().map(ExpectedRoot::from).collect();
    if roots.is_empty() {
        return "nothing".to_owned();
    }
    let roots: Vec<_> = roots.iter().map(ToString::to_string).collect();
    roots.join(", ")
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100.0).round() / 100.0
}
