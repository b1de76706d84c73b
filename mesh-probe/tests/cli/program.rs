//! Runs the binary, with bounded time and a clean environment.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use crate::server::KEY_TEXT;

/// No run of the program may take longer.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The program without any environment of ours.
pub(crate) fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-probe"));
    command.env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs with the tests' mesh key and the collector at `target`.
pub(crate) async fn ask(target: impl ToString, arguments: &str) -> Run {
    let mut command = bare();
    command
        .env("MESH_KEY", KEY_TEXT)
        .env("MESH_COLLECTOR", target.to_string())
        .args(arguments.split_whitespace());
    run(command).await
}

pub(crate) async fn run(mut command: Command) -> Run {
    let output = timeout(LIMIT, command.output())
        .await
        .expect("mesh-probe ends in time")
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code().expect("no signal ended it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
