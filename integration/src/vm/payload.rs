//! What goes into the machine: programs with the libraries they need, kernel modules in the order of their loading, files.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    lab::{LabError, programs::binary_folder, requirements::find_program},
    vm::tree::Tree,
};

/// What labs, scenarios and measurements call by name, and the package that has it.
const TOOLS: [(&str, &str); 9] = [
    ("bash", "bash"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("wg", "wireguard-tools"),
    ("wireguard-go", "wireguard-go"),
    ("conntrack", "conntrack"),
    ("ping", "iputils-ping"),
    ("setpriv", "util-linux"),
];
const OWN_PROGRAMS: [&str; 4] = ["lab", "mesh-agent", "mesh-collector", "mesh-probe"];
/// Everything else that scripts need.
const BUSYBOX: &str = "busybox";
/// Busybox has tools of these names too, which know less.
const NOT_FROM_BUSYBOX: [&str; 6] = ["busybox", "ip", "tc", "ping", "sh", "bash"];
/// What the labs need of a kernel that is built of modules; a module's own needs are found.
const MODULES: [&str; 27] = [
    "wireguard",
    "veth",
    "bridge",
    "tun",
    "dummy",
    "vxlan",
    "ifb",
    "sch_netem",
    "sch_tbf",
    "sch_ingress",
    "nf_tables",
    "nf_conntrack",
    "nf_conntrack_netlink",
    "nf_nat",
    "nft_chain_nat",
    "nft_nat",
    "nft_masq",
    "nft_redir",
    "nft_ct",
    "nft_limit",
    "nft_numgen",
    "nft_reject_inet",
    "nft_log",
    "nf_log_syslog",
    "inet_diag",
    "udp_diag",
    "crc32c_generic",
];
const INIT: &str = include_str!("../../vm/init");
/// `nft` looks the names of protocols up.
const PROTOCOLS: &str = "icmp 1\ntcp 6\nudp 17\nipv6-icmp 58\n";

/// A kernel that a distribution built, unpacked into a folder.
#[derive(Debug)]
pub struct Kernel {
    pub folder: PathBuf,
    pub version: String,
}

impl Kernel {
    /// The one below `folder`, which has `boot` and `lib/modules` as the distribution's package.
    pub fn find(folder: &Path) -> Result<Self, LabError> {
        let modules = folder.join("lib/modules");
        let entries = fs::read_dir(&modules).map_err(LabError::io("read", modules.display()))?;
        let mut versions = entries.flatten().map(|entry| entry.file_name());
        match (versions.next().map(OsString::into_string), versions.next()) {
            (Some(Ok(version)), None) => Ok(Self {
                folder: folder.to_owned(),
                version,
            }),
            _ => Err(LabError::Impossible(format!(
                "{} does not have the modules of exactly one kernel",
                modules.display()
            ))),
        }
    }

    pub fn image(&self) -> PathBuf {
        self.folder.join(format!("boot/vmlinuz-{}", self.version))
    }

    /// The files of `module` and of what it needs, in the order of loading; none if it is built in.
    fn files_of(&self, module: &str) -> Result<Vec<PathBuf>, LabError> {
        let output = output(
            Command::new(program("modprobe", "kmod")?)
                .args(["-S", &self.version, "-d"])
                .arg(&self.folder)
                .args(["--show-depends", module]),
        )?;
        let files = output
            .lines()
            .filter_map(|line| line.strip_prefix("insmod "));
        // The host's options for a module may follow its name.
        let files = files.filter_map(|line| line.split_whitespace().next());
        Ok(files.map(PathBuf::from).collect())
    }
}

/// The whole root file system.
pub fn build(kernel: &Kernel, scenarios: &Path) -> Result<Tree, LabError> {
    let mut tree = skeleton();
    for (tool, package) in TOOLS {
        add_program(&mut tree, &program(tool, package)?, tool)?;
    }
    let folder = binary_folder()?;
    for name in OWN_PROGRAMS {
        add_program(&mut tree, &folder.join(name), name)?;
    }
    add_busybox(&mut tree)?;
    add_modules(&mut tree, kernel)?;
    add_scenarios(&mut tree, scenarios)?;
    Ok(tree)
}

fn skeleton() -> Tree {
    let mut tree = Tree::default();
    for folder in ["proc", "sys", "dev", "run", "root", "var"] {
        tree.folder(folder);
    }
    tree.scratch("tmp");
    // The kernel opens it before there is anything else in /dev.
    tree.character_device("dev/console", 5, 1);
    for folder in ["sbin", "usr/bin", "usr/sbin"] {
        tree.link(folder, "/bin");
    }
    tree.link("var/run", "/run");
    tree.file("etc/protocols", PROTOCOLS);
    // Scenarios with a resolver of their own mount theirs on it.
    tree.file("etc/resolv.conf", "");
    tree.file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\n");
    tree.file("etc/group", "root:x:0:\n");
    tree.program("init", INIT);
    tree
}

fn add_program(tree: &mut Tree, file: &Path, name: &str) -> Result<(), LabError> {
    tree.program(&format!("bin/{name}"), read(file)?);
    for library in libraries(file)? {
        if !tree.has(&library) {
            tree.program(&library, read(Path::new(&library))?);
        }
    }
    if name == "bash" {
        tree.link("bin/sh", "bash");
    }
    Ok(())
}

fn add_busybox(tree: &mut Tree) -> Result<(), LabError> {
    let busybox = program(BUSYBOX, "busybox-static")?;
    let applets = output(Command::new(&busybox).arg("--list"))?;
    tree.program("bin/busybox", read(&busybox)?);
    for applet in applets.lines() {
        let path = format!("bin/{applet}");
        if !NOT_FROM_BUSYBOX.contains(&applet) && !tree.has(&path) {
            tree.link(&path, BUSYBOX);
        }
    }
    Ok(())
}

fn add_modules(tree: &mut Tree, kernel: &Kernel) -> Result<(), LabError> {
    let mut list = String::new();
    for module in MODULES {
        for file in kernel.files_of(module)? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let path = format!("/vm/modules.d/{}", name.trim_end_matches(".xz"));
            if !tree.has(&path) {
                tree.file(&path, module_content(&file)?);
                list.push_str(&path);
                list.push('\n');
            }
        }
    }
    tree.file("/vm/modules", list);
    Ok(())
}

