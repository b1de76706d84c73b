//! The tunnel carries, and traffic for node addresses does not get into it; and what merely looks so.

#[path = "node_echo.rs"]
pub(crate) mod node_echo;

use diagnosis::Stream;
use evidence::{
    EndpointWay, Fact, FactKey, Moment, Phase, SourceId, Steered, Steering, SteeringChains,
    SteeringFamily, TalosPeer,
};

use super::{Case, LONG, MESH_ONLY, READY, SINCE, case};
use crate::support::{Lab, NODES, ago, key};

/// Steering that nobody can judge.
const MESH_UNKNOWN: [Phase; 3] = [Phase::Ready, Phase::Ready, Phase::Unknown];

fn edit_node(mut lab: Lab, node: &str, edit: impl FnOnce(&mut Steering)) -> Lab {
    let Some(Fact::Steering(mut steering)) = lab.node(node).facts.get(&FactKey::Steering).cloned()
    else {
        return lab;
    };
    steering.since = ago(SINCE);
    edit(&mut steering);
    lab.put(node, Fact::Steering(steering));
    lab
}

pub(crate) fn edit_peer(
    mut lab: Lab,
    node: &str,
    other: &str,
    edit: impl FnOnce(&mut Steered),
) -> Lab {
    let asked = FactKey::Steered(key(other));
    let Some(Fact::Steered(_, mut steered)) = lab.node(node).facts.get(&asked).cloned() else {
        return lab;
    };
    steered.since = ago(SINCE);
    edit(&mut steered);
    lab.put(node, Fact::Steered(key(other), steered));
    lab
}

fn others(node: &str) -> impl Iterator<Item = &'static str> {
    NODES.into_iter().filter(move |other| *other != node)
}

fn each_peer(lab: Lab, node: &str, edit: impl Fn(&mut Steered)) -> Lab {
    others(node).fold(lab, |lab, other| edit_peer(lab, node, other, &edit))
}

fn by_eth0(steered: &mut Steered) {
    for prefix in &mut steered.prefixes {
        prefix.marked_via = Some("eth0".to_owned());
    }
}

fn unmarked(steered: &mut Steered) {
    for prefix in &mut steered.prefixes {
        (prefix.outgoing, prefix.prerouting) = (Some(false), Some(false));
    }
}

/// The rule of IPv4 is gone, so that marked packets follow the ordinary routes.
pub(crate) fn without_rule(node: &str) -> Lab {
    rule_lost(Lab::healthy(), node)
}

pub(crate) fn rule_lost(lab: Lab, node: &str) -> Lab {
    let lab = edit_node(lab, node, |steering| {
        steering.ipv4.rule_priority = None;
    });
    each_peer(lab, node, by_eth0)
}

fn without_route(node: &str) -> Lab {
    let lab = edit_node(Lab::healthy(), node, |steering| {
        steering.ipv4.default_route = false;
    });
    each_peer(lab, node, by_eth0)
}

fn another_rule_first(node: &str) -> Lab {
    each_peer(Lab::healthy(), node, by_eth0)
}

/// The addresses that a device has for a peer are these and no more.
fn allow_only(mut lab: Lab, node: &str, other: &str, keep: impl Fn(&str) -> bool) -> Lab {
    let asked = FactKey::Peer(key(other));
    if let Some(Fact::Peer(_, mut peer)) = lab.node(node).facts.get(&asked).cloned() {
        peer.allowed_ips.retain(|prefix| keep(prefix));
        lab.put(node, Fact::Peer(key(other), peer));
    }
    edit_peer(lab, node, other, |steered| {
        steered.prefixes.retain(|told| keep(&told.prefix));
    })
}

pub(crate) fn without_node_address(node: &str, other: &str) -> Lab {
    allow_only(Lab::healthy(), node, other, |prefix| {
        prefix.ends_with("/128")
    })
}

/// No device has the node address of `vps-2`, and Talos on `vps-1` says what it wants.
fn wanted_by_talos(allowed_ips: &[&str]) -> Lab {
    let mut lab = others("vps-2").fold(Lab::healthy(), |lab, node| {
        allow_only(lab, node, "vps-2", |prefix| prefix.ends_with("/128"))
    });
    let peer = TalosPeer {
        since: ago(60_000),
        label: "vps-2".to_owned(),
        address: None,
        allowed_ips: allowed_ips.iter().map(ToString::to_string).collect(),
        candidates: Vec::new(),
        left_out: 0,
        status: None,
    };
    lab.put("vps-1", Fact::TalosPeer(key("vps-2"), Box::new(peer)));
    lab
}

