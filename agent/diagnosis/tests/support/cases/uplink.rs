//! A node's own link is too narrow.

use evidence::{Layer, TooBig};

use super::{
    Case, READY, SINCE, case,
    sizes::{BLACK_HOLE, OVERLAY},
    steering::edit_peer,
};
use crate::support::{Lab, NODES, ago};

const UPLINK: &str = "uplink-mtu-too-small";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case(
            "a node's own link is narrower than its tunnel needs, and what comes to it is lost",
            narrow_link("vps-1").narrow("vps-2", "vps-1", Layer::Tunnel, Some(1340), SINCE),
            &[(UPLINK, "vps-1")],
            READY,
            &[BLACK_HOLE, OVERLAY],
        ),
        case(
            "a node's own link is narrower than its tunnel needs, and what goes to node addresses is lost",
            limited_by_the_link(),
            &[(UPLINK, "vps-1")],
            READY,
            &[BLACK_HOLE, OVERLAY],
        ),
        case(
            "a node's own link is narrow, its kernel says nothing, and what goes to node addresses is lost",
            narrow_link("vps-1").narrow("vps-1", "vps-2", Layer::Overlay, Some(1300), SINCE),
            &[(OVERLAY, "vps-1 -> vps-2")],
            READY,
            &[UPLINK],
        ),
        case(
            "a node's own link is narrow, and the pieces of long packets arrive",
            narrow_link("vps-1"),
            &[],
            READY,
            &[UPLINK, BLACK_HOLE],
        ),
        case(
            "a node's own link is narrow, and large packets are lost between two others",
            narrow_link("vps-1").narrow("vps-2", "home-cp", Layer::Tunnel, Some(1340), SINCE),
            &[(BLACK_HOLE, "vps-2 -> home-cp")],
            READY,
            &[UPLINK],
        ),
    ]
}

/// All that leaves a node leaves by a link of 1400 bytes.
fn narrow_link(node: &str) -> Lab {
    let others = NODES.iter().filter(|other| **other != node);
    others.fold(Lab::healthy(), |lab, other| {
        edit_peer(lab, node, other, |steered| {
            if let Some(endpoint) = &mut steered.endpoint {
                endpoint.mtu = Some(1400);
            }
        })
    })
}

/// The node's own kernel says that just this link limits what goes to node addresses.
fn limited_by_the_link() -> Lab {
    let mut lab = narrow_link("vps-1").narrow("vps-1", "vps-2", Layer::Overlay, Some(1400), SINCE);
    lab.sizes("vps-1", "vps-2", Layer::Overlay, |sizes| {
        sizes.too_big = Some(TooBig {
            at: ago(2000),
            reporter: None,
            mtu: 1400,
        });
    });
    lab
}
