//! What a node's VXLAN devices promise, against what the tunnel under them can carry.

use std::net::IpAddr;

use evidence::{Vxlan, VxlanDevice};

use crate::{
    mesh::{Member, Mesh},
    timing,
};

/// The ports of overlays between nodes: of Cilium and flannel (the first that Linux used), and the registered one.
const OVERLAY_PORTS: [u16; 2] = [8472, 4789];
/// Bytes that VXLAN adds to a frame: the outer IP header, UDP, VXLAN and the inner Ethernet header.
const OVERHEAD_V4: u32 = 20 + 8 + 8 + 14;
const OVERHEAD_V6: u32 = 40 + 8 + 8 + 14;

/// A device whose frames the tunnel must break up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TooLarge<'a> {
    pub(crate) device: &'a VxlanDevice,
    pub(crate) overhead: u32,
    pub(crate) tunnel_mtu: u32,
}

impl TooLarge<'_> {
    /// The MTU that fits.
    pub(crate) const fn fits(&self) -> u32 {
        self.tunnel_mtu.saturating_sub(self.overhead)
    }
}

/// The devices of a node whose full-size frames do not fit into its tunnel.
pub(crate) fn too_large<'a>(mesh: &Mesh<'_>, member: &Member<'a>) -> Vec<TooLarge<'a>> {
    let Some(tunnel_mtu) = member.device().and_then(|device| device.mtu) else {
        return Vec::new();
    };
    rides_the_tunnel(mesh, member)
        .map(|device| TooLarge {
            device,
            overhead: overhead(device),
            tunnel_mtu,
        })
        .filter(|large| large.device.mtu > large.fits())
        .collect()
}

/// Two devices of a node of which only one can listen on their port, and of which one is down. The one that is down comes
/// second.
pub(crate) fn taken_twice<'a>(member: &Member<'a>) -> Option<(&'a VxlanDevice, &'a VxlanDevice)> {
    let devices = &member.vxlan()?.devices;
    let others = |at: usize| devices.iter().skip(at + 1);
    let mut pairs = devices
        .iter()
        .enumerate()
        .flat_map(|(at, first)| others(at).map(move |second| (first, second)));
    let (first, second) = pairs.find(|(first, second)| exclude_each_other(first, second))?;
    Some(if second.up {
        (second, first)
    } else {
        (first, second)
    })
}

/// Why the frames of a node's overlay cannot be compared with its tunnel.
pub(crate) fn unknown(mesh: &Mesh<'_>, member: &Member<'_>) -> Option<String> {
    member.fresh()?;
    let node = &member.node;
    let Some(vxlan) = member.vxlan() else {
        return Some(format!("{node} has not told its VXLAN devices"));
    };
    let untold = member.device().and_then(|device| device.mtu).is_none();
    let concerned = rides_the_tunnel(mesh, member).next().is_some() || vxlan.left_out > 0;
    (untold && concerned).then(|| format!("{node} has not told the MTU of its tunnel"))
}

/// Whether the devices have been so for long enough: an overlay makes its device, switches it on and gives it its MTU one
/// after the other.
pub(crate) fn settled(mesh: &Mesh<'_>, vxlan: &Vxlan) -> bool {
    mesh.now.since(vxlan.since) >= timing::OVERLAY_SETTLES
}

/// The devices by whose MTU pods send, and whose packets enter the tunnel.
fn rides_the_tunnel<'a>(
    mesh: &Mesh<'_>,
    member: &Member<'a>,
) -> impl Iterator<Item = &'a VxlanDevice> {
    let devices = member.vxlan().into_iter().flat_map(|vxlan| &vxlan.devices);
    devices.filter(move |device| {
        device.up
            && !device.external
            && OVERLAY_PORTS.contains(&device.port)
            && device.local.is_none_or(|ip| is_steered(mesh, member, ip))
    })
}

/// Whether another node sends what is for this address of `member` into the tunnel. A device on an address of another
/// network has nothing to do with it.
fn is_steered(mesh: &Mesh<'_>, member: &Member<'_>, address: IpAddr) -> bool {
    let holder = |other: &Member<'_>| other.holder(address);
    let mut others = mesh.members.values();
    member.key.is_some() && others.any(|other| holder(other) == member.key)
}

fn overhead(device: &VxlanDevice) -> u32 {
    let ends = [device.local, device.remote];
    if ends.into_iter().flatten().any(|ip| ip.is_ipv6()) {
        OVERHEAD_V6
    } else {
        OVERHEAD_V4
    }
}

/// The kernel lets devices share a port only if all of them take packets in the same way.
fn exclude_each_other(first: &VxlanDevice, second: &VxlanDevice) -> bool {
    first.port == second.port && first.external != second.external && !(first.up && second.up)
}
