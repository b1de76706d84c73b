//! Services outside of the cluster that its nodes use: a resolver and the discovery service, on the host `internet`.
//!
//! Their moods are `/run/discovery.mood` and `/run/names.mood` of that host.

use std::{
    fs,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Child,
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    fakes::{discovery, names},
    lab::{
        Lab, LabError,
        host::Host,
        kubespan::PORT,
        topology::{INTERNET, Node},
    },
    machined::DISCOVERY_FILE,
};

/// Plans of the fakes, in the `/run` of their host.
pub const DISCOVERY_PLAN: &str = "/run/discovery.json";
pub const NAMES_PLAN: &str = "/run/names.json";

const NAME: &str = "discovery.test";
const SERVICE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 80);
const SERVICE_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x80);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 53);
const AUTHORITY: &str = "/run/ca.pem";
const RESOLV_CONF: &str = "/run/resolv.conf";
/// How long the fakes may take to be there.
const START_WITHIN: Duration = Duration::from_secs(10);
const START_POLL: Duration = Duration::from_millis(10);

/// The table `[discovery]` of a scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Whether the service's name has an IPv6 address as well.
    #[serde(default)]
    pub ipv6: bool,
    /// Who tells the agents of it.
    #[serde(default)]
    pub told_by: ToldBy,
}

/// Who tells the agents where the service is, and which cluster they belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToldBy {
    /// Their own environment.
    #[default]
    Options,
    /// Talos on their node: they are told only that they may ask it.
    Talos,
}

/// The running fakes; they end with the lab.
#[derive(Debug)]
pub struct Services {
    _fakes: [Child; 2],
    told_by: ToldBy,
}

impl Services {
    /// Starts them, and lets every node know of them.
    pub fn start(lab: &Lab, wanted: Wanted) -> Result<Self, LabError> {
        let host = lab.host(INTERNET)?;
        let addresses = format!(
            "ip addr add {SERVICE}/32 dev lo && ip addr add {RESOLVER}/32 dev lo && ip addr add {SERVICE_IPV6}/128 dev lo nodad"
        );
        host.shell(&addresses)?;
        write(host, DISCOVERY_PLAN, &discovery_plan(lab))?;
        write(host, NAMES_PLAN, &names_plan(wanted))?;
        let start = |name: &str, log: &str| {
            let log = lab.log(INTERNET, log);
            host.spawn(Path::new("/proc/self/exe"), &[name], &log)
        };
        let fakes = [
            start("__discovery", "discovery")?,
            start("__names", "names")?,
        ];
        let authority = wait_for(host, AUTHORITY)?;
        for node in &lab.topology().nodes {
            let host = lab.host(node.name.as_str())?;
            introduce(host, &authority)?;
            if wanted.told_by == ToldBy::Talos {
                tell_talos(host)?;
            }
        }
        Ok(Self {
            _fakes: fakes,
            told_by: wanted.told_by,
        })
    }

    /// What an agent is told of them.
    pub fn environment(&self, lab: &Lab) -> Vec<(&'static str, String)> {
        let trust = ("SSL_CERT_FILE", AUTHORITY.to_owned());
        match self.told_by {
            ToldBy::Talos => vec![trust, ("MESH_DISCOVERY_FROM_TALOS", "true".to_owned())],
            ToldBy::Options => vec![
                trust,
                ("MESH_DISCOVERY", format!("https://{NAME}/")),
                ("MESH_CLUSTER_ID", lab.mesh().cluster_id().to_owned()),
            ],
        }
    }
}

fn discovery_plan(lab: &Lab) -> discovery::Plan {
    let topology = lab.topology();
    let published = |node: &Node| discovery::Published {
        name: node.name.to_string(),
        public_key: lab.mesh().identity(node).public_key.clone(),
        address: node.address.into(),
        endpoint: Some(SocketAddr::new(topology.outside_address(node).into(), PORT)),
    };
    discovery::Plan {
        listen: [IpAddr::from(SERVICE), IpAddr::from(SERVICE_IPV6)]
            .map(|address| SocketAddr::new(address, 443))
            .to_vec(),
        host: NAME.to_owned(),
        mood: "/run/discovery.mood".into(),
        authority: AUTHORITY.into(),
        cluster_id: lab.mesh().cluster_id().to_owned(),
        secret: lab.mesh().secret().clone(),
        affiliates: topology.nodes.iter().map(published).collect(),
    }
}

fn names_plan(wanted: Wanted) -> names::Plan {
    let mut addresses = vec![IpAddr::from(SERVICE)];
    if wanted.ipv6 {
        addresses.push(SERVICE_IPV6.into());
    }
    names::Plan {
        listen: SocketAddr::new(RESOLVER.into(), 53),
        mood: "/run/names.mood".into(),
        names: vec![(NAME.to_owned(), addresses)],
    }
}

/// For the owner alone: one of the plans has the cluster's secret.
fn write(host: &Host, path: &str, plan: &impl Serialize) -> Result<(), LabError> {
    let path = host.run_file(path.trim_start_matches("/run/"));
    let text = serde_json::to_vec(plan).map_err(io::Error::from);
    let mut options = fs::File::options();
    let options = options.create(true).write(true).truncate(true).mode(0o600);
    text.and_then(|text| options.open(&path)?.write_all(&text))
        .map_err(LabError::io("write", path.display()))
}

fn wait_for(host: &Host, path: &str) -> Result<Vec<u8>, LabError> {
    let path = host.run_file(path.trim_start_matches("/run/"));
    let deadline = Instant::now() + START_WITHIN;
    loop {
        match fs::read(&path) {
            Ok(bytes) if bytes.ends_with(b"-----\n") => return Ok(bytes),
            _ if Instant::now() > deadline => {
                return Err(LabError::TooSlow {
                    what: "the certificate of the discovery service",
                    host: host.name().to_owned(),
                    seconds: START_WITHIN.as_secs(),
                    hint: String::new(),
                });
            }
            _ => thread::sleep(START_POLL),
        }
    }
}

/// As the machine config of the node has it.
fn tell_talos(host: &Host) -> Result<(), LabError> {
    let path = host.run_file(DISCOVERY_FILE.trim_start_matches("/run/"));
    fs::write(&path, format!("{NAME}:443\n")).map_err(LabError::io("write", path.display()))
}

/// A node's own view of `/etc/resolv.conf`, and whom it trusts.
fn introduce(host: &Host, authority: &[u8]) -> Result<(), LabError> {
    let path = host.run_file(AUTHORITY.trim_start_matches("/run/"));
    fs::write(&path, authority).map_err(LabError::io("write", path.display()))?;
    let bind = format!(
        "echo nameserver {RESOLVER} > {RESOLV_CONF} && mount --bind {RESOLV_CONF} /etc/resolv.conf"
    );
    host.shell(&bind).map(drop)
}
