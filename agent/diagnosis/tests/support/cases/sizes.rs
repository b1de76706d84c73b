//! Small packets pass, large ones do not.

use evidence::{Layer, SourceId};

use super::{Case, READY, SINCE, case};
use crate::support::{Lab, NODES, ago};

pub(crate) const BLACK_HOLE: &str = "pmtu-black-hole";
const PORT: &str = "overlay-port-blocked";
pub(crate) const OVERLAY: &str = "overlay-mtu-too-small";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "the uplink of the home is narrow, both ways",
            narrow_home(),
            &[(BLACK_HOLE, "site 198.51.100.2")],
            READY,
            &[OVERLAY, PORT, "udp-51820-blocked-both-ways"],
        ),
        case(
            "the uplink of the home is narrow, and only one direction has been searched so far",
            searched_once(),
            &[(BLACK_HOLE, "site 198.51.100.2")],
            READY,
            &[OVERLAY],
        ),
        case(
            "the overlay's packets were found too long before the tunnel's were searched",
            found_in_the_overlay_first(),
            &[],
            READY,
            &[OVERLAY],
        ),
        case(
            "one direction is narrow",
            Lab::healthy().narrow("vps-1", "vps-2", Layer::Tunnel, Some(1300), SINCE),
            &[(BLACK_HOLE, "vps-1 -> vps-2")],
            READY,
            &["one-way-loss"],
        ),
        case(
            "one direction is narrow, and another one into the same node passed before that and has not been tried since: the place is not known yet",
            untried_since(),
            &[],
            READY,
            &[BLACK_HOLE],
        ),
        case(
            "the overlay's port is shut into one node",
            shut("vps-2"),
            &[(PORT, "vps-2")],
            READY,
            &[BLACK_HOLE, OVERLAY],
        ),
        case(
            "the overlay's port is shut between two nodes, both ways",
            Lab::healthy()
                .narrow("vps-1", "vps-2", Layer::Overlay, None, SINCE)
                .narrow("vps-2", "vps-1", Layer::Overlay, None, SINCE),
            &[(PORT, "vps-1 <-> vps-2")],
            READY,
            &[BLACK_HOLE],
        ),
        case(
            "the way of node addresses is narrower than the tunnel",
            Lab::healthy().narrow("vps-1", "vps-2", Layer::Overlay, Some(1300), SINCE),
            &[(OVERLAY, "vps-1 -> vps-2")],
            READY,
            &[BLACK_HOLE, PORT],
        ),
        case(
            "a peer that answers packets of no size is of another version, not behind a narrow way",
            Lab::healthy()
                .narrow("vps-1", "vps-2", Layer::Tunnel, None, SINCE)
                .narrow("vps-1", "vps-2", Layer::Overlay, None, SINCE),
            &[],
            READY,
            &[BLACK_HOLE],
        ),
        case(
            "nobody listens at the overlay's port of a node until a moment ago",
            shut("vps-2").opened("vps-2", SourceId::Overlay, 4000),
            &[],
            READY,
            &[PORT],
        ),
        case(
            "two full-size packets are lost",
            two_lost(),
            &[],
            READY,
            &[BLACK_HOLE],
        ),
        case(
            "large packets were lost before a node came back",
            narrow_home()
                .back("home-worker", 1000)
                .back("home-cp", 1000),
            &[],
            READY,
            &[BLACK_HOLE],
        ),
    ]
}

/// Every way through the router of the home carries 1340 bytes at most.
pub(crate) fn narrow_home() -> Lab {
    narrowed(Lab::healthy())
}

pub(crate) fn narrowed(mut lab: Lab) -> Lab {
    for vps in ["vps-1", "vps-2"] {
        for home in ["home-cp", "home-worker"] {
            for layer in Layer::ALL {
                lab = lab.narrow(vps, home, layer, Some(1340), SINCE).narrow(
                    home,
                    vps,
                    layer,
                    Some(1340),
                    SINCE,
                );
            }
        }
    }
    lab
}

pub(crate) fn shut(node: &str) -> Lab {
    shut_at(Lab::healthy(), node)
}

pub(crate) fn shut_at(lab: Lab, node: &str) -> Lab {
    let others = NODES.iter().filter(|other| **other != node);
    others.fold(lab, |lab, other| {
        lab.narrow(other, node, Layer::Overlay, None, SINCE)
    })
}

fn untried_since() -> Lab {
    let mut lab = Lab::healthy().narrow("vps-1", "vps-2", Layer::Tunnel, Some(1300), SINCE);
    lab.sizes("home-cp", "vps-2", Layer::Tunnel, |sizes| {
        sizes.full_arrived = Some(ago(SINCE + 100));
    });
    lab
}

fn two_lost() -> Lab {
    let mut lab = Lab::healthy().narrow("vps-1", "vps-2", Layer::Tunnel, Some(1300), SINCE);
    lab.sizes("vps-1", "vps-2", Layer::Tunnel, |sizes| {
        sizes.lost = 2;
        sizes.bracket = None;
    });
    lab
}

/// As [`narrow_home`], a moment later: only one direction has been searched so far.
pub(crate) fn searched_once() -> Lab {
    let mut lab = narrow_home();
    for vps in ["vps-1", "vps-2"] {
        for home in ["home-cp", "home-worker"] {
            for (from, to) in [(vps, home), (home, vps)] {
                for layer in Layer::ALL {
                    if (from, to, layer) != ("vps-1", "home-cp", Layer::Tunnel) {
                        lab.sizes(from, to, layer, |sizes| sizes.bracket = None);
                    }
                }
            }
        }
    }
    lab
}

fn found_in_the_overlay_first() -> Lab {
    let mut lab = Lab::healthy().narrow("vps-1", "vps-2", Layer::Overlay, Some(1300), SINCE);
    lab.sizes("vps-1", "vps-2", Layer::Tunnel, |sizes| {
        sizes.lost = 1;
        sizes.lost_since = Some(ago(1000));
        sizes.full_arrived = Some(ago(SINCE + 100));
    });
    lab
}
