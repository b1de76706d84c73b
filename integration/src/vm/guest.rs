//! What runs inside of the machine: the orders, several labs at a time, an answer for each.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write as _},
    path::Path,
    process::{Command, Output},
    sync::{Mutex, PoisonError},
    thread,
    time::Instant,
};

use crate::{
    facts::Subject,
    lab::{LabError, sandbox, stage_kind::StageKind},
    vm::orders::{Event, Orders},
};

/// How much of a failed run's output is sent: its end says why.
const LOG_BYTES: usize = 4096;

/// Carries out the orders in `file`.
pub fn obey(file: &Path) -> Result<(), LabError> {
    let text = fs::read(file).map_err(LabError::io("read", file.display()))?;
    let orders: Orders = serde_json::from_slice(&text).map_err(|source| LabError::State {
        path: file.to_owned(),
        source,
    })?;
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    answer(&Event::Started {
        kernel,
        uptime_s: uptime(),
    });
    play(&orders);
    answer(&Event::Ended { uptime_s: uptime() });
    Ok(())
}

/// Times are taken while nothing else runs, so the reader comes first. What only waits takes no place from the others.
fn play(orders: &Orders) {
    let facts = orders.facts.iter();
    let facts = facts.map(|(subject, stage)| Job::Measure(*subject, *stage));
    let (alone, beside): (Vec<_>, Vec<_>) = facts.partition(Job::is_timed);
    for job in alone {
        answer(&job.run());
    }
    let (idle, active): (Vec<_>, Vec<_>) = beside.into_iter().partition(Job::only_waits);
    let scenarios = orders.scenarios.iter().cloned().map(Job::Play);
    let waiting = Mutex::new(active.into_iter().chain(scenarios).collect::<VecDeque<_>>());
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    };
    thread::scope(|scope| {
        for job in &idle {
            scope.spawn(|| answer(&job.run()));
        }
        for _ in 0..orders.at_once.max(1) {
            scope.spawn(|| {
                while let Some(job) = next() {
                    answer(&job.run());
                }
            });
        }
    });
}

/// One lab.
#[derive(Debug)]
enum Job {
    Play(String),
    Measure(Subject, StageKind),
}

impl Job {
    fn is_timed(&self) -> bool {
        matches!(self, Self::Measure(Subject::Reader, _))
    }

    fn only_waits(&self) -> bool {
        matches!(self, Self::Measure(Subject::Idle, _))
    }

    fn run(&self) -> Event {
        let begin = Instant::now();
        let output = self.command().output();
        let seconds = (begin.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        match output {
            Ok(output) => self.result(&output, seconds),
            Err(error) => self.broken(seconds, error.to_string()),
        }
    }

    fn command(&self) -> Command {
        let (verb, stage, operand) = match self {
            Self::Play(scenario) => ("run", StageKind::Kernel, scenario.as_str()),
            Self::Measure(subject, stage) => ("facts", *stage, subject.name()),
        };
        let mut command = sandbox::own_program(verb);
        command.args(["--stage", stage.name(), "--output", "json", "--", operand]);
        command
    }

    fn result(&self, output: &Output, seconds: f64) -> Event {
        let answer = match self {
            Self::Play(_) => serde_json::from_slice(&output.stdout).map(|result| Event::Scenario {
                result,
                seconds,
                log: log_of_failure(output),
            }),
            Self::Measure(..) => {
                let facts = serde_json::from_slice(&output.stdout);
                facts.map(|facts| Event::Facts { facts, seconds })
            }
        };
        answer.unwrap_or_else(|_| self.broken(seconds, end_of(&output.stderr)))
    }

    fn broken(&self, seconds: f64, log: String) -> Event {
        let what = match self {
            Self::Play(scenario) => scenario.clone(),
            Self::Measure(subject, stage) => format!("facts: {} on {stage}", subject.name()),
        };
        Event::Broken { what, seconds, log }
    }
}

fn log_of_failure(output: &Output) -> String {
    if output.status.success() {
        String::new()
    } else {
        end_of(&output.stderr)
    }
}

fn end_of(log: &[u8]) -> String {
    let begin = log.len().saturating_sub(LOG_BYTES);
    String::from_utf8_lossy(&log[begin..]).into_owned()
}

/// One line in one piece. Nobody is left to be told that the serial line is gone.
fn answer(event: &Event) {
    if let Ok(line) = event.to_line() {
        let mut out = io::stdout().lock();
        drop(writeln!(out, "{line}").and_then(|()| out.flush()));
    }
}

/// Seconds since the machine was switched on.
fn uptime() -> f64 {
    let text = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = text.split_whitespace().next();
    seconds.and_then(|text| text.parse().ok()).unwrap_or(0.0)
}
