//! A service of the extension on a node of a lab, in a container such as Talos makes of its service file, by `crun`.
//!
//! The configuration is what Talos hands to its runtime (siderolabs/talos, services/extension.go and runner/containerd; containerd,
//! oci/spec.go and contrib/seccomp): own mount, pid and uts namespaces, the host's network, every capability but two, no new
//! privileges, seccomp, a root that cannot be written to, containerd's own mounts and the declared ones. A user's namespace cannot
//! carry all of it, and a lab is no Talos node:
//!
//! - One user is mapped. So machined's socket cannot belong to another one, and `/dev/pts` has no group.
//! - Capabilities are those over the lab, and not over the machine.
//! - There is no cgroup (a user may make none), hence no filter of devices either, and no score for the killer of processes (lowering
//!   it takes a right over the machine). Device nodes are the machine's own, mounted one by one.
//! - There is no label of `SELinux`, and the root is a folder and not an overlay over one.
//! - The profile of seccomp is told by what containerd's refuses to a holder of these capabilities: a system call that is newer
//!   than this list passes here and not there.
//! - The lab's machined is at `/run/machined`, and is mounted where the file says that it is.
//! - `WireGuard` is in user space here: the folder of its socket is mounted beside what is declared.
//! - A program of a debug build wants a loader and libraries; they are put beside it. Those of the image are static.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use integration::lab::{programs::Binaries, requirements::find_program};
use serde_json::{Value, json};
use talos_ext::service::{Mount, ROOTS, Service};

use crate::support::{TestLab, eventually, text};

/// Of the capabilities of Linux, in the order of their numbers, those that Talos leaves to an extension: all but `SYS_MODULE` and
/// `SYS_BOOT`.
const CAPABILITIES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP \
    LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_RAWIO SYS_CHROOT SYS_PTRACE \
    SYS_PACCT SYS_ADMIN SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP \
    MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";

/// What containerd's profile refuses to a holder of these.
const REFUSED: &str = "_sysctl add_key create_module delete_module finit_module get_kernel_syms get_mempolicy \
    init_module io_uring_enter io_uring_register io_uring_setup kexec_file_load kexec_load keyctl mbind migrate_pages \
    move_pages nfsservctl pivot_root query_module reboot request_key set_mempolicy set_mempolicy_home_node swapoff swapon sysfs \
    uselib userfaultfd ustat vserver";

/// Where the lab has what Talos has elsewhere.
const ELSEWHERE: (&str, &str) = ("/system/run/machined", "/run/machined");
/// The folder of `WireGuard`'s sockets, on the host and in the container.
const WIREGUARD: (&str, &str) = ("/run/wireguard", "/var/run/wireguard");

/// What `crun` keeps on each host.
const STATE: &str = "/run/crun";

/// What a container is made of.
pub(crate) struct Bundle<'a> {
    /// An empty folder, which takes the root file system and its description.
    pub(crate) folder: PathBuf,
    pub(crate) programs: &'a Binaries,
    pub(crate) service: &'a Service,
    /// What a document of Talos adds to the service's own variables.
    pub(crate) environment: &'a [String],
}

/// A service that runs on a node of a lab.
pub(crate) struct Container<'a> {
    lab: &'a TestLab,
    host: &'a str,
    name: String,
    /// Where something of the host is, and whether it may be written to.
    declared: BTreeMap<String, bool>,
}

impl<'a> Container<'a> {
    /// Starts the service on that node.
    pub(crate) fn start(lab: &'a TestLab, host: &'a str, bundle: &Bundle<'_>) -> Self {
        let Bundle {
            service, folder, ..
        } = bundle;
        let root = root(folder, bundle.programs, service);
        let configuration = configuration(host, bundle, &root);
        let text = serde_json::to_vec(&configuration).unwrap();
        fs::write(folder.join("config.json"), text).unwrap();
        let name = service.name.clone();
        // It looks at what lies at /sys/fs/cgroup even where it is told to leave cgroups alone.
        let run = format!(
            "mount -t tmpfs none /sys/fs/cgroup && exec crun --cgroup-manager=disabled --root {STATE} run \
             --pid-file /run/{name}.pid -b {} {name}",
            folder.display()
        );
        lab.shell(
            host,
            &format!("setsid unshare -m sh -c '{run}' > /run/{name}.log 2>&1 < /dev/null &"),
        );
        let own = service.container.mounts.iter();
        let declared = own
            .map(|mount| (mount.destination.clone(), is_writable(mount)))
            .collect();
        let container = Self {
            lab,
            host,
            name,
            declared,
        };
        eventually(&format!("{} starts on {host}", container.name), || {
            container.is_running()
        });
        container
    }

