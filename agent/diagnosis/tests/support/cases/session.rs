//! Trouble above the underlay.

use evidence::{Phase, SourceId};

use super::{
    Case, LONG, MESH_ONLY, NOT_READY, SINCE, UNKNOWN, case, underlay::blocked_inbound_at_worker,
};
use crate::support::{Comes, Lab, NODES};

/// A firewall on the node itself.
fn dropped_by_host(node: &str) -> Lab {
    let others = NODES.into_iter().filter(|other| *other != node);
    others.fold(Lab::healthy(), |lab, other| {
        lab.lose(other, node, LONG)
            .inert_heard(other, node)
            .initiate(other, node, 9000, Comes::ToTheFarInterface)
    })
}

/// The others hear the node and have no reason to dial; it hears nothing and dials.
fn deaf_host(node: &str) -> Lab {
    let others = NODES.into_iter().filter(|other| *other != node);
    others.fold(Lab::healthy(), |lab, other| {
        lab.lose(other, node, LONG)
            .inert_heard(other, node)
            .initiate(node, other, 8000, Comes::BackToTheInterface)
    })
}

/// The same, after the last session has run out.
fn dropped_by_host_for_long(node: &str) -> Lab {
    let others = NODES.into_iter().filter(|other| *other != node);
    others.fold(dropped_by_host(node), |lab, other| {
        lab.lose_both_ways(other, node, 200_000)
            .initiate(node, other, 8000, Comes::BackToTheInterface)
            .shook_hands(other, node, 210_000)
    })
}

fn data_dropped(node: &str) -> Lab {
    let others = NODES.into_iter().filter(|other| *other != node);
    others.fold(Lab::healthy(), |lab, other| {
        lab.lose_both_ways(other, node, LONG)
            .inert_heard(other, node)
            .inert_heard(node, other)
            .initiate(other, node, 12_000, Comes::BackToTheKernel)
    })
}

pub(crate) fn arrives_but_silent(node: &str) -> Lab {
    let others = NODES.into_iter().filter(|other| *other != node);
    others.fold(Lab::healthy(), |lab, other| {
        lab.lose_both_ways(other, node, SINCE)
            .inert_heard(other, node)
            .inert_heard(node, other)
    })
}

pub(crate) fn without_tap(lab: Lab) -> Lab {
    let reason = "no permission to open a packet socket: give the agent CAP_NET_RAW";
    lab.gap("home-worker", SourceId::Tap, reason)
}

/// The others have not learnt of the node; what it sends them they do not take.
fn just_come(node: &str) -> Lab {
    let others = NODES.into_iter().filter(|other| *other != node);
    others
        .fold(Lab::healthy(), |lab, other| {
            lab.never_connected(other, node, 10_000)
                .forget_peer(other, node, 10_000)
        })
        .joined(node, 12_000)
}

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "datagrams arrive at a node and it answers no initiation",
            dropped_by_host("vps-2"),
            &[("udp-51820-dropped-by-host", "vps-2")],
            MESH_ONLY,
            &["udp-51820-blocked-inbound", "data-dropped-handshakes-pass"],
        ),
        case(
            "only the host itself dials, its tap sees the answers, and what it sends is taken",
            deaf_host("vps-2"),
            &[("udp-51820-dropped-by-host", "vps-2")],
            MESH_ONLY,
            &["tunnel-silent", "data-dropped-handshakes-pass"],
        ),
        case(
            "the same host, when its sessions have run out and it takes no answer either",
            dropped_by_host_for_long("vps-2"),
            &[("udp-51820-dropped-by-host", "vps-2")],
            [Phase::Ready, Phase::NotReady, Phase::NotReady],
            &["tunnel-silent", "peer-never-connected"],
        ),
        case(
            "handshakes complete and no data follows",
            data_dropped("vps-2"),
            &[("data-dropped-handshakes-pass", "vps-2")],
            MESH_ONLY,
            &["udp-51820-dropped-by-host", "tunnel-silent"],
        ),
        case(
            "datagrams arrive, data does not, and no handshake was due yet",
            arrives_but_silent("vps-2"),
            &[("tunnel-silent", "vps-2")],
            MESH_ONLY,
            &[
                "data-dropped-handshakes-pass",
                "udp-51820-dropped-by-host",
                "udp-51820-blocked-both-ways",
            ],
        ),
        case(
            "a node without a tap misses what is sent to it: nobody can say that the path lost it",
            without_tap(blocked_inbound_at_worker()),
            &[("tunnel-silent", "home-worker")],
            [Phase::Unknown, Phase::Unknown, Phase::NotReady],
            &["udp-51820-blocked-inbound"],
        ),
        case(
            "two nodes never completed a handshake, and one cannot see what arrives",
            without_tap(Lab::healthy().never_connected("vps-1", "home-worker", 60_000)),
            &[("peer-never-connected", "home-worker <-> vps-1")],
            [Phase::Unknown, Phase::NotReady, Phase::NotReady],
            &["tunnel-silent", "path-broken", "peer-missing"],
        ),
        case(
            "a node does not have another in its device",
            Lab::healthy().forget_peer("home-cp", "vps-2", 60_000),
            &[("peer-missing", "home-cp -> vps-2")],
            NOT_READY,
            &[
                "path-broken",
                "one-way-loss",
                "peer-never-connected",
                "wireguard-wrong-key",
            ],
        ),
        case(
            "a node that has just come is not yet in the devices of the others",
            just_come("home-worker"),
            &[],
            UNKNOWN,
            &["peer-missing"],
        ),
    ]
}
