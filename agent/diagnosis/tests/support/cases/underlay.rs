//! Trouble of the underlay.

use std::net::SocketAddr;

use evidence::Phase;

use super::{Case, LONG, NOT_READY, SINCE, UNKNOWN, case};
use crate::support::{Comes, Lab, NODES, healthy::endpoint};

pub(crate) fn cases() -> Vec<Case> {
    [
        dropped(),
        dialled(),
        by_port(),
        between_ends(),
        coming_back(),
    ]
    .concat()
}

/// What all nodes of a site suffer with one other place, and with no other.
fn between_ends() -> Vec<Case> {
    let homes = ["home-cp", "home-worker"];
    let into = |lab: Lab| {
        homes
            .into_iter()
            .fold(lab, |lab, home| lose_unheard(lab, home, "vps-1"))
    };
    let out = |lab: Lab| {
        homes
            .into_iter()
            .fold(lab, |lab, home| lose_unheard(lab, "vps-1", home))
    };
    vec![
        case(
            "a node has banned the address of the home: what other nodes send reaches it, and the home reaches others",
            into(Lab::healthy()),
            &[("one-way-loss", "site 198.51.100.2 -> vps-1")],
            NOT_READY,
            &["udp-51820-blocked-inbound", "udp-51820-blocked-outbound"],
        ),
        case(
            "nothing passes between the home and one public node, either way",
            out(into(Lab::healthy())),
            &[("path-broken", "vps-1 <-> site 198.51.100.2")],
            NOT_READY,
            &["udp-51820-blocked-both-ways", "one-way-loss"],
        ),
        case(
            "one of two at home is heard by the node that does not hear the other: it is no matter of the site",
            lose_unheard(Lab::healthy(), "home-worker", "vps-1"),
            &[("one-way-loss", "home-worker -> vps-1")],
            NOT_READY,
            &["udp-51820-blocked-outbound"],
        ),
    ]
}

/// What was lost before a node was there to see it.
fn coming_back() -> Vec<Case> {
    vec![
        case(
            "a node whose link was down speaks again: what was lost meanwhile accuses no path",
            cut_off().back("home-worker", 1000),
            &[],
            UNKNOWN,
            &[
                "udp-51820-blocked-both-ways",
                "udp-51820-blocked-inbound",
                "tunnel-silent",
            ],
        ),
        case(
            "a node speaks again, and its datagrams still do not pass",
            cut_off().back("home-worker", 6000),
            &[("udp-51820-blocked-both-ways", "home-worker")],
            NOT_READY,
            &["peer-silent"],
        ),
        case(
            "a node has just got its device back: what came before, it counted of nobody",
            NODES
                .into_iter()
                .fold(blocked_inbound_at_vps(), |lab, other| {
                    lab.met("vps-1", other, 1000)
                }),
            &[],
            UNKNOWN,
            &["udp-51820-blocked-inbound"],
        ),
    ]
}

fn dropped() -> Vec<Case> {
    vec![
        case(
            "what comes from outside for one home node is dropped, its LAN neighbour reaches it",
            blocked_inbound_at_worker(),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["udp-51820-blocked-both-ways", "one-way-loss"],
        ),
        case(
            "what comes for a public node is dropped, what it sends arrives",
            blocked_inbound_at_vps(),
            &[("udp-51820-blocked-inbound", "vps-1")],
            NOT_READY,
            &["peer-silent", "udp-51820-blocked-outbound"],
        ),
        case(
            "nothing leaves the home site, what comes in still arrives",
            blocked_outbound_at_home(),
            &[("udp-51820-blocked-outbound", "site 198.51.100.2")],
            NOT_READY,
            &["udp-51820-blocked-inbound", "udp-51820-blocked-both-ways"],
        ),
        case(
            "nothing passes the router of the home in either direction",
            home_to_outside(Lab::healthy(), both_ways_unheard),
            &[("udp-51820-blocked-both-ways", "site 198.51.100.2")],
            NOT_READY,
            &["udp-51820-blocked-outbound", "peer-silent", "path-broken"],
        ),
        case(
            "one direction between two nodes is dead, all others pass",
            lose_unheard(Lab::healthy(), "vps-1", "home-cp"),
            &[("one-way-loss", "vps-1 -> home-cp")],
            NOT_READY,
            &["udp-51820-blocked-inbound", "path-broken"],
        ),
        case(
            "two nodes do not reach each other, others reach both",
            both_ways_unheard(Lab::healthy(), "vps-1", "home-cp"),
            &[("path-broken", "home-cp <-> vps-1")],
            NOT_READY,
            &["one-way-loss", "peer-never-connected", "peer-silent"],
        ),
        case(
            "initiations and the answers to others are lost on their way to a node that no inert datagram tested",
            ["vps-1", "vps-2"]
                .into_iter()
                .fold(Lab::healthy(), |lab, vps| {
                    lab.lose(vps, "home-worker", LONG)
                        .initiate(vps, "home-worker", 12_000, Comes::Nowhere)
                        .initiate("home-worker", vps, 9000, Comes::ToAnAnswer)
                }),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["udp-51820-dropped-by-host"],
        ),
        case(
            "one tap has decided and the other has not: the place is the same already",
            lose_unheard(Lab::healthy(), "vps-1", "home-worker").lose("vps-2", "home-worker", 5000),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["one-way-loss", "tunnel-silent"],
        ),
        case(
            "one pair has decided, and others of the same node have just begun to lose: the place is not known yet",
            both_ways_unheard(Lab::healthy(), "home-worker", "vps-1")
                .lose_only("vps-2", "vps-1", 2)
                .lose_only("home-cp", "vps-1", 2),
            &[("tunnel-silent", "home-worker <-> vps-1")],
            NOT_READY,
            &["path-broken", "udp-51820-blocked-inbound"],
        ),
        case(
            "answers get in where a NAT has moved a home node to, and the tunnel dials where it was before",
            moved_by_nat(),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["one-way-loss", "tunnel-silent"],
        ),
        case(
            "what comes from another port arrives, the tunnel's own five-tuple is dropped",
            five_tuple_dropped(),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &["one-way-loss", "tunnel-silent"],
        ),
    ]
}

