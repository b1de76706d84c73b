//! `talos` against fake apids on loopback: the whole program, and what it says of nodes that it cannot ask.

use std::{
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use evidence::PublicKey;
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpListener};
use upstream::talos::{
    Affiliate, ClusterIdentity, KubeSpanAffiliate, KubeSpanPeerSpec, KubeSpanPeerState,
    KubeSpanPeerStatus, Member, NetIp, NetIpPort,
};

use crate::{
    apid::{Authority, Fake, Valid, serve},
    program::{Run, bare, run},
};

const AFFILIATES: &str = "Affiliates.cluster.talos.dev";
const IDENTITIES: &str = "Identities.cluster.talos.dev";
const MEMBERS: &str = "Members.cluster.talos.dev";
const HOSTNAMES: &str = "HostnameStatuses.net.talos.dev";
const SPECS: &str = "KubeSpanPeerSpecs.kubespan.talos.dev";
const STATUSES: &str = "KubeSpanPeerStatuses.kubespan.talos.dev";

/// The wall clock of the fakes: far from ours, since ages must not depend on it.
const NOW: i64 = 1_000_000;

/// A cluster whose nodes know each other, each at an address of its own on loopback.
struct Cluster {
    authority: Authority,
    nodes: Vec<(&'static str, SocketAddr)>,
    folder: TempDir,
}

impl Cluster {
    fn new(names: &[&'static str]) -> Self {
        let nodes = names.iter().map(|name| (*name, free()));
        Self {
            authority: Authority::new(),
            nodes: nodes.collect(),
            folder: TempDir::new().unwrap(),
        }
    }

    fn key(name: &str) -> PublicKey {
        let mut bytes = [0; 32];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        PublicKey::from_bytes(bytes)
    }

    /// What a node says when all is well.
    fn fake(&self, own: &str) -> Fake {
        let mut fake = Fake::default();
        let identity = ClusterIdentity {
            node_id: format!("id-{own}"),
        };
        fake.add(IDENTITIES, "local", &identity, NOW);
        for (name, address) in &self.nodes {
            fake.add(MEMBERS, name, &member(name, *address), NOW);
            fake.add(AFFILIATES, name, &affiliate(name, *address), NOW);
            if *name != own {
                let key = Self::key(name).to_string();
                fake.add(SPECS, &key, &spec(name), NOW);
                let up = status(name, *address, KubeSpanPeerState::Up);
                fake.add(STATUSES, &key, &up, NOW);
            }
        }
        fake
    }

    fn address(&self, name: &str) -> SocketAddr {
        let found = self.nodes.iter().find(|(known, _)| *known == name);
        found.unwrap().1
    }

    fn serve(&self, name: &str, fake: Fake) {
        let address = self.address(name);
        serve(fake, address, self.authority.server(address, Valid::Always));
    }

    fn serve_all(&self) {
        for (name, _) in &self.nodes {
            self.serve(name, self.fake(name));
        }
    }

    fn talosconfig(&self) -> PathBuf {
        let path = self.folder.path().join("talosconfig");
        let endpoints: Vec<_> = self.nodes.iter().map(|(_, address)| *address).collect();
        self.authority.talosconfig(&path, &endpoints);
        path
    }

    /// Asks every node, as it was typed.
    async fn ask(&self, arguments: &str) -> Run {
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|(_, address)| address.to_string())
            .collect();
        let nodes = nodes.join(",");
        self.talos(&format!("-n {nodes} {arguments}")).await
    }

