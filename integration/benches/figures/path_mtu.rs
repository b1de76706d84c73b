//! The path MTU of a host behind ten routers, the last of them with a narrow link: `mesh-probe mtu`, and `tracepath`.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use crate::{
    delay,
    figure::{Better, Figure, Goal, median},
    namespace::{beside, sh},
};

const FAR: &str = "10.9.255.1";
const MTU: &str = "1400";
/// Routers between us and the host, about as many as between a home and a data centre; the last one's far link is narrow.
const ROUTERS: u8 = 10;
/// Of the first link, each way: a path from a home to a data centre takes some 20 ms there and back.
const DELAY: Duration = Duration::from_millis(10);
const CLEAN_ROUNDS: usize = 7;
/// tracepath waits a second, three times, for each hop that says nothing.
const HOLE_ROUNDS: usize = 3;
/// tracepath would go on for 30 hops; the host is the eleventh. This spares it a minute.
const HOPS: &str = "13";

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    path()?;
    let clean = measure("path-mtu-clean", CLEAN_ROUNDS, true)?;
    let last = format!("ip netns exec r{ROUTERS} nft");
    sh(&format!(
        "{last} 'table inet hole {{ chain out {{ type filter hook output priority 0; icmp code 4 drop; }}; }}'
        ip route flush cache"
    ))?;
    let hole = measure("path-mtu-black-hole", HOLE_ROUNDS, false)?;
    Ok(vec![clean, hole])
}

/// Us, a line of routers, and a host that answers all it is asked. Router `n` has 10.9.(n-1).2 towards us and 10.9.n.1
/// towards the host.
fn path() -> anyhow::Result<()> {
    delay::link("near", "wan", DELAY)?;
    sh(
        "ip netns add far; ip addr add 10.9.0.1/24 dev near; ip link set near up; ip route add default via 10.9.0.2",
    )?;
    for router in 1..=ROUTERS {
        sh(&format!(
            "ip netns add r{router}; ip -n r{router} link set lo up
            ip netns exec r{router} sysctl -qw net.ipv4.ip_forward=1 net.ipv4.icmp_ratelimit=0"
        ))?;
    }
    sh(
        "ip link set wan netns r1; ip -n r1 addr add 10.9.0.2/24 dev wan; ip -n r1 link set wan up",
    )?;
    for router in 1..ROUTERS {
        let next = router + 1;
        sh(&format!(
            "ip -n r{router} link add ahead type veth peer name behind netns r{next}
            ip -n r{router} addr add 10.9.{router}.1/24 dev ahead; ip -n r{router} link set ahead up
            ip -n r{next} addr add 10.9.{router}.2/24 dev behind; ip -n r{next} link set behind up
            ip -n r{router} route add 10.9.255.0/24 via 10.9.{router}.2
            ip -n r{next} route add 10.9.0.0/24 via 10.9.{router}.1"
        ))?;
    }
    sh(&format!(
        "ip -n r{ROUTERS} link add ahead mtu {MTU} type veth peer name eth0 netns far
        ip -n r{ROUTERS} addr add 10.9.255.2/24 dev ahead; ip -n r{ROUTERS} link set ahead up
        ip -n far addr add {FAR}/24 dev eth0; ip -n far link set eth0 mtu {MTU}; ip -n far link set eth0 up
        ip -n far route add default via 10.9.255.2; ip netns exec far sysctl -qw net.ipv4.icmp_ratelimit=0"
    ))
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
