//! Boots the machine, talks with it over its serial line, for a bounded time.

use std::{
    fs,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    lab::{LabError, requirements::find_program},
    vm::{
        orders::{Event, Order},
        payload::Kernel,
        tree::Tree,
    },
};

const QEMU: &str = "qemu-system-x86_64";
const MEMORY_MIB: u32 = 1024;
/// Results go over the first serial port, so the kernel's own words over the second one. Nobody attacks this machine, and
/// emulated processors are slow enough; with programs always at the same addresses, what was translated for one process serves
/// the next (measured: a third of all processor time).
const KERNEL_ARGUMENTS: &str = "console=ttyS1 loglevel=4 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable clocksource=tsc \
     nokaslr norandmaps";
/// The clock counts instructions, a nanosecond each, and jumps to the next timer when there is nothing to do.
const COUNTED_CLOCK: &str = "shift=0,sleep=off";
/// How many lines may wait to be shown.
const LINES: usize = 1024;

/// What runs the machine's processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// Emulation with a clock that counts instructions. Neither the emulator's slowness nor what else runs on the host shows inside:
    /// to its programs it is a machine with one slow processor, and waiting costs nothing. So limits of time mean there what they
    /// say, and what is late or wrong is so by itself.
    Counted,
    /// The host's processor and its clock, where the host lets a guest kernel boot.
    Kvm,
}

/// How to run the machine.
#[derive(Clone, Debug)]
pub struct Machine {
    pub accelerator: Accelerator,
    pub limit: Duration,
    /// Takes what the kernel says.
    pub folder: PathBuf,
}

impl Machine {
    /// Runs it until it has ended all orders. `on_line` gets each line of the first serial port, and gives what to do next if the
    /// line asks for that.
    pub fn run(
        &self,
        kernel: &Kernel,
        archive: &Path,
        mut on_line: impl FnMut(&str) -> Option<Order>,
    ) -> Result<(), LabError> {
        let create = LabError::io("create", self.folder.display());
        fs::create_dir_all(&self.folder).map_err(create)?;
        let mut emulator = self.start(kernel, archive)?;
        let lines = emulator.stdout.take().map(read_lines);
        let mut orders = emulator.stdin.take();
        let in_time = lines.is_none_or(|lines| self.follow(&lines, orders.as_mut(), &mut on_line));
        // Also when it ended by itself: then there is nothing to kill.
        drop(emulator.kill());
        emulator.wait().map_err(LabError::io("wait for", QEMU))?;
        if in_time {
            return Ok(());
        }
        Err(LabError::TooSlow {
            what: "the end of all orders",
            host: "the emulated machine".to_owned(),
            seconds: self.limit.as_secs(),
            hint: format!("; its kernel said: {}", self.console().display()),
        })
    }

    /// Whether the machine was off before the limit.
    fn follow(
        &self,
        lines: &Receiver<String>,
        mut orders: Option<&mut ChildStdin>,
        on_line: &mut impl FnMut(&str) -> Option<Order>,
    ) -> bool {
        let deadline = Instant::now() + self.limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    if let (Some(order), Some(port)) = (on_line(&line), orders.as_mut()) {
                        // A machine that went off says so by the end of its lines.
                        drop(order.to_line().map(|line| writeln!(port, "{line}")));
                    }
                    if matches!(Event::from_line(&line), Some(Event::Ended { .. })) {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }

    fn start(&self, kernel: &Kernel, archive: &Path) -> Result<Child, LabError> {
        let Some(program) = find_program(QEMU) else {
            return Err(LabError::MissingTool {
                tool: QEMU,
                package: "qemu-system-x86",
            });
        };
        Command::new(program)
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none", "-monitor", "none", "-nic", "none"])
            .args(self.accelerator.arguments())
            .args(["-m", &MEMORY_MIB.to_string()])
            .args(["-chardev", "stdio,id=results,signal=off"])
            .args(["-serial", "chardev:results", "-serial"])
            .arg(format!("file:{}", self.console().display()))
            .args(["-append", KERNEL_ARGUMENTS, "-kernel"])
            .arg(kernel.image())
            .arg("-initrd")
            .arg(archive)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(LabError::io("start", QEMU))
    }

    /// What the kernel says.
    pub fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }
}

impl Accelerator {
    pub const ALL: [Self; 2] = [Self::Counted, Self::Kvm];

    pub fn name(self) -> &'static str {
        match self {
            Self::Counted => "tcg",
            Self::Kvm => "kvm",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|this| this.name() == name)
    }

    fn arguments(self) -> Vec<&'static str> {
        let mut arguments = vec!["-cpu", "max", "-accel"];
        match self {
            Self::Counted => arguments.extend([
                "tcg,thread=single",
                "-smp",
                "1",
                "-icount",
                COUNTED_CLOCK,
                "-rtc",
                "clock=vm",
            ]),
            Self::Kvm => arguments.extend(["kvm", "-smp", "2"]),
        }
        arguments
    }
}

/// Writes the root file system as kernels take it.
pub fn write_archive(tree: &Tree, path: &Path) -> Result<(), LabError> {
    let file = fs::File::create(path).map_err(LabError::io("create", path.display()))?;
    let mut out = BufWriter::new(file);
    tree.write_cpio(&mut out)
        .and_then(|()| out.flush())
        .map_err(LabError::io("write", path.display()))
}

/// The lines, read by a thread that ends with the machine. Bytes that are no text are shown as such.
fn read_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(LINES);
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n');
        for line in lines.map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
