//! A home that is routed, without a translation: its nodes are dialled at their own addresses.

use std::net::IpAddr;

use evidence::{Fact, FactKey, Layer};

use super::{
    Case, NOT_READY, READY, SINCE, case,
    underlay::{home_to_outside, lose_unheard},
};
use crate::support::{Lab, NODES, healthy::own_address};

const HOMES: [&str; 2] = ["home-cp", "home-worker"];
const OUTSIDE: [&str; 2] = ["vps-1", "vps-2"];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "nothing leaves a routed home, and its nodes reach each other",
            routed(home_to_outside(Lab::healthy(), lose_unheard)),
            &[("udp-51820-blocked-outbound", "site 192.168.50.0/24")],
            NOT_READY,
            &["one-way-loss", "udp-51820-blocked-inbound"],
        ),
        case(
            "nothing leaves one node of a routed home, and its neighbour has just begun to lose: the place is not known yet",
            routed(one_decided()),
            &[("tunnel-silent", "home-worker")],
            NOT_READY,
            &["one-way-loss", "udp-51820-blocked-outbound"],
        ),
        case(
            "what comes from outside for one node of a routed home is dropped, its neighbour reaches it",
            routed(into("home-worker")),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["one-way-loss"],
        ),
        case(
            "nobody reaches a node of a routed home, its neighbour neither",
            routed(lose_unheard(into("home-worker"), "home-cp", "home-worker")),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["one-way-loss"],
        ),
        case(
            "all nodes are in one network: nothing stands between it and others, and what one does not hear of any is held back in front of it",
            in_one_network(lose_unheard(into("home-worker"), "home-cp", "home-worker")),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["one-way-loss"],
        ),
        case(
            "the uplink of a routed home is narrow, both ways",
            routed(narrow()),
            &[("pmtu-black-hole", "site 192.168.50.0/24")],
            READY,
            &["udp-51820-blocked-both-ways"],
        ),
    ]
}

/// All others dial the nodes of the home at their own addresses, and what was sent to them was sent there.
fn routed(mut lab: Lab) -> Lab {
    for home in HOMES {
        let own = (own_address(home), 51820).into();
        for from in OUTSIDE {
            lab.peer(from, home, |peer| peer.endpoint = Some(own));
            lab.inert(from, home, |inert| inert.to = inert.to.and(Some(own)));
        }
    }
    lab
}

/// Every node is in the network of the home as well, and dialled there.
fn in_one_network(mut lab: Lab) -> Lab {
    for (node, host) in OUTSIDE.into_iter().zip(21..) {
        let address = IpAddr::from([192, 168, 50, host]);
        let Some(Fact::Identity(mut identity)) =
            lab.node(node).facts.get(&FactKey::Identity).cloned()
        else {
            panic!("{node} says who it is");
        };
        identity.addresses.push(address);
        lab.put(node, Fact::Identity(identity));
        for from in NODES {
            lab.peer(from, node, |peer| {
                peer.endpoint = Some((address, 51820).into());
            });
        }
    }
    routed(lab)
}

/// As where nothing leaves the home, a moment sooner: inert datagrams of one of its nodes are not on their way yet.
fn one_decided() -> Lab {
    let lab = OUTSIDE.into_iter().fold(Lab::healthy(), |lab, to| {
        lose_unheard(lab, "home-worker", to)
    });
    OUTSIDE
        .into_iter()
        .fold(lab, |lab, to| lab.lose_only("home-cp", to, 3))
}

fn into(home: &str) -> Lab {
    OUTSIDE
        .into_iter()
        .fold(Lab::healthy(), |lab, from| lose_unheard(lab, from, home))
}

fn narrow() -> Lab {
    let pairs = HOMES
        .into_iter()
        .flat_map(|home| OUTSIDE.map(|outside| (home, outside)));
    pairs.fold(Lab::healthy(), |lab, (home, outside)| {
        lab.narrow(home, outside, Layer::Tunnel, Some(1300), SINCE)
            .narrow(outside, home, Layer::Tunnel, Some(1300), SINCE)
    })
}