/// Where a NAT gave a node another port, a rule for 51820 lets through what is for it.
fn by_port() -> Vec<Case> {
    vec![
        case(
            "a node's outbound rule drops UDP 51820: what it sends to the port that a NAT gave to another arrives",
            ["vps-2", "home-cp"]
                .into_iter()
                .fold(Lab::healthy(), |lab, to| lose_unheard(lab, "vps-1", to)),
            &[("udp-51820-blocked-outbound", "vps-1")],
            NOT_READY,
            &["one-way-loss", "path-broken"],
        ),
        case(
            "the same, and of one way only it is decided yet: the place is the same already",
            lose_unheard(Lab::healthy(), "vps-1", "vps-2").lose("vps-1", "home-cp", 5000),
            &[("udp-51820-blocked-outbound", "vps-1")],
            NOT_READY,
            &["one-way-loss", "tunnel-silent"],
        ),
        case(
            "nothing arrives of a node at two others, at 51820 of one and at another port of the other, and 51820 of a third is reached",
            ["vps-2", "home-worker"]
                .into_iter()
                .fold(Lab::healthy(), |lab, to| lose_unheard(lab, "vps-1", to)),
            &[
                ("one-way-loss", "vps-1 -> home-worker"),
                ("one-way-loss", "vps-1 -> vps-2"),
            ],
            NOT_READY,
            &["udp-51820-blocked-outbound"],
        ),
    ]
}

/// A router dropped the translation of one five-tuple.
pub(crate) fn five_tuple_dropped() -> Lab {
    ["vps-1", "vps-2"]
        .into_iter()
        .fold(blocked_inbound_at_worker(), |lab, vps| {
            lab.unsolicited_heard(vps, "home-worker")
        })
}

pub(crate) fn moved_by_nat() -> Lab {
    let dialled = endpoint("vps-1", "home-worker");
    let moved = SocketAddr::new(dialled.ip(), dialled.port() ^ 1);
    blocked_inbound_at_worker().inert_answered("home-worker", "vps-1", moved)
}

pub(crate) fn lose_unheard(lab: Lab, from: &str, to: &str) -> Lab {
    lab.lose(from, to, SINCE).inert_unheard(from, to)
}

fn cut_off() -> Lab {
    ["vps-1", "vps-2", "home-cp"]
        .into_iter()
        .fold(Lab::healthy(), |lab, other| {
            both_ways_unheard(lab, other, "home-worker")
        })
}

pub(crate) fn blocked_inbound_at_worker() -> Lab {
    blocked_at_worker(Lab::healthy())
}

pub(crate) fn blocked_at_worker(lab: Lab) -> Lab {
    let lab = lose_unheard(lab, "vps-1", "home-worker");
    lose_unheard(lab, "vps-2", "home-worker")
}

pub(crate) fn blocked_inbound_at_vps() -> Lab {
    ["vps-2", "home-cp", "home-worker"]
        .into_iter()
        .fold(Lab::healthy(), |lab, from| lose_unheard(lab, from, "vps-1"))
}

pub(crate) fn home_to_outside(lab: Lab, lose: fn(Lab, &str, &str) -> Lab) -> Lab {
    ["home-cp", "home-worker"]
        .into_iter()
        .fold(lab, |lab, home| {
            let outside: Vec<String> = lab.names();
            let outside = outside.iter().filter(|node| node.starts_with("vps"));
            outside.fold(lab.clone(), |lab, vps| lose(lab, home, vps))
        })
}

fn blocked_outbound_at_home() -> Lab {
    home_to_outside(Lab::healthy(), lose_unheard)
}

pub(crate) fn both_ways_unheard(lab: Lab, a: &str, b: &str) -> Lab {
    lab.lose_both_ways(a, b, SINCE)
        .inert_unheard(a, b)
        .inert_unheard(b, a)
}

fn dialled() -> Vec<Case> {
    vec![
        case(
            "initiations between two nodes are lost both ways",
            initiations_lost("vps-1", "vps-2"),
            &[("path-broken", "vps-1 <-> vps-2")],
            NOT_READY,
            &["tunnel-silent"],
        ),
        case(
            "the same, and both ends have been given other endpoints since: what went to the old ones accuses no path",
            endpoints_mended("vps-1", "vps-2"),
            &[("tunnel-silent", "vps-1 <-> vps-2")],
            [Phase::Unknown, Phase::Unknown, Phase::NotReady],
            &["path-broken", "one-way-loss"],
        ),
    ]
}

/// Two nodes dial each other, and nothing of it arrives.
fn initiations_lost(one: &str, other: &str) -> Lab {
    Lab::healthy()
        .lose_both_ways(one, other, LONG)
        .initiate(one, other, 12_000, Comes::Nowhere)
        .initiate(other, one, 11_000, Comes::Nowhere)
        .initiate(one, other, 7000, Comes::Nowhere)
        .initiate(other, one, 6000, Comes::Nowhere)
}

/// Then somebody set other endpoints, and neither has dialled these yet.
fn endpoints_mended(one: &str, other: &str) -> Lab {
    let mut lab = initiations_lost(one, other);
    for (from, to) in [(one, other), (other, one)] {
        lab.peer(from, to, |peer| {
            peer.endpoint = Some(SocketAddr::from(([192, 0, 2, 9], 51820)));
        });
    }
    lab
}
