//! Causes in a host.

use std::net::IpAddr;

use evidence::{Drops, Fact, FactKey, Host, Identity, Layer, Phase, Ports, ReversePath, SourceId};

use super::{Case, MESH_ONLY, NOT_READY, READY, case};
use super::{sizes::shut_at, steering::edit_peer};
use crate::support::{
    Lab, ago,
    healthy::{host, own_address},
};

const TAKEN: &str = "port-51820-taken";
const FILTER: &str = "reverse-path-filter";
const CLONED: &str = "machine-cloned";
const OVERLAP: &str = "address-overlap";
const NODE: &str = "home-worker";

pub(crate) fn cases() -> Vec<Case> {
    [ports(), filters(), clones(), overlaps()].concat()
}

fn ports() -> Vec<Case> {
    let unreadable = || Lab::healthy().gap(NODE, SourceId::WireGuard, "no interface kubespan");
    let gone = || {
        let mut lab = unreadable();
        lab.host(NODE, |host| {
            host.links.retain(|link| link.name != "kubespan");
        });
        lab
    };
    let mut free = gone();
    free.host(NODE, |host| host.ports = Some(Ports::default()));
    vec![
        case(
            "another program has the port, and there is no kubespan",
            gone(),
            &[(TAKEN, NODE)],
            NOT_READY,
            &["wireguard-unreadable"],
        ),
        case(
            "there is no kubespan, and nobody has its port",
            free,
            &[("wireguard-unreadable", NODE)],
            NOT_READY,
            &[TAKEN],
        ),
        case(
            "a kubespan that is up and may not be read has its port itself",
            unreadable(),
            &[("wireguard-unreadable", NODE)],
            NOT_READY,
            &[TAKEN],
        ),
    ]
}

fn filters() -> Vec<Case> {
    let dropping = |mut lab: Lab, all| {
        lab.host(NODE, |host| {
            host.reverse_path = Some(ReversePath {
                all,
                src_valid_mark: false,
                dropped: Some(Drops {
                    count: 40,
                    last: Some(ago(3000)),
                }),
            });
        });
        lab
    };
    let blocked = || {
        let others = ["vps-1", "vps-2", "home-cp"];
        let mut lab = Lab::healthy();
        for other in others {
            lab = lab.narrow(other, NODE, Layer::Overlay, None, 20_000);
            lab.sizes(other, NODE, Layer::Overlay, |sizes| {
                sizes.full_arrived = None;
                sizes.seen_arriving = Some(ago(1500));
            });
        }
        lab
    };
    vec![
        case(
            "a strict filter drops what comes out of the tunnel",
            dropping(blocked(), 1),
            &[(FILTER, NODE)],
            READY,
            &["overlay-port-blocked"],
        ),
        case(
            "a loose filter is not what drops it",
            dropping(blocked(), 2),
            &[("overlay-port-blocked", NODE)],
            READY,
            &[FILTER],
        ),
        case(
            "a strict filter that drops strangers' packets on a healthy node",
            dropping(Lab::healthy(), 1),
            &[],
            READY,
            &[FILTER],
        ),
    ]
}

fn clones() -> Vec<Case> {
    let alike = |boot: &str| {
        let mut lab = Lab::healthy();
        let uuid = host("vps-1").system_uuid;
        lab.host("vps-2", |host| host.system_uuid = uuid);
        lab.identity("vps-2", |identity| boot.clone_into(&mut identity.boot_id));
        lab
    };
    let mut address = Lab::healthy();
    let of_first = address.known("vps-1").kubespan_address;
    address.identity("vps-2", |identity| identity.kubespan_address = of_first);
    vec![
        case(
            "a cloned hardware address",
            address,
            &[(CLONED, "vps-1 <-> vps-2")],
            MESH_ONLY,
            &["second-machine"],
        ),
        case(
            "a cloned virtual machine: the same UUID, booted twice",
            alike("another"),
            &[(CLONED, "vps-1 <-> vps-2")],
            READY,
            &["second-machine"],
        ),
        case(
            "two containers on one machine share its UUID and its boot",
            alike(&address_boot()),
            &[],
            READY,
            &[CLONED],
        ),
    ]
}

fn address_boot() -> String {
    Lab::healthy().known("vps-1").boot_id
}

/// What the second node sends to the shared address stays on it.
fn kept(lab: Lab) -> Lab {
    edit_peer(lab, "vps-2", "home-cp", |steered| {
        for prefix in &mut steered.prefixes {
            prefix.marked_via = Some("lo".to_owned());
        }
    })
}

