//! What a datagram to a peer and the one that comes back cost at least: a loop that does nothing else.

use std::{io, net::UdpSocket, thread, time::Duration};

use anyhow::ensure;
use probe_core::echo::{LENGTH, TICK};

use super::{
    AT_A_TICK, BOUND, PACED_PER_PEER, PEERS, PER_PEER, Pace, TICKS_UNREAD, address, per_second,
};
use crate::cpu;

/// What the far end sends back as it is.
pub(super) const BEGIN: &[u8] = b"bare";

/// Probes per CPU second of this thread.
pub(super) fn ask(pace: Pace) -> anyhow::Result<f64> {
    let (per_peer, together, pause) = match pace {
        Pace::Fast => (PER_PEER, AT_A_TICK * TICKS_UNREAD, Duration::from_millis(1)),
        Pace::Agent => (PACED_PER_PEER, AT_A_TICK, TICK),
    };
    let socket = UdpSocket::bind("10.9.0.1:0")?;
    socket.set_nonblocking(true)?;
    let mut payload = [0; LENGTH];
    payload[..BEGIN.len()].copy_from_slice(BEGIN);
    let wanted = u64::from(PEERS) * u64::from(per_peer);
    let (mut sent, mut answered) = (0, 0);
    let mut peers = (0..PEERS).cycle().map(address);
    let started = std::time::Instant::now();
    let start = cpu::of_this_thread()?;
    while answered < wanted {
        for to in peers.by_ref().take(usize::try_from(together)?) {
            if sent < wanted {
                socket.send_to(&payload, to)?;
                sent += 1;
            }
        }
        while answered < sent {
            thread::sleep(pause);
            answered += received(&socket)?;
            ensure!(started.elapsed() < BOUND, "{answered} of {sent} came back");
        }
    }
    Ok(per_second(sent, cpu::of_this_thread()? - start))
}

/// How many wait to be read.
fn received(socket: &UdpSocket) -> io::Result<u64> {
    let mut count = 0;
    let mut buffer = [0; LENGTH];
    loop {
        match socket.recv_from(&mut buffer) {
            Ok(_) => count += 1,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
            Err(error) => return Err(error),
        }
    }
}
