//! What translators of addresses do to pairs.

use std::net::SocketAddr;

use evidence::{Fact, FactKey, Moment, Phase};

use super::{Case, NOT_READY, case, underlay::blocked_inbound_at_worker};
use crate::support::{
    Lab, ago,
    healthy::{endpoint, own_address},
    key,
};

const SYMMETRIC: &str = "nat-symmetric-both-ends";
const MOVED: &str = "nat-mapping-moved";
/// Handshakes of one pair fail, and nothing else is known of it.
const APART: [Phase; 3] = [Phase::Unknown, Phase::NotReady, Phase::NotReady];

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "two homes, and each router takes another port for every destination",
            homes(true, true),
            &[(SYMMETRIC, "home-cp <-> home-worker")],
            APART,
            &[
                "peer-never-connected",
                "path-broken",
                "endpoint-shared-behind-nat",
            ],
        ),
        case(
            "one of the two routers keeps its port: the pair could meet, and what hinders it is not known",
            homes(true, false),
            &[("peer-never-connected", "home-cp <-> home-worker")],
            APART,
            &[SYMMETRIC],
        ),
        case(
            "the two have met once: then it is not the routers",
            met(homes(true, true)),
            &[("tunnel-silent", "home-cp <-> home-worker")],
            APART,
            &[SYMMETRIC],
        ),
        case(
            "all who dial a node do so where the NAT had it before, and answers get in where it is now",
            moved(blocked_inbound_at_worker()),
            &[(MOVED, "home-worker")],
            NOT_READY,
            &["udp-51820-blocked-inbound", "one-way-loss"],
        ),
        case(
            "answers got in where the NAT has moved the node to, before all was lost",
            moved_at(blocked_inbound_at_worker(), ago(20_000)),
            &[("udp-51820-blocked-inbound", "home-worker")],
            NOT_READY,
            &[MOVED],
        ),
    ]
}

/// The two at home are at two homes, and have never met.
fn homes(first: bool, second: bool) -> Lab {
    let mut lab = Lab::healthy().never_connected("home-cp", "home-worker", 60_000);
    for (node, other) in [("home-cp", "home-worker"), ("home-worker", "home-cp")] {
        // Nobody has told one of them where to dial the other.
        lab.peer(node, other, |peer| peer.endpoint = None);
    }
    let ports = |dependent: bool| {
        if dependent {
            [40_001, 40_002]
        } else {
            [51_820; 2]
        }
    };
    let sites = [
        ("home-cp", [198, 51, 100, 2], ports(first)),
        ("home-worker", [198, 51, 100, 3], ports(second)),
    ];
    for (node, site, ports) in sites {
        for (vps, port) in ["vps-1", "vps-2"].into_iter().zip(ports) {
            lab.peer(vps, node, |peer| {
                peer.endpoint = Some(SocketAddr::from((site, port)));
            });
        }
    }
    lab
}

fn met(mut lab: Lab) -> Lab {
    lab.peer("home-cp", "home-worker", |peer| {
        peer.last_handshake = Some(ago(3_000_000));
    });
    lab
}

fn moved(lab: Lab) -> Lab {
    moved_at(lab, ago(2901))
}

/// Both callers of the home node have answered it, at another port than they dial.
fn moved_at(lab: Lab, sent_at: Moment) -> Lab {
    ["vps-1", "vps-2"].into_iter().fold(lab, |lab, vps| {
        let dialled = endpoint(vps, "home-worker");
        let now_at = SocketAddr::new(dialled.ip(), dialled.port() ^ 1);
        assert_ne!(
            now_at.ip(),
            own_address("home-worker"),
            "it is behind a NAT"
        );
        let mut lab = lab.inert_answered("home-worker", vps, now_at);
        let asked = FactKey::Inert(key(vps));
        if let Some(Fact::Inert(peer, mut inert)) =
            lab.node("home-worker").facts.get(&asked).cloned()
        {
            if let Some(replies) = &mut inert.replies {
                replies.sent_at = sent_at;
                replies.last = sent_at.shifted(1);
            }
            lab.put("home-worker", Fact::Inert(peer, inert));
        }
        lab
    })
}
