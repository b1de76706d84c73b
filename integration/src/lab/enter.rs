//! Running a command in a host of a lab that another process keeps.

use std::{
    ffi::OsString, os::fd::AsFd as _, os::unix::process::ExitStatusExt as _, process::Command,
};

use rustix::{
    process::{PidfdFlags, pidfd_open},
    thread::{ThreadNameSpaceType, move_into_thread_name_spaces},
};

use crate::lab::{
    LabError, host, requirements,
    state::{self, HostsState, RunningLab},
};

/// Runs `command`, or a shell, in a host and returns its exit code. The calling process must have one thread.
pub fn enter(lab: &RunningLab, host: &str, command: &[OsString]) -> Result<u8, LabError> {
    let hosts = HostsState::load(&lab.folder)?;
    let anchor = hosts.anchors.get(host).ok_or_else(|| {
        let known: Vec<_> = hosts.anchors.keys().cloned().collect();
        LabError::UnknownHost(host.to_owned(), known.join(", "))
    })?;
    // Found through this process' own /proc entry, which the lab's /proc does not have.
    let path = requirements::search_path();
    join_lab(lab)?;
    host::join(*anchor)?;
    let shell = [OsString::from("sh")];
    let command = if command.is_empty() { &shell } else { command };
    let Some((program, arguments)) = command.split_first() else {
        return Err(LabError::Impossible("no command is given".to_owned()));
    };
    // A child, because a process cannot change its own PID namespace.
    let status = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .status()
        .map_err(LabError::io("run", program.display()))?;
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| signal + 128));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

fn join_lab(lab: &RunningLab) -> Result<(), LabError> {
    let init = lab.keeper.init;
    let fd = pidfd_open(state::pid(init.pid)?, PidfdFlags::empty());
    let fd = fd.map_err(LabError::io("open process", init.pid))?;
    if !init.is_alive() {
        return Err(LabError::NoLab(lab.folder.clone()));
    }
    let kinds = ThreadNameSpaceType::USER
        | ThreadNameSpaceType::PROCESS_ID
        | ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::NETWORK
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
    let folder = std::env::current_dir();
    move_into_thread_name_spaces(fd.as_fd(), kinds)
        .map_err(LabError::io("enter the lab in", lab.folder.display()))?;
    if let Ok(folder) = folder {
        drop(std::env::set_current_dir(folder));
    }
    Ok(())
}
