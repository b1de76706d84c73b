//! `lab`: a `KubeSpan` cluster in network namespaces on this machine, without root.
//!
//! Each visible command that needs a lab starts itself again inside of a sandbox; the hidden commands are those processes.

mod cli;
mod inside;
mod machines;
mod record;
mod sim;
mod vm;

use std::{
    ffi::OsString,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use cli::{Cli, LabCommand, Process};
use integration::{
    facts::{reader, tap},
    fakes,
    lab::{
        boringtun, enter, fake, host, runner::RunResult, sandbox, scenario::Scenario,
        stage_kind::StageKind, state::RunningLab,
    },
    machined,
    vm::guest,
};

/// Exit code of a scenario that its stage cannot carry, as test harnesses know it.
const NOT_CARRIED: u8 = 77;

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing is left to report a broken standard error to.
            drop(writeln!(io::stderr(), "lab: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: LabCommand) -> anyhow::Result<u8> {
    match command {
        LabCommand::Run(mut arguments) => {
            arguments.file = find_scenario(&arguments.file)?;
            let scenario = Scenario::load(&arguments.file)?;
            if let Err(reason) = arguments.stage.carries(&scenario) {
                let result = RunResult::not_carried(&scenario, arguments.stage, reason);
                inside::print(&result, arguments.output)?;
                return Ok(NOT_CARRIED);
            }
            if arguments.stage == StageKind::Vagrant {
                return machines::run(&scenario, &arguments);
            }
            anyhow::ensure!(!arguments.dry_run, "--dry-run belongs to --stage vagrant");
            if arguments.stage == StageKind::Sim {
                return sim::stage(&scenario, &arguments);
            }
            anyhow::ensure!(arguments.seed == 0, "--seed belongs to --stage sim");
            anyhow::ensure!(!arguments.far, "--far belongs to --stage sim");
            in_sandbox("run", &arguments.to_arguments())
        }
        LabCommand::Up(arguments) => in_sandbox("up", &arguments.to_arguments()),
        LabCommand::Demo(arguments) => in_sandbox("demo", &arguments.to_arguments()),
        LabCommand::Enter { lab, host, command } => {
            Ok(enter::enter(&RunningLab::find(lab)?, &host, &command)?)
        }
        LabCommand::Down { lab } => RunningLab::find(lab)?
            .down()
            .map(|()| 0)
            .map_err(Into::into),
        LabCommand::Vm(arguments) => vm::run(&arguments),
        LabCommand::Facts(arguments) => in_sandbox("facts", &arguments.to_arguments()),
        LabCommand::Record(arguments) => record::run(&arguments, &scenario_files()?),
        LabCommand::Sim(arguments) => sim::run(&arguments),
        LabCommand::Carried(arguments) => machines::carried(&arguments, &scenario_files()?),
        LabCommand::List => list(),
        LabCommand::Process(process) => run_process(process),
    }
}

fn in_sandbox(command: &str, arguments: &[OsString]) -> anyhow::Result<u8> {
    let command = [OsString::from(command)];
    Ok(sandbox::run(&[&command, arguments].concat())?)
}

fn run_process(process: Process) -> anyhow::Result<u8> {
    match process {
        Process::Warden(sandboxed) => Ok(sandbox::warden(&sandboxed.folder, &sandboxed.arguments)?),
        Process::Init(sandboxed) => Ok(sandbox::init(&sandboxed.folder, &sandboxed.arguments)?),
        Process::Inside { folder, command } => inside::run(&folder, &command),
        Process::Anchor { name } => match host::anchor(&name)? {},
        Process::In { anchor, command } => match host::become_program(anchor, &command)? {},
        Process::Setup { anchor } => host::set_up(anchor).map(|()| 0).map_err(Into::into),
        Process::Boringtun { link } => boringtun::serve(&link).map(|()| 0).map_err(Into::into),
        Process::Fake {
            server,
            address,
            ahead,
        } => match fake::serve(server, address, ahead)? {},
        Process::Machined => machined::serve().map(|()| 0).map_err(Into::into),
        Process::Discovery => fakes::serve_discovery().map(|()| 0),
        Process::Names => fakes::serve_names().map(|()| 0),
        Process::Tap => tap::serve().map(|()| 0).map_err(Into::into),
        Process::Read => reader::print().map(|()| 0).map_err(Into::into),
        Process::TimeReads => reader::time().map(|()| 0).map_err(Into::into),
        Process::Guest { port } => guest::obey(&port).map(|()| 0).map_err(Into::into),
    }
}

fn list() -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    writeln!(out, "scenarios in {}:", scenario_folder().display())?;
    for file in scenario_files()? {
        match Scenario::load(&file) {
            Ok(scenario) => writeln!(out, "  {:<36} {}", scenario.name, scenario.about)?,
            Err(error) => writeln!(out, "  {error}")?,
        }
    }
    for lab in RunningLab::all() {
        writeln!(out, "running lab: {}", lab.folder.display())?;
    }
    Ok(0)
}

fn scenario_files() -> anyhow::Result<Vec<PathBuf>> {
    let folder = scenario_folder();
    let entries = fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    Ok(files)
}

/// A path as it is, or the name of a scenario that comes with the project.
fn find_scenario(file: &Path) -> anyhow::Result<PathBuf> {
    let named = scenario_folder().join(file).with_extension("toml");
    let candidates = [file.to_owned(), named];
    let found = candidates.into_iter().find(|candidate| candidate.is_file());
    found.with_context(|| format!("no scenario {}; `lab list` shows them", file.display()))
}

/// Below the current folder in a checkout, otherwise where this program was built.
fn scenario_folder() -> PathBuf {
    let here = PathBuf::from("integration/scenarios");
    if here.is_dir() {
        return here;
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios")
}
