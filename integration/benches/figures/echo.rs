//! Probes per CPU second of the asking side: our prober on its socket, and fping. Beside them what no program can do with less
//! on a socket of UDP: the same datagrams sent and received by a bare loop (`echo-floor`).
//!
//! Both ask 68 addresses at the far end of a wire: once as fast as replies come, and once at the pace of an agent, 34 a second, where
//! waking up is most of the cost. When fast, time of the prober is virtual (two seconds pass at once when all have
//! answered), because its budget would otherwise be what is measured; replies are
//! read at each third tick. fping's replies are made by the kernel on fping's account; ours
//! are made by another thread, which is not counted.

mod bare;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use evidence::PublicKey;
use probe_core::{
    ProbeKey, Stamp,
    echo::{Answer, Input, MAX_REQUESTS_PER_SECOND, Output, Prober, Responder, Walls},
};
use probe_io::{EchoEvent, EchoReplies, EchoSocket, clock};

use crate::{
    cpu,
    figure::{Better, Figure, Goal, median},
    namespace::{go_far, wire_up},
};

const ME: PublicKey = PublicKey::from_bytes([0xee; 32]);
/// So many are asked twice in a second by one node.
const PEERS: u8 = 68;
const PER_PEER: u32 = 300;
const ROUNDS: usize = 7;
/// At the pace of an agent: requests per peer, two seconds from each to the next.
const PACED_PER_PEER: u32 = 5;
const PACED_ROUNDS: usize = 3;
const PORT: u16 = 21820;
/// Ticks after which replies are read when time is virtual.
const TICKS_UNREAD: u32 = 3;
/// Most that leave together.
const AT_A_TICK: u32 = MAX_REQUESTS_PER_SECOND.div_ceil(4);
/// How long a round may take before something is wrong.
const BOUND: Duration = Duration::from_mins(1);

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    wire_up(PEERS)?;
    let far = Far::start()?;
    let mut figures = Vec::from(figures(
        ["echo-probes-per-cpu-second", "echo-floor"],
        ROUNDS,
        Pace::Fast,
    )?);
    figures.extend(self::figures(
        ["echo-probes-per-cpu-second-paced", "echo-floor-paced"],
        PACED_ROUNDS,
        Pace::Agent,
    )?);
    far.stop()?;
    Ok(figures)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as replies come.
    Fast,
    /// Each peer in two seconds.
    Agent,
}

fn figures(names: [&'static str; 2], rounds: usize, pace: Pace) -> anyhow::Result<[Figure; 2]> {
    let (mut ours, mut floor, mut peer) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(ask(pace)?);
        floor.push(bare::ask(pace)?);
        peer.push(fping(pace)?);
    }
    let peer = median(peer);
    let figure = |name, ours| Figure {
        name,
        unit: "",
        ours,
        peer: Some(peer),
        better: Better::More,
        goal: Goal::Ratio(10.0),
    };
    let [name, floor_name] = names;
    Ok([
        figure(name, median(ours)),
        figure(floor_name, median(floor)),
    ])
}

fn key() -> ProbeKey {
    ProbeKey::from_bytes([7; 32])
}

fn node(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

/// Where a peer listens.
fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([10, 9, 0, 2 + number], PORT))
}

fn ask(pace: Pace) -> anyhow::Result<f64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let asking = async {
        match pace {
            Pace::Fast => Asking::new(Stamp::from_micros(0))?.run_fast().await,
            Pace::Agent => Asking::new(clock::stamp())?.run_paced().await,
        }
    };
    runtime.block_on(async { tokio::time::timeout(BOUND, asking).await? })
}

struct Asking {
    socket: EchoSocket,
    replies: EchoReplies,
    prober: Prober,
    addresses: BTreeMap<PublicKey, SocketAddr>,
    now: Stamp,
    sent: u64,
    waiting: u64,
}

impl Asking {
    fn new(now: Stamp) -> anyhow::Result<Self> {
        // A new session each time, or the responders would take it for a replay.
        let session = u64::from(std::process::id()) << 32 | u64::from(rand::random::<u32>());
        let (socket, replies) = EchoSocket::bind_with_replies("10.9.0.1:0".parse()?)?;
        let mut asking = Self {
            socket,
            replies,
            prober: Prober::new(ME, key(), session, 1, MAX_REQUESTS_PER_SECOND),
            addresses: BTreeMap::new(),
            now,
            sent: 0,
            waiting: 0,
        };
        for number in 0..PEERS {
            asking.addresses.insert(node(number), address(number));
            asking
                .prober
                .handle(Input::PeerAdded(node(number)), asking.now);
        }
        Ok(asking)
    }

