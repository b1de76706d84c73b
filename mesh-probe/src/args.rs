//! What can be typed. Nothing here asks the system; only [`clap`] reads the environment.

mod adhoc;
mod connection;
mod direct;
mod install;

use std::{ffi::OsString, fmt, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use proto::limits::PORT;
use thiserror::Error;

pub use adhoc::{
    HandshakeArgs, Host, HostError, HostPort, MarkError, MtuArgs, NodeArgs, PathArgs, TalosArgs,
    TapArgs, UdpArgs, VxlanArgs, WIREGUARD_PORT,
};

pub use connection::{Connection, Proof};
pub use direct::{AgentArgs, AgentTarget, AgentTargetError, DirectArgs};
pub use install::{InstallArgs, InstallCommand, PlanArgs};

use crate::exit;

/// Longest time that may be given: a typing mistake must not wait for years.
const LONGEST: Duration = Duration::from_hours(7 * 24);

const EXAMPLES: &str = "\
Examples:
  mesh-probe status                           what is wrong, and what to do
  mesh-probe pairs -o wide                    every direction, rung by rung
  mesh-probe gate mesh                        is the mesh ready? checks once
  mesh-probe wait kubernetes-api --may-start  wait until the API may be started
  mesh-probe gate graph                       what rests on what
  mesh-probe explain --all                    all findings that there can be
  mesh-probe bundle mesh.jsonl                all evidence in one file, for a ticket
  mesh-probe replay mesh.jsonl                the verdict on it, on any machine
  mesh-probe mtu vps-1                        the largest packet that gets there
  mesh-probe udp vps-1:51820                  does anything listen there?
  mesh-probe node                             all that this node says of itself
  mesh-probe agent                            what the agent here sees, and to whom it reports
  mesh-probe gate mesh --direct a,b,c         the same, without a collector
  mesh-probe talos                            KubeSpan as the Talos of every node sees it";

/// Ask the mesh collector what is ready, what is wrong, and what to do
#[derive(Debug, Parser)]
#[command(
    name = "mesh-probe",
    version,
    max_term_width = 100,
    after_help = format!("{EXAMPLES}\n\n{}", exit::TABLE),
)]
pub struct Cli {
    #[command(flatten)]
    pub connection: Connection,
    /// How to print the answer; json, yaml and jsonl also print errors as a document on stdout
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub output: Format,
    #[command(flatten)]
    pub direct: DirectArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For people who want every detail
    Wide,
    /// For programs: one versioned document
    Json,
    /// The same document
    Yaml,
    /// The same on one line; gate and wait print one for each change while they wait
    Jsonl,
    /// gate and wait: gate/LEVEL if the answer is yes; gate graph: all of them
    Name,
    /// gate and wait: a flat map of texts, and exit code 0 whatever the answer is
    TerraformExternal,
    /// gate graph
    Mermaid,
    /// gate graph
    Dot,
}

