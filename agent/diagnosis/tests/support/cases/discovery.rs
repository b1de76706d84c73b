//! The discovery service.

use std::net::{IpAddr, SocketAddr};

use evidence::{
    Discovery, Fact, Peer, PublicKey,
    discovery::{
        Affiliate, Affiliates, DiscoveryAddress, DiscoveryCertificate, DiscoveryEndpoint,
        DiscoveryNames, DiscoveryStage, FailureKind, NameAnswer, NameOutcome, Rivals, Stage,
        StageFailure,
    },
};

use super::{Case, NOT_READY, READY, case};
use crate::support::{Lab, NODES, ago, healthy::own_address, key};

const UNREACHABLE: &str = "discovery-unreachable";
const IPV6: &str = "discovery-ipv6-broken";
const DNS: &str = "dns-failing";
const TLS: &str = "tls-intercepted";
const STALE: &str = "affiliate-stale";
const LIMITED: &str = "discovery-rate-limited";
const SECRET: &str = "cluster-secret-differs";
const CLUSTER: &str = "cluster-id-differs";

const V4: [u8; 4] = [203, 0, 113, 80];
const ALL: &[&str] = &[UNREACHABLE, IPV6, DNS, TLS, STALE, LIMITED, SECRET, CLUSTER];

pub(crate) fn cases() -> Vec<Case> {
    [reached(), named(), opened(), listed()].concat()
}

fn reached() -> Vec<Case> {
    vec![
        case("the service serves everybody", served(), &[], READY, ALL),
        case(
            "one node gets no answer, twice in a row",
            with("vps-2", |seen| shut(seen, Stage::Tcp, FailureKind::Silent)),
            &[(UNREACHABLE, "vps-2")],
            READY,
            &[DNS, TLS],
        ),
        case(
            "nobody gets an answer: it is not the nodes",
            with_all(|seen| shut(seen, Stage::Tcp, FailureKind::Refused)),
            &[(UNREACHABLE, "cluster")],
            READY,
            &[],
        ),
        case(
            "both nodes of a home get no answer",
            home(|seen| shut(seen, Stage::Tcp, FailureKind::Unreachable)),
            &[(UNREACHABLE, "site 198.51.100.2")],
            READY,
            &[],
        ),
        case(
            "one try that failed",
            with("vps-2", |seen| {
                shut(seen, Stage::Tcp, FailureKind::Silent);
                seen.addresses[0].failed = 1;
            }),
            &[],
            READY,
            ALL,
        ),
        case(
            "a failure that nobody understands accuses nobody",
            with("vps-2", |seen| shut(seen, Stage::Tls, FailureKind::Other)),
            &[],
            READY,
            ALL,
        ),
        case(
            "a look of long ago proves nothing",
            with("vps-2", |seen| {
                shut(seen, Stage::Tcp, FailureKind::Silent);
                seen.at = ago(900_000);
            }),
            &[],
            READY,
            ALL,
        ),
        case(
            "the IPv6 of one node is dead",
            ipv6(true, FailureKind::Silent),
            &[(IPV6, "vps-2")],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "a node without IPv6 needs none",
            ipv6(false, FailureKind::Unreachable),
            &[],
            READY,
            &[IPV6, UNREACHABLE],
        ),
    ]
}

fn named() -> Vec<Case> {
    vec![
        case(
            "a resolver fails",
            with("vps-2", |seen| unnamed(seen, NameOutcome::ServerFailure, 2)),
            &[(DNS, "vps-2")],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "a resolver that failed once, as in the first seconds after boot",
            with("vps-2", |seen| unnamed(seen, NameOutcome::NoResolver, 1)),
            &[],
            READY,
            &[DNS],
        ),
    ]
}

fn opened() -> Vec<Case> {
    vec![
        case(
            "a firewall of the home shows a certificate of its own",
            home(|seen| shut(seen, Stage::Tls, FailureKind::Untrusted)),
            &[(TLS, "site 198.51.100.2")],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "a proxy takes HTTP/2 away",
            with("vps-2", |seen| shut(seen, Stage::Tls, FailureKind::NoHttp2)),
            &[(TLS, "vps-2")],
            READY,
            &[UNREACHABLE],
        ),
        case(
            "a clock that was never set makes a certificate of the future",
            with("vps-2", |seen| {
                shut(seen, Stage::Tls, FailureKind::OutOfDate);
            }),
            &[(UNREACHABLE, "vps-2")],
            READY,
            &[TLS],
        ),
        case(
            "the service limits a home",
            home(|seen| {
                seen.addresses[0].hello = Some(stage(Stage::Hello, Some(FailureKind::RateLimited)));
            }),
            &[(LIMITED, "site 198.51.100.2")],
            READY,
            &[UNREACHABLE],
        ),
    ]
}

