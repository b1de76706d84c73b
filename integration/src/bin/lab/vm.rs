//! `lab vm`: the scenarios in an emulated machine with a kernel of its own.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use integration::{
    facts::Subject,
    lab::stage_kind::StageKind,
    vm::{
        machine::Machine,
        orders::{Event, Orders},
        payload::{self, Kernel},
        report::Report,
    },
};

use crate::{cli::VmArguments, find_scenario, scenario_files, scenario_folder};

const FAILED: u8 = 1;

pub(crate) fn run(arguments: VmArguments) -> anyhow::Result<u8> {
    let begin = Instant::now();
    let kernel = Kernel::find(&arguments.kernel)?;
    let orders = orders(&arguments)?;
    let tree = payload::build(&kernel, &scenario_folder(), &orders)?;
    let folder = &arguments.folder;
    fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let machine = Machine {
        accelerator: arguments.accelerator,
        limit: Duration::from_secs(arguments.limit),
        folder: arguments.folder,
    };
    let mut report = Report::default();
    let ran = machine.run(&kernel, &tree, |line| hear(line, begin, &mut report));
    report.seconds = begin.elapsed().as_secs_f64();
    writeln!(io::stdout(), "\n{report}{}", report.summary())?;
    ran?;
    if let Some(file) = &arguments.report {
        write_report(&report, &machine, orders.at_once, file)?;
    }
    Ok(
        if report.passes(orders.scenarios.len() + orders.facts.len()) {
            0
        } else {
            FAILED
        },
    )
}

fn orders(arguments: &VmArguments) -> anyhow::Result<Orders> {
    let files = if arguments.scenarios.is_empty() && !arguments.facts {
        scenario_files()?
    } else {
        let named = arguments.scenarios.iter();
        named
            .map(|name| find_scenario(Path::new(name)))
            .collect::<Result<_, _>>()?
    };
    let stems = files.iter().filter_map(|file| file.file_stem());
    Ok(Orders {
        scenarios: stems
            .map(|stem| stem.to_string_lossy().into_owned())
            .collect(),
        at_once: arguments.at_once,
        facts: facts(arguments),
    })
}

/// With all scenarios everything is measured too; the reader only where it has something to compare with.
fn facts(arguments: &VmArguments) -> Vec<(Subject, StageKind)> {
    let wanted = arguments.facts || arguments.scenarios.is_empty();
    let subjects = Subject::ALL.into_iter().filter(|_| wanted);
    let both = subjects.flat_map(|subject| StageKind::LABS.map(|stage| (subject, stage)));
    both.filter(|pair| *pair != (Subject::Reader, StageKind::Namespaces))
        .collect()
}

/// Shows what goes on. A closed standard output must not end the machine early.
fn hear(line: &str, begin: Instant, report: &mut Report) {
    let at = begin.elapsed().as_secs_f64();
    let mut out = io::stdout().lock();
    let Some(event) = Event::from_line(line) else {
        drop(writeln!(out, "{at:7.1} s  | {}", line.trim_end()));
        return;
    };
    drop(writeln!(out, "{at:7.1} s  {event}"));
    report.add(event);
}

fn write_report(
    report: &Report,
    machine: &Machine,
    at_once: usize,
    file: &Path,
) -> anyhow::Result<()> {
    let stage = format!(
        "qemu with {}, {at_once} labs at a time",
        machine.accelerator
    );
    fs::write(file, report.markdown(&stage)).with_context(|| format!("write {}", file.display()))
}
