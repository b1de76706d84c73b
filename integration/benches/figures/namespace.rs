//! Where benches run: in user, network and mount namespaces of their own, so that nothing of the machine is touched.

use std::{
    env,
    fs::File,
    os::fd::AsFd as _,
    path::PathBuf,
    process::{Command, ExitStatus},
};

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Set to the name of the bench in the program that runs inside.
pub(crate) const INSIDE: &str = "BENCH_INSIDE";

/// Runs this program again in new namespaces, for one bench.
pub(crate) fn enter(bench: &str) -> anyhow::Result<ExitStatus> {
    let setup =
        "mount -t tmpfs tmpfs /run && mkdir /run/wireguard && ip link set lo up && exec \"$@\"";
    Command::new("unshare")
        .args(["-Urnm", "--kill-child", "sh", "-ec", setup, "sh"])
        .arg(env::current_exe()?)
        .env(INSIDE, bench)
        .status()
        .context("start unshare")
}

/// Runs a shell script that must succeed, and gives back what it printed.
pub(crate) fn sh(script: &str) -> anyhow::Result<String> {
    let output = Command::new("sh").args(["-ec", script]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// A second network namespace, `far`, behind a wire: we are 10.9.0.1, there are so many addresses from 10.9.0.2 on.
pub(crate) fn wire_up(addresses: u8) -> anyhow::Result<()> {
    let far = (2..).take(usize::from(addresses));
    let far = far.map(|host| format!("ip -n far addr add 10.9.0.{host}/24 dev far\n"));
    let wire = "ip netns add far; ip link add near type veth peer name far netns far
        ip addr add 10.9.0.1/24 dev near; ip link set near up; ip -n far link set lo up; ip -n far link set far up
        ip netns exec far sysctl -qw net.ipv4.icmp_ratelimit=0\n";
    sh(&format!("{wire}{}", far.collect::<String>())).map(drop)
}

/// A program of the project that was built with this one.
pub(crate) fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let here = env::current_exe()?;
    let folder = here
        .ancestors()
        .nth(2)
        .context("benches are built in a folder of their own")?;
    let program = folder.join(name);
    ensure!(program.exists(), "{} is not built", program.display());
    Ok(program)
}

/// Moves this thread to the far end of the wire: sockets that it opens from now on are there.
pub(crate) fn go_far() -> anyhow::Result<()> {
    let far = File::open("/run/netns/far").context("open the namespace at the far end")?;
    move_into_link_name_space(far.as_fd(), Some(LinkNameSpaceType::Network))
        .context("enter the namespace at the far end")
}
