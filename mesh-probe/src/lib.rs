//! `mesh-probe`: what a person or a script asks the collector, or agents themselves, and how the answer is shown.
//!
//! In reading order:
//!
//! - [`exit`]: the exit codes, which are the contract with scripts.
//! - [`adhoc`]: what the commands find that ask no collector, and what follows from it.
//! - [`apid`]: asking the Talos of one node directly.
//! - [`args`]: what can be typed.
//! - [`bundle`]: evidence in a file, to be judged again elsewhere.
//! - [`command`]: one file per command: ask, then show.
//! - [`collector`]: the connection and its requests, each with a time limit.
//! - [`direct`]: the same without a collector: agents are asked, and what they report is judged here.
//! - [`render`]: pure functions from a verdict to text; nothing remote is printed raw.
//! - [`document`]: the JSON documents.
//! - [`graph`]: the gate graph, of a collector or a file.
//! - [`install`]: what to run to get the extension onto the nodes.
//! - [`initiator`], [`secret`], [`own_keys`]: a real handshake, with a key that must not be a node's.
//! - [`output`]: stdout, stderr, colours, broken pipes.
//! - [`error`]: why there is no answer, with its exit code and what to do.

pub mod adhoc;
pub mod apid;
pub mod args;
pub mod bundle;
pub mod collector;
pub mod command;
pub mod direct;
pub mod document;
pub mod error;
pub mod exit;
pub mod graph;
pub mod initiator;
pub mod install;
pub mod output;
pub mod own_keys;
pub mod render;
pub mod secret;

use std::ffi::OsString;

use clap::Parser as _;

use args::{Cli, Format};
use error::ProbeError;
use exit::Exit;
use output::Output;

/// Runs one command line and says how it ended; everything has been printed by then.
pub fn run(arguments: Vec<OsString>) -> Exit {
    let document = args::asked_document(&arguments);
    let nagios = args::asks_for_nagios(&arguments);
    match Cli::try_parse_from(arguments) {
        Ok(cli) => answer(&cli),
        Err(error) => usage(&error, document, nagios),
    }
}

fn answer(cli: &Cli) -> Exit {
    let output = Output::new(cli.output);
    command::run(cli, output).unwrap_or_else(|error| {
        output.error(&error);
        error.exit()
    })
}

/// Help and version arrive here too: they are answers, not errors.
fn usage(error: &clap::Error, document: Option<Format>, nagios: bool) -> Exit {
    // Nobody is left to be told that stdout or stderr is gone.
    drop(error.print());
    if !error.use_stderr() {
        return Exit::Ready;
    }
    let message = first_line(&error.render().to_string());
    if nagios {
        return command::nagios_failure(&message);
    }
    if let Some(format) = document {
        Output::new(format).error_document(&ProbeError::Usage(message));
    }
    Exit::Usage
}

fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
