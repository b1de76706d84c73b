//! What kernels and network cards make of encapsulated packets.

use evidence::{Complaint, ComplaintKind, Drops, HostLink, Layer, Offload};

use super::{Case, READY, case};
use crate::support::{Lab, NODES, ago};

const LOOP: &str = "virtual-device-recursion";
const SUMS: &str = "checksums-wrong";
const NODE: &str = "home-worker";

pub(crate) fn cases() -> Vec<Case> {
    [loops(), sums()].concat()
}

fn drops(count: u64, since: i64) -> Drops {
    Drops {
        count,
        last: Some(ago(since)),
    }
}

/// The kernel of a node complained of a device, which has dropped something then, or has not.
fn looped(device: &str, complained: i64, dropped: Option<Drops>) -> Lab {
    let mut lab = Lab::healthy();
    lab.host(NODE, |host| {
        let first = host.links[0].clone();
        host.links.push(HostLink {
            name: device.to_owned(),
            kind: Some("vxlan".to_owned()),
            tx_dropped: dropped,
            ..first
        });
        host.complaints = Some(vec![Complaint {
            kind: ComplaintKind::DeadLoop,
            link: Some("cilium_vxlan".to_owned()),
            seen: drops(7, complained),
        }]);
    });
    lab
}

fn loops() -> Vec<Case> {
    let own = "cilium_vxlan";
    vec![
        case(
            "what a device encapsulates is led into it again",
            looped(own, 4000, Some(drops(900, 4000))),
            &[(LOOP, NODE)],
            READY,
            &["overlay-port-blocked", "tunnel-in-tunnel"],
        ),
        case(
            "the kernel complains of a device of this name in another namespace",
            looped(own, 4000, Some(Drops::default())),
            &[],
            READY,
            &[LOOP],
        ),
        case(
            "a device drops, and the kernel complains of another one",
            looped("flannel.1", 4000, Some(drops(900, 4000))),
            &[],
            READY,
            &[LOOP],
        ),
        case(
            "a loop that is over",
            looped(own, 300_000, Some(drops(900, 4000))),
            &[],
            READY,
            &[LOOP],
        ),
    ]
}

/// A node counts wrong checksums; the cards of all others make them, or none does.
fn spoiled(lately: u32, last: i64, made: bool) -> Lab {
    let mut lab = Lab::healthy();
    for node in NODES {
        lab.host(node, |host| {
            for link in &mut host.links {
                link.offload = Some(Offload {
                    checksum: made,
                    ..Offload::default()
                });
            }
        });
    }
    lab.host(NODE, |host| {
        host.checksum_errors = Some(drops(4711, last));
        host.checksum_errors_lately = Some(lately);
    });
    lab
}

fn sums() -> Vec<Case> {
    let mut deaf = spoiled(48, 4000, true);
    for other in ["vps-1", "vps-2", "home-cp"] {
        deaf = deaf.narrow(other, NODE, Layer::Overlay, None, 20_000);
    }
    let mut contained = spoiled(48, 4000, true);
    for node in NODES {
        contained.host(node, |host| {
            for link in &mut host.links {
                link.kind = Some("veth".to_owned());
            }
        });
    }
    let mut in_kernel = spoiled(48, 4000, true);
    in_kernel.host(NODE, |host| {
        for link in &mut host.links {
            if link.name == "kubespan" {
                link.kind = Some("wireguard".to_owned());
            }
        }
    });
    vec![
        case(
            "the kernel's WireGuard looks at no checksum inside of the tunnel: what is counted came by another way",
            in_kernel,
            &[],
            READY,
            &[SUMS],
        ),
        case(
            "the same on nodes in containers, which have no card of their own",
            contained,
            &[(SUMS, NODE)],
            READY,
            &["overlay-port-blocked"],
        ),
        case(
            "datagrams arrive with wrong checksums, and cards make those",
            spoiled(48, 4000, true),
            &[(SUMS, NODE)],
            READY,
            &["overlay-port-blocked", "pmtu-black-hole"],
        ),
        case(
            "no card makes checksums: somebody spoils them on the way",
            spoiled(48, 4000, false),
            &[],
            READY,
            &[SUMS],
        ),
        case(
            "a stranger's spoiled packet now and then",
            spoiled(3, 4000, true),
            &[],
            READY,
            &[SUMS],
        ),
        case(
            "wrong checksums that have stopped",
            spoiled(48, 45_000, true),
            &[],
            READY,
            &[SUMS],
        ),
        case(
            "nothing of the overlay arrives, whatever else is spoiled",
            deaf,
            &[("overlay-port-blocked", NODE)],
            READY,
            &[SUMS],
        ),
    ]
}
