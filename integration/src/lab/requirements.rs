//! What a machine must offer, checked before anything is started, with the fix in the message.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::lab::{LabError, programs::binary_folder};

const TOOLS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("wireguard-go", "wireguard-go"),
    ("wg", "wireguard-tools"),
    ("conntrack", "conntrack"),
    ("ping", "iputils-ping"),
];
const TUN: &str = "/dev/net/tun";

/// Tools and the tun device. Whether namespaces are allowed shows only when they are made.
pub fn check() -> Result<(), LabError> {
    for (tool, package) in TOOLS {
        if find_program(tool).is_none() {
            return Err(LabError::MissingTool { tool, package });
        }
    }
    let tun = fs::File::options().read(true).write(true).open(TUN);
    tun.map(drop).map_err(|error| LabError::Forbidden {
        operation: "opening /dev/net/tun",
        fix: match error.kind() {
            io::ErrorKind::NotFound => {
                "create it as root: mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200"
            }
            _ => "allow it as root: chmod 666 /dev/net/tun",
        }
        .to_owned(),
    })
}

/// Searches `PATH` and the directories of system programs, which a user's `PATH` often lacks.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_DIRECTORIES.map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// `PATH` for everything that runs in a lab; the programs under test are found by name too.
pub fn search_path() -> OsString {
    let own = env::var_os("PATH").unwrap_or_default();
    let programs = binary_folder().into_iter();
    let system = SYSTEM_DIRECTORIES.map(PathBuf::from);
    let folders = programs.chain(env::split_paths(&own)).chain(system);
    env::join_paths(folders).unwrap_or(own)
}

const SYSTEM_DIRECTORIES: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/bin"];

/// Turns a refused namespace operation into the setting that refuses it.
pub fn explain_refusal(operation: &'static str, error: io::Error) -> LabError {
    let refused = [io::ErrorKind::PermissionDenied, io::ErrorKind::StorageFull];
    if !refused.contains(&error.kind()) {
        return LabError::io(operation, "namespaces of the lab")(error);
    }
    let fix = KNOBS
        .iter()
        .find(|knob| knob.is_set())
        .map_or(UNKNOWN_REFUSAL, |knob| knob.fix);
    LabError::Forbidden {
        operation,
        fix: fix.to_owned(),
    }
}

const UNKNOWN_REFUSAL: &str = "in a container, start it with --security-opt seccomp=unconfined \
     --security-opt apparmor=unconfined --security-opt systempaths=unconfined";

struct Knob {
    path: &'static str,
    refusing: &'static str,
    fix: &'static str,
}

const KNOBS: [Knob; 3] = [
    Knob {
        path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        refusing: "1",
        fix: "run as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    },
    Knob {
        path: "/proc/sys/kernel/unprivileged_userns_clone",
        refusing: "0",
        fix: "run as root: sysctl -w kernel.unprivileged_userns_clone=1",
    },
    Knob {
        path: "/proc/sys/user/max_user_namespaces",
        refusing: "0",
        fix: "run as root: sysctl -w user.max_user_namespaces=10000",
    },
];

impl Knob {
    fn is_set(&self) -> bool {
        let value = fs::read_to_string(Path::new(self.path));
        value.is_ok_and(|value| value.trim() == self.refusing)
    }
}
