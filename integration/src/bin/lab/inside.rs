//! What runs inside of a sandbox, with a folder for its logs.

use std::{
    io::{self, Write},
    path::Path,
    thread,
    time::Instant,
};

use integration::{
    facts,
    lab::{
        Lab, demo,
        programs::{self, Binaries, Programs},
        runner::{self, RunResult},
        scenario::Scenario,
        topology::Topology,
    },
};

use crate::cli::{DemoArguments, FactsArguments, InsideCommand, Output, RunArguments, UpArguments};

/// Exit code of a scenario whose expectations do not hold.
const FAILED: u8 = 1;

pub(crate) fn run(folder: &Path, command: &InsideCommand) -> anyhow::Result<u8> {
    match command {
        InsideCommand::Run(arguments) => run_scenario(folder, arguments),
        InsideCommand::Up(arguments) => up(folder, arguments),
        InsideCommand::Demo(arguments) => tell(folder, arguments),
        InsideCommand::Facts(arguments) => measure(folder, arguments),
    }
}

fn run_scenario(folder: &Path, arguments: &RunArguments) -> anyhow::Result<u8> {
    let scenario = Scenario::load(&arguments.file)?;
    let (result, stage) = runner::run(&scenario, arguments.stage, folder, &mut io::stderr())?;
    print(&result, arguments.output)?;
    let code = if result.pass { 0 } else { FAILED };
    keep(&stage.lab, arguments.keep, code, &mut io::stderr())
}

/// Prints a result as text or as one JSON object.
pub(crate) fn print(result: &RunResult, output: Output) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Text => write!(out, "{result}")?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(result)?)?,
    }
    Ok(())
}

fn measure(folder: &Path, arguments: &FactsArguments) -> anyhow::Result<u8> {
    let facts = facts::measure(arguments.subject, arguments.stage, folder)?;
    let mut out = io::stdout().lock();
    match arguments.output {
        Output::Text => write!(out, "{facts}")?,
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&facts)?)?,
    }
    Ok(0)
}

fn up(folder: &Path, arguments: &UpArguments) -> anyhow::Result<u8> {
    let topology = match &arguments.topology_of {
        Some(file) => Scenario::load(file)?.topology,
        None => Topology::default(),
    };
    let begin = Instant::now();
    let lab = Lab::up(topology, folder)?;
    let wired = begin.elapsed().as_secs_f64();
    lab.wait_until_connected()?;
    let connected = begin.elapsed().as_secs_f64();
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "up in {wired:.2} s, all pairs answer after {connected:.2} s"
    )?;
    let hosts: Vec<_> = lab.topology().hosts().collect();
    writeln!(out, "hosts: {}", hosts.join(", "))?;
    if !arguments.network_only {
        start_programs(&lab, &mut out)?;
    }
    if arguments.foreground {
        writeln!(out, "up until interrupted")?;
        out.flush()?;
        loop {
            thread::park();
        }
    }
    say_how_to_go_on(&lab, &mut out)?;
    lab.release(0)?;
    Ok(0)
}

/// A lab without programs is still a network to look at.
fn start_programs(lab: &Lab, out: &mut dyn Write) -> anyhow::Result<()> {
    let binaries = match Binaries::find() {
        Ok(binaries) => binaries,
        Err(missing) => return Ok(writeln!(out, "without collector and agents: {missing}")?),
    };
    Programs::new(binaries).start(lab)?;
    say_how_to_ask(lab, out)
}

fn tell(folder: &Path, arguments: &DemoArguments) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let stage = demo::run(folder, arguments.runs, &mut out)?;
    keep(&stage.lab, arguments.keep, 0, &mut out)
}

/// Last thing of a command that told or judged: with `stay` the lab goes on without this process.
fn keep(lab: &Lab, stay: bool, code: u8, out: &mut dyn Write) -> anyhow::Result<u8> {
    if stay {
        say_how_to_ask(lab, out)?;
        say_how_to_go_on(lab, out)?;
        lab.release(code)?;
    }
    Ok(code)
}

fn say_how_to_ask(lab: &Lab, out: &mut dyn Write) -> anyhow::Result<()> {
    let question = programs::shown_question(lab, &["status"])?;
    let collector = &lab.collector_node()?.name;
    Ok(writeln!(
        out,
        "ask:          lab enter {collector} {question}"
    )?)
}

fn say_how_to_go_on(lab: &Lab, out: &mut dyn Write) -> anyhow::Result<()> {
    let collector = &lab.collector_node()?.name;
    writeln!(out, "enter a host: lab enter {collector} wg show")?;
    writeln!(out, "logs:         {}", lab.folder().display())?;
    writeln!(out, "end it:       lab down")?;
    Ok(out.flush()?)
}
