//! The commands: ask, then show.

mod agent;
mod bundle;
mod collectors;
mod direct;
mod explain;
mod gate;
mod graph;
mod handshake;
mod history;
mod install;
mod key;
mod looking;
mod mtu;
mod node;
mod pairs;
mod replay;
mod status;
mod steering;
mod talos;
mod tap;
mod udp;
mod vxlan;
mod waiting;

pub use gate::nagios_failure;

use crate::{
    args::{Cli, Command, Format, GateArgs, GateCommand},
    collector::Collector,
    error::ProbeError,
    exit::Exit,
    output::Output,
};

/// Runs the command that was typed.
pub fn run(cli: &Cli, output: Output) -> Result<Exit, ProbeError> {
    fits(cli.output, &cli.command)?;
    is_asked_for_something(cli)?;
    asks_whom(cli)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ProbeError::Runtime)?;
    let exit = runtime.block_on(answer(cli, output));
    // A resolver that hangs is a blocking thread: waiting for it would break the promise of --timeout.
    runtime.shutdown_background();
    exit
}

/// Some formats are of some commands only.
fn fits(format: Format, command: &Command) -> Result<(), ProbeError> {
    let is_graph = matches!(command, Command::Gate(gate) if gate.command.is_some());
    let is_gate = !is_graph && matches!(command, Command::Gate(_) | Command::Wait(_));
    let (fits, whose) = match format {
        Format::Name => (is_gate || is_graph, "gate, wait and gate graph"),
        Format::TerraformExternal => (is_gate, "gate and wait"),
        Format::Mermaid | Format::Dot => (is_graph, "gate graph"),
        Format::Table | Format::Wide | Format::Json | Format::Yaml | Format::Jsonl => (true, ""),
    };
    if fits {
        return Ok(());
    }
    let name = clap::ValueEnum::to_possible_value(&format);
    let name = name.map_or_else(String::new, |value| value.get_name().to_owned());
    Err(ProbeError::Usage(format!("-o {name} is for {whose} only")))
}

/// A flag that would change nothing is a mistake of whoever wrote it.
fn is_asked_for_something(cli: &Cli) -> Result<(), ProbeError> {
    let level = match &cli.command {
        Command::Gate(gate) => &gate.level,
        Command::Wait(wait) => &wait.level,
        Command::Key(_) if cli.output.is_document() => {
            let text = "key prints PEM, and no document: leave -o out";
            return Err(ProbeError::Usage(text.to_owned()));
        }
        _ => return Ok(()),
    };
    if level.require && cli.output != Format::TerraformExternal {
        let text = "--require is for -o terraform-external only: without it the exit code always tells the answer";
        return Err(ProbeError::Usage(text.to_owned()));
    }
    Ok(())
}

/// What only a collector can tell is not taken for something that agents were asked.
fn asks_whom(cli: &Cli) -> Result<(), ProbeError> {
    let needs_collector = match &cli.command {
        Command::History => true,
        Command::Gate(gate) => gate.command.is_some(),
        _ => false,
    };
    if cli.direct.is_asked() && needs_collector {
        let text =
            "--direct is for gate, wait, status, pairs and bundle: the rest only a collector knows";
        return Err(ProbeError::Usage(text.to_owned()));
    }
    Ok(())
}

/// Only who asks the collector needs its address and the mesh key.
async fn answer(cli: &Cli, output: Output) -> Result<Exit, ProbeError> {
    let collector = || Collector::new(&cli.connection);
    let within = cli.connection.timeout;
    match &cli.command {
        Command::Status if cli.direct.is_asked() => direct::status(cli, output).await,
        Command::Pairs(arguments) if cli.direct.is_asked() => {
            direct::pairs_of(cli, arguments, output).await
        }
        Command::Status => status::run(&collector()?, output).await,
        Command::Pairs(arguments) => pairs::run(&collector()?, arguments, output).await,
        Command::History => history::run(&collector()?, output).await,
        Command::Bundle(arguments) => bundle::run(cli, arguments, output).await,
        Command::Replay(arguments) => replay::run(arguments, output),
        Command::Gate(GateArgs {
            command: Some(GateCommand::Graph(arguments)),
            ..
        }) => graph::run(cli, arguments, output).await,
        Command::Gate(gate) => gate::run(cli, &gate.level, gate.wait_timeout, output).await,
        Command::Wait(wait) => gate::run(cli, &wait.level, wait.wait_timeout, output).await,
        Command::Explain(arguments) => explain::run(arguments, diagnosis::pages(), output),
        Command::Key(arguments) => key::run(arguments, &cli.connection),
        Command::Install(arguments) => install::run(arguments, output),
        Command::Mtu(arguments) => mtu::run(arguments, within, output).await,
        Command::Udp(arguments) => udp::run(arguments, within, output).await,
        Command::Agent(arguments) => agent::run(cli, arguments, output).await,
        Command::Node(arguments) => node::run(arguments, within, output).await,
        Command::Steering => steering::run(output).await,
        Command::Vxlan(arguments) => vxlan::run(arguments, within, output).await,
        Command::Talos(arguments) => talos::run(arguments, within, output).await,
        Command::Tap(arguments) => tap::run(arguments, output).await,
        Command::Handshake(arguments) => handshake::run(arguments, within, output).await,
    }
}
