//! The path MTU of a host behind a router with a narrow link: `mesh-probe mtu`, and `tracepath`.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    figure::{Better, Figure, Goal, median},
    namespace::{beside, sh},
};

const FAR: &str = "10.9.1.1";
const MTU: &str = "1400";
/// On a clean path both are done in milliseconds.
const CLEAN_ROUNDS: usize = 21;
/// tracepath waits a second, three times, for each hop that says nothing.
const HOLE_ROUNDS: usize = 3;
/// tracepath would go on for 30 hops; the host is the second. This spares it 78 seconds.
const HOPS: &str = "4";

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    two_hops()?;
    let clean = measure("path-mtu-clean", CLEAN_ROUNDS, true)?;
    sh("ip netns exec hop nft 'table inet hole { chain out { type filter hook output priority 0; icmp code 4 drop; }; }'
        ip route flush cache")?;
    let hole = measure("path-mtu-black-hole", HOLE_ROUNDS, false)?;
    Ok(vec![clean, hole])
}

/// Us, a router whose far link is narrow, and a host that answers all it is asked.
fn two_hops() -> anyhow::Result<()> {
    sh("ip netns add hop; ip netns add far
        ip link add near type veth peer name hop0 netns hop
        ip -n hop link add hop1 type veth peer name far0 netns far
        ip addr add 10.9.0.1/24 dev near; ip link set dev near up; ip route add default via 10.9.0.2
        ip -n hop addr add 10.9.0.2/24 dev hop0; ip -n hop link set dev hop0 up
        ip -n hop addr add 10.9.1.2/24 dev hop1; ip -n hop link set dev hop1 mtu 1400; ip -n hop link set dev hop1 up
        ip -n far addr add 10.9.1.1/24 dev far0; ip -n far link set dev far0 mtu 1400; ip -n far link set dev far0 up
        ip -n far route add default via 10.9.1.2
        ip netns exec hop sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0
        ip netns exec far sysctl -qw net.ipv4.icmp_ratelimit=0")
    .map(drop)
}

fn measure(name: &'static str, rounds: usize, told: bool) -> anyhow::Result<Figure> {
    let mut ours = Command::new(beside("mesh-probe")?);
    ours.args(["mtu", FAR, "--mark", "0", "-o", "json"]);
    let mut peer = Command::new("tracepath");
    peer.args(["-n", "-m", HOPS, FAR]);
    let (mut mine, mut others) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (took, said) = time(&mut ours)?;
        ensure!(said.contains(MTU), "the path MTU is {MTU}: {said}");
        mine.push(took);
        // What the kernel has learned of the path would spare tracepath its work.
        sh("ip route flush cache")?;
        let (took, said) = time(&mut peer)?;
        ensure!(!told || said.contains(MTU), "the path MTU is {MTU}: {said}");
        others.push(took);
        sh("ip route flush cache")?;
    }
    Ok(Figure {
        name,
        unit: "ms",
        ours: median(mine),
        peer: Some(median(others)),
        better: Better::Less,
        goal: Goal::Ratio(5.0),
    })
}

/// Milliseconds of a whole process, and what it printed.
fn time(command: &mut Command) -> anyhow::Result<(f64, String)> {
    let start = Instant::now();
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    let took: Duration = start.elapsed();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((took.as_secs_f64() * 1e3, said))
}
