//! The command line.

use std::{ffi::OsString, net::Ipv4Addr, path::PathBuf};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};
use integration::{
    facts::Subject,
    lab::{fake::Fake, stage_kind::StageKind},
    vm::machine::Accelerator,
};

#[derive(Debug, Parser)]
#[command(
    name = "lab",
    version,
    about = "A KubeSpan cluster in network namespaces, without root"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Stage a scenario file (or one of `lab list` by name) and judge what is said of it
    Run(RunArguments),
    /// Start a lab that stays until `lab down`
    Up(UpArguments),
    /// Run a command, or a shell, on a host of the running lab
    Enter {
        /// Folder of the lab, when several are running
        #[arg(long)]
        lab: Option<PathBuf>,
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<OsString>,
    },
    /// End the running lab
    Down {
        /// Folder of the lab, when several are running
        #[arg(long)]
        lab: Option<PathBuf>,
    },
    /// Break a healthy mesh, see it named, heal it
    Demo(DemoArguments),
    /// Play scenarios with the kernel's WireGuard, in an emulated machine
    Vm(VmArguments),
    /// Measure what the implementation of WireGuard decides
    Facts(FactsArguments),
    /// Stage all scenarios and write down what was expected, what was named, and after how long
    Record(RecordArguments),
    /// Hours of trouble in virtual time: nobody may be accused of what is not so
    Sim(SimArguments),
    /// Which scenarios the machines of `vagrant/`, or the simulator, can carry, and why not
    Carried(CarriedArguments),
    /// List the scenarios and the running labs
    List,
    #[command(flatten)]
    Process(Process),
}

#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    pub(crate) file: PathBuf,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Leave the lab running afterwards
    #[arg(long)]
    pub(crate) keep: bool,
    /// Who carries the tunnels; `vagrant` are machines that `./dev vagrant up` started, `sim` is a model in virtual time
    #[arg(long, default_value_t, value_parser = stage_kind())]
    pub(crate) stage: StageKind,
    /// With `--stage vagrant`: print what would be typed, and type nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With `--stage sim`: what chance is drawn from
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub(crate) seed: u64,
    /// With `--stage sim`: 4 to 25 ms lie between sites, drawn from the seed, instead of the 0.3 ms of the namespaces
    #[arg(long)]
    pub(crate) far: bool,
}

/// Stands for where the project keeps a table. No file has this name.
pub(crate) const USUAL_PLACE: &str = ".";

#[derive(Debug, Args)]
pub(crate) struct CarriedArguments {
    /// Write it into this file instead, or where the project keeps it
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = USUAL_PLACE)]
    pub(crate) write: Option<PathBuf>,
    /// Who is to carry them
    #[arg(long, value_enum, default_value_t = CarriedStage::Vagrant)]
    pub(crate) stage: CarriedStage,
}

/// The stages that cannot carry all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CarriedStage {
    Vagrant,
    Sim,
}

/// Names of the stages for messages, and back.
fn stage_kind() -> impl TypedValueParser<Value = StageKind> {
    PossibleValuesParser::new(StageKind::ALL.map(StageKind::name))
        .map(|name| StageKind::named(&name).unwrap_or_default())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct UpArguments {
    /// Take topology from this scenario file
    #[arg(long)]
    pub(crate) topology_of: Option<PathBuf>,
    /// Start neither the collector nor the agents
    #[arg(long)]
    pub(crate) network_only: bool,
    /// Stay, and end the lab with this program instead of with `lab down`
    #[arg(long)]
    pub(crate) foreground: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// Leave the lab running afterwards
    #[arg(long)]
    pub(crate) keep: bool,
    /// How often to break and heal
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
}

#[derive(Debug, Args)]
pub(crate) struct FactsArguments {
    #[arg(value_parser = subject())]
    pub(crate) subject: Subject,
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    /// Who carries the tunnels
    #[arg(long, default_value_t, value_parser = lab_kind())]
    pub(crate) stage: StageKind,
}

/// The stages in which a lab is made.
fn lab_kind() -> impl TypedValueParser<Value = StageKind> {
    PossibleValuesParser::new(StageKind::LABS.map(StageKind::name))
        .map(|name| StageKind::named(&name).unwrap_or_default())
}

fn subject() -> impl TypedValueParser<Value = Subject> {
    PossibleValuesParser::new(Subject::ALL.map(Subject::name))
        .map(|name| Subject::named(&name).unwrap_or(Subject::Handshake))
}

#[derive(Debug, Args)]
pub(crate) struct RecordArguments {
    /// File for the record
    #[arg(long, default_value = "integration/TRACK_RECORD.md")]
    pub(crate) report: PathBuf,
    /// How many labs there may be at a time
    #[arg(long, default_value_t = 3, value_parser = at_once())]
    pub(crate) at_once: usize,
}

/// More labs than that would only wait for each other.
fn at_once() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u8).range(1..=16).map(usize::from)
}