/// What a device had for one peer it has for another.
fn moved(node: &str, from: &str, to: &str) -> Lab {
    let mut lab = without_node_address(node, from);
    let asked = FactKey::Peer(key(to));
    if let Some(Fact::Peer(_, mut peer)) = lab.node(node).facts.get(&asked).cloned() {
        peer.allowed_ips.push("203.0.113.12/32".to_owned());
        lab.put(node, Fact::Peer(key(to), peer));
    }
    lab
}

/// Two homes with one private address: everywhere only the first has it.
fn same_address() -> Lab {
    let mut lab = others("home-worker").fold(Lab::healthy(), |lab, node| {
        allow_only(lab, node, "home-worker", |prefix| prefix.ends_with("/128"))
    });
    if let Some(Fact::Identity(mut identity)) = lab
        .node("home-worker")
        .facts
        .get(&FactKey::Identity)
        .cloned()
    {
        identity.addresses = vec!["192.168.50.11".parse().expect("an address")];
        lab.put("home-worker", Fact::Identity(identity));
    }
    let address = "192.168.50.11".parse().ok();
    each_peer(lab, "home-worker", |steered| {
        for prefix in &mut steered.prefixes {
            prefix.source = address;
        }
    })
}

/// The tunnel's address of `other` is not in the device of `node`: it sends no echo, and takes none.
fn without_tunnel_address(node: &str, other: &str) -> Lab {
    let lab = allow_only(Lab::healthy(), node, other, |prefix| {
        prefix.ends_with("/32")
    })
    .lose(other, node, LONG)
    .inert_heard(other, node);
    lab.without(node, &FactKey::EchoSent(key(other)))
}

fn loops(node: &str, other: &str) -> Lab {
    routed_into_itself(node, other)
        .lose(node, other, SINCE)
        .inert_unheard(node, other)
}

fn looped_until_now(node: &str, other: &str) -> Lab {
    let lab = edit_peer(Lab::healthy(), node, other, |steered| {
        if let Some(endpoint) = &mut steered.endpoint {
            endpoint.looped = Some(ago(1500));
        }
    });
    lab.lose(node, other, SINCE).inert_unheard(node, other)
}

fn routed_into_itself(node: &str, other: &str) -> Lab {
    edit_peer(Lab::healthy(), node, other, |steered| {
        if let Some(EndpointWay { via, .. }) = &mut steered.endpoint {
            *via = Some("kubespan".to_owned());
        }
    })
}

/// No node steers anything, as on a mesh that is not Talos'.
fn nobody_steers() -> Lab {
    NODES.into_iter().fold(Lab::healthy(), |lab, node| {
        let lab = edit_node(lab, node, |steering| {
            steering.ipv4 = SteeringFamily::default();
            steering.ipv6 = SteeringFamily::default();
            steering.chains = None;
        });
        each_peer(lab, node, |steered| {
            by_eth0(steered);
            for prefix in &mut steered.prefixes {
                (prefix.outgoing, prefix.prerouting) = (None, None);
            }
        })
    })
}

/// The configuration keeps the node addresses of one node out of every device.
fn excluded_everywhere() -> Lab {
    others("vps-2").fold(Lab::healthy(), |lab, node| {
        allow_only(lab, node, "vps-2", |prefix| prefix.ends_with("/128"))
    })
}

fn unread_chains(node: &str) -> Lab {
    let lab = edit_node(Lab::healthy(), node, |steering| steering.chains = None);
    let lab = each_peer(lab, node, |steered| {
        for prefix in &mut steered.prefixes {
            (prefix.outgoing, prefix.prerouting) = (None, None);
        }
    });
    lab.gap(node, SourceId::Nftables, "not permitted")
}

/// A second address of a node has come to it a moment ago, and one device has not learnt of it.
fn second_address(since: i64) -> Lab {
    let second = "203.0.113.100";
    let mut lab = Lab::healthy();
    if let Some(Fact::Identity(mut identity)) =
        lab.node("vps-2").facts.get(&FactKey::Identity).cloned()
    {
        identity.addresses.push(second.parse().expect("an address"));
        lab.put("vps-2", Fact::Identity(identity));
    }
    for node in ["home-cp", "home-worker"] {
        let asked = FactKey::Peer(key("vps-2"));
        if let Some(Fact::Peer(_, mut peer)) = lab.node(node).facts.get(&asked).cloned() {
            peer.allowed_ips.push(format!("{second}/32"));
            lab.put(node, Fact::Peer(key("vps-2"), peer));
        }
        lab = edit_peer(lab, node, "vps-2", |steered| {
            let mut prefix = steered.prefixes[0].clone();
            prefix.prefix = format!("{second}/32");
            steered.prefixes.push(prefix);
            steered.since = ago(since);
        });
    }
    lab
}

