//! Runs the binary, with bounded time and a clean environment.

use std::{process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

/// No run of the program may take longer.
const LIMIT: Duration = Duration::from_secs(30);

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

/// With the mesh key of these tests.
pub(crate) async fn ask(arguments: &str) -> Run {
    run(arguments, &[("MESH_KEY", crate::agents::KEY_TEXT)]).await
}

pub(crate) async fn run(arguments: &str, environment: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-probe"));
    command
        .env_clear()
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .args(arguments.split_whitespace());
    let output = timeout(LIMIT, command.output()).await;
    let output = output.expect("mesh-probe ends in time").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Run {
        code: output.status.code().expect("no signal ended it"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}
