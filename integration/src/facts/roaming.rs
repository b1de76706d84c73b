//! Whether and when an endpoint follows its peer.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    facts::{
        Fact,
        pair::{FAR, NEAR, Pair},
        tap::Tap,
    },
    lab::{LabError, kubespan::LINK, topology::INTERNET},
};

/// The port that the dialling node moves to.
const NEW_PORT: u16 = 51821;
/// How long an endpoint may take to follow.
const FOLLOW_LIMIT: Duration = Duration::from_secs(20);
/// Longer than anything in flight needs to arrive and be counted.
const ARRIVAL: Duration = Duration::from_secs(1);

pub(super) fn measure(pair: &Pair) -> Result<Vec<Fact>, LabError> {
    pair.forget()?;
    pair.ping("-c 3 -i 0.3 -W 5")?;
    thread::sleep(ARRIVAL);
    Ok(vec![inert(pair)?, moved(pair)?])
}

/// Datagrams from a strange address whose first byte is no type of `WireGuard`'s. The other node cannot send them like this:
/// what it sends to a node's address goes into the tunnel.
fn inert(pair: &Pair) -> Result<Fact, LabError> {
    let before = pair.read(FAR)?;
    let far = pair.lab.node(FAR)?.address;
    let send = format!("for n in 1 2 3; do printf '\\0inert' > /dev/udp/{far}/51820; done");
    let tap = Tap::start(&pair.lab, FAR)?;
    pair.shell(INTERNET, &format!("bash -c \"{send}\""))?;
    thread::sleep(ARRIVAL);
    let arrived = tap.stop()?.len();
    let after = pair.read(FAR)?;
    let seen = format!(
        "{arrived} arrived: endpoint {}, handshake {}, rx +{}, tx +{}",
        same(before.endpoint == after.endpoint),
        same(before.handshake == after.handshake),
        after.rx - before.rx,
        after.tx - before.tx,
    );
    let how = "three datagrams with first byte 0 from a strange address and port; tap and `wg show dump` at the receiver";
    Ok(Fact::new("inert datagrams", seen, how))
}

fn moved(pair: &Pair) -> Result<Fact, LabError> {
    let before = pair.read(FAR)?;
    pair.shell(NEAR, &format!("wg set {LINK} listen-port {NEW_PORT}"))?;
    let silent = pair.read(FAR)?;
    let begin = Instant::now();
    pair.ping("-c 1 -W 5")?;
    let suffix = format!(":{NEW_PORT}");
    let after = pair.read_until("a followed endpoint", FAR, FOLLOW_LIMIT, |reading| {
        reading.endpoint.ends_with(&suffix)
    })?;
    let took = begin.elapsed().as_secs_f64();
    let seen = format!(
        "{} while nothing is sent, follows within {took:.1} s of the first data, handshake {}",
        same(before.endpoint == silent.endpoint),
        same(before.handshake == after.handshake),
    );
    let how = "listen port of one node changed, then one echo request from there; `wg show dump` of the other (commands included)";
    Ok(Fact::new("endpoint of a peer that moved", seen, how))
}

fn same(same: bool) -> &'static str {
    if same { "same" } else { "changed" }
}
