//! Two troubles at once, of which neither causes the other.

use evidence::{
    Layer,
    discovery::{FailureKind, Stage},
};

use super::{
    Case, MESH_ONLY, NOT_READY, READY, SINCE, case,
    discovery::{shut, with_all},
    sizes::{narrow_home, narrowed, shut_at},
    steering::rule_lost,
    underlay::{
        blocked_at_worker, blocked_inbound_at_vps, blocked_inbound_at_worker, both_ways_unheard,
        home_to_outside, lose_unheard,
    },
};
use crate::support::{Comes, Lab};

pub(crate) fn cases() -> Vec<Case> {
    [paths(), layers(), beside_the_mesh()].concat()
}

/// Two places on the underlay.
fn paths() -> Vec<Case> {
    vec![
        case(
            "two nodes get nothing from outside, each behind a firewall of its own",
            blocked_at_worker(blocked_inbound_at_vps()),
            &[
                ("udp-51820-blocked-inbound", "vps-1"),
                ("udp-51820-blocked-inbound", "home-worker"),
            ],
            NOT_READY,
            &["udp-51820-blocked-both-ways", "path-broken"],
        ),
        case(
            "nothing of a home node comes to a blocked one, which dials where the NAT has forgotten the home",
            lose_unheard(blocked_inbound_at_vps(), "vps-1", "home-cp"),
            &[("udp-51820-blocked-inbound", "vps-1")],
            NOT_READY,
            &["one-way-loss", "path-broken"],
        ),
        case(
            "what a blocked node sends to one that is behind no NAT is lost for a cause of its own",
            lose_unheard(blocked_inbound_at_vps(), "vps-1", "vps-2"),
            &[
                ("udp-51820-blocked-inbound", "vps-1"),
                ("one-way-loss", "vps-1 -> vps-2"),
            ],
            NOT_READY,
            &["path-broken"],
        ),
        case(
            "two public nodes do not reach each other, and nothing gets into one at home",
            both_ways_unheard(blocked_inbound_at_worker(), "vps-1", "vps-2"),
            &[
                ("path-broken", "vps-1 <-> vps-2"),
                ("udp-51820-blocked-inbound", "home-worker"),
            ],
            NOT_READY,
            &["one-way-loss"],
        ),
        case(
            "an agent is dead, and nothing leaves the home",
            home_to_outside(Lab::healthy(), lose_unheard).kill_agent("vps-2", 7000),
            &[
                ("agent-not-reporting", "vps-2"),
                ("udp-51820-blocked-outbound", "site 198.51.100.2"),
            ],
            NOT_READY,
            &["peer-silent", "udp-51820-blocked-inbound"],
        ),
    ]
}

/// Two rungs of the ladder.
fn layers() -> Vec<Case> {
    let one_way = || lose_unheard(Lab::healthy(), "vps-1", "vps-2");
    let other_keys = blocked_inbound_at_worker()
        .lose_both_ways("vps-1", "vps-2", SINCE)
        .inert_heard("vps-1", "vps-2")
        .inert_heard("vps-2", "vps-1")
        .initiate("vps-1", "vps-2", 7000, Comes::BackToTheInterface)
        .initiate("vps-2", "vps-1", 2000, Comes::BackToTheInterface)
        .shook_hands("vps-1", "vps-2", 60_000);
    vec![
        case(
            "what is not steered at one node leaves the tunnel of its site as narrow as it is",
            rule_lost(narrow_home(), "home-cp"),
            &[
                ("steering-rule-missing", "home-cp"),
                ("pmtu-black-hole", "site 198.51.100.2"),
            ],
            MESH_ONLY,
            &["overlay-mtu-too-small"],
        ),
        case(
            "one direction is dead, and the overlay's port of a third node is shut",
            shut_at(one_way(), "home-worker"),
            &[
                ("one-way-loss", "vps-1 -> vps-2"),
                ("overlay-port-blocked", "home-worker"),
            ],
            NOT_READY,
            &["udp-51820-dropped-by-host", "pmtu-black-hole"],
        ),
        case(
            "preshared keys differ on one pair, and nothing gets into a third node",
            other_keys,
            &[
                ("wireguard-psk-mismatch", "vps-1 <-> vps-2"),
                ("udp-51820-blocked-inbound", "home-worker"),
            ],
            NOT_READY,
            &["udp-51820-dropped-by-host", "path-broken"],
        ),
        case(
            "a node has lost the rule, and one other direction is dead",
            rule_lost(one_way(), "home-cp"),
            &[
                ("steering-rule-missing", "home-cp"),
                ("one-way-loss", "vps-1 -> vps-2"),
            ],
            NOT_READY,
            &["udp-51820-blocked-outbound"],
        ),
        case(
            "the home is narrow, and one public direction as well",
            narrow_home().narrow("vps-1", "vps-2", Layer::Tunnel, Some(1300), SINCE),
            &[
                ("pmtu-black-hole", "site 198.51.100.2"),
                ("pmtu-black-hole", "vps-1 -> vps-2"),
            ],
            READY,
            &["overlay-mtu-too-small"],
        ),
    ]
}

/// One of the mesh, and one that has nothing to do with it.
fn beside_the_mesh() -> Vec<Case> {
    let unserved = || with_all(|seen| shut(seen, Stage::Tcp, FailureKind::Silent));
    vec![
        case(
            "nobody is served by the discovery service, and the home is narrow",
            narrowed(unserved()),
            &[
                ("discovery-unreachable", "cluster"),
                ("pmtu-black-hole", "site 198.51.100.2"),
            ],
            READY,
            &["tls-intercepted"],
        ),
        case(
            "nobody is served by the discovery service, and nothing gets into one node",
            blocked_at_worker(unserved()),
            &[
                ("discovery-unreachable", "cluster"),
                ("udp-51820-blocked-inbound", "home-worker"),
            ],
            NOT_READY,
            &["peer-missing"],
        ),
        case(
            "a clock is wrong, and nothing gets into another node",
            blocked_inbound_at_worker().ahead("vps-2", 10_000, 9_500),
            &[
                ("clock-skew", "vps-2"),
                ("udp-51820-blocked-inbound", "home-worker"),
            ],
            NOT_READY,
            &["clock-impossible"],
        ),
    ]
}
