//! What the tap costs a node for each packet that is none of its business, and what a look for data messages costs besides, for
//! the two seconds that it takes.
//!
//! Delivery of a packet over a wire of this machine runs on the sender's account, filters included. So one thread sends, with
//! a tap at the far end and without, in turn, and the difference per packet is the tap's.

use std::{net::UdpSocket, sync::mpsc, thread};

use anyhow::Context as _;
use probe_io::{Tap, TapError};

use crate::{
    cpu,
    figure::{Better, Figure, Goal, median},
    namespace::{go_far, wire_up},
};

const PACKETS: u32 = 100_000;
const ROUNDS: usize = 15;
/// Neither the tunnel's port nor anybody's.
const FOREIGN: &str = "10.9.0.2:9000";
/// As long as a data packet of the tunnel.
const LENGTH: usize = 1200;
/// At ten thousand packets a second this is the 0.3 % of a core that an agent may use.
const GOAL_NANOS: f64 = 300.0;

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    wire_up(1)?;
    let open: [(&str, Open); 2] = [
        ("tap-cost-per-foreign-packet", || Tap::open(51820)),
        ("data-look-cost-per-foreign-packet", || {
            let peers: Vec<_> = (1..=16).map(|last| [203, 0, 113, last].into()).collect();
            Tap::open_for_data(51820, &peers)
        }),
    ];
    // Nobody reads: what comes is dropped as soon as the buffer of this socket is full.
    let _nobody = far(|| Ok(UdpSocket::bind(FOREIGN)?))?;
    send()?;
    open.into_iter()
        .map(|(name, open)| figure(name, open))
        .collect()
}

type Open = fn() -> Result<Tap, TapError>;

fn figure(name: &'static str, open: Open) -> anyhow::Result<Figure> {
    let mut differences = Vec::new();
    for _ in 0..ROUNDS {
        let without = send()?;
        let with = with_tap(open, send)?;
        differences.push(with - without);
    }
    Ok(Figure {
        name,
        unit: "ns",
        ours: median(differences),
        peer: None,
        better: Better::Less,
        goal: Goal::AtMost(GOAL_NANOS),
    })
}

/// Nanoseconds of CPU time per packet.
fn send() -> anyhow::Result<f64> {
    let socket = UdpSocket::bind("10.9.0.1:0")?;
    socket.connect(FOREIGN)?;
    let payload = [0; LENGTH];
    let start = cpu::of_this_thread()?;
    for _ in 0..PACKETS {
        socket.send(&payload)?;
    }
    Ok((cpu::of_this_thread()? - start) * 1e9 / f64::from(PACKETS))
}

/// Does `job` while a tap watches the far end.
fn with_tap<T>(open: Open, job: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (opened, is_open) = mpsc::channel();
    let (finished, is_finished) = mpsc::channel::<()>();
    let tap = thread::spawn(move || -> anyhow::Result<u64> {
        go_far()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let _entered = runtime.enter();
        let mut tap = open()?;
        opened.send(())?;
        // Ends when the other side is dropped.
        let _ended = is_finished.recv();
        Ok(tap.statistics()?.passed)
    });
    let outcome = is_open
        .recv()
        .map_err(anyhow::Error::from)
        .and_then(|()| job());
    drop(finished);
    let passed = tap
        .join()
        .map_err(|_| anyhow::anyhow!("the thread of the tap panicked"))??;
    anyhow::ensure!(
        passed == 0,
        "{passed} packets passed the filter: they are not foreign"
    );
    outcome
}

/// Does `job` at the far end of the wire.
fn far<T: Send + 'static>(
    job: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let thread = thread::spawn(|| go_far().and_then(|()| job()));
    let joined = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the thread at the far end panicked"));
    joined?.context("work at the far end")
}