fn listed() -> Vec<Case> {
    let gone = PublicKey::from_bytes([77; 32]);
    vec![
        case(
            "a machine was replaced and its entry lives on",
            rivals("vps-2", gone),
            &[(STALE, "vps-2")],
            READY,
            &[],
        ),
        case(
            "its key is still in a device, and is not missed as a node",
            in_device(rivals("vps-2", gone), gone),
            &[(STALE, "vps-2")],
            NOT_READY,
            &["agent-not-reporting", "peer-never-connected"],
        ),
        case(
            "two machines with one address that both run",
            rivals("home-cp", key("vps-2")),
            &[],
            READY,
            &[STALE],
        ),
        case(
            "an entry that nobody can open",
            with_all(|seen| {
                list(seen).count = 5;
                list(seen).sealed = vec!["id-of-a-stranger".to_owned()];
            }),
            &[(SECRET, "cluster")],
            READY,
            &[CLUSTER],
        ),
        case(
            "one node opens fewer entries than the others: its list may be older, and it shares their secret",
            with("vps-2", |seen| {
                list(seen).decrypted = Some(1);
                list(seen).sealed = vec!["a".to_owned(), "b".to_owned(), "c".to_owned()];
            }),
            &[(SECRET, "cluster")],
            READY,
            &[CLUSTER],
        ),
        case(
            "a node that asks for another cluster",
            {
                let mut lab = served();
                let Fact::Discovery(mut seen) = seen("home-cp") else {
                    panic!("a fact about discovery")
                };
                seen.cluster = Some([9; 8]);
                lab.put("home-cp", Fact::Discovery(seen));
                lab
            },
            &[(CLUSTER, "home-cp")],
            READY,
            &[SECRET],
        ),
    ]
}

/// The service serves all nodes.
pub(crate) fn served() -> Lab {
    with_all(|_| {})
}

/// What a node sees of it has been changed.
pub(crate) fn with(node: &str, edit: impl Fn(&mut DiscoveryEndpoint)) -> Lab {
    edited(&[node], edit)
}

pub(crate) fn with_all(edit: impl Fn(&mut DiscoveryEndpoint)) -> Lab {
    edited(&NODES, edit)
}

fn home(edit: impl Fn(&mut DiscoveryEndpoint)) -> Lab {
    edited(&["home-cp", "home-worker"], edit)
}

fn edited(nodes: &[&str], edit: impl Fn(&mut DiscoveryEndpoint)) -> Lab {
    let mut lab = Lab::healthy();
    for node in NODES {
        let Fact::Discovery(mut seen) = seen(node) else {
            panic!("a fact about discovery")
        };
        if nodes.contains(&node) {
            edit(&mut seen.endpoints[0]);
        }
        lab.put(node, Fact::Discovery(seen));
    }
    lab
}

/// No address leads to the service.
pub(crate) fn shut(seen: &mut DiscoveryEndpoint, at: Stage, kind: FailureKind) {
    seen.addresses.truncate(1);
    fail(&mut seen.addresses[0], at, kind);
}

fn fail(address: &mut DiscoveryAddress, at: Stage, kind: FailureKind) {
    address.stages.retain(|stage| stage.stage < at);
    address.stages.push(stage(at, Some(kind)));
    address.failed = 2;
    address.failed_since = Some(ago(30_000));
    if kind == FailureKind::OutOfDate {
        let certificate = address.certificate.as_mut();
        certificate.expect("one was shown").seen_at = 60;
    }
}