impl Format {
    /// Whether programs read it as documents, errors too.
    pub const fn is_document(self) -> bool {
        matches!(self, Self::Json | Self::Yaml | Self::Jsonl)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// One screen: nodes, gates, what is wrong, and what to do
    Status,
    /// Every ordered pair of nodes: how far it works, and where it breaks
    Pairs(PairsArgs),
    /// What has changed of late: gates, findings, pairs
    History,
    /// All evidence of the present verdict in one file, to be attached or judged again elsewhere
    Bundle(BundleArgs),
    /// The verdict on a bundle, judged here; needs no collector
    Replay(ReplayArgs),
    /// Is a level ready? Checks once, or waits as long as --wait-timeout says
    Gate(GateArgs),
    /// Wait until a level is ready: gate with a --wait-timeout of 5m
    Wait(WaitArgs),
    /// The page of a finding code; needs no collector
    Explain(ExplainArgs),
    /// From here, without a collector: the path MTU to a host, and who limits it
    Mtu(MtuArgs),
    /// From here, without a collector: is a UDP port of a host open, closed or silent?
    Udp(UdpArgs),
    /// From here, without a collector: a real handshake with a key that is for diagnosis only
    Handshake(HandshakeArgs),
    /// Here, without a collector: the handshake messages that pass this node's interfaces
    Tap(TapArgs),
    /// What one agent sees, asked of itself: the one on this machine, or one with --listen
    Agent(AgentArgs),
    /// Here, without a collector or an agent: all that this node says of itself
    Node(NodeArgs),
    /// From a workstation, with a talosconfig: what the Talos of every node says of KubeSpan; needs no agent
    Talos(TalosArgs),
    /// Here, without a collector: are marked packets led into the tunnel?
    Steering,
    /// From here, without a collector: UDP 8472 of a host, and the MTU left inside of VXLAN
    Vxlan(VxlanArgs),
    /// Derive a reader's credentials from the mesh key: for whoever may ask, and may not report
    Key(KeyArgs),
    /// What to run to get the extension onto the nodes; prints, and applies nothing
    Install(InstallArgs),
}

/// Which pairs. Without any of these: all of a small mesh, and of a large one those that are broken or not proved.
#[derive(Clone, Debug, Default, Args)]
pub struct PairsArgs {
    /// Only those of which this node is an end
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Only those that leave this node
    #[arg(long, value_name = "NODE")]
    pub from: Option<String>,
    /// Only those that lead to this node
    #[arg(long, value_name = "NODE")]
    pub to: Option<String>,
    /// Only those that are broken or not proved
    #[arg(long)]
    pub broken: bool,
}

impl PairsArgs {
    /// Whether all pairs are meant.
    pub const fn is_all(&self) -> bool {
        self.node.is_none() && self.from.is_none() && self.to.is_none() && !self.broken
    }
}

#[derive(Debug, Args)]
pub struct BundleArgs {
    /// Where to write; it must not exist yet. Without it the bundle goes to stdout
    pub file: Option<PathBuf>,
    /// Put pseudonyms for names and addresses, the same for the same everywhere
    #[arg(long)]
    pub redact: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Gates are judged by the graph in the bundle, or by the built-in one if it has none. How long a level has been \
                  ready (stable_for of a graph, \"hold\") is memory of the collector and not part of a bundle: a level \
                  may be ready here that the collector still holds back."
)]
pub struct ReplayArgs {
    /// The bundle; - reads it from stdin
    pub file: PathBuf,
    /// Show every ordered pair, as pairs does
    #[arg(long)]
    pub pairs: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct GateArgs {
    #[command(subcommand)]
    pub command: Option<GateCommand>,
    #[command(flatten)]
    pub level: LevelArgs,
    /// Time to wait until it is; 0 checks once
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = time)]
    pub wait_timeout: Duration,
}

#[derive(Debug, Subcommand)]
pub enum GateCommand {
    /// What rests on what: of a collector, of a file, or without both of the built-in chain
    Graph(GraphArgs),
}

#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Check and print a gate graph that a collector could be given; asks nobody
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct WaitArgs {
    #[command(flatten)]
    pub level: LevelArgs,
    /// Time to wait until it is; 0 checks once
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub wait_timeout: Duration,
}

#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub struct LevelArgs {
    /// Name of the level; gate graph lists them
    #[arg(required = true)]
    pub level: Option<String>,
    /// Ask whether everything below the level is ready, so that it may be started
    #[arg(long)]
    pub may_start: bool,
    /// Wait on even when waiting cannot cure the cause
    #[arg(long)]
    pub no_fail_fast: bool,
    /// Yes only if it has been yes for so long without a break
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = time)]
    pub stable_for: Duration,
    /// Of several collectors one that says yes is enough; else all must
    #[arg(long)]
    pub any: bool,
    /// As a Nagios plugin: one line, and exit code 0 OK, 1 WARNING, 2 CRITICAL or 3 UNKNOWN
    #[arg(long, conflicts_with = "output")]
    pub nagios: bool,
    /// With -o terraform-external: exit as usual, so that a level that is not ready fails the plan
    #[arg(long, conflicts_with = "nagios")]
    pub require: bool,
}

#[derive(Debug, Args)]
pub struct KeyArgs {
    /// A new file for them, for its owner alone; without this they are printed
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code that status shows
    #[arg(required_unless_present = "all")]
    pub code: Option<String>,
    /// List all codes with their titles
    #[arg(long, conflicts_with = "code")]
    pub all: bool,
}

