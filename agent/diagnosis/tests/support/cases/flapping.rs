//! Pairs that come and go.

use diagnosis::History;
use evidence::{EndpointChange, Fact, FactKey, Moment, NodeRef, PairPast, Phase, Rung};

use super::{
    Case, MESH_ONLY, NOT_READY, READY, case,
    underlay::{both_ways_unheard, lose_unheard},
};
use crate::support::{Lab, ago, healthy::endpoint, key, name};

const PATH: &str = "path-flapping";
const ENDPOINT: &str = "endpoint-overwritten";

/// Both directions of two nodes changed so many seconds ago; they are good now.
pub(crate) fn changed(mut lab: Lab, a: &str, b: &str, seconds: &[i64]) -> Lab {
    let mut pasts: Vec<PairPast> = lab.view.history.pasts().collect();
    for (from, to) in [(a, b), (b, a)] {
        pasts.push(PairPast {
            from: NodeRef::named(&name(from)),
            to: NodeRef::named(&name(to)),
            good: true,
            rung: Rung::Tunnel,
            changes: seconds.iter().map(|second| ago(second * 1000)).collect(),
        });
    }
    lab.view.history = History::of(pasts);
    lab
}

/// The device of `at` had the endpoint of `of` set to another port, and back, at these times.
pub(crate) fn rewritten(mut lab: Lab, at: &str, of: &str, seconds: &[i64]) -> Lab {
    let right = endpoint(at, of);
    let wrong = (right.ip(), 9).into();
    let Some(Fact::Peer(_, mut peer)) = lab.node(at).facts.get(&FactKey::Peer(key(of))).cloned()
    else {
        panic!("{at} has {of} as a peer");
    };
    let changes = seconds.iter().enumerate().map(|(index, second)| {
        let (from, to) = if index % 2 == 0 {
            (right, wrong)
        } else {
            (wrong, right)
        };
        let at: Moment = ago(second * 1000);
        EndpointChange { at, from, to }
    });
    peer.endpoint_changes = changes.collect();
    lab.put(at, Fact::Peer(key(of), peer));
    lab
}

pub(crate) const REGULAR: [i64; 6] = [43, 35, 27, 19, 11, 3];
const BROKEN: [i64; 5] = [72, 56, 40, 24, 8];
pub(crate) const IRREGULAR: [i64; 6] = [90, 80, 75, 41, 30, 3];

pub(crate) fn cases() -> Vec<Case> {
    [flapping(), calm()].concat()
}

fn flapping() -> Vec<Case> {
    let healthy = Lab::healthy;
    let pair = "home-worker <-> vps-1";
    vec![
        case(
            "a pair comes and goes at no interval",
            changed(healthy(), "vps-1", "home-worker", &IRREGULAR),
            &[(PATH, pair)],
            MESH_ONLY,
            &[ENDPOINT],
        ),
        case(
            "a pair comes and goes each 16 s, and its endpoints stay",
            changed(healthy(), "vps-1", "home-worker", &REGULAR),
            &[(PATH, pair)],
            MESH_ONLY,
            &[ENDPOINT],
        ),
        case(
            "the endpoint changes with the pair, each 16 s",
            rewritten(
                changed(healthy(), "vps-1", "home-worker", &REGULAR),
                "vps-1",
                "home-worker",
                &REGULAR,
            ),
            &[(ENDPOINT, "vps-1")],
            MESH_ONLY,
            &[PATH],
        ),
        case(
            "the endpoint is set to where the peer is not, over and over, and the pair comes and goes at no interval",
            rewritten(
                changed(healthy(), "vps-1", "vps-2", &IRREGULAR),
                "vps-1",
                "vps-2",
                &IRREGULAR,
            ),
            &[(ENDPOINT, "vps-1")],
            MESH_ONLY,
            &[PATH],
        ),
        case(
            "the endpoint goes round what Talos may dial, and the pair comes and goes at no interval: the path fails first",
            rewritten(
                changed(healthy(), "vps-1", "home-worker", &IRREGULAR),
                "vps-1",
                "home-worker",
                &IRREGULAR,
            ),
            &[(PATH, pair)],
            MESH_ONLY,
            &[ENDPOINT],
        ),
        case(
            "both endpoints change with the pair",
            rewritten(
                rewritten(
                    changed(healthy(), "vps-1", "home-worker", &REGULAR),
                    "vps-1",
                    "home-worker",
                    &REGULAR,
                ),
                "home-worker",
                "vps-1",
                &REGULAR,
            ),
            &[(ENDPOINT, pair)],
            MESH_ONLY,
            &[PATH],
        ),
        case(
            "a pair that flaps fails at the moment: what flaps is the root, what fails is folded under it",
            {
                let lab = changed(healthy(), "vps-1", "home-worker", &[43, 35, 27, 19, 8]);
                lab.lose_both_ways("vps-1", "home-worker", 8000)
            },
            &[(PATH, pair)],
            // The taps have not decided the underlay yet.
            [Phase::Unknown, Phase::Unknown, Phase::NotReady],
            &["tunnel-silent"],
        ),
        case(
            "the endpoint changes with the pair, which fails at the moment: who rewrites it is the cause, whatever that does to the path",
            rewritten_and_broken(),
            &[(ENDPOINT, "vps-1")],
            NOT_READY,
            &[PATH, "path-broken"],
        ),
        case(
            "a pair that flaps fails at the moment, and it is certain why: that is the root, and flaps",
            {
                let lab = changed(healthy(), "vps-1", "home-worker", &[43, 35, 27, 19, 8]);
                lose_unheard(lab, "vps-1", "home-worker")
            },
            &[("one-way-loss", "vps-1 -> home-worker")],
            NOT_READY,
            &[PATH, ENDPOINT],
        ),
    ]
}

/// An endpoint is rewritten over and over, and at the moment nothing passes either way.
fn rewritten_and_broken() -> Lab {
    let lab = changed(Lab::healthy(), "vps-1", "vps-2", &BROKEN);
    let lab = rewritten(lab, "vps-1", "vps-2", &REGULAR);
    both_ways_unheard(lab, "vps-1", "vps-2")
}

/// Outages that are no flapping, or no longer.
fn calm() -> Vec<Case> {
    let healthy = Lab::healthy;
    let pair = "home-worker <-> vps-1";
    vec![
        case(
            "two outages, with more than two minutes between them",
            changed(healthy(), "vps-1", "home-worker", &[290, 215, 80, 3]),
            &[],
            READY,
            &[PATH, ENDPOINT],
        ),
        case(
            "two outages, with less than two minutes between them",
            changed(healthy(), "vps-1", "home-worker", &[260, 185, 80, 3]),
            &[(PATH, pair)],
            MESH_ONLY,
            &[ENDPOINT],
        ),
        case(
            "one outage that is over",
            changed(healthy(), "vps-1", "home-worker", &[40, 2]),
            &[],
            READY,
            &[PATH, ENDPOINT],
        ),
        case(
            "a pair that flapped and has been good for long enough",
            changed(healthy(), "vps-1", "home-worker", &[90, 82, 74, 66, 58, 50]),
            &[],
            READY,
            &[PATH, ENDPOINT],
        ),
        case(
            "a peer behind NAT that roamed, while nothing failed",
            rewritten(healthy(), "vps-1", "home-worker", &REGULAR),
            &[],
            READY,
            &[PATH, ENDPOINT],
        ),
    ]
}