/// The node has another address since then, and the devices of the others have the one before.
fn renumbered(since: i64) -> Lab {
    let mut lab = Lab::healthy();
    let after = IpAddr::from([192, 168, 50, 77]);
    lab.identity("home-worker", |identity| identity.addresses = vec![after]);
    lab.host("home-worker", |host| {
        host.address_changes = Drops {
            count: 2,
            last: Some(ago(since)),
        };
    });
    for other in ["vps-1", "vps-2", "home-cp"] {
        lab = edit_peer(lab, "home-worker", other, |steered| {
            for prefix in &mut steered.prefixes {
                prefix.source = Some(after);
            }
        });
    }
    lab
}

fn overlaps() -> Vec<Case> {
    let twice = || {
        let mut lab = Lab::healthy();
        let shared = IpAddr::from(own_address("home-cp"));
        lab.identity("vps-2", |identity| identity.addresses.push(shared));
        lab
    };
    let mut moving = twice();
    moving.host("vps-2", |host| {
        host.address_changes = Drops {
            count: 1,
            last: Some(ago(2000)),
        };
    });
    let mut unadvertised = Lab::healthy();
    for node in ["vps-2", "home-cp"] {
        // What a container runtime gives to its bridge on every node.
        unadvertised.identity(node, |identity| {
            identity.addresses.push(IpAddr::from([172, 17, 0, 1]));
        });
    }
    vec![
        case(
            "the address of a node changed, and nobody has heard of it",
            renumbered(20_000),
            &[("node-address-changed", "home-worker")],
            MESH_ONLY,
            &["allowed-ip-missing", OVERLAP],
        ),
        case(
            "an address of a node has just changed, and what is for its node addresses is lost",
            shut_at(renumbered(5_000), "home-worker"),
            &[],
            [Phase::Ready, Phase::Ready, Phase::Unknown],
            &["overlay-port-blocked"],
        ),
        case(
            "the address of a node has just changed",
            renumbered(5_000),
            &[],
            [Phase::Ready, Phase::Ready, Phase::Unknown],
            &["node-address-changed"],
        ),
        case(
            "the kernel of one of two nodes with one address keeps to itself what is for the other",
            kept(twice()),
            &[(OVERLAP, "home-cp <-> vps-2")],
            MESH_ONLY,
            &["steering-bypassed", "steering-rule-missing"],
        ),
        case(
            "one of two nodes with one address takes nothing that comes from it",
            twice().narrow("home-cp", "vps-2", Layer::Overlay, None, 8000),
            &[(OVERLAP, "home-cp <-> vps-2")],
            READY,
            &["overlay-port-blocked"],
        ),
        case(
            "two nodes have one address, and the overlay's port of one is shut to all",
            shut_at(twice(), "vps-2"),
            &[
                (OVERLAP, "home-cp <-> vps-2"),
                ("overlay-port-blocked", "vps-2"),
            ],
            READY,
            &["overlay-mtu-too-small"],
        ),
        case(
            "two nodes have an address that one of them advertises",
            twice(),
            &[(OVERLAP, "home-cp <-> vps-2")],
            READY,
            &["allowed-ip-missing", CLONED],
        ),
        case(
            "an address that is just moving from one node to another",
            moving,
            &[],
            READY,
            &[OVERLAP],
        ),
        case(
            "an address that many nodes have and nobody advertises",
            unadvertised,
            &[],
            READY,
            &[OVERLAP],
        ),
    ]
}

impl Lab {
    pub(crate) fn host(&mut self, node: &str, edit: impl FnOnce(&mut Host)) {
        let Some(Fact::Host(mut host)) = self.node(node).facts.get(&FactKey::Host).cloned() else {
            panic!("{node} tells of its host");
        };
        edit(&mut host);
        self.put(node, Fact::Host(host));
    }

    fn known(&mut self, node: &str) -> Identity {
        match self.node(node).facts.get(&FactKey::Identity) {
            Some(Fact::Identity(identity)) => identity.clone(),
            _ => panic!("{node} says who it is"),
        }
    }

    fn identity(&mut self, node: &str, edit: impl FnOnce(&mut Identity)) {
        let mut identity = self.known(node);
        edit(&mut identity);
        self.put(node, Fact::Identity(identity));
    }
}
