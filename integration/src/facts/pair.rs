//! Two public nodes whose devices can be set back to nothing and read.

use std::{
    net::Ipv6Addr,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::lab::{
    Lab, LabError,
    kubespan::LINK,
    stage_kind::StageKind,
    topology::{INTERNET, Topology},
};

/// The one that dials.
pub const NEAR: &str = "vps-1";
pub const FAR: &str = "vps-2";
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(100);
/// The devices' configuration without keepalives, in each host's own `/run`.
const WHOLE: &str = "/run/whole";
const TOPOLOGY: &str = r#"
node = [
  { name = "vps-1", address = "203.0.113.11" },
  { name = "vps-2", address = "203.0.113.12" },
]
"#;

#[derive(Debug)]
pub struct Pair {
    pub lab: Lab,
    near: Peer,
    far: Peer,
}

/// A node as the other one knows it.
#[derive(Debug)]
struct Peer {
    key: String,
    address: Ipv6Addr,
}

/// What a device says of its only peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    pub endpoint: String,
    /// Seconds since the epoch, zero for never.
    pub handshake: u64,
    pub rx: u64,
    pub tx: u64,
}

impl Pair {
    pub fn up(stage: StageKind, folder: &Path) -> Result<Self, LabError> {
        let lab = Lab::up(stage.topology(&topology()), folder)?;
        lab.wait_until_connected()?;
        let peer = |name| {
            let identity = lab.mesh().identity(lab.node(name)?);
            Ok::<_, LabError>(Peer {
                key: identity.public_key.clone(),
                address: identity.address,
            })
        };
        Ok(Self {
            near: peer(NEAR)?,
            far: peer(FAR)?,
            lab,
        })
    }

    pub fn shell(&self, host: &str, script: &str) -> Result<String, LabError> {
        self.lab.host(host)?.shell(script)
    }

    /// The address of `FAR` inside of the tunnel.
    pub fn far_address(&self) -> Ipv6Addr {
        self.far.address
    }

    /// Both devices forget sessions and counters, know each other as before, and are silent.
    pub fn forget(&self) -> Result<(), LabError> {
        for host in [NEAR, FAR] {
            let key = &self.other(host).key;
            self.shell(
                host,
                &format!(
                    "wg set {LINK} peer {key} persistent-keepalive 0 && \
                     wg showconf {LINK} > {WHOLE} && wg set {LINK} peer {key} remove"
                ),
            )?;
        }
        let again = format!("wg addconf {LINK} {WHOLE}");
        self.shell(FAR, &again)?;
        self.shell(NEAR, &again).map(drop)
    }

    /// Makes `host` dial: a keepalive is due at once.
    pub fn keep_alive(&self, host: &str) -> Result<(), LabError> {
        let key = &self.other(host).key;
        let script = format!("wg set {LINK} peer {key} persistent-keepalive 25");
        self.shell(host, &script).map(drop)
    }

    /// Echo requests through the tunnel from `NEAR`; how many were answered.
    pub fn ping(&self, arguments: &str) -> Result<usize, LabError> {
        let script = format!("ping -6 -n {arguments} {} || true", self.far_address());
        let output = self.shell(NEAR, &script)?;
        Ok(output.matches("bytes from").count())
    }

    pub fn read(&self, host: &str) -> Result<Reading, LabError> {
        let dump = self.shell(host, &format!("wg show {LINK} dump"))?;
        Reading::of(&dump).ok_or_else(|| {
            LabError::Impossible(format!("wg on {host} did not show exactly one peer"))
        })
    }

    /// The same one reading after the other until it is as wanted.
    pub fn read_until(
        &self,
        what: &'static str,
        host: &str,
        limit: Duration,
        wanted: impl Fn(&Reading) -> bool,
    ) -> Result<Reading, LabError> {
        wait_until(what, host, limit, || Ok(wanted(&self.read(host)?)))?;
        self.read(host)
    }

    /// Adds a rule for all packets that cross the internet, until [`Pair::lift`].
    pub fn forbid(&self, rule: &str) -> Result<(), LabError> {
        let chain =
            format!("chain forward {{ type filter hook forward priority filter; {rule}; }}");
        self.shell(INTERNET, &format!("nft 'table inet forbid {{ {chain}; }}'"))
            .map(drop)
    }

    pub fn lift(&self) -> Result<(), LabError> {
        self.shell(INTERNET, "nft delete table inet forbid")
            .map(drop)
    }

    fn other(&self, host: &str) -> &Peer {
        if host == NEAR { &self.far } else { &self.near }
    }
}

fn topology() -> Topology {
    toml::from_str(TOPOLOGY).expect("the topology is tested")
}

impl Reading {
    /// The second line of `wg show DEVICE dump`.
    fn of(dump: &str) -> Option<Self> {
        let mut lines = dump.lines().skip(1);
        let fields: Vec<_> = lines.next()?.split('\t').collect();
        let [_, _, endpoint, _, handshake, rx, tx, _] = fields[..] else {
            return None;
        };
        lines.next().is_none().then_some(Self {
            endpoint: endpoint.to_owned(),
            handshake: handshake.parse().ok()?,
            rx: rx.parse().ok()?,
            tx: tx.parse().ok()?,
        })
    }
}

/// Looks until the condition holds, and returns how long that took.
pub fn wait_until(
    what: &'static str,
    host: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool, LabError>,
) -> Result<Duration, LabError> {
    let begin = Instant::now();
    while !condition()? {
        if begin.elapsed() > limit {
            return Err(LabError::TooSlow {
                what,
                host: host.to_owned(),
                seconds: limit.as_secs(),
                hint: String::new(),
            });
        }
        thread::sleep(POLL);
    }
    Ok(begin.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pair_is_a_possible_topology() {
        topology().validate().unwrap();
    }

    #[test]
    fn the_only_peer_of_a_dump_is_read() {
        let device = "k\tp\t51820\t0x20\n";
        let peer = "p\ts\t203.0.113.12:51820\tfd00::2/128\t1700000000\t92\t180\t25\n";
        let reading = Reading::of(&format!("{device}{peer}")).unwrap();
        assert_eq!(
            (reading.handshake, reading.rx, reading.tx),
            (1_700_000_000, 92, 180)
        );
        assert_eq!(Reading::of(device), None);
        assert_eq!(Reading::of(&format!("{device}{peer}{peer}")), None);
    }
}
