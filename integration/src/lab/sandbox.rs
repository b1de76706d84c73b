//! The processes and namespaces of a lab, arranged so that nothing outlives it.
//!
//! ```text
//! lab run ..        starter: waits, forwards Ctrl-C        (namespaces of the machine)
//!  `- lab __warden  keeper outside: owns the state folder  (+ own user namespace)
//!      `- lab __init     PID 1 of the lab                  (+ own PID, mount, net, uts, ipc namespace)
//!          |- lab __inside run ..   does the work
//!          |- lab __anchor vps-1    holds a host's net, mount and uts namespace
//!          `- wireguard-go, agents, .. inside the hosts' namespaces
//! ```
//!
//! The starter holds a pipe to the warden: when the starter ends in whatever way, the warden kills PID 1 and removes the folder. When
//! the warden is killed, PID 1 gets a parent-death signal and the starter removes the folder. When PID 1 ends, the kernel
//! kills everything in the lab. A lab that is to stay is [`release`]d by its worker: from then on only `lab down` or
//! the warden's death ends it.

use std::{
    ffi::OsString,
    fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    mount::{MountFlags, MountPropagationFlags, mount, mount_change},
    process::{PidfdFlags, WaitOptions, pidfd_open, set_parent_process_death_signal, wait},
};

use crate::lab::{
    LabError,
    requirements::{self, search_path},
    state::{self, KeeperState},
};

/// Exit code of a program that a signal ended, plus the signal's number, as shells count.
const SIGNALLED: u8 = 128;
/// Exit code when the lab's processes end without one of their own.
const NO_CODE: u8 = 1;
/// How often the starter looks whether the lab was released.
const RELEASE_POLL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// Runs `lab __inside ARGUMENTS` in a new sandbox and returns its exit code.
pub fn run(arguments: &[OsString]) -> Result<u8, LabError> {
    requirements::check()?;
    state::remove_dead_folders();
    let folder = state::create_folder()?;
    let code = start_and_wait(&folder, arguments);
    if !state::is_released(&folder) {
        state::remove_folder(&folder)?;
    }
    code
}

/// Lets the lab outlive its starter, which then ends with `code`.
pub fn release(folder: &Path, code: u8) -> Result<(), LabError> {
    state::mark_released(folder, code)
}

fn start_and_wait(folder: &Path, arguments: &[OsString]) -> Result<u8, LabError> {
    let signals = catch_signals()?;
    let mut warden = own_program("__warden")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(LabError::io("start", "the lab's warden"))?;
    let ended = pidfd(&warden)?;
    let mut interrupted = None;
    loop {
        let ready = wait_for(&[ended.as_fd(), signals.as_fd()], Some(&RELEASE_POLL))?;
        if ready.first() == Some(&true) {
            let status = warden.wait().map_err(LabError::io("wait for", "warden"))?;
            return Ok(interrupted.unwrap_or_else(|| code_of(status)));
        }
        if ready.get(1) == Some(&true) {
            interrupted = read_signal(&signals).map(|signal| SIGNALLED.saturating_add(signal));
            drop(warden.stdin.take());
        }
        if let Some(code) = state::released_code(folder) {
            return Ok(code);
        }
    }
}

/// The process between the machine and the lab: makes the user and PID namespace, starts PID 1, cleans up.
pub fn warden(folder: &Path, arguments: &[OsString]) -> Result<u8, LabError> {
    let signals = catch_signals()?;
    enter_user_namespace()?;
    let mut init = own_program("__init")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::piped())
        .spawn()
        .map_err(LabError::io("start", "PID 1 of the lab"))?;
    KeeperState::of(&init)?.save(folder)?;
    log_to(folder)?;
    let code = guard(folder, &mut init, &signals)?;
    state::remove_folder(folder)?;
    Ok(code)
}

/// Waits until PID 1 ends, or ends it when asked to or when the starter is gone without having released the lab.
fn guard(folder: &Path, init: &mut Child, signals: &SignalFd) -> Result<u8, LabError> {
    let ended = pidfd(init)?;
    let lifeline = io::stdin();
    let mut watched = vec![ended.as_fd(), signals.as_fd(), lifeline.as_fd()];
    loop {
        let ready = wait_for(&watched, None)?;
        let asked = ready.get(1) == Some(&true);
        let abandoned = ready.get(2) == Some(&true);
        if abandoned && state::is_released(folder) {
            watched.truncate(2);
        } else if asked || abandoned {
            init.kill()
                .map_err(LabError::io("kill", "PID 1 of the lab"))?;
        }
        if asked || (abandoned && watched.len() > 2) || ready.first() == Some(&true) {
            let status = init.wait().map_err(LabError::io("wait for", "PID 1"))?;
            return Ok(code_of(status));
        }
    }
}