    async fn talos(&self, arguments: &str) -> Run {
        let mut command = bare();
        command
            .arg("talos")
            .arg("--talosconfig")
            .arg(self.talosconfig())
            .args(arguments.split_whitespace());
        run(command).await
    }
}

/// An address on loopback with a port that nobody has.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

fn ip(address: SocketAddr) -> NetIp {
    let ip = match address.ip() {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    NetIp { ip }
}

fn member(name: &str, address: SocketAddr) -> Member {
    Member {
        node_id: format!("id-{name}"),
        addresses: vec![ip(address)],
        hostname: name.to_owned(),
        ..Member::default()
    }
}

fn affiliate(name: &str, _: SocketAddr) -> Affiliate {
    Affiliate {
        node_id: format!("id-{name}"),
        nodename: name.to_owned(),
        kube_span: Some(KubeSpanAffiliate {
            public_key: Cluster::key(name).to_string(),
            ..KubeSpanAffiliate::default()
        }),
        ..Affiliate::default()
    }
}

fn spec(name: &str) -> KubeSpanPeerSpec {
    KubeSpanPeerSpec {
        label: name.to_owned(),
        ..KubeSpanPeerSpec::default()
    }
}

fn status(name: &str, address: SocketAddr, state: KubeSpanPeerState) -> KubeSpanPeerStatus {
    let endpoint = NetIpPort {
        ip: ip(address).ip,
        port: 51820,
    };
    KubeSpanPeerStatus {
        endpoint: Some(endpoint),
        label: name.to_owned(),
        state: state.into(),
        receive_bytes: 4_199,
        transmit_bytes: 812,
        last_handshake_time: Some(prost_types::Timestamp {
            seconds: NOW - 72,
            nanos: 0,
        }),
        ..KubeSpanPeerStatus::default()
    }
}

#[tokio::test]
async fn a_healthy_cluster_is_shown_pair_by_pair_with_ages_by_the_nodes_own_clock() {
    let cluster = Cluster::new(&["cp-1", "worker-1"]);
    cluster.serve_all();
    let shown = cluster.ask("").await;
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""), "{shown:?}");
    let expected = "cp-1      worker-1  up     127.0.0.1:51820  1 m 12 s   4.1 kB  812 B\n";
    assert!(shown.stdout.contains(expected), "{}", shown.stdout);
    let conclusion = "conclusion: Talos says up in all 2 directions\n";
    assert!(shown.stdout.contains(conclusion), "{}", shown.stdout);
    let document = cluster.ask("-o json").await.json();
    assert_eq!(document["kind"], "TalosMesh");
    assert_eq!(document["facts"]["pairs"][1]["from"], "worker-1");
    assert_eq!(document["facts"]["pairs"][1]["handshakeAgeS"], 72);
}

#[tokio::test]
async fn only_what_a_reader_may_see_is_asked_for() {
    let cluster = Cluster::new(&["cp-1"]);
    let fake = cluster.fake("cp-1");
    cluster.serve("cp-1", fake.clone());
    cluster.ask("").await;
    let expected = [AFFILIATES, HOSTNAMES, IDENTITIES, SPECS, STATUSES];
    assert_eq!(fake.asked(), expected.map(str::to_owned).into());
}

#[tokio::test]
async fn without_nodes_the_members_are_asked_at_their_own_addresses() {
    let mut cluster = Cluster::new(&["cp-1", "worker-1"]);
    // apid's own port: members have addresses and no ports.
    for (index, (_, address)) in (1..).zip(&mut cluster.nodes) {
        *address = SocketAddr::from(([127, 50, 0, index], 50000));
    }
    cluster.serve_all();
    let shown = cluster.talos("").await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.stdout.contains("asked  2 of 2 nodes answered"),
        "{}",
        shown.stdout
    );
}

