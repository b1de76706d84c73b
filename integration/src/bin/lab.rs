//! `lab`: a `KubeSpan` cluster in network namespaces on this machine, without root.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use integration::lab::{
    Lab, enter, host, sandbox,
    state::{HostsState, RunningLab},
    topology::Topology,
};

#[derive(Debug, Parser)]
#[command(
    name = "lab",
    version,
    about = "A KubeSpan cluster in network namespaces, without root"
)]
struct Cli {
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Start a lab that stays until `lab down`
    Up,
    /// Run a command, or a shell, on a host of the running lab
    Enter {
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
        /// Folder of the lab, when several are running
        #[arg(long)]
        lab: Option<PathBuf>,
    },
    /// End the running lab
    Down {
        /// Folder of the lab, when several are running
        #[arg(long)]
        lab: Option<PathBuf>,
    },
    #[command(name = "__warden", hide = true)]
    Warden(Sandboxed),
    #[command(name = "__init", hide = true)]
    Init(Sandboxed),
    #[command(name = "__inside", hide = true)]
    Inside {
        folder: PathBuf,
        #[command(subcommand)]
        command: InsideCommand,
    },
    #[command(name = "__anchor", hide = true)]
    Anchor { name: String },
    #[command(name = "__in", hide = true)]
    In {
        anchor: u32,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    #[command(name = "__setup", hide = true)]
    Setup { anchor: u32 },
}

/// What runs inside of a sandbox.
#[derive(Debug, Subcommand)]
enum InsideCommand {
    Up,
}

#[derive(Debug, clap::Args)]
struct Sandboxed {
    folder: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            drop(writeln!(io::stderr(), "lab: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: LabCommand) -> anyhow::Result<u8> {
    match command {
        LabCommand::Up => Ok(sandbox::run(&["up".into()])?),
        LabCommand::Enter { host, command, lab } => {
            Ok(enter::enter(&RunningLab::find(lab)?, &host, &command)?)
        }
        LabCommand::Down { lab } => {
            RunningLab::find(lab)?.down()?;
            Ok(0)
        }
        LabCommand::Warden(sandboxed) => {
            Ok(sandbox::warden(&sandboxed.folder, &sandboxed.arguments)?)
        }
        LabCommand::Init(sandboxed) => Ok(sandbox::init(&sandboxed.folder, &sandboxed.arguments)?),
        LabCommand::Inside { folder, command } => inside(&folder, &command),
        LabCommand::Anchor { name } => match host::anchor(&name)? {},
        LabCommand::In { anchor, command } => match host::become_program(anchor, &command)? {},
        LabCommand::Setup { anchor } => {
            host::set_up(anchor)?;
            Ok(0)
        }
    }
}

fn inside(folder: &Path, command: &InsideCommand) -> anyhow::Result<u8> {
    match command {
        InsideCommand::Up => up(folder),
    }
}

fn up(folder: &Path) -> anyhow::Result<u8> {
    let begin = Instant::now();
    let lab = Lab::up(Topology::default(), folder)?;
    let wired = begin.elapsed();
    lab.wait_until_connected()?;
    let mut out = io::stdout();
    writeln!(
        out,
        "lab is up in {:.2} s, all pairs answer after {:.2} s",
        wired.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    )?;
    let hosts = HostsState::load(folder)?;
    let names: Vec<_> = hosts.anchors.keys().cloned().collect();
    writeln!(out, "hosts: {}", names.join(", "))?;
    writeln!(out, "enter one: lab enter {} wg show", hosts.collector)?;
    writeln!(out, "end it:    lab down")?;
    out.flush().context("print")?;
    lab.release(0)?;
    Ok(0)
}
