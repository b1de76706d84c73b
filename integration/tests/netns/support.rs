//! A lab as a test uses it: started as a program, entered with `lab enter`, always taken down.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Output},
    thread,
    time::{Duration, Instant},
};

use integration::lab::{
    faults::{Action, Fault},
    requirements,
    topology::Topology,
};

/// Longest that anything in these tests may take to become true.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// `lab` with a temporary folder of its own, so that tests see their own labs only.
pub(crate) struct TestLab {
    temporary: tempfile::TempDir,
}

impl TestLab {
    pub(crate) fn new() -> Self {
        Self {
            temporary: tempfile::tempdir().unwrap(),
        }
    }

    /// A lab of the default topology without agents.
    pub(crate) fn up() -> Self {
        Self::up_with(&[])
    }

    pub(crate) fn up_with(arguments: &[&str]) -> Self {
        let lab = Self::new();
        let output = lab
            .command()
            .args(["up", "--network-only"])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "lab up: {}", text(&output));
        lab
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        command.env("TMPDIR", self.temporary.path());
        command
    }

    pub(crate) fn enter(&self, host: &str, command: &[&str]) -> Output {
        self.command()
            .args(["enter", host])
            .args(command)
            .output()
            .unwrap()
    }

    pub(crate) fn shell(&self, host: &str, script: &str) -> String {
        let output = self.enter(host, &["sh", "-c", script]);
        assert!(
            output.status.success(),
            "{script} on {host}: {}",
            text(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// One echo request; the answer may take a second.
    pub(crate) fn pings(&self, from: &str, to: &str) -> bool {
        self.enter(from, &["ping", "-n", "-q", "-c", "1", "-W", "1", to])
            .status
            .success()
    }

    pub(crate) fn kubespan_address(&self, node: &str) -> String {
        let shown = self.shell(node, "ip -o -6 addr show dev kubespan scope global");
        let address = shown
            .split_ascii_whitespace()
            .find(|word| word.starts_with("fd"));
        address.unwrap().split('/').next().unwrap().to_owned()
    }

    pub(crate) fn break_with(&self, fault: &Fault) -> Vec<Action> {
        let remedy = fault.remedy(&Topology::default(), 0).unwrap();
        self.perform(&remedy.apply);
        remedy.heal
    }

    pub(crate) fn perform(&self, actions: &[Action]) {
        for action in actions {
            let Action::Shell { host, command } = action else {
                panic!("{action} needs the worker of a lab");
            };
            self.shell(host, command);
        }
    }

    /// The folders of labs that are there.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.temporary.path()).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The processes of labs of this test: they carry the lab's folder, or are in its user namespace.
    pub(crate) fn processes(&self, namespace: Option<&Path>) -> Vec<String> {
        let folder = self.temporary.path().to_str().unwrap().to_owned();
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries
            .filter_map(|entry| describe(&entry.path(), &folder, namespace))
            .collect()
    }

    /// The user namespace of the only lab.
    pub(crate) fn namespace(&self) -> PathBuf {
        let init = self.keeper("init");
        fs::read_link(format!("/proc/{init}/ns/user")).unwrap()
    }

    /// A process id of the keeper's file.
    pub(crate) fn keeper(&self, process: &str) -> u32 {
        let file = self.folders().remove(0).join("keeper.json");
        let state: serde_json::Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        let pid = state[process]["pid"].as_u64().unwrap();
        u32::try_from(pid).unwrap()
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        // Also when the lab never came up or is gone already: then there is nothing to do.
        drop(self.command().arg("down").output());
    }
}

/// A process that does not matter, or is gone by now, has no description.
fn describe(path: &Path, folder: &str, namespace: Option<&Path>) -> Option<String> {
    let pid: u32 = path.file_name()?.to_str()?.parse().ok()?;
    let arguments = fs::read(path.join("cmdline")).ok()?;
    let arguments = String::from_utf8_lossy(&arguments).replace('\0', " ");
    let inside = fs::read_link(path.join("ns/user")).ok();
    let is_inside = namespace.is_some() && inside.as_deref() == namespace;
    (arguments.contains(folder) || is_inside).then(|| format!("{pid} {arguments}"))
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < LIMIT,
            "{what} did not happen within {LIMIT:?}"
        );
        // Bounded by LIMIT, above.
        thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    format!("{}\n{stdout}{stderr}", output.status)
}

/// Why this machine cannot have a lab.
pub(crate) fn cannot_stage() -> Option<String> {
    if let Err(error) = requirements::check() {
        return Some(error.to_string());
    }
    let lab = TestLab::new();
    let output = lab
        .command()
        .args(["up", "--network-only"])
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    stderr
        .contains("is forbidden on this machine")
        .then_some(stderr)
}

pub(crate) fn is_required() -> bool {
    env::var("REQUIRE_STAGE").is_ok_and(|stages| stages.contains("netns"))
}

pub(crate) fn skip(what: &str, reason: &str) -> ExitCode {
    println!("SKIPPED: {what}: {reason}");
    if is_required() {
        println!("REQUIRE_STAGE says that it must run: FAILED");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