#[tokio::test]
async fn nodes_that_cannot_be_asked_cost_their_own_answers_and_say_at_which_stage() {
    let names = [
        "a-good",
        "b-hangs",
        "c-silent",
        "d-garbage",
        "e-other",
        "f-denies",
        "g-gone",
        "h-early",
    ];
    let cluster = Cluster::new(&names);
    cluster.serve("a-good", cluster.fake("a-good"));
    cluster.serve(
        "b-hangs",
        Fake {
            hangs: true,
            ..Fake::default()
        },
    );
    let silent = TcpListener::bind(cluster.address("c-silent"))
        .await
        .unwrap();
    tokio::spawn(garbage(
        TcpListener::bind(cluster.address("d-garbage"))
            .await
            .unwrap(),
    ));
    let other = cluster.address("e-other");
    serve(
        Fake::default(),
        other,
        Authority::new().server(other, Valid::Always),
    );
    cluster.serve(
        "f-denies",
        Fake {
            denies: true,
            ..Fake::default()
        },
    );
    let early = cluster.address("h-early");
    serve(
        Fake::default(),
        early,
        cluster.authority.server(early, Valid::Later),
    );

    let begun = Instant::now();
    let shown = cluster.ask("--timeout 2s").await;
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "one after the other: {:?}",
        begun.elapsed()
    );
    drop(silent);
    for (name, stage, why) in [
        ("b-hangs", "timeout", "did not answer in time"),
        ("c-silent", "timeout", "in time (TLS)"),
        ("d-garbage", "TLS", "failed to agree on TLS"),
        (
            "e-other",
            "TLS",
            "not of the authority (ca) of this talosconfig",
        ),
        ("f-denies", "authorisation", "not authorized"),
        ("g-gone", "TCP", "Connection refused"),
        ("h-early", "TLS", "if the clock of this machine is right"),
    ] {
        let start = format!("not asked: {}: {stage}: ", cluster.address(name));
        let line = shown.stdout.lines().find(|line| line.starts_with(&start));
        let line = line.unwrap_or_else(|| panic!("{start} is not in {}", shown.stdout));
        assert!(line.contains(why), "{line}");
    }
    assert!(
        shown.stdout.contains("never through another node"),
        "{}",
        shown.stdout
    );
    let said = "a-good     b-hangs    up ";
    assert!(shown.stdout.contains(said), "{}", shown.stdout);
    assert_eq!(shown.code, 3, "{}", shown.stdout);
}

async fn garbage(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        drop(stream.write_all(b"220 mail.example.org ESMTP\r\n").await);
    }
}

#[tokio::test]
async fn a_peer_that_is_down_is_1_and_a_disagreement_is_named() {
    let cluster = Cluster::new(&["cp-1", "worker-1"]);
    cluster.serve("cp-1", cluster.fake("cp-1"));
    let mut fake = Fake::default();
    let own = cluster.address("worker-1");
    let other = cluster.address("cp-1");
    let identity = ClusterIdentity {
        node_id: "id-worker-1".to_owned(),
    };
    fake.add(IDENTITIES, "local", &identity, NOW);
    fake.add(AFFILIATES, "worker-1", &affiliate("worker-1", own), NOW);
    let key = Cluster::key("cp-1").to_string();
    fake.add(
        STATUSES,
        &key,
        &status("cp-1", other, KubeSpanPeerState::Down),
        NOW,
    );
    cluster.serve("worker-1", fake);
    let shown = cluster.ask("").await;
    assert_eq!(shown.code, 1, "{shown:?}");
    let said = "conclusion: cp-1 says that worker-1 is up, worker-1 says of cp-1: down\n";
    assert!(shown.stdout.contains(said), "{}", shown.stdout);
}

#[tokio::test]
async fn refused_everywhere_is_5_also_when_the_members_are_asked_for() {
    let cluster = Cluster::new(&["cp-1"]);
    cluster.serve(
        "cp-1",
        Fake {
            denies: true,
            ..Fake::default()
        },
    );
    assert_eq!(cluster.ask("").await.code, 5);
    let shown = cluster.talos("").await;
    assert_eq!(shown.code, 5, "{shown:?}");
    assert!(shown.stderr.contains("give the nodes with -n"), "{shown:?}");
}

#[tokio::test]
async fn a_talosconfig_that_is_no_use_is_2_and_its_key_is_not_shown() {
    let cluster = Cluster::new(&["cp-1"]);
    let path = cluster.talosconfig();
    let shown = cluster.talos("--context nobody").await;
    assert_eq!(shown.code, 2, "{shown:?}");
    assert!(
        shown.stderr.contains("has no context \"nobody\", but lab"),
        "{shown:?}"
    );
    let text = std::fs::read_to_string(&path).unwrap();
    let key = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("key: "))
        .unwrap();
    let cut = text.replace(key, &key[..key.len() / 2]);
    std::fs::write(&path, cut).unwrap();
    let mut command = bare();
    command
        .args(["talos", "-o", "json", "--talosconfig"])
        .arg(&path);
    let shown = run(command).await;
    assert_eq!(shown.code, 2, "{shown:?}");
    assert!(shown.stderr.contains("contexts.lab.key in "), "{shown:?}");
    assert!(!format!("{shown:?}").contains(&key[..20]), "{shown:?}");
}
