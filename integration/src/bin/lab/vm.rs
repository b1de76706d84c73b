//! `lab vm`: the scenarios in emulated machines with a kernel of their own.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use integration::{
    facts::Subject,
    lab::{LabError, scenario::Scenario, stage_kind::StageKind},
    vm::{
        answers::Answers,
        machine::{self, Machine},
        orders::{Event, Order},
        payload::{self, Kernel},
        report::Report,
    },
};

use crate::{cli::VmArguments, find_scenario, scenario_files, scenario_folder};

const FAILED: u8 = 1;
const ARCHIVE: &str = "root.cpio";
/// What was answered, from the last run of all on.
const ANSWERS: &str = "answers.jsonl";

pub(crate) fn run(arguments: &VmArguments) -> anyhow::Result<u8> {
    let begin = Instant::now();
    let kernel = Kernel::find(&arguments.kernel)?;
    let orders = orders(arguments)?;
    let ordered = orders.len();
    let count = machines(arguments, ordered);
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let archive = folder.join(ARCHIVE);
    machine::write_archive(&payload::build(&kernel, &scenario_folder())?, &archive)?;
    let kept = folder.join(ANSWERS);
    let mut answers = if arguments.all {
        Answers::default()
    } else {
        Answers::load(&kept)?
    };
    let shared = Shared {
        begin,
        waiting: Mutex::new(orders.into()),
        events: Mutex::default(),
    };
    let ran = thread::scope(|scope| {
        let running: Vec<_> = (1..=count)
            .map(|number| {
                let machine = Machine {
                    accelerator: arguments.accelerator,
                    limit: Duration::from_secs(arguments.limit),
                    folder: folder.join(format!("machine-{number}")),
                };
                let (kernel, archive, shared) = (&kernel, &archive, &shared);
                scope.spawn(move || shared.drive(&machine, kernel, archive))
            })
            .collect();
        let ended = running.into_iter().map(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|_| Err(LabError::Impossible("a machine's thread died".into())))
        });
        // All are waited for, whatever the first one came to.
        let ended: Vec<_> = ended.collect();
        ended.into_iter().collect::<Result<(), LabError>>()
    });
    let events = shared.end(count);
    let report = Report::of_run(&events);
    writeln!(io::stdout(), "\n{report}{}", report.summary())?;
    answers.add_run(events);
    answers.save(&kept)?;
    ran?;
    if let Some(file) = &arguments.report {
        let files = scenario_files()?;
        let names = files.iter().filter_map(|file| file.file_stem()?.to_str());
        let names: Vec<_> = names.collect();
        let text = Report::of(&answers, &names).markdown(arguments.accelerator.name());
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(if report.passes(ordered) { 0 } else { FAILED })
}

/// No more than there is to do.
fn machines(arguments: &VmArguments, ordered: usize) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let wanted = arguments.machines.map_or(processors, usize::from);
    wanted.clamp(1, ordered.max(1))
}

fn orders(arguments: &VmArguments) -> anyhow::Result<Vec<Order>> {
    let scenarios = if arguments.all {
        scenario_files()?
    } else if !arguments.scenarios.is_empty() {
        let named = arguments.scenarios.iter();
        named
            .map(|name| find_scenario(Path::new(name)))
            .collect::<Result<_, _>>()?
    } else if arguments.facts {
        Vec::new()
    } else {
        chosen(scenario_files()?)?
    };
    let facts = facts(arguments).into_iter();
    let facts = facts.map(|(subject, stage)| Order::Measure(subject, stage));
    let stems = scenarios.iter().filter_map(|file| file.file_stem());
    let plays = stems.map(|stem| Order::Play(stem.to_string_lossy().into_owned()));
    Ok(facts.chain(plays).collect())
}

/// What is played if nothing is asked for, so that it takes about ten minutes of two processors: not what is said of services outside
/// of the cluster, in which `WireGuard` has no part, and not two faults at once, each of which is played alone as well.
fn chosen(files: Vec<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let mut chosen = Vec::new();
    for file in files {
        let scenario = Scenario::load(&file)?;
        let roots = scenario.expect.as_ref().map(|expect| expect.roots.len());
        if !scenario.is_of_services() && roots.is_none_or(|roots| roots <= 1) {
            chosen.push(file);
        }
    }
    Ok(chosen)
}

/// With all scenarios everything is measured too; the reader only where it has something to compare with.
fn facts(arguments: &VmArguments) -> Vec<(Subject, StageKind)> {
    let wanted = arguments.facts || arguments.all;
    let subjects = Subject::ALL.into_iter().filter(|_| wanted);
    let both = subjects.flat_map(|subject| StageKind::LABS.map(|stage| (subject, stage)));
    both.filter(|pair| *pair != (Subject::Reader, StageKind::Namespaces))
        .collect()
}

/// What all machines have in common: each takes the next order when it has done the one before.
struct Shared {
    begin: Instant,
    waiting: Mutex<VecDeque<Order>>,
    events: Mutex<Vec<Event>>,
}

impl Shared {
    fn drive(&self, machine: &Machine, kernel: &Kernel, archive: &Path) -> Result<(), LabError> {
        let mut doing: Option<Order> = None;
        let ran = machine.run(kernel, archive, |line| {
            let event = self.hear(line)?;
            let ended = matches!(event, Event::Ended { .. });
            self.add(event);
            if ended {
                doing = None;
                return None;
            }
            doing = Some(self.next());
            doing.clone()
        });
        if let Some(order) = doing {
            self.add(Event::Broken {
                what: order.to_string(),
                seconds: 0.0,
                log: format!(
                    "the machine ended before it answered; its kernel said: {}",
                    machine.console().display()
                ),
            });
        }
        ran
    }

    fn next(&self) -> Order {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front().unwrap_or(Order::PowerOff)
    }

    /// Shows what goes on. A closed standard output must not end the machine early.
    fn hear(&self, line: &str) -> Option<Event> {
        let at = self.begin.elapsed().as_secs_f64();
        let mut out = io::stdout().lock();
        let event = Event::from_line(line);
        drop(match &event {
            Some(event) => writeln!(out, "{at:7.1} s  {event}"),
            None => writeln!(out, "{at:7.1} s  | {}", line.trim_end()),
        });
        event
    }

    fn add(&self, event: Event) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(event);
    }

    /// All answers, with what no machine was left to do.
    fn end(self, machines: usize) -> Vec<Event> {
        let events = self.events.into_inner();
        let mut events = events.unwrap_or_else(PoisonError::into_inner);
        let waiting = self.waiting.into_inner();
        for order in waiting.unwrap_or_else(PoisonError::into_inner) {
            events.push(Event::Broken {
                what: order.to_string(),
                seconds: 0.0,
                log: "no machine was left to do it".to_owned(),
            });
        }
        events.push(Event::Ran {
            machines,
            seconds: self.begin.elapsed().as_secs_f64(),
        });
        events
    }
}
