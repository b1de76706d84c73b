//! The folder of a lab on the machine: logs, and what `lab enter` and `lab down` must know.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::Child,
};

use rustix::{
    event::Timespec,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::lab::{LabError, sandbox};

const PREFIX: &str = "mesh-lab-";
const KEEPER: &str = "keeper.json";
const HOSTS: &str = "lab.json";
const RELEASED: &str = "released";
/// How long a warden may take to bring its lab down before it is killed.
const DOWN_WAIT: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// The processes that hold a lab, as the machine sees them. A process is its id together with its start time.
#[derive(Debug, Serialize, Deserialize)]
pub struct KeeperState {
    pub warden: Process,
    pub init: Process,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// Clock ticks after boot, from `/proc/PID/stat`.
    pub started: u64,
}

/// What is inside: process ids are those of the lab's own PID namespace.
#[derive(Debug, Serialize, Deserialize)]
pub struct HostsState {
    pub anchors: BTreeMap<String, u32>,
    pub collector: String,
}

/// A running lab as another process finds it.
#[derive(Debug)]
pub struct RunningLab {
    pub folder: PathBuf,
    pub keeper: KeeperState,
}

impl KeeperState {
    /// Of the calling warden and its PID 1.
    pub fn of(init: &Child) -> Result<Self, LabError> {
        Ok(Self {
            warden: Process::of(std::process::id())?,
            init: Process::of(init.id())?,
        })
    }

    pub fn save(&self, folder: &Path) -> Result<(), LabError> {
        write_json(&folder.join(KEEPER), self)
    }
}

impl HostsState {
    pub fn save(&self, folder: &Path) -> Result<(), LabError> {
        write_json(&folder.join(HOSTS), self)
    }

    pub fn load(folder: &Path) -> Result<Self, LabError> {
        read_json(&folder.join(HOSTS))
    }
}

impl Process {
    fn of(pid: u32) -> Result<Self, LabError> {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
        let started = start_time(&stat)
            .ok_or_else(|| LabError::Impossible(format!("{path} is not in the form of proc(5)")))?;
        Ok(Self { pid, started })
    }

    pub fn is_alive(self) -> bool {
        Self::of(self.pid).is_ok_and(|now| now == self)
    }
}

impl RunningLab {
    /// The lab in `folder`, or the only one that is running.
    pub fn find(folder: Option<PathBuf>) -> Result<Self, LabError> {
        let mut running = match folder {
            Some(folder) => Self::load(folder).into_iter().collect(),
            None => Self::all(),
        };
        let Some(lab) = running.pop() else {
            return Err(LabError::NoLab(parent_folder()));
        };
        if running.is_empty() {
            return Ok(lab);
        }
        running.push(lab);
        let folders = running.iter().map(|lab| lab.folder.display().to_string());
        Err(LabError::SeveralLabs(folders.collect::<Vec<_>>().join(" ")))
    }

    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir(parent_folder())
            .into_iter()
            .flatten()
            .flatten();
        let is_lab = |name: &str| name.starts_with(PREFIX);
        entries
            .filter(|entry| entry.file_name().to_str().is_some_and(is_lab))
            .filter_map(|entry| Self::load(entry.path()))
            .collect()
    }

    fn load(folder: PathBuf) -> Option<Self> {
        let keeper: KeeperState = read_json(&folder.join(KEEPER)).ok()?;
        let alive = keeper.warden.is_alive() && keeper.init.is_alive();
        alive.then_some(Self { folder, keeper })
    }

    /// Ends the lab through its warden and waits until it is gone.
    pub fn down(self) -> Result<(), LabError> {
        let warden = self.keeper.warden;
        let gone = |pid: u32| LabError::io("open process", pid);
        let fd = pidfd_open(pid(warden.pid)?, PidfdFlags::empty()).map_err(gone(warden.pid))?;
        // The id may have been taken over before the descriptor was open; now it cannot any more.
        if !warden.is_alive() {
            return remove_folder(&self.folder);
        }
        pidfd_send_signal(&fd, Signal::TERM).map_err(LabError::io("end process", warden.pid))?;
        let ended = sandbox::wait_for(&[fd.as_fd()], Some(&DOWN_WAIT))?;
        if ended != [true] {
            pidfd_send_signal(&fd, Signal::KILL)
                .map_err(LabError::io("kill process", warden.pid))?;
        }
        remove_folder(&self.folder)
    }
}

pub(super) fn pid(raw: u32) -> Result<Pid, LabError> {
    let pid = i32::try_from(raw).ok().and_then(Pid::from_raw);
    pid.ok_or_else(|| LabError::Impossible(format!("{raw} is not a process id")))
}

/// Below `TMPDIR`, except when that is in `/run`, which every host of a lab has for itself.
fn parent_folder() -> PathBuf {
    let folder = env::temp_dir();
    if folder.starts_with("/run") {
        return PathBuf::from("/tmp");
    }
    folder
}

/// `$TMPDIR/mesh-lab-<pid>`, readable by its owner only.
pub(super) fn create_folder() -> Result<PathBuf, LabError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let folder = parent_folder().join(format!("{PREFIX}{}", std::process::id()));
    remove_folder(&folder)?;
    let created = fs::DirBuilder::new().mode(0o700).create(&folder);
    created.map_err(LabError::io("create", folder.display()))?;
    Ok(folder)
}

/// A warden that was killed cannot clean up after itself; the next lab does. A folder without the keeper's file may just be
/// starting and is left alone.
pub(super) fn remove_dead_folders() {
    let entries = fs::read_dir(parent_folder())
        .into_iter()
        .flatten()
        .flatten();
    let is_lab = |name: &str| name.starts_with(PREFIX);
    let labs = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_lab));
    for folder in labs.map(|entry| entry.path()) {
        let keeper: Result<KeeperState, _> = read_json(&folder.join(KEEPER));
        if keeper.is_ok_and(|keeper| !keeper.warden.is_alive() && !keeper.init.is_alive()) {
            // Best effort: a folder that cannot be removed does not harm a new lab.
            drop(remove_folder(&folder));
        }
    }
}

pub(super) fn remove_folder(folder: &Path) -> Result<(), LabError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(LabError::io("remove", folder.display())),
    }
}

pub(super) fn mark_released(folder: &Path, code: u8) -> Result<(), LabError> {
    write_json(&folder.join(RELEASED), &code)
}

pub(super) fn is_released(folder: &Path) -> bool {
    released_code(folder).is_some()
}

pub(super) fn released_code(folder: &Path) -> Option<u8> {
    read_json(&folder.join(RELEASED)).ok()
}

/// Whole or not at all: others look for these files while they are written.
fn write_json(path: &Path, value: &impl Serialize) -> Result<(), LabError> {
    let state = |source| LabError::State {
        path: path.to_owned(),
        source,
    };
    let text = serde_json::to_vec(value).map_err(state)?;
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(LabError::io("write", path.display()))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, LabError> {
    let text = fs::read(path).map_err(LabError::io("read", path.display()))?;
    serde_json::from_slice(&text).map_err(|source| LabError::State {
        path: path.to_owned(),
        source,
    })
}

/// Field 22 of `/proc/PID/stat`, counted after the program's name, which may contain anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_program_name_with_spaces_and_brackets() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        assert_eq!(start_time(stat), Some(4242));
        assert_eq!(start_time("7"), None);
    }

    #[test]
    fn a_process_is_not_taken_for_another_one_with_its_id() {
        let own = Process::of(std::process::id()).unwrap();
        assert!(own.is_alive());
        let earlier = Process {
            started: own.started - 1,
            ..own
        };
        assert!(!earlier.is_alive());
    }
}