/// Unpacked: the kernel loads plain files only.
fn module_content(file: &Path) -> Result<Vec<u8>, LabError> {
    if file.extension().is_none_or(|extension| extension != "xz") {
        return read(file);
    }
    let mut unpack = Command::new(program("xz", "xz-utils")?);
    Ok(raw_output(unpack.args(["-d", "-c"]).arg(file))?.stdout)
}

fn add_scenarios(tree: &mut Tree, folder: &Path) -> Result<(), LabError> {
    let entries = fs::read_dir(folder).map_err(LabError::io("read", folder.display()))?;
    for file in entries.flatten().map(|entry| entry.path()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        tree.file(&format!("vm/integration/scenarios/{name}"), read(&file)?);
    }
    Ok(())
}

/// The files that the dynamic loader would map, the loader included; none for a static program.
fn libraries(file: &Path) -> Result<Vec<String>, LabError> {
    let output = Command::new("ldd").arg(file).output();
    let output = output.map_err(LabError::io("run ldd on", file.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let paths = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.rfind(|word| word.starts_with('/'))
    });
    Ok(paths.map(str::to_owned).collect())
}

fn program(name: &'static str, package: &'static str) -> Result<PathBuf, LabError> {
    find_program(name).ok_or(LabError::MissingTool {
        tool: name,
        package,
    })
}

fn read(file: &Path) -> Result<Vec<u8>, LabError> {
    fs::read(file).map_err(LabError::io("read", file.display()))
}

fn output(command: &mut Command) -> Result<String, LabError> {
    let output = raw_output(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn raw_output(command: &mut Command) -> Result<std::process::Output, LabError> {
    let shown = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(LabError::io("run", &shown))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(LabError::Command {
        host: "this machine".to_owned(),
        command: shown,
        status: output.status,
        stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_needs_its_loader_too() {
        let own = std::env::current_exe().unwrap();
        let libraries = libraries(&own).unwrap();
        assert!(
            libraries.iter().any(|path| path.contains("ld-linux")),
            "{libraries:?}"
        );
        assert!(
            libraries.iter().any(|path| path.contains("libc.so")),
            "{libraries:?}"
        );
    }

    #[test]
    fn a_folder_without_a_kernel_is_refused_by_name() {
        let error = Kernel::find(Path::new("/nonexistent")).unwrap_err();
        assert!(
            error.to_string().contains("/nonexistent/lib/modules"),
            "{error}"
        );
    }
}
