//! Facts about overlays: the VXLAN devices of a node.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::Moment;

/// All VXLAN devices of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vxlan {
    /// Since when they have been as they are now, as far as this agent has seen.
    pub since: Moment,
    /// The first of them by the kernel's number, at most [`crate::limits::VXLAN_DEVICES`].
    pub devices: Vec<VxlanDevice>,
    /// How many more there are.
    pub left_out: u32,
}

/// One VXLAN device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VxlanDevice {
    /// Its name.
    pub name: String,
    /// The network identifier that it was made with.
    pub id: u32,
    /// The UDP port that it sends to and listens on.
    pub port: u16,
    /// Whether each packet says by itself where it goes (`external`): what pods may send is then a matter of routes, not of
    /// this device.
    pub external: bool,
    /// The address that it sends from, if it was given one.
    pub local: Option<IpAddr>,
    /// The far end or group that it sends to, if it was given one.
    pub remote: Option<IpAddr>,
    /// The longest packet that it takes.
    pub mtu: u32,
    /// Whether it is administratively up.
    pub up: bool,
}