fn just_now(mut lab: Lab, node: &str) -> Lab {
    let moment = |at: &mut Moment| *at = ago(1000);
    let facts: Vec<Fact> = lab.node(node).facts.iter().cloned().collect();
    for mut fact in facts {
        match &mut fact {
            Fact::Steering(steering) => moment(&mut steering.since),
            Fact::Steered(_, steered) => moment(&mut steered.since),
            _ => continue,
        }
        lab.put(node, fact);
    }
    lab
}

/// The tunnel is down, and its peer is left out of the chains, as `allowDownPeerBypass` asks for.
fn down_and_left_out() -> Lab {
    let lab = ["vps-1", "home-cp", "home-worker"]
        .into_iter()
        .fold(Lab::healthy(), |lab, node| {
            edit_peer(lab, node, "vps-2", unmarked)
        });
    lab.kill_node("vps-2", 9000)
}

fn up_again_and_left_out(node: &str, other: &str) -> Lab {
    let mut lab = edit_peer(Lab::healthy(), node, other, unmarked);
    let asked = FactKey::EchoSent(key(other));
    if let Some(Fact::EchoSent(_, mut echo)) = lab.node(node).facts.get(&asked).cloned() {
        echo.window_lost = 4;
        lab.put(node, Fact::EchoSent(key(other), echo));
    }
    lab
}

fn gone_with_the_node(node: &str) -> Lab {
    let mut lab = without_rule(node).stale(node, 6000);
    lab.node(node).stream = Stream::Open;
    lab
}

pub(crate) fn cases() -> Vec<Case> {
    [wrong(), missing_and_loops(), quiet(), node_echo::cases()].concat()
}

fn wrong() -> Vec<Case> {
    let from_chains = |steering: &mut Steering| {
        steering.chains = Some(SteeringChains::default());
    };
    vec![
        case(
            "a node has lost the rule",
            without_rule("vps-2"),
            &[("steering-rule-missing", "vps-2")],
            MESH_ONLY,
            &[
                "steering-bypassed",
                "steering-table-empty",
                "nft-set-lacks-peer",
            ],
        ),
        case(
            "another rule sends marked packets elsewhere",
            another_rule_first("vps-2"),
            &[("steering-bypassed", "vps-2")],
            MESH_ONLY,
            &[
                "steering-rule-missing",
                "steering-table-empty",
                "nft-set-lacks-peer",
            ],
        ),
        case(
            "a node's table 180 was flushed",
            without_route("home-cp"),
            &[("steering-table-empty", "home-cp")],
            MESH_ONLY,
            &["steering-rule-missing", "tunnel-silent"],
        ),
        case(
            "one node's chains leave out one peer",
            edit_peer(Lab::healthy(), "vps-1", "home-cp", unmarked),
            &[("nft-set-lacks-peer", "vps-1 -> home-cp")],
            MESH_ONLY,
            &["allowed-ip-missing", "steering-rule-missing"],
        ),
        case(
            "only what is forwarded is not marked",
            edit_peer(Lab::healthy(), "vps-1", "home-cp", |steered| {
                steered.prefixes[0].prerouting = Some(false);
            }),
            &[("nft-set-lacks-peer", "vps-1 -> home-cp")],
            MESH_ONLY,
            &["allowed-ip-missing"],
        ),
        case(
            "a node's chains are gone",
            each_peer(
                edit_node(Lab::healthy(), "vps-1", from_chains),
                "vps-1",
                unmarked,
            ),
            &[("nft-set-lacks-peer", "vps-1")],
            MESH_ONLY,
            &["steering-rule-missing"],
        ),
    ]
}

