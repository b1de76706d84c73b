//! The program as a process of its own.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// Longer than any start takes.
const BOUND: Duration = Duration::from_secs(20);

pub(super) struct Process {
    child: Child,
    started: Instant,
    lines: Receiver<String>,
}

impl Process {
    pub(super) fn start(store: &Path, gates: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_mesh-collector"))
            .args(["--listen", "127.0.0.1:0", "--store"])
            .arg(store)
            .arg("--gates")
            .arg(gates)
            .env("MESH_KEY", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=")
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, lines) = mpsc::channel();
        // It ends with the pipe.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            started: Instant::now(),
            lines,
        }
    }

    /// Where it serves, and how long that took. Its store must be open then.
    pub(super) fn serves(&mut self) -> (SocketAddr, Duration) {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(BOUND);
            said.push(line.unwrap_or_else(|error| panic!("{error}: {said:#?}")));
            let line = said.last().unwrap();
            assert!(!line.contains("ERROR"), "{said:#?}");
            if let Some(address) = address_of(line) {
                assert!(
                    said.iter().any(|line| line.contains("the store is open")),
                    "{said:#?}"
                );
                return (address, self.started.elapsed());
            }
        }
    }

    /// Ends it without a word, and checks that it had nothing to complain of until then.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        while let Ok(line) = self.lines.recv_timeout(BOUND) {
            assert!(
                !line.contains("ERROR") && !line.contains("panicked"),
                "{line}"
            );
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already dead, unless an assertion failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn address_of(line: &str) -> Option<SocketAddr> {
    let serves = line.contains("collector serves");
    let field = line.split("address=").nth(1).filter(|_| serves)?;
    field.split_whitespace().next()?.parse().ok()
}
