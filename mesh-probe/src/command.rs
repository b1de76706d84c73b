//! The commands: ask, then show.

mod explain;
mod gate;
mod pairs;
mod status;
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
    if let Command::Explain(arguments) = &cli.command {
        return explain::run(arguments, diagnosis::pages(), output);
    }
    let collector = Collector::new(&cli.connection)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ProbeError::Runtime)?;
    let exit = runtime.block_on(ask(&cli.command, &collector, output));
    // A resolver that hangs is a blocking thread: waiting for it would break the promise of --timeout.
    runtime.shutdown_background();
    exit
}

async fn ask(command: &Command, collector: &Collector, output: Output) -> Result<Exit, ProbeError> {
    match command {
        Command::Status => status::run(collector, output).await,
        Command::Pairs => pairs::run(collector, output).await,
        Command::Gate(gate) => gate::run(collector, &gate.level, gate.wait_timeout, output).await,
        Command::Wait(wait) => gate::run(collector, &wait.level, wait.wait_timeout, output).await,
        Command::Explain(arguments) => explain::run(arguments, diagnosis::pages(), output),
    }
}