fn missing_and_loops() -> Vec<Case> {
    vec![
        case(
            "one device lacks the node address of a peer that the others have",
            without_node_address("vps-1", "home-cp"),
            &[("allowed-ip-missing", "vps-1 -> home-cp")],
            MESH_ONLY,
            &["nft-set-lacks-peer", "peer-missing"],
        ),
        case(
            "one device has the address for another peer",
            moved("home-cp", "vps-2", "vps-1"),
            &[("allowed-ip-missing", "home-cp -> vps-2")],
            MESH_ONLY,
            &["nft-set-lacks-peer"],
        ),
        case(
            "Talos wants an address that no device has",
            wanted_by_talos(&["203.0.113.12/32"]),
            &[("allowed-ip-missing", "vps-1 -> vps-2")],
            MESH_ONLY,
            &["nft-set-lacks-peer"],
        ),
        case(
            "neither Talos nor a device has an address: it is excluded by configuration",
            wanted_by_talos(&["fd7f:175a:b97c:5602::2/128"]),
            &[],
            MESH_UNKNOWN,
            &["allowed-ip-missing"],
        ),
        case(
            "two nodes have one address, and only one of them can get it",
            same_address(),
            &[("address-overlap", "home-cp <-> home-worker")],
            MESH_ONLY,
            &["allowed-ip-missing", "nft-set-lacks-peer", "second-machine"],
        ),
        case(
            "one device lacks a peer's address in the tunnel",
            without_tunnel_address("vps-1", "vps-2"),
            &[("allowed-ip-missing", "vps-1 -> vps-2")],
            [Phase::Unknown, Phase::Unknown, Phase::NotReady],
            &["data-dropped-handshakes-pass", "tunnel-silent"],
        ),
        case(
            "the tunnel's own packets are routed into it",
            loops("home-cp", "vps-2"),
            &[("tunnel-in-tunnel", "home-cp -> vps-2")],
            [Phase::NotReady; 3],
            &["one-way-loss", "path-broken"],
        ),
        case(
            "the route that led the tunnel into itself was taken away a moment ago, and no probe has come round yet",
            looped_until_now("home-cp", "vps-2"),
            &[("tunnel-in-tunnel", "home-cp -> vps-2")],
            [Phase::NotReady; 3],
            &["one-way-loss", "path-broken"],
        ),
        case(
            "a second address has long been known to others, and one device lacks it",
            second_address(60_000),
            &[("allowed-ip-missing", "vps-1 -> vps-2")],
            MESH_ONLY,
            &["nft-set-lacks-peer"],
        ),
    ]
}

fn quiet() -> Vec<Case> {
    vec![
        case(
            "a second address has just come to a node, as a virtual IP does",
            second_address(5000),
            &[],
            READY,
            &["allowed-ip-missing"],
        ),
        case(
            "a route leads the tunnel's own packets into it, and they pass all the same",
            routed_into_itself("home-cp", "vps-2"),
            &[],
            READY,
            &["tunnel-in-tunnel"],
        ),
        case(
            "a tunnel is up again, and KubeSpan has not looked at its peers since",
            up_again_and_left_out("vps-1", "home-cp"),
            &[],
            MESH_UNKNOWN,
            &["nft-set-lacks-peer"],
        ),
        case(
            "a rule is gone since a second",
            just_now(without_rule("vps-2"), "vps-2"),
            &[],
            MESH_UNKNOWN,
            &["steering-rule-missing"],
        ),
        case(
            "a device lacks an address since a second",
            just_now(without_node_address("vps-1", "home-cp"), "vps-1"),
            &[],
            MESH_UNKNOWN,
            &["allowed-ip-missing"],
        ),
        case(
            "nobody steers anything",
            nobody_steers(),
            &[],
            MESH_UNKNOWN,
            &["steering-rule-missing", "steering-table-empty"],
        ),
        case(
            "the addresses of a node are excluded everywhere",
            excluded_everywhere(),
            &[],
            MESH_UNKNOWN,
            &["allowed-ip-missing"],
        ),
        case(
            "a node cannot read its chains",
            unread_chains("vps-1"),
            &[],
            MESH_UNKNOWN,
            &["nft-set-lacks-peer"],
        ),
        case(
            "a peer that is down is left out of the chains",
            down_and_left_out(),
            &[("peer-silent", "vps-2")],
            [Phase::NotReady; 3],
            &["nft-set-lacks-peer", "tunnel-in-tunnel"],
        ),
        case(
            "what a silent node once said of its rules accuses it of nothing",
            gone_with_the_node("vps-2"),
            &[("reports-stale", "vps-2")],
            [Phase::NotReady; 3],
            &["steering-rule-missing"],
        ),
    ]
}
