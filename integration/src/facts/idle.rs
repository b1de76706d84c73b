//! A tunnel without traffic: who keeps it alive, and how old a handshake gets.

use std::{
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    facts::{
        Fact,
        handshake::{pauses, seconds},
        pair::{FAR, NEAR, Pair},
        tap::{Packet, Tap},
    },
    lab::LabError,
};

/// Longer than the 120 s after which an initiator of `WireGuard` renews a session that is used.
const WATCH: Duration = Duration::from_secs(150);
/// How often the age of the handshakes is looked at.
const LOOK: Duration = Duration::from_secs(5);
const KEEPALIVE: u16 = 32;

pub(super) fn measure(pair: &Pair) -> Result<Vec<Fact>, LabError> {
    let tap = Tap::start(&pair.lab, NEAR)?;
    let mut oldest = [0, 0];
    // Bounded by WATCH.
    for _ in 0..WATCH.as_secs() / LOOK.as_secs() {
        thread::sleep(LOOK);
        for (oldest, host) in oldest.iter_mut().zip([NEAR, FAR]) {
            *oldest = age(pair.read(host)?.handshake).max(*oldest);
        }
    }
    let packets = tap.stop()?;
    let how = format!(
        "both nodes with a keepalive of 25 s, no traffic for {} s; tap at one of them",
        WATCH.as_secs()
    );
    let near = pair.lab.node(NEAR)?.address;
    let (sent, heard): (Vec<_>, Vec<_>) =
        keepalives(&packets).partition(|packet| packet.from == near);
    let all: Vec<_> = keepalives(&packets).collect();
    let seen = format!(
        "{} and {} from either side; pauses between any two {}",
        sent.len(),
        heard.len(),
        pauses(&all)
    );
    let ages = format!("{} s and {} s", oldest[0], oldest[1]);
    Ok(vec![
        Fact::new("keepalives on an idle tunnel", seen, &how),
        Fact::new("handshakes on an idle tunnel", renewals(&packets), &how),
        Fact::new("oldest handshake on an idle tunnel", ages, &how),
    ])
}

fn keepalives(packets: &[Packet]) -> impl Iterator<Item = Packet> {
    let is_keepalive =
        |packet: &&Packet| packet.kind == Some(4) && packet.length == Some(KEEPALIVE);
    packets.iter().filter(is_keepalive).cloned()
}

fn renewals(packets: &[Packet]) -> String {
    let initiations = packets.iter().filter(|packet| packet.kind == Some(1));
    let times: Vec<_> = initiations.map(|packet| seconds(packet.at_ms)).collect();
    if times.is_empty() {
        return "none".to_owned();
    }
    format!("initiations {} s after the tap began", times.join(", "))
}

fn age(handshake: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs().saturating_sub(handshake))
}
