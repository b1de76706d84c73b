//! The servers under load, each a process of its own, and what they cost.

use std::{
    env, fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::param::clock_ticks_per_second;

use super::service;
use crate::namespace::beside;

/// Where all of them listen; each bench has a network of its own.
pub(crate) const ADDRESS: &str = "127.0.0.1:21820";
/// Where the collector answers by HTTP.
pub(crate) const HTTP: &str = "127.0.0.1:21821";
/// The mesh key of the bench, in base64: thirty-two times the byte 7.
pub(crate) const MESH_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
/// How long a server may take to start.
const START: Duration = Duration::from_secs(20);

/// Who is put under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Server {
    /// A bare service of tonic: decodes each message, drops it, acknowledges it.
    Bare,
    /// The collector with a judge that looks at nothing: what it costs to take reports in.
    Intake,
    /// The program `mesh-collector`.
    Collector,
}

/// A server that ends with this value.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Who it is, for messages.
    server: Server,
}

impl Process {
    pub(crate) fn start(server: Server) -> anyhow::Result<Self> {
        Self::start_on(server, ADDRESS, HTTP)
    }

    /// A collector that listens elsewhere.
    pub(crate) fn collector_on(address: &str, http: &str) -> anyhow::Result<Self> {
        Self::start_on(Server::Collector, address, http)
    }

    fn start_on(server: Server, address: &str, http: &str) -> anyhow::Result<Self> {
        let mut command = match server {
            Server::Collector => {
                let mut command = Command::new(beside("mesh-collector")?);
                command.args(["--listen", address, "--http", http, "--http-details"]);
                command
            }
            Server::Bare | Server::Intake => {
                let mut command = Command::new(env::current_exe()?);
                command.env(service::KIND, format!("{server:?}"));
                command
            }
        };
        let child = command
            .env("MESH_KEY", MESH_KEY)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("start {server:?}"))?;
        let mut process = Self { child, server };
        let begun = Instant::now();
        while !listens(address)? || (server == Server::Collector && !listens(http)?) {
            process.check()?;
            ensure!(begun.elapsed() < START, "{server:?} does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(process)
    }

    /// Fails when it has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{:?} has ended: {status}", self.server);
        }
        Ok(())
    }

    /// Processor time so far, in seconds, of all threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<f64> {
        let stat = self.read("stat")?;
        // The name of the program may hold anything but ends with the last bracket.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks = ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
        Ok(ticks / f64::from(u32::try_from(clock_ticks_per_second())?))
    }

    /// Megabytes that it holds at present, and at most so far.
    pub(crate) fn memory(&self) -> anyhow::Result<(f64, f64)> {
        let status = self.read("status")?;
        let of = |field: &str| -> anyhow::Result<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(field));
            let kilobytes = line.and_then(|line| line.split_whitespace().next());
            let kilobytes: f64 = kilobytes.with_context(|| format!("no {field}"))?.parse()?;
            Ok(kilobytes / 1024.0)
        };
        Ok((of("VmRSS:")?, of("VmHWM:")?))
    }

    fn read(&self, file: &str) -> anyhow::Result<String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).with_context(|| format!("read {path} of {:?}", self.server))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether somebody listens there, without connecting: that would be counted.
fn listens(address: &str) -> anyhow::Result<bool> {
    let address: SocketAddr = address.parse()?;
    let wanted = format!(":{:04X} 00000000:0000 0A", address.port());
    let sockets = fs::read_to_string("/proc/self/net/tcp")?;
    Ok(sockets.contains(&wanted))
}
