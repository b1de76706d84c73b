//! Reading a device with a thousand peers: our reader, and `wg`. Both ask wireguard-go, whose own time is in both figures.

use std::{
    env, fs,
    io::{self, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use sources::wireguard::Device;

use crate::{
    figure::{Better, Figure, Goal, median},
    namespace::sh,
};

const PEERS: usize = 1000;
const ROUNDS: usize = 21;
const INTERFACE: &str = "kubespan";
const SOCKET: &str = "/run/wireguard/kubespan.sock";
/// Set in the program that reads the device once, prints it as `wg` does, and ends.
const READER: &str = "BENCH_READ_WIREGUARD";
/// How long the daemon may take to start.
const BOUND: Duration = Duration::from_secs(10);

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    let _daemon = Daemon::start()?;
    configure()?;
    let mut wg = Command::new("wg");
    wg.args(["show", "all", "dump"]);
    let mut ours = Command::new(env::current_exe()?);
    ours.env(READER, INTERFACE);
    check(&mut ours, &mut wg)?;
    let runtime = runtime()?;
    let (mut inside, mut whole, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        inside.push(millis(|| runtime.block_on(device()).map(drop))?);
        whole.push(millis(|| finish(&mut ours))?);
        peer.push(millis(|| finish(&mut wg))?);
    }
    let figure = |name, ours| Figure {
        name,
        unit: "ms",
        ours: median(ours),
        peer: Some(median(peer.clone())),
        better: Better::Less,
        goal: Goal::Ratio(1.0),
    };
    Ok(vec![
        figure("wireguard-read-1000", whole),
        figure("wireguard-read-1000-in-process", inside),
    ])
}

/// Whether this program is to read the device and nothing else.
pub(crate) fn is_reader() -> bool {
    env::var_os(READER).is_some()
}

/// What `wg show all dump` does, with our reader: keys aside, which it never has.
pub(crate) fn read_once() -> anyhow::Result<()> {
    let device = runtime()?.block_on(device())?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    for peer in &device.peers {
        let endpoint = peer
            .endpoint
            .map_or_else(|| "(none)".to_owned(), |endpoint| endpoint.to_string());
        let allowed: Vec<_> = peer.allowed_ips.iter().map(ToString::to_string).collect();
        let handshake = peer.last_handshake.unwrap_or_default().as_secs();
        let keepalive = peer.keepalive.unwrap_or(0);
        let (rx, tx) = (peer.rx_bytes, peer.tx_bytes);
        let (key, allowed) = (peer.public_key, allowed.join(","));
        writeln!(
            out,
            "{INTERFACE}\t{key}\t{endpoint}\t{allowed}\t{handshake}\t{rx}\t{tx}\t{keepalive}"
        )?;
    }
    Ok(out.flush()?)
}

async fn device() -> anyhow::Result<Device> {
    Ok(sources::wireguard::read(INTERFACE).await?)
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// Both say the same of each peer, or their speeds could not be compared.
fn check(ours: &mut Command, wg: &mut Command) -> anyhow::Result<()> {
    let keys = |command: &mut Command, column: usize| -> anyhow::Result<Vec<String>> {
        let output = command.output()?;
        ensure!(
            output.status.success(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout)?;
        let lines = text
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>());
        let peers = lines.filter(|columns| columns.len() > column + 6);
        let mut keys: Vec<_> = peers.map(|columns| columns[column].to_owned()).collect();
        keys.sort();
        Ok(keys)
    };
    let (ours, theirs) = (keys(ours, 1)?, keys(wg, 1)?);
    ensure!(
        ours.len() == PEERS && ours == theirs,
        "{} peers, wg says {}",
        ours.len(),
        theirs.len()
    );
    Ok(())
}

fn finish(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn millis(mut job: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = Instant::now();
    job()?;
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

/// A thousand peers as `KubeSpan` has them: an endpoint, a preshared key, an address and a network each.
fn configure() -> anyhow::Result<()> {
    use std::fmt::Write as _;
    let key = sh("wg genkey")?;
    let shared = sh("wg genpsk")?;
    let mut text = format!("[Interface]\nPrivateKey={key}ListenPort=51820\nFwMark=0x20\n");
    for number in 0..PEERS {
        let (high, low) = (number / 250, number % 250 + 1);
        // No curve is asked: any 32 bytes are a public key to the daemon.
        let public = public_key(number);
        write!(
            text,
            "[Peer]\nPublicKey={public}\nPresharedKey={shared}Endpoint=10.200.{high}.{low}:51820\n\
             AllowedIPs=10.{}.{low}.0/24,fd7f::{number:x}/128\n",
            100 + high
        )?;
    }
    let file = "/run/kubespan.conf";
    fs::write(file, text)?;
    sh(&format!("wg setconf {INTERFACE} {file}; rm {file}")).map(drop)
}

fn public_key(number: usize) -> evidence::PublicKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    evidence::PublicKey::from_bytes(bytes)
}

/// A wireguard-go daemon that ends with this value.
struct Daemon(Child);

impl Daemon {
    fn start() -> anyhow::Result<Self> {
        let daemon = Command::new("wireguard-go")
            .args(["-f", INTERFACE])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let daemon = Self(daemon.context("start wireguard-go")?);
        let start = Instant::now();
        while !Path::new(SOCKET).exists() {
            ensure!(
                start.elapsed() < BOUND,
                "wireguard-go has no socket after {BOUND:?}"
            );
            thread::yield_now();
        }
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}
