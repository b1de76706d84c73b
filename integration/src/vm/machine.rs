//! Boots the machine and reads its serial line, for a bounded time.

use std::{
    fs,
    io::{BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    lab::{LabError, requirements::find_program},
    vm::{orders::Event, payload::Kernel, tree::Tree},
};

const QEMU: &str = "qemu-system-x86_64";
const MEMORY_MIB: u32 = 1536;
const PROCESSORS: u32 = 2;
/// Results go over the first serial port, so the kernel's own words over the second one. Nobody attacks this machine, and
/// emulated processors are slow enough.
const KERNEL_ARGUMENTS: &str = "console=ttyS1 loglevel=4 panic=-1 mitigations=off random.trust_cpu=on tsc=reliable clocksource=tsc";
/// How many lines may wait to be shown.
const LINES: usize = 1024;

/// How to run the machine.
#[derive(Debug)]
pub struct Machine {
    pub accelerator: String,
    pub limit: Duration,
    /// Takes the archive and what the kernel says.
    pub folder: PathBuf,
}

impl Machine {
    /// Runs it until it powers off; `on_line` gets each line of the first serial port.
    pub fn run(
        &self,
        kernel: &Kernel,
        tree: &Tree,
        mut on_line: impl FnMut(&str),
    ) -> Result<(), LabError> {
        let archive = self.folder.join("root.cpio");
        write_archive(tree, &archive)?;
        let mut emulator = self.start(kernel, &archive)?;
        let lines = emulator.stdout.take().map(read_lines);
        let in_time = lines.is_none_or(|lines| self.follow(&lines, &mut on_line));
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
    fn follow(&self, lines: &Receiver<String>, on_line: &mut impl FnMut(&str)) -> bool {
        let deadline = Instant::now() + self.limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match lines.recv_timeout(left) {
                Ok(line) => {
                    on_line(&line);
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
            .args(["-accel", &self.accelerator, "-cpu", "max"])
            .args(["-smp", &PROCESSORS.to_string()])
            .args(["-m", &MEMORY_MIB.to_string()])
            .args(["-chardev", "stdio,id=results,signal=off"])
            .args(["-serial", "chardev:results", "-serial"])
            .arg(format!("file:{}", self.console().display()))
            .args(["-append", KERNEL_ARGUMENTS, "-kernel"])
            .arg(kernel.image())
            .arg("-initrd")
            .arg(archive)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(LabError::io("start", QEMU))
    }

    /// What the kernel says.
    pub fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }
}

fn write_archive(tree: &Tree, path: &Path) -> Result<(), LabError> {
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
