//! VXLAN devices.

use evidence::{Fact, Vxlan, VxlanDevice};

use super::{Case, READY, case};
use crate::support::{Lab, ago, healthy::own_address};

const TOO_LARGE: &str = "vxlan-mtu-too-large";
const TWICE: &str = "vxlan-port-taken-twice";
const LONG_AGO: i64 = 60_000;

pub(crate) fn cases() -> Vec<Case> {
    let others = &["pmtu-black-hole", "overlay-mtu-too-small"];
    let both: &[&str] = &[TOO_LARGE, TWICE];
    vec![
        case(
            "a device of flannel knows nothing of the tunnel",
            with(&[flannel(NODE, 1450)]),
            &[(TOO_LARGE, NODE)],
            READY,
            others,
        ),
        case(
            "over IPv6 the outer header is longer",
            with(&[VxlanDevice {
                local: None,
                remote: Some("fd00::1".parse().expect("an address")),
                ..flannel(NODE, 1370)
            }]),
            &[(TOO_LARGE, NODE)],
            READY,
            &[],
        ),
        case(
            "two devices want one port, and one came too late",
            with(&[flannel(NODE, 1370), down(cilium())]),
            &[(TWICE, NODE)],
            READY,
            &["overlay-port-blocked"],
        ),
        case(
            "a device with its port and room for its headers",
            with(&[flannel(NODE, 1370)]),
            &[],
            READY,
            both,
        ),
        case(
            "what pods may send through an external device is a matter of routes",
            with(&[cilium()]),
            &[],
            READY,
            both,
        ),
        case(
            "a device on an address that nobody steers into the tunnel",
            with(&[VxlanDevice {
                local: Some([10, 99, 0, 1].into()),
                ..flannel(NODE, 1450)
            }]),
            &[],
            READY,
            &[TOO_LARGE],
        ),
        case(
            "a device that is down sends nothing",
            with(&[down(flannel(NODE, 1450))]),
            &[],
            READY,
            both,
        ),
        case(
            "two devices of one kind share a port",
            with(&[flannel(NODE, 1370), down(flannel(NODE, 1370))]),
            &[],
            READY,
            &[TWICE],
        ),
        case(
            "two devices on two ports",
            with(&[
                flannel(NODE, 1370),
                VxlanDevice {
                    port: 8473,
                    ..down(cilium())
                },
            ]),
            &[],
            READY,
            &[TWICE],
        ),
        case(
            "a CNI that has come a moment ago is not ready yet",
            with_devices(NODE, 2000, &[flannel(NODE, 1450), down(cilium())]),
            &[],
            READY,
            both,
        ),
    ]
}

const NODE: &str = "vps-2";

fn with(devices: &[VxlanDevice]) -> Lab {
    with_devices(NODE, LONG_AGO, devices)
}

fn down(device: VxlanDevice) -> VxlanDevice {
    VxlanDevice {
        up: false,
        ..device
    }
}

/// The node has these VXLAN devices since then.
pub(crate) fn with_devices(node: &str, since: i64, devices: &[VxlanDevice]) -> Lab {
    let mut lab = Lab::healthy();
    lab.put(
        node,
        Fact::Vxlan(Vxlan {
            since: ago(since),
            devices: devices.to_vec(),
            left_out: 0,
        }),
    );
    lab
}

/// A device as flannel makes it on a node.
pub(crate) fn flannel(node: &str, mtu: u32) -> VxlanDevice {
    VxlanDevice {
        name: "flannel.1".to_owned(),
        id: 1,
        port: 8472,
        external: false,
        local: Some(own_address(node).into()),
        remote: None,
        mtu,
        up: true,
    }
}

/// A device as Cilium makes it.
pub(crate) fn cilium() -> VxlanDevice {
    VxlanDevice {
        name: "cilium_vxlan".to_owned(),
        id: 0,
        external: true,
        local: None,
        ..flannel("vps-1", 1500)
    }
}