pub(crate) fn unnamed(seen: &mut DiscoveryEndpoint, outcome: NameOutcome, failed: u32) {
    let answer = NameAnswer {
        outcome,
        took_us: 900,
        text: "no".to_owned(),
    };
    seen.addresses.clear();
    seen.names = Some(DiscoveryNames {
        resolvers: vec![SocketAddr::from(([192, 0, 2, 53], 53))],
        ipv4: answer.clone(),
        ipv6: answer,
        failed,
        failed_since: Some(ago(20_000)),
    });
}

fn ipv6(has_ipv6: bool, kind: FailureKind) -> Lab {
    let mut lab = with("vps-2", |seen| {
        let mut address = seen.addresses[0].clone();
        address.address = "2001:db8::80".parse().expect("an address");
        fail(&mut address, Stage::Tcp, kind);
        seen.addresses.push(address);
    });
    if has_ipv6 {
        let known = evidence::FactKey::Identity;
        let Some(Fact::Identity(mut identity)) = lab.node("vps-2").facts.get(&known).cloned()
        else {
            panic!("the node has said who it is")
        };
        let own: IpAddr = "2001:db8:1::12".parse().expect("an address");
        identity.addresses.push(own);
        lab.put("vps-2", Fact::Identity(identity));
    }
    lab
}

fn rivals(node: &str, other: PublicKey) -> Lab {
    let affiliate = |name: &str, key| Affiliate {
        name: name.to_owned(),
        key,
        since: ago(120_000),
        endpoints: Vec::new(),
    };
    with("vps-1", |seen| {
        list(seen).rivals = vec![Rivals {
            address: own_address(node).into(),
            one: affiliate(node, key(node)),
            other: affiliate("replaced", other),
        }];
    })
}

/// The device of a node has a peer with this key that never answered.
fn in_device(mut lab: Lab, key: PublicKey) -> Lab {
    let peer = Peer {
        endpoint: None,
        allowed_ips: Vec::new(),
        last_handshake: None,
        rx_bytes: 0,
        tx_bytes: 148,
        rx_moved: None,
        since: ago(400_000),
        keepalive: Some(25),
        endpoint_changes: Vec::new(),
    };
    lab.put("vps-1", Fact::Peer(key, peer));
    lab
}

fn list(seen: &mut DiscoveryEndpoint) -> &mut Affiliates {
    seen.affiliates.as_mut().expect("a list came")
}

fn seen(node: &str) -> Fact {
    let public = if node.starts_with("home") {
        IpAddr::from([198, 51, 100, 2])
    } else {
        own_address(node).into()
    };
    Fact::Discovery(Discovery {
        registry_off: false,
        since: ago(590_000),
        cluster: Some([1; 8]),
        endpoints: vec![DiscoveryEndpoint {
            host: "discovery.test".to_owned(),
            port: 443,
            tls: true,
            at: ago(20_000),
            names: None,
            proxy: None,
            addresses: vec![good()],
            left_out: 0,
            public: Some(public),
            redirect: None,
            affiliates: Some(Affiliates {
                at: ago(20_000),
                count: 4,
                most_endpoints: 1,
                garbled: 0,
                digest: [3; 8],
                decrypted: Some(4),
                sealed: Vec::new(),
                own: Some(true),
                unknown: Vec::new(),
                rivals: Vec::new(),
                unlisted: Vec::new(),
            }),
        }],
    })
}

fn good() -> DiscoveryAddress {
    DiscoveryAddress {
        address: IpAddr::from(V4),
        stages: [Stage::Tcp, Stage::Tls, Stage::Http2]
            .map(|id| stage(id, None))
            .to_vec(),
        failed: 0,
        failed_since: None,
        hello: Some(stage(Stage::Hello, None)),
        calls_failed: 0,
        list: Some(stage(Stage::List, None)),
        certificate: Some(DiscoveryCertificate {
            issuer: "CN=Example CA".to_owned(),
            names: vec!["discovery.test".to_owned()],
            fingerprint: [1; 8],
            not_before: 1_790_000_000,
            not_after: 1_800_000_000,
            seen_at: 1_795_000_000,
            protocol: Some("h2".to_owned()),
        }),
    }
}

pub(crate) fn stage(stage: Stage, kind: Option<FailureKind>) -> DiscoveryStage {
    DiscoveryStage {
        stage,
        at: ago(20_000),
        took_us: 1500,
        failure: kind.map(|kind| StageFailure {
            kind,
            text: "no".to_owned(),
        }),
    }
}