/// Where a collector listens: `host:port`, an IPv6 address in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    /// As the resolver takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `unless_given` is the port where the text has none.
    fn parse(text: &str, unless_given: u16) -> Result<Self, TargetError> {
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Ok(Self(format!("[{text}]:{unless_given}")));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => {
                (host, port.parse().map_err(|_| TargetError)?)
            }
            _ => (text, unless_given),
        };
        if port == 0 || !is_host(host) {
            return Err(TargetError);
        }
        Ok(Self(format!("{host}:{port}")))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no address of a collector.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("expected a host or address and a port, as 10.0.0.1:21820, [fd00::1]:21820 or vps-1")]
pub struct TargetError;

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text, PORT)
    }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => evidence::NodeName::parse(host).is_ok(),
    }
}

/// Why a text is no length of time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TimeError {
    #[error("expected a number with a unit, as 500ms, 30s, 5m or 1h30m")]
    Form,
    #[error("at most 7 days can be waited")]
    TooLong,
    #[error("must be longer than 0")]
    Zero,
}

fn time(text: &str) -> Result<Duration, TimeError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let time = humantime::parse_duration(text).map_err(|_| TimeError::Form)?;
    if time > LONGEST {
        return Err(TimeError::TooLong);
    }
    Ok(time)
}

fn positive(text: &str) -> Result<Duration, TimeError> {
    let time = time(text)?;
    if time.is_zero() {
        return Err(TimeError::Zero);
    }
    Ok(time)
}

/// The document that a command line asked for which cannot be parsed, so that its error can be one too.
pub fn asked_document(arguments: &[OsString]) -> Option<Format> {
    let format = |name: &str| Format::from_str(name, false).ok();
    let mut words = arguments.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        let asked = match word.as_ref() {
            "--" => return None,
            "-o" | "--output" => words.next().and_then(|name| format(&name)),
            word => ["--output=", "-o=", "-o"]
                .iter()
                .find_map(|option| word.strip_prefix(option))
                .and_then(format),
        };
        if asked.is_some() {
            return asked.filter(|format| format.is_document());
        }
    }
    None
}

/// Whether a command line that cannot be parsed is that of a Nagios plugin, whose errors are answers too.
pub fn asks_for_nagios(arguments: &[OsString]) -> bool {
    let words = arguments.iter().take_while(|word| *word != "--");
    words.into_iter().any(|word| word == "--nagios")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(text: &str) -> Option<String> {
        text.parse::<Target>().ok().map(|target| target.to_string())
    }

    #[test]
    fn the_port_may_be_left_out() {
        let full = |text: &str| Some(text.to_owned());
        assert_eq!(target("vps-1"), full("vps-1:21820"));
        assert_eq!(target("10.0.0.1:99"), full("10.0.0.1:99"));
        assert_eq!(target("fd00::1"), full("[fd00::1]:21820"));
        assert_eq!(target("[fd00::1]"), full("[fd00::1]:21820"));
        assert_eq!(target("[fd00::1]:99"), full("[fd00::1]:99"));
    }

    #[test]
    fn what_is_no_address_is_refused_before_anything_is_dialled() {
        for text in [
            "",
            ":21820",
            "a:b",
            "a:0",
            "a:70000",
            "http://a:1",
            "[x]:1",
            "[fd00::1",
            "a b",
        ] {
            assert_eq!(target(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_needs_its_unit_and_zero_checks_once() {
        assert_eq!(time("0"), Ok(Duration::ZERO));
        assert_eq!(time("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("60"), Err(TimeError::Form));
        assert_eq!(time("9999999d"), Err(TimeError::TooLong));
        assert_eq!(positive("0s"), Err(TimeError::Zero));
    }

    #[test]
    fn json_is_recognised_on_a_command_line_that_is_wrong_elsewhere() {
        let asks = |line: &str| {
            asked_document(
                &line
                    .split(' ')
                    .map(OsString::from)
                    .collect::<Vec<OsString>>(),
            )
        };
        assert_eq!(asks("mesh-probe -o json nonsense"), Some(Format::Json));
        assert_eq!(
            asks("mesh-probe nonsense --output=yaml"),
            Some(Format::Yaml)
        );
        assert_eq!(asks("mesh-probe nonsense -ojsonl"), Some(Format::Jsonl));
        assert_eq!(asks("mesh-probe -o table nonsense json"), None);
        assert_eq!(asks("mesh-probe -o terraform-external nonsense"), None);
    }
}
