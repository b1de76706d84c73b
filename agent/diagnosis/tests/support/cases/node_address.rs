//! Which of several addresses Kubernetes takes for a node.

use std::net::IpAddr;

use evidence::{Fact, Talos};

use super::{Case, READY, case};
use crate::support::{Lab, NODES, ago, healthy::own_address};

const AMBIGUOUS: &str = "node-ip-ambiguous";
const NODE: &str = "home-worker";

pub(crate) fn cases() -> Vec<Case> {
    let second: IpAddr = [10, 99, 0, 12].into();
    let shared: IpAddr = [100, 101, 102, 103].into();
    let own = IpAddr::from(own_address(NODE));
    // Both home nodes are known by addresses of another network.
    let mut both = known_by(&[own, second], &[second], 60_000);
    told(
        &mut both,
        "home-cp",
        &[own_address("home-cp").into(), [10, 99, 0, 11].into()],
        &[[10, 99, 0, 11].into()],
        60_000,
    );
    vec![
        case(
            "a node is known by another network than its neighbour",
            known_by(&[own, second], &[second], 60_000),
            &[(AMBIGUOUS, NODE)],
            READY,
            &["address-overlap", "allowed-ip-missing"],
        ),
        case(
            "a node is known by the address of an overlay of another kind",
            known_by(&[own, shared], &[shared], 60_000),
            &[(AMBIGUOUS, NODE)],
            READY,
            &[],
        ),
        case(
            "several addresses, and the one of its neighbours' network is taken",
            known_by(&[own, second], &[own], 60_000),
            &[],
            READY,
            &[AMBIGUOUS],
        ),
        case(
            "public servers are known by public addresses, machines at home by private ones",
            known_by(&[own], &[own], 60_000),
            &[],
            READY,
            &[AMBIGUOUS],
        ),
        case(
            "all of a site are known by addresses of its second network",
            both,
            &[],
            READY,
            &[AMBIGUOUS],
        ),
        case(
            "an address that came a moment ago, and the kubelet is not told yet",
            known_by(&[own, second], &[second], 3_000),
            &[],
            READY,
            &[AMBIGUOUS],
        ),
        case(
            "the only address is one of a provider's shared range",
            known_by(&[shared], &[shared], 60_000),
            &[],
            READY,
            &[AMBIGUOUS],
        ),
    ]
}

/// All nodes are known by their own addresses, but one.
fn known_by(has: &[IpAddr], taken: &[IpAddr], since: i64) -> Lab {
    let mut lab = Lab::healthy();
    for node in NODES {
        let own = [own_address(node).into()];
        told(&mut lab, node, &own, &own, 60_000);
    }
    told(&mut lab, NODE, has, taken, since);
    lab
}

fn told(lab: &mut Lab, node: &str, has: &[IpAddr], taken: &[IpAddr], since: i64) {
    lab.put(
        node,
        Fact::Talos(Box::new(Talos {
            since: ago(since),
            addresses: has.to_vec(),
            node_ips: taken.to_vec(),
            ..Talos::default()
        })),
    );
}
