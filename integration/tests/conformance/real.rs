//! The real programs: built from the module registry at pinned versions, run on this machine only.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::own;

/// How long a program may take to be there.
const START: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A running program, ended when it goes.
pub(crate) struct Real {
    child: Child,
}

impl Real {
    pub(crate) fn start(mut command: Command) -> Self {
        let child = command.stdin(Stdio::piped()).spawn().unwrap();
        Self { child }
    }

    /// One line on its standard input.
    pub(crate) fn order(&mut self, line: &str) {
        use std::io::Write as _;
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Waits until something holds, as long as the program lives; bounded.
    pub(crate) fn until<T>(&mut self, mut ready: impl FnMut() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = ready() {
                return found;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the program ended: {ended:?}");
            assert!(begun.elapsed() < START, "the program is not there in time");
            // Bound: START.
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Builds a package of one of the Go modules beside this crate, and says where the program is.
pub(crate) fn build(module: &str, package: &str, name: &str) -> PathBuf {
    let folder = module_folder(module);
    let program = own().join("../target/conformance").join(name);
    let built = Command::new("go")
        .args(["build", "-trimpath", "-o"])
        .arg(&program)
        .arg(package)
        .current_dir(&folder)
        .status();
    let built = built.expect("go can be started: ./dev conformance says what is needed");
    assert!(
        built.success(),
        "go build {package} in {}",
        folder.display()
    );
    program
}

/// The versions that a module's go.mod asks for, without what these need in turn.
pub(crate) fn versions(module: &str) -> Vec<String> {
    let manifest = fs::read_to_string(module_folder(module).join("go.mod")).unwrap();
    let lines = manifest.lines().map(str::trim);
    let direct = lines.filter(|line| !line.contains("// indirect"));
    let versions = direct.filter_map(|line| {
        let line = line.strip_prefix("require ").unwrap_or(line);
        let (name, version) = line.split_once(" v")?;
        let is_module = name.contains('.') && !name.contains(' ');
        is_module.then(|| format!("{name} v{version}"))
    });
    versions.collect()
}

fn module_folder(module: &str) -> PathBuf {
    own().join("conformance").join(module)
}
