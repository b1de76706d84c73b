//! What agents at work cost a transfer through the tunnel: the same transfer with them, searching for sizes all the while,
//! and without them.

use std::{
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use crate::{
    figure::{Better, Figure, Goal, median},
    namespace::beside,
};

const ROUNDS: usize = 3;
const SECONDS: u32 = 6;
const NODES: [&str; 4] = ["vps-1", "vps-2", "home-cp", "home-worker"];
/// The share of the transfer that must be left.
const GOAL: f64 = 0.95;
const START: Duration = Duration::from_mins(1);

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    let lab = Lab::up()?;
    lab.shell(
        "vps-1",
        "wg show kubespan preshared-keys | awk '{print $2; exit}' > /run/mesh.key",
    )?;
    lab.shell(
        "vps-2",
        "setsid iperf3 -s > /run/iperf3.log 2>&1 < /dev/null &",
    )?;
    // The overlay's port is shut: so the agents search for sizes on it, one peer after the other.
    lab.shell(
        "vps-2",
        "nft 'table inet shut { chain input { type filter hook input priority 0; udp dport 8472 drop; }; }'",
    )?;
    let address = lab.shell("vps-2", "ip -o -6 addr show dev kubespan scope global | awk '{ split($4, a, \"/\"); print a[1]; exit }'")?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        without.push(lab.transfer(address.trim())?);
        lab.start_agents()?;
        with.push(lab.transfer(address.trim())?);
        lab.stop_agents()?;
    }
    let endpoints = lab.shell("vps-1", "wg show kubespan endpoints")?;
    ensure!(
        endpoints.contains("203.0.113.12:51820"),
        "an endpoint has moved: {endpoints}"
    );
    Ok(vec![Figure {
        name: "transfer-beside-agents",
        unit: "Mbit/s",
        ours: median(with),
        peer: Some(median(without)),
        better: Better::More,
        goal: Goal::Ratio(GOAL),
    }])
}

/// A lab that ends with this value.
struct Lab {
    program: PathBuf,
}

impl Lab {
    fn up() -> anyhow::Result<Self> {
        let lab = Self {
            program: beside("lab")?,
        };
        let output = lab.run(&["up", "--network-only"])?;
        ensure!(
            output.status.success(),
            "lab up: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(lab)
    }

    fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Command::new(&self.program)
            .args(arguments)
            .output()
            .context("run lab")
    }

    fn shell(&self, host: &str, script: &str) -> anyhow::Result<String> {
        let output = self.run(&["enter", host, "sh", "-c", script])?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script} on {host}: {errors}");
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Megabits a second that arrive at vps-2.
    fn transfer(&self, to: &str) -> anyhow::Result<f64> {
        let said = self.shell("vps-1", &format!("iperf3 -J -c {to} -t {SECONDS}"))?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let bits = said["end"]["sum_received"]["bits_per_second"].as_f64();
        Ok(bits.context("iperf3 says how much was received")? / 1e6)
    }

    /// Starts the programs and waits until the mesh is ready, and sizes have begun to be searched.
    fn start_agents(&self) -> anyhow::Result<()> {
        let run = |node, name: &str, command: &str| {
            let script = format!(
                "setsid {command} > /run/{name}.log 2>&1 < /dev/null & echo $! > /run/{name}.pid"
            );
            self.shell(node, &script).map(drop)
        };
        run(
            "vps-1",
            "collector",
            "mesh-collector --listen 0.0.0.0:21820 --mesh-key-file /run/mesh.key",
        )?;
        for node in NODES {
            run(node, "agent", "mesh-agent --collector 203.0.113.11:21820")?;
        }
        let ask = "mesh-probe --collector 203.0.113.11:21820 --mesh-key-file /run/mesh.key";
        let wait = format!("{ask} gate mesh --wait-timeout {}s", START.as_secs());
        self.shell("vps-1", &wait)?;
        // Ends with the finding that the port is shut: three losses in a row, and a search.
        self.shell("vps-1", &format!("for i in $(seq 30); do {ask} status | grep -q overlay-port-blocked && exit 0; sleep 1; done; exit 1"))
            .map(drop)
    }

    fn stop_agents(&self) -> anyhow::Result<()> {
        for node in NODES {
            self.shell(node, "kill $(cat /run/agent.pid)")?;
        }
        self.shell("vps-1", "kill $(cat /run/collector.pid)")
            .map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What cannot be ended here ends with the namespaces of the bench.
        drop(self.run(&["down"]));
    }
}