/// PID 1: makes the remaining namespaces, starts the worker, reaps, and ends with the worker unless the lab was released.
pub fn init(folder: &Path, arguments: &[OsString]) -> Result<u8, LabError> {
    die_with_warden()?;
    SigSet::empty()
        .thread_set_mask()
        .map_err(LabError::io("unblock", "signals"))?;
    // Ctrl-C on the terminal is the starter's business: the lab must not fall apart while the warden takes it down.
    rustix::process::setsid().map_err(LabError::io("start", "a session"))?;
    unshare_for_lab()?;
    let worker = own_program("__inside")
        .arg(folder)
        .args(arguments)
        .stdin(Stdio::null())
        .env("PATH", search_path())
        .spawn()
        .map_err(LabError::io("start", "the lab's worker"))?;
    log_to(folder)?;
    reap(folder, &worker)
}

fn reap(folder: &Path, worker: &Child) -> Result<u8, LabError> {
    loop {
        let ended = match wait(WaitOptions::empty()) {
            Err(rustix::io::Errno::INTR) | Ok(None) => continue,
            Err(rustix::io::Errno::CHILD) => return Ok(NO_CODE),
            result => result.map_err(LabError::io("wait for", "processes of the lab"))?,
        };
        let Some((pid, status)) = ended else { continue };
        let is_worker = u32::try_from(pid.as_raw_nonzero().get()) == Ok(worker.id());
        if is_worker && !state::is_released(folder) {
            let signal = || status.terminating_signal().map(|signal| signal + 128);
            let code = status.exit_status().or_else(signal);
            return Ok(code
                .and_then(|code| u8::try_from(code).ok())
                .unwrap_or(NO_CODE));
        }
    }
}

/// A command that runs this very program again, whatever happened to its file since.
pub fn own_program(subcommand: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg(subcommand);
    command
}

fn enter_user_namespace() -> Result<(), LabError> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let refused =
        |error: nix::Error| requirements::explain_refusal("making a user namespace", error.into());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWPID).map_err(refused)?;
    let maps = [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {} 1", user.as_raw())),
        ("gid_map", format!("0 {} 1", group.as_raw())),
    ];
    for (file, content) in maps {
        let written = fs::write(Path::new("/proc/self").join(file), content);
        written.map_err(|error| requirements::explain_refusal("mapping the user", error))?;
    }
    Ok(())
}

fn unshare_for_lab() -> Result<(), LabError> {
    let refused = |error: io::Error| requirements::explain_refusal("making namespaces", error);
    let kinds = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    unshare(kinds).map_err(|error| refused(error.into()))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|error| refused(error.into()))?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None)
        .map_err(|error| requirements::explain_refusal("mounting /proc of the lab", error.into()))
}

/// The signal is set after the warden may already have died, so its pipe is asked once more.
fn die_with_warden() -> Result<(), LabError> {
    set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(LabError::io("tie", "PID 1 to its warden"))?;
    let stdin = io::stdin();
    let now = Timespec::default();
    match wait_for(&[stdin.as_fd()], Some(&now))?.first() {
        Some(true) => Err(LabError::Impossible("the lab's warden is gone".to_owned())),
        _ => Ok(()),
    }
}

/// A reader at the far end of this program's output must not wait for a lab that stays.
fn log_to(folder: &Path) -> Result<(), LabError> {
    let path: PathBuf = folder.join("keeper.log");
    let log = fs::File::options().create(true).append(true).open(&path);
    let log = log.map_err(LabError::io("create", path.display()))?;
    rustix::stdio::dup2_stdout(&log)
        .and_then(|()| rustix::stdio::dup2_stderr(&log))
        .map_err(LabError::io("redirect output to", path.display()))
}

fn catch_signals() -> Result<SignalFd, LabError> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()
        .map_err(LabError::io("block", "signals"))?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC).map_err(LabError::io("read", "signals"))
}

fn read_signal(signals: &SignalFd) -> Option<u8> {
    let signal = signals.read_signal().ok().flatten()?;
    u8::try_from(signal.ssi_signo).ok()
}

pub(super) fn pidfd(child: &Child) -> Result<std::os::fd::OwnedFd, LabError> {
    let pid = rustix::process::Pid::from_child(child);
    pidfd_open(pid, PidfdFlags::empty()).map_err(LabError::io("watch process", child.id()))
}

/// Which of the descriptors are readable or closed at the far end.
pub(super) fn wait_for(
    watched: &[std::os::fd::BorrowedFd<'_>],
    timeout: Option<&Timespec>,
) -> Result<Vec<bool>, LabError> {
    let mut entries: Vec<_> = watched
        .iter()
        .map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN))
        .collect();
    match poll(&mut entries, timeout) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(LabError::io("wait for", "events")(error)),
    }
    Ok(entries
        .iter()
        .map(|entry| !entry.revents().is_empty())
        .collect())
}

fn code_of(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let signal = || status.signal().map(|signal| signal + i32::from(SIGNALLED));
    let code = status.code().or_else(signal);
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(NO_CODE)
}
