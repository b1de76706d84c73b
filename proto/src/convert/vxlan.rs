//! The fact about VXLAN devices.

use std::net::IpAddr;

use evidence::{Fact, Moment, Vxlan, VxlanDevice, limits};

use super::{ConvertError, at_most, ip_from_wire, ip_to_wire, link_name, port_from_wire};
use crate::wire;

pub(super) fn to_wire(vxlan: &Vxlan) -> wire::Vxlan {
    let Vxlan {
        since,
        devices,
        left_out,
    } = vxlan;
    wire::Vxlan {
        since_ms: since.as_millis(),
        devices: devices.iter().map(device_to_wire).collect(),
        left_out: *left_out,
    }
}

pub(super) fn from_wire(vxlan: wire::Vxlan) -> Result<Fact, ConvertError> {
    let wire::Vxlan {
        since_ms,
        devices,
        left_out,
    } = vxlan;
    at_most("vxlan.devices", devices.len(), limits::VXLAN_DEVICES)?;
    Ok(Fact::Vxlan(Vxlan {
        since: Moment::from_millis(since_ms),
        devices: devices
            .into_iter()
            .map(device_from_wire)
            .collect::<Result<_, _>>()?,
        left_out,
    }))
}

fn device_to_wire(device: &VxlanDevice) -> wire::VxlanDevice {
    let VxlanDevice {
        name,
        id,
        port,
        external,
        local,
        remote,
        mtu,
        up,
    } = device;
    wire::VxlanDevice {
        name: name.clone(),
        id: *id,
        port: u32::from(*port),
        external: *external,
        local: local.map_or_else(Vec::new, ip_to_wire),
        remote: remote.map_or_else(Vec::new, ip_to_wire),
        mtu: *mtu,
        up: *up,
    }
}

fn device_from_wire(device: wire::VxlanDevice) -> Result<VxlanDevice, ConvertError> {
    let wire::VxlanDevice {
        name,
        id,
        port,
        external,
        local,
        remote,
        mtu,
        up,
    } = device;
    Ok(VxlanDevice {
        name: link_name("vxlan.name", name)?,
        id,
        port: port_from_wire("vxlan.port", port)?,
        external,
        local: end("vxlan.local", &local)?,
        remote: end("vxlan.remote", &remote)?,
        mtu,
        up,
    })
}

fn end(field: &'static str, bytes: &[u8]) -> Result<Option<IpAddr>, ConvertError> {
    match bytes {
        [] => Ok(None),
        bytes => ip_from_wire(field, bytes).map(Some),
    }
}