    pub(crate) fn is_running(&self) -> bool {
        let state = self.shell("crun --root /run/crun state NAME 2> /dev/null; true");
        let state: Value = serde_json::from_str(&state).unwrap_or_default();
        state["status"] == "running"
    }

    /// Asks it to end, as Talos does, and tells what it said last.
    pub(crate) fn stop(&self) -> String {
        self.shell("crun --root /run/crun kill NAME TERM");
        eventually(&format!("{} ends on {}", self.name, self.host), || {
            !self.is_running()
        });
        self.shell("tail -n 20 /run/NAME.log")
    }

    /// A script of the host, with `PID` and `NAME` of this container put in.
    fn shell(&self, script: &str) -> String {
        self.lab
            .shell(self.host, &script.replace("NAME", &self.name))
    }

    /// Looks at the container from outside: is it what the service file says, and nothing more?
    pub(crate) fn is_as_declared(&self) {
        let seen = self.shell(
            "p=$(cat /run/NAME.pid); for n in mnt pid uts net user; do \
             [ $(readlink /proc/$p/ns/$n) = $(readlink /proc/self/ns/$n) ] && echo shared $n; done; \
             grep -E '^(NSpid|NoNewPrivs|Seccomp):' /proc/$p/status | tr '\\t' ' '; \
             touch /proc/$p/root/usr/local/new 2>&1; touch /proc/$p/root/sys/new 2>&1; true",
        );
        let has = |line: &str| seen.lines().any(|found| found == line);
        for line in ["shared net", "shared user", "NoNewPrivs: 1", "Seccomp: 2"] {
            assert!(has(line), "{} on {}: {line}: {seen}", self.name, self.host);
        }
        assert!(
            !has("shared mnt") && !has("shared pid") && !has("shared uts"),
            "{seen}"
        );
        let first = |line: &str| line.starts_with("NSpid:") && line.ends_with(" 1");
        assert!(seen.lines().any(first), "it is the first process: {seen}");
        assert_eq!(
            seen.matches("Read-only file system").count(),
            2,
            "neither its root nor /sys can be written to: {seen}"
        );
        self.sees_only_what_is_declared();
    }

    fn sees_only_what_is_declared(&self) {
        let mounts = self.shell("cat /proc/$(cat /run/NAME.pid)/mountinfo");
        let mut seen = BTreeSet::new();
        for line in mounts.lines() {
            let fields: Vec<&str> = line.split(' ').collect();
            let (place, options) = (fields[4], fields[5]);
            let writable = (place == "/").then_some(&false);
            if let Some(writable) = self.declared.get(place).or(writable) {
                let begin = if *writable { "rw" } else { "ro" };
                assert!(options.starts_with(begin), "{line}");
            }
            // What is over files of these, and device nodes, is the runtime's own.
            if !["/dev/", "/proc/", "/sys/"]
                .iter()
                .any(|own| place.starts_with(own))
            {
                seen.insert(place.to_owned());
            }
        }
        let own = [
            "/",
            "/dev",
            "/etc/hosts",
            "/etc/resolv.conf",
            "/proc",
            "/run",
            "/sys",
            WIREGUARD.1,
        ];
        let expected = own.map(str::to_owned).into_iter();
        assert_eq!(
            seen,
            expected.chain(self.declared.keys().cloned()).collect()
        );
    }
}

/// What must be there to start one.
pub(crate) fn missing() -> Option<String> {
    find_program("crun")
        .is_none()
        .then(|| "crun is not there: install the package crun".to_owned())
}

/// The root file system of the service, as the image has it.
fn root(folder: &Path, programs: &Binaries, service: &Service) -> PathBuf {
    let root = folder.join(ROOTS).join(&service.name);
    let program = folder.join(service.program());
    let built = programs.path(&service.name);
    copy(&built, &program);
    for library in libraries(&built) {
        let inside = library.strip_prefix("/").unwrap();
        copy(&library, &root.join(inside));
    }
    root
}

/// Nothing for a static program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let words = listed.split_whitespace();
    words
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let copied = fs::copy(from, to);
    copied.unwrap_or_else(|error| panic!("{} to {}: {error}", from.display(), to.display()));
}

