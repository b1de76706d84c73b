//! Endpoint candidates that cannot work.

use evidence::{
    Candidate, CandidateWay, Fact, FactKey, Peer, Phase, Talos, TalosPeer, TalosPeerState,
    TalosPeerStatus,
};

use super::{Case, READY, case};
use crate::support::{Lab, ago, key};

const CANNOT: &str = "endpoint-cannot-work";
const HAIRPIN: &str = "endpoint-hairpin";
const SHARED: &str = "endpoint-shared-behind-nat";
const IPV6: &str = "endpoint-without-ipv6-route";
const ALL: &[&str] = &[CANNOT, HAIRPIN, SHARED, IPV6];
/// Nothing is known of the underlay, and handshakes fail.
const GATES: [Phase; 3] = [Phase::Unknown, Phase::NotReady, Phase::NotReady];

const SINCE_START: i64 = 60_000;

const PUBLIC: &str = "198.51.100.2:51820";
const VPS: &str = "203.0.113.12:51820";

pub(crate) fn cases() -> Vec<Case> {
    [told(), untold()].concat()
}

fn told() -> Vec<Case> {
    let apart = || Lab::healthy().never_connected("home-cp", "vps-2", SINCE_START);
    let neighbours = || Lab::healthy().never_connected("home-cp", "home-worker", SINCE_START);
    let gone = ("192.0.2.1:51820", None, false);
    let good = (VPS, Some("eth0"), false);
    let lan = ("192.168.50.11:51820", Some("eth0"), false);
    let pair = "home-cp <-> vps-2";
    vec![
        case(
            "both ends are parked on candidates that cannot work",
            dials(
                dials(apart(), "home-cp", "vps-2", &[gone, good], Some(gone.0)),
                "vps-2",
                "home-cp",
                &[lan],
                None,
            ),
            &[(CANNOT, pair)],
            GATES,
            &["peer-never-connected", "path-broken", "tunnel-silent"],
        ),
        case(
            "one end dials IPv6 without a route, and the other nothing",
            dials(
                dials(
                    apart(),
                    "home-cp",
                    "vps-2",
                    &[("[2001:db8::12]:51820", None, false), good],
                    Some("[2001:db8::12]:51820"),
                ),
                "vps-2",
                "home-cp",
                &[lan],
                None,
            ),
            &[(IPV6, pair)],
            GATES,
            &[CANNOT],
        ),
        case(
            "neighbours dial each other at the public address of their router",
            dials(
                dials(
                    neighbours(),
                    "home-cp",
                    "home-worker",
                    &[HOME],
                    Some(PUBLIC),
                ),
                "home-worker",
                "home-cp",
                &[HOME],
                Some(PUBLIC),
            ),
            &[(HAIRPIN, "home-cp <-> home-worker")],
            GATES,
            &[SHARED, CANNOT],
        ),
        case(
            "a node is dialled at an endpoint that its neighbour advertises too, and cannot dial itself",
            shared(apart(), &[HOME]),
            &[(SHARED, pair)],
            GATES,
            &[HAIRPIN],
        ),
        case(
            "one end dials a candidate that can work: what stops it is not the candidate",
            dials(
                dials(apart(), "home-cp", "vps-2", &[good], Some(VPS)),
                "vps-2",
                "home-cp",
                &[lan],
                None,
            ),
            &[("peer-never-connected", pair)],
            GATES,
            ALL,
        ),
        case(
            "candidates that cannot work beside a tunnel that carries accuse nobody",
            connected(Lab::healthy()),
            &[],
            READY,
            ALL,
        ),
    ]
}

/// Without Talos' word nothing is said of endpoints.
fn untold() -> Vec<Case> {
    let apart = || Lab::healthy().never_connected("home-cp", "vps-2", SINCE_START);
    let gone = ("192.0.2.1:51820", None, false);
    let pair = "home-cp <-> vps-2";
    vec![
        case(
            "a Talos that is not heard leaves the endpoints unjudged",
            dials(apart(), "home-cp", "vps-2", &[gone], Some(gone.0))
                .without("vps-2", &FactKey::TalosPeer(key("home-cp"))),
            &[("peer-never-connected", pair)],
            GATES,
            ALL,
        ),
        case(
            "a Talos that has not yet said where it dials a new peer leaves the path unaccused",
            not_told_yet(dials(apart(), "home-cp", "vps-2", &[gone], Some(gone.0))),
            &[],
            GATES,
            &["peer-never-connected", "path-broken"],
        ),
    ]
}

/// The agent of `vps-2` has known the peer for fourteen seconds; its Talos can be heard.
fn not_told_yet(lab: Lab) -> Lab {
    lab.without("vps-2", &FactKey::TalosPeer(key("home-cp")))
        .met("vps-2", "home-cp", 14_000)
}

type Told = (&'static str, Option<&'static str>, bool);

/// The public address of the home, as it is reached from anywhere.
const HOME: Told = (PUBLIC, Some("eth0"), false);

fn shared(lab: Lab, candidates: &[Told]) -> Lab {
    let lab = dials(lab, "vps-2", "home-cp", candidates, Some(PUBLIC));
    let mut lab = dials(
        lab,
        "home-cp",
        "vps-2",
        &[("192.0.2.1:51820", None, false)],
        Some("192.0.2.1:51820"),
    );
    lab.put("vps-2", talos_peer("home-worker", candidates, Some(PUBLIC)));
    lab
}

/// Talos tells bad candidates, and the tunnel was made by the other end.
fn connected(mut lab: Lab) -> Lab {
    let bad = [("192.0.2.1:51820", None, false), HOME];
    for (from, to) in [("vps-1", "home-cp"), ("vps-2", "home-worker")] {
        lab.put(from, talos_peer(to, &bad, Some(bad[0].0)));
    }
    lab
}

/// `from` has these candidates for `to`, and its device has this endpoint.
fn dials(mut lab: Lab, from: &str, to: &str, candidates: &[Told], endpoint: Option<&str>) -> Lab {
    lab.put(from, talos_peer(to, candidates, endpoint));
    if from.starts_with("home") {
        lab.put(
            from,
            Fact::Talos(Box::new(Talos {
                discovered: vec![[198, 51, 100, 2].into()],
                ..Talos::default()
            })),
        );
    }
    let Some(Fact::Peer(_, peer)) = lab.node(from).facts.get(&FactKey::Peer(key(to))).cloned()
    else {
        panic!("{from} has {to} as a peer");
    };
    let peer = Peer {
        endpoint: endpoint.map(|endpoint| endpoint.parse().expect("an endpoint")),
        ..peer
    };
    lab.put(from, Fact::Peer(key(to), peer));
    lab
}

fn talos_peer(to: &str, candidates: &[Told], last: Option<&str>) -> Fact {
    let candidate = |(to, via, on_link): &Told| Candidate {
        to: to.parse().expect("an endpoint"),
        way: Some(CandidateWay {
            via: via.map(str::to_owned),
            on_link: *on_link,
        }),
    };
    let peer = TalosPeer {
        since: ago(60_000),
        label: to.to_owned(),
        address: None,
        allowed_ips: Vec::new(),
        candidates: candidates.iter().map(candidate).collect(),
        left_out: 0,
        status: Some(TalosPeerStatus {
            state: TalosPeerState::Unknown,
            endpoint: None,
            last_used: last.map(|last| last.parse().expect("an endpoint")),
            last_change: Some(ago(10_000)),
        }),
    };
    Fact::TalosPeer(key(to), Box::new(peer))
}
