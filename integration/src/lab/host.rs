//! One host of the lab: its own network, mount and uts namespace, held open by an anchor process.

use std::{
    ffi::{OsStr, OsString},
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    mount::{MountFlags, mount, mount_bind_recursive},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use crate::lab::{LabError, plan::HostPlan, requirements, sandbox};

/// What an anchor prints when its namespaces are ready.
const READY: &str = "ready";

#[derive(Debug)]
pub struct Host {
    name: String,
    anchor: Child,
}

impl Host {
    /// Starts the anchor; the namespaces are there when [`Host::wait_until_ready`] returns.
    pub fn start(name: &str, log: &Path) -> Result<Self, LabError> {
        let anchor = sandbox::own_program("__anchor")
            .arg(name)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file(log)?)
            .spawn()
            .map_err(LabError::io("start host", name))?;
        Ok(Self {
            name: name.to_owned(),
            anchor,
        })
    }

    pub fn wait_until_ready(&mut self) -> Result<(), LabError> {
        let mut line = String::new();
        if let Some(output) = self.anchor.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(LabError::io("start host", &self.name))?;
        }
        if line.trim() == READY {
            return Ok(());
        }
        let problem = format!("host {} did not start; see its log", self.name);
        Err(LabError::Impossible(problem))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The anchor's process id inside the lab.
    pub fn anchor(&self) -> u32 {
        self.anchor.id()
    }

    /// A file of the host's own `/run`, seen from outside of the host.
    pub fn run_file(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/{name}", self.anchor.id()))
    }

    /// A command that runs in this host. The process is the program itself: its id can be signalled.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = sandbox::own_program("__in");
        command.arg(self.anchor.id().to_string()).arg("--");
        command.arg(program).stdin(Stdio::null());
        command
    }

    /// Runs a shell command to its end and returns what it printed.
    pub fn shell(&self, script: &str) -> Result<String, LabError> {
        let output = self.command("sh").args(["-c", script]).output();
        let output = output.map_err(LabError::io("run", script))?;
        self.expect_success(script, &output)
    }

    /// Starts a program that stays, with its output in `log`.
    pub fn spawn(&self, program: &Path, arguments: &[&str], log: &Path) -> Result<Child, LabError> {
        self.command(program)
            .args(arguments)
            .stdout(log_file(log)?)
            .stderr(log_file(log)?)
            .spawn()
            .map_err(LabError::io("start", program.display()))
    }

    pub fn apply(&self, plan: &HostPlan) -> Result<(), LabError> {
        let text = serde_json::to_vec(plan).map_err(io::Error::from);
        let text = text.map_err(LabError::io("describe the set-up of", &self.name))?;
        let output = self
            .set_up(&text)
            .map_err(LabError::io("set up", &self.name))?;
        self.expect_success("set-up", &output).map(drop)
    }

    fn set_up(&self, plan: &[u8]) -> io::Result<Output> {
        let mut child = sandbox::own_program("__setup")
            .arg(self.anchor.id().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(plan)?;
        }
        child.wait_with_output()
    }

    fn expect_success(&self, command: &str, output: &Output) -> Result<String, LabError> {
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LabError::Command {
            host: self.name.clone(),
            command: command.to_owned(),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }
}

/// Appends: a program that is restarted continues its log.
pub fn log_file(path: &Path) -> Result<fs::File, LabError> {
    let file = fs::File::options().create(true).append(true).open(path);
    file.map_err(LabError::io("open", path.display()))
}

/// `lab __anchor`: makes the namespaces of one host and holds them until the lab ends.
pub fn anchor(name: &str) -> Result<std::convert::Infallible, LabError> {
    let kinds = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS;
    unshare(kinds).map_err(|error| {
        requirements::explain_refusal("making the namespaces of a host", error.into())
    })?;
    rustix::system::sethostname(name.as_bytes()).map_err(LabError::io("name host", name))?;
    mount_own_run()?;
    let mut output = io::stdout();
    writeln!(output, "{READY}")
        .and_then(|()| output.flush())
        .map_err(LabError::io("report", name))?;
    loop {
        thread::park();
    }
}

/// The control sockets of all hosts have the same name, `/run/wireguard/kubespan.sock`.
fn mount_own_run() -> Result<(), LabError> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", "/run", "tmpfs", flags, Some(c"mode=0755"))
        .map_err(LabError::io("mount tmpfs on", "/run"))?;
    fs::create_dir("/run/wireguard").map_err(LabError::io("create", "/run/wireguard"))?;
    fs::create_dir("/run/machined").map_err(LabError::io("create", "/run/machined"))?;
    if !fs::canonicalize("/var/run").is_ok_and(|path| path == Path::new("/run")) {
        mount_bind_recursive("/run", "/var/run").map_err(LabError::io("bind", "/var/run"))?;
    }
    // Shows the host's own interfaces. A container may forbid it, and nothing in the lab depends on it.
    let _optional = mount("sysfs", "/sys", "sysfs", flags | MountFlags::RDONLY, None);
    Ok(())
}

/// `lab __in`: becomes `program` in the namespaces of the anchor.
pub fn become_program(
    anchor: u32,
    command: &[OsString],
) -> Result<std::convert::Infallible, LabError> {
    join(anchor)?;
    let Some((program, arguments)) = command.split_first() else {
        return Err(LabError::Impossible("no command is given".to_owned()));
    };
    let error = Command::new(program).args(arguments).exec();
    Err(LabError::io("run", program.display())(error))
}

/// `lab __setup`: applies the plan on standard input in the namespaces of the anchor.
pub fn set_up(anchor: u32) -> Result<(), LabError> {
    let plan: Result<HostPlan, _> = serde_json::from_reader(io::stdin().lock());
    let plan = plan.map_err(io::Error::from);
    let plan = plan.map_err(LabError::io("read", "the plan"))?;
    join(anchor)?;
    plan.apply()
}

/// Moves the calling thread into the anchor's namespaces; it must be the only one of its process.
pub fn join(anchor: u32) -> Result<(), LabError> {
    let folder = std::env::current_dir();
    let kinds = [
        ("uts", LinkNameSpaceType::HostNameAndNISDomainName),
        ("net", LinkNameSpaceType::Network),
        ("mnt", LinkNameSpaceType::Mount),
    ];
    let open = |(name, kind)| {
        let path = format!("/proc/{anchor}/ns/{name}");
        let file = fs::File::open(&path).map_err(LabError::io("open", &path))?;
        Ok((path, file, kind))
    };
    let opened: Result<Vec<_>, LabError> = kinds.into_iter().map(open).collect();
    for (path, file, kind) in opened? {
        use std::os::fd::AsFd as _;
        move_into_link_name_space(file.as_fd(), Some(kind)).map_err(LabError::io("enter", path))?;
    }
    // Entering a mount namespace goes to its root; a folder that is hidden there is no loss.
    if let Ok(folder) = folder {
        drop(std::env::set_current_dir(folder));
    }
    Ok(())
}
