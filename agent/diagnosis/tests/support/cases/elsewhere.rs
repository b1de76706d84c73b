//! Endpoints that somebody set to what is no address of the peer.

use evidence::{Candidate, EndpointChange, Fact, TalosPeer};

use super::{Case, LONG, NOT_READY, case, underlay::both_ways_unheard};
use crate::support::{Lab, ago, healthy::endpoint, key};

const ELSEWHERE: &str = "endpoint-elsewhere";
const BROKEN: &str = "path-broken";
const PAIR: &str = "vps-1 <-> vps-2";

const NOBODY: &str = "192.0.2.9:51820";

pub(crate) fn cases() -> Vec<Case> {
    let broken = || both_ways_unheard(Lab::healthy(), "vps-1", "vps-2");
    let one = || set(broken(), "vps-1", "vps-2", NOBODY);
    let both = || set(one(), "vps-2", "vps-1", NOBODY);
    let case = |title, lab, root, subject, other: &'static [&'static str]| {
        case(title, lab, &[(root, subject)], NOT_READY, other)
    };
    vec![
        case(
            "both endpoints were set to where neither is",
            both(),
            ELSEWHERE,
            PAIR,
            &[BROKEN, "one-way-loss", "nat-mapping-moved"],
        ),
        case(
            "another port of its own address",
            set(
                set(broken(), "vps-1", "vps-2", "203.0.113.12:51821"),
                "vps-2",
                "vps-1",
                "203.0.113.11:51821",
            ),
            ELSEWHERE,
            PAIR,
            &[BROKEN],
        ),
        case(
            "a path is broken, and the endpoints were changed before the peer was last heard",
            heard_since(heard_since(both(), "vps-1", "vps-2"), "vps-2", "vps-1"),
            BROKEN,
            PAIR,
            &[ELSEWHERE],
        ),
        case(
            "Talos lists what is dialled: what stops it is the path",
            listed(listed(both(), "vps-1", "vps-2"), "vps-2", "vps-1"),
            BROKEN,
            PAIR,
            &[ELSEWHERE],
        ),
        case(
            "others hear both at these addresses",
            elsewhere_for_others(both()),
            BROKEN,
            PAIR,
            &[ELSEWHERE],
        ),
    ]
}

/// Somebody gave the device of `at` another endpoint for `of`, and nothing has come since.
pub(crate) fn set(mut lab: Lab, at: &str, of: &str, to: &str) -> Lab {
    let to = to.parse().expect("an endpoint");
    lab.peer(at, of, |peer| {
        let change = EndpointChange {
            at: ago(LONG),
            from: endpoint(at, of),
            to,
        };
        peer.endpoint = Some(to);
        peer.endpoint_changes = vec![change];
        peer.rx_moved = Some(ago(LONG + 1000));
    });
    // What left went there.
    lab.inert_unheard(at, of)
}

fn heard_since(mut lab: Lab, at: &str, of: &str) -> Lab {
    lab.peer(at, of, |peer| peer.rx_moved = Some(ago(LONG - 1000)));
    lab
}

fn listed(mut lab: Lab, at: &str, of: &str) -> Lab {
    let peer = TalosPeer {
        since: ago(60_000),
        label: of.to_owned(),
        address: None,
        allowed_ips: Vec::new(),
        candidates: vec![Candidate {
            to: NOBODY.parse().expect("an endpoint"),
            way: None,
        }],
        left_out: 0,
        status: None,
    };
    lab.put(at, Fact::TalosPeer(key(of), peer.into()));
    lab
}

/// The two nodes of the home dial both where they dial each other.
fn elsewhere_for_others(mut lab: Lab) -> Lab {
    for at in ["home-cp", "home-worker"] {
        for of in ["vps-1", "vps-2"] {
            let to = NOBODY.parse().expect("an endpoint");
            lab.peer(at, of, |peer| peer.endpoint = Some(to));
        }
    }
    lab
}
