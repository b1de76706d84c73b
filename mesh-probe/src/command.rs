//! The commands: ask, then show.

mod bundle;
mod explain;
mod gate;
mod handshake;
mod history;
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

use crate::{
    args::{Cli, Command},
    collector::Collector,
    error::ProbeError,
    exit::Exit,
    output::Output,
};

/// Runs the command that was typed.
pub fn run(cli: &Cli, output: Output) -> Result<Exit, ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ProbeError::Runtime)?;
    let exit = runtime.block_on(answer(cli, output));
    // A resolver that hangs is a blocking thread: waiting for it would break the promise of --timeout.
    runtime.shutdown_background();
    exit
}

/// Only who asks the collector needs its address and the mesh key.
async fn answer(cli: &Cli, output: Output) -> Result<Exit, ProbeError> {
    let collector = || Collector::new(&cli.connection);
    let within = cli.connection.timeout;
    match &cli.command {
        Command::Status => status::run(&collector()?, output).await,
        Command::Pairs => pairs::run(&collector()?, output).await,
        Command::History => history::run(&collector()?, output).await,
        Command::Bundle(arguments) => bundle::run(&collector()?, arguments, output).await,
        Command::Replay(arguments) => replay::run(arguments, output),
        Command::Gate(gate) => {
            gate::run(&collector()?, &gate.level, gate.wait_timeout, output).await
        }
        Command::Wait(wait) => {
            gate::run(&collector()?, &wait.level, wait.wait_timeout, output).await
        }
        Command::Explain(arguments) => explain::run(arguments, diagnosis::pages(), output),
        Command::Mtu(arguments) => mtu::run(arguments, within, output).await,
        Command::Udp(arguments) => udp::run(arguments, within, output).await,
        Command::Node(arguments) => node::run(arguments, within, output).await,
        Command::Steering => steering::run(output).await,
        Command::Vxlan(arguments) => vxlan::run(arguments, within, output).await,
        Command::Talos(arguments) => talos::run(arguments, within, output).await,
        Command::Tap(arguments) => tap::run(arguments, output).await,
        Command::Handshake(arguments) => handshake::run(arguments, within, output).await,
    }
}
