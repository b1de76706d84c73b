//! Two agents whose tunnel is good for a while and bad for a while.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use evidence::{
    Device, EchoHeard, EchoSent, Fact, Identity, Moment, Peer, Rtt, SourceId, SourceState,
};
use tokio::{task::JoinHandle, time::sleep};

use crate::fixture::{Agent, key, mesh_key, name};

pub(super) const NODES: [&str; 2] = ["vps-1", "vps-2"];

/// Between two reports.
const PACE: Duration = Duration::from_millis(15);
/// How long the tunnel is good, and then bad.
const TURN: Duration = Duration::from_millis(120);
const LONG_TURN: Duration = Duration::from_secs(2);

/// Starts both; they end with `stop`, or with the collector.
pub(super) async fn start(address: SocketAddr, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<()>> {
    let mut agents = Vec::new();
    let begun = Instant::now();
    for (node, other) in [(0, 1), (1, 0)] {
        let tls = mesh_key(7).agent_config(&name(NODES[node]), b"machine");
        let channel = super::channel(address, tls.unwrap()).await;
        let mut agent = Agent::on(channel).await.unwrap();
        agent.snapshot(facts(node, other, agent.now, true)).await;
        agent.response().await.unwrap();
        let stop = Arc::clone(stop);
        agents.push(tokio::spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                sleep(PACE).await;
                let age = begun.elapsed();
                // Short turns at first, then such that a path can be accused.
                let turn = if age < LONG_TURN { TURN } else { 2 * LONG_TURN };
                let good = (age.as_millis() / turn.as_millis()).is_multiple_of(2);
                agent.now = agent.now.plus(PACE);
                let delta = agent.try_delta(facts(node, other, agent.now, good));
                if delta.await.is_err() {
                    return;
                }
            }
        }));
    }
    agents
}

/// What a node says of the other one.
fn facts(node: usize, other: usize, now: Moment, good: bool) -> Vec<Fact> {
    let ago = |millis: i64| now.shifted(-millis);
    let of = |node: usize| key(u8::try_from(node).unwrap() + 1);
    let sources = SourceId::ALL.into_iter().map(|source| {
        let state = SourceState {
            read_at: ago(10),
            since: ago(590_000),
            gap: None,
        };
        Fact::Source(source, state)
    });
    let peer = Peer {
        endpoint: None,
        allowed_ips: Vec::new(),
        last_handshake: Some(ago(60_000)),
        rx_bytes: 10_000,
        tx_bytes: 10_000,
        rx_moved: Some(ago(10)),
        since: ago(590_000),
        keepalive: Some(25),
        endpoint_changes: Vec::new(),
    };
    let echo = EchoSent {
        sent: 100,
        answered: 100,
        consecutive_lost: if good { 0 } else { 6 },
        loss_since: (!good).then(|| ago(7000)),
        last_sent: Some(ago(100)),
        last_answered: Some(ago(if good { 90 } else { 8000 })),
        rtt: Some(Rtt {
            last_us: 20_000,
            min_us: 19_000,
            mean_us: 20_500,
            max_us: 25_000,
        }),
        window: 30,
        window_lost: 0,
        short_losses: 0,
        refused: None,
        clock: None,
    };
    let heard = EchoHeard {
        heard: 100,
        last_heard: Some(ago(if good { 90 } else { 8000 })),
        window: 30,
        window_missing: 0,
    };
    let own = [
        Fact::Identity(Identity {
            name: name(NODES[node]),
            public_key: Some(of(node)),
            kubespan_address: None,
            addresses: Vec::new(),
            boot_id: format!("boot-of-{node}"),
            instance: 1,
            version: "0.1.0".to_owned(),
        }),
        Fact::Device(Device {
            listen_port: Some(51820),
            fwmark: Some(0x20),
            mtu: Some(1420),
            up: Some(true),
        }),
        Fact::Peer(of(other), peer),
        Fact::EchoSent(of(other), echo),
        Fact::EchoHeard(of(other), heard),
    ];
    sources.chain(own).collect()
}