    /// Probes per CPU second of this thread.
    async fn run_fast(mut self) -> anyhow::Result<f64> {
        let wanted = u64::from(PEERS) * u64::from(PER_PEER);
        let start = cpu::of_this_thread()?;
        let mut ticks = 0;
        while self.sent < wanted {
            let until = self.send()?;
            // The fourth tick from here on would give the first request up.
            ticks += 1;
            while ticks % TICKS_UNREAD == 0 && self.waiting > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                self.receive()?;
            }
            self.now = self.now.max(until);
            self.prober.handle(Input::Tick, self.now);
        }
        while self.waiting > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.receive()?;
        }
        let spent = cpu::of_this_thread()? - start;
        self.check()?;
        Ok(per_second(self.sent, spent))
    }

    /// The same in real time, as the agent's driver does it.
    async fn run_paced(mut self) -> anyhow::Result<f64> {
        let wanted = u64::from(PEERS) * u64::from(PACED_PER_PEER);
        let start = cpu::of_this_thread()?;
        while self.sent < wanted || self.waiting > 0 {
            let until = self.send()?;
            let pause = Duration::from_micros(until.micros_since(clock::stamp()));
            tokio::time::sleep(pause).await;
            self.now = clock::stamp();
            self.receive()?;
            self.prober.handle(Input::Tick, self.now);
        }
        Ok(per_second(self.sent, cpu::of_this_thread()? - start))
    }

    /// Sends what the prober wants to send now, and says when it wants more.
    fn send(&mut self) -> anyhow::Result<Stamp> {
        loop {
            match self.prober.poll() {
                Output::Transmit { to, bytes } => {
                    let to = self.addresses.get(&to).context("only peers are asked")?;
                    self.socket.send_to(&bytes, *to)?;
                    self.sent += 1;
                    self.waiting += 1;
                }
                Output::Event(_) => {}
                Output::Wait { until, .. } => return Ok(Stamp::from(until)),
            }
        }
    }

    fn receive(&mut self) -> anyhow::Result<()> {
        let mut event = self.replies.try_next()?;
        while let Some(EchoEvent::Datagram {
            bytes, received_at, ..
        }) = event
        {
            // Where time is virtual, replies take none.
            let received_at = received_at.min(self.now);
            let bytes = &bytes;
            self.prober
                .handle(Input::Datagram { bytes, received_at }, self.now);
            self.waiting = self.waiting.saturating_sub(1);
            event = self.replies.try_next()?;
        }
        ensure!(event.is_none(), "refused: {event:?}");
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let answered: u64 = self.prober.peers().map(|(_, stats)| stats.answered).sum();
        ensure!(
            answered == self.sent,
            "{answered} of {} requests were answered",
            self.sent
        );
        Ok(())
    }
}

fn fping(pace: Pace) -> anyhow::Result<f64> {
    // `-i`: milliseconds from one target to the next; `-p`: from one request to the next of the same target.
    let (options, per_peer) = match pace {
        Pace::Fast => (["-q", "-i", "0", "-p", "1", "-t", "500"], PER_PEER),
        Pace::Agent => (
            ["-q", "-i", "29", "-p", "2000", "-t", "500"],
            PACED_PER_PEER,
        ),
    };
    let mut command = Command::new("fping");
    command.args(options).arg("-c").arg(per_peer.to_string());
    command.args((0..PEERS).map(|number| address(number).ip().to_string()));
    let start = cpu::of_children()?;
    let status = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("start fping")?;
    let spent = cpu::of_children()? - start;
    ensure!(status.success(), "fping lost something: {status}");
    Ok(per_second(u64::from(PEERS) * u64::from(per_peer), spent))
}

fn per_second(probes: u64, seconds: f64) -> f64 {
    u32::try_from(probes).map_or(f64::INFINITY, f64::from) / seconds
}

/// The thread at the far end of the wire that answers for all peers.
struct Far {
    thread: thread::JoinHandle<anyhow::Result<()>>,
    stop: mpsc::Sender<()>,
}

impl Far {
    fn start() -> anyhow::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (listening, is_listening) = mpsc::channel();
        let thread = thread::spawn(move || {
            go_far()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(answer(&listening, &stopped))
        });
        let started = Instant::now();
        let ready = is_listening.recv_timeout(BOUND);
        ready.with_context(|| {
            format!(
                "nobody answers at the far end after {:?}",
                started.elapsed()
            )
        })?;
        Ok(Self { thread, stop })
    }

    fn stop(self) -> anyhow::Result<()> {
        drop(self.stop);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the far end panicked"))?
    }
}

async fn answer(listening: &mpsc::Sender<()>, stopped: &mpsc::Receiver<()>) -> anyhow::Result<()> {
    let mut socket = EchoSocket::bind(SocketAddr::from(([0, 0, 0, 0], PORT)))?;
    let mut responders: Vec<_> = (0..PEERS)
        .map(|number| Responder::new(node(number), key()))
        .collect();
    for responder in &mut responders {
        responder.add_peer(ME);
    }
    listening.send(())?;
    // Virtual too: a second passes with each request, so that the limit on replies is never reached.
    let mut now = evidence::Moment::ZERO;
    loop {
        match tokio::time::timeout(Duration::from_millis(100), socket.next()).await {
            Err(_) if stopped.try_recv() == Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
            Ok(Ok(EchoEvent::Datagram { from, bytes, .. })) if bytes.starts_with(bare::BEGIN) => {
                socket.send_to(&bytes, from)?;
            }
            Ok(Ok(EchoEvent::Datagram { from, bytes, .. })) => {
                now = now.plus(Duration::from_secs(1));
                let receiver = bytes.get(40).copied().map(usize::from);
                let responder = receiver.and_then(|number| responders.get_mut(number));
                if let Some(Answer::Reply(reply)) =
                    responder.map(|one| one.handle(&bytes, now, Walls::default()))
                {
                    socket.send_to(&reply, from)?;
                }
            }
            Err(_) | Ok(Ok(EchoEvent::Refused { .. } | EchoEvent::TooBig { .. })) => {}
            Ok(Err(error)) => return Err(error.into()),
        }
    }
}