#[derive(Debug, Args)]
pub(crate) struct SimArguments {
    /// How many hours, in chapters of ten minutes; with --faults, how many stories of three faults
    #[arg(default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) hours: u64,
    /// Seed of the first chapter; the others follow
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub(crate) seed: u64,
    /// Break and heal instead: each fault has to be named, and forgotten
    #[arg(long)]
    pub(crate) faults: bool,
    /// Play the one chapter of this seed and print what happens in it
    #[arg(long)]
    pub(crate) replay: bool,
    /// In clusters of so many nodes, instead of the usual four to six
    #[arg(long, value_parser = clap::value_parser!(u8).range(8..=250))]
    pub(crate) nodes: Option<u8>,
    /// How many chapters at a time
    #[arg(long, default_value_t = 2, value_parser = at_once())]
    pub(crate) threads: usize,
}

#[derive(Debug, Args)]
pub(crate) struct VmArguments {
    /// Names of scenarios; if none is given, those with one cause in which no service outside of the cluster has a part
    pub(crate) scenarios: Vec<String>,
    /// All scenarios, and all that is measured
    #[arg(long, conflicts_with = "scenarios")]
    pub(crate) all: bool,
    /// Measure what the implementation of WireGuard decides; done anyway with `--all`
    #[arg(long)]
    pub(crate) facts: bool,
    /// Folder with `boot` and `lib/modules` of the kernel, as a distribution's package has them
    #[arg(long, default_value = "target/vm/kernel")]
    pub(crate) kernel: PathBuf,
    /// Folder for the machines' root file system and consoles
    #[arg(long, default_value = "target/vm")]
    pub(crate) folder: PathBuf,
    /// How many machines there are, each with one lab at a time; as many as there are processors if not given
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) machines: Option<u8>,
    /// Seconds after which the machines are switched off
    #[arg(long, default_value_t = 7200, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    pub(crate) limit: u64,
    /// How qemu runs them: `tcg` emulates, with a clock that counts instructions; `kvm` where a guest kernel boots with that
    #[arg(long, default_value = "tcg", value_parser = accelerator())]
    pub(crate) accelerator: Accelerator,
    /// Write the table as Markdown
    #[arg(long)]
    pub(crate) report: Option<PathBuf>,
}

/// The processes that a lab is made of; started by `lab` itself.
#[derive(Debug, Subcommand)]
pub(crate) enum Process {
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
    #[command(name = "__boringtun", hide = true)]
    Boringtun { link: String },
    #[command(name = "__fake", hide = true)]
    Fake {
        #[arg(value_parser = fake())]
        server: Fake,
        /// The address that it serves on, and answers from
        address: Ipv4Addr,
        /// Milliseconds that the server's clock is ahead
        #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
        ahead: i64,
    },
    #[command(name = "__machined", hide = true)]
    Machined,
    #[command(name = "__discovery", hide = true)]
    Discovery,
    #[command(name = "__names", hide = true)]
    Names,
    #[command(name = "__tap", hide = true)]
    Tap,
    #[command(name = "__read", hide = true)]
    Read,
    #[command(name = "__time-reads", hide = true)]
    TimeReads,
    #[command(name = "__guest", hide = true)]
    Guest { port: PathBuf },
}

fn accelerator() -> impl TypedValueParser<Value = Accelerator> {
    PossibleValuesParser::new(Accelerator::ALL.map(Accelerator::name))
        .map(|name| Accelerator::named(&name).unwrap_or(Accelerator::Counted))
}

fn fake() -> impl TypedValueParser<Value = Fake> {
    PossibleValuesParser::new(Fake::ALL.map(Fake::name))
        .map(|name| Fake::named(&name).unwrap_or(Fake::NtpSilent))
}

#[derive(Debug, Args)]
pub(crate) struct Sandboxed {
    pub(crate) folder: PathBuf,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// The commands that do their work inside of a sandbox.
#[derive(Debug, Subcommand)]
pub(crate) enum InsideCommand {
    Run(RunArguments),
    Up(UpArguments),
    Demo(DemoArguments),
    Facts(FactsArguments),
}

impl RunArguments {
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let output = match self.output {
            Output::Text => "--output=text",
            Output::Json => "--output=json",
        };
        let mut arguments = vec![output.into(), "--stage".into(), self.stage.name().into()];
        arguments.extend(self.keep.then(|| "--keep".into()));
        arguments.extend(["--".into(), self.file.clone().into_os_string()]);
        arguments
    }
}

impl FactsArguments {
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let output = match self.output {
            Output::Text => "--output=text",
            Output::Json => "--output=json",
        };
        vec![
            output.into(),
            "--stage".into(),
            self.stage.name().into(),
            self.subject.name().into(),
        ]
    }
}

impl UpArguments {
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        arguments.extend(self.network_only.then(|| "--network-only".into()));
        arguments.extend(self.foreground.then(|| "--foreground".into()));
        if let Some(file) = &self.topology_of {
            arguments.extend(["--topology-of".into(), file.clone().into_os_string()]);
        }
        arguments
    }
}

impl DemoArguments {
    pub(crate) fn to_arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["--runs".into(), self.runs.to_string().into()];
        arguments.extend(self.keep.then(|| "--keep".into()));
        arguments
    }
}