fn configuration(host: &str, bundle: &Bundle<'_>, root: &Path) -> Value {
    let container = &bundle.service.container;
    let security = &container.security;
    let mut arguments = vec![container.entrypoint.clone()];
    arguments.extend(container.args.clone());
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    let environment: Vec<&String> = [&path]
        .into_iter()
        .chain(&container.environment)
        .chain(bundle.environment)
        .collect();
    let capabilities: Vec<String> = CAPABILITIES
        .split_whitespace()
        .map(|name| format!("CAP_{name}"))
        .collect();
    let kinds = ["mount", "pid", "uts"].map(|kind| json!({ "type": kind }));
    let refused: Vec<&str> = REFUSED.split_whitespace().collect();
    let or = |given: &Option<Vec<String>>, default: &[&str]| {
        let default = || default.iter().map(|path| (*path).to_owned()).collect();
        given.clone().unwrap_or_else(default)
    };
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": arguments,
            "env": environment,
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "noNewPrivileges": true,
        },
        "root": { "path": root, "readonly": !security.writeable_rootfs },
        "hostname": host,
        "mounts": mounts(bundle),
        "linux": {
            "namespaces": kinds,
            "maskedPaths": or(&security.masked_paths, &MASKED),
            "readonlyPaths": or(&security.readonly_paths, &READ_ONLY),
            "seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{ "names": refused, "action": "SCMP_ACT_ERRNO" }],
            },
        },
    })
}

const MASKED: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// containerd's own mounts, the two files that Talos adds, and those of the service.
fn mounts(bundle: &Bundle<'_>) -> Vec<Value> {
    let service = bundle.service;
    let shut = "nosuid noexec nodev";
    let sys = if service.container.security.writeable_sysfs {
        "rw"
    } else {
        "ro"
    };
    let own = [
        ("proc", "/proc", shut.to_owned()),
        (
            "tmpfs",
            "/dev",
            "nosuid strictatime mode=755 size=65536k".to_owned(),
        ),
        (
            "devpts",
            "/dev/pts",
            "nosuid noexec newinstance ptmxmode=0666 mode=0620".to_owned(),
        ),
        ("tmpfs", "/dev/shm", format!("{shut} mode=1777 size=65536k")),
        ("mqueue", "/dev/mqueue", shut.to_owned()),
        ("sysfs", "/sys", format!("{shut} {sys}")),
        (
            "tmpfs",
            "/run",
            "nosuid strictatime mode=755 size=65536k".to_owned(),
        ),
    ];
    let own = own.map(|(kind, place, options)| mount(kind, kind, place, &options));
    let files = ["/etc/resolv.conf", "/etc/hosts"];
    let files = files.map(|file| mount("bind", file, file, "rbind ro"));
    let (source, place) = WIREGUARD;
    let wireguard = mount("bind", source, place, "bind ro");
    let declared = service
        .container
        .mounts
        .iter()
        .map(|mount| declared(mount, &bundle.folder));
    let all = own.into_iter().chain(files).chain([wireguard]);
    all.chain(declared).collect()
}

fn declared(declared: &Mount, folder: &Path) -> Value {
    let source = if declared.source == ELSEWHERE.0 {
        ELSEWHERE.1.to_owned()
    } else if is_writable(declared) {
        // Nothing is written to the machine that the test runs on.
        let kept = kept(folder, &declared.source);
        fs::create_dir_all(&kept).unwrap();
        kept.display().to_string()
    } else {
        declared.source.clone()
    };
    let options = declared.options.join(" ");
    mount(&declared.kind, &source, &declared.destination, &options)
}

fn is_writable(mount: &Mount) -> bool {
    mount.options.iter().any(|option| option == "rw")
}

/// Where a service that was started with this folder finds what it may write to, in place of this folder of the host.
pub(crate) fn kept(folder: &Path, source: &str) -> PathBuf {
    folder.join("kept").join(source.trim_start_matches('/'))
}

fn mount(kind: &str, source: &str, destination: &str, options: &str) -> Value {
    let options: Vec<&str> = options.split_whitespace().collect();
    json!({ "type": kind, "source": source, "destination": destination, "options": options })
}

/// So that a failure says what the service said.
impl Drop for Container<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self
                .lab
                .enter(self.host, &["cat", &format!("/run/{}.log", self.name)]);
            println!("{} on {}: {}", self.name, self.host, text(&log));
        }
    }
}
