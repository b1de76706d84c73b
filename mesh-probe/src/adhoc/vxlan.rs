//! `vxlan`: may an overlay on top of this path work?

use serde::Serialize;

use super::{Asked, Facts, Limiter, Lines, Reply, UdpReach, line};
use crate::exit::Exit;

/// The port of VXLAN as Cilium and flannel use it.
pub const VXLAN_PORT: u16 = 8472;
/// IP header, UDP header, 8 bytes of VXLAN, and the inner Ethernet header.
const OVER_IPV4: u16 = 50;
const OVER_IPV6: u16 = 70;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VxlanReach {
    pub asked: Asked,
    pub reply: Reply,
    /// The largest packet that passes as it would for the overlay, if it could be measured.
    pub path_mtu: Option<u16>,
    pub limiter: Option<Limiter>,
    /// What is left of it inside of VXLAN.
    pub fits: Option<u16>,
    /// The VXLAN devices of this node.
    pub devices: Vec<VxlanDevice>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VxlanDevice {
    pub name: String,
    pub mtu: u32,
}

impl VxlanReach {
    pub fn new(
        asked: Asked,
        reply: Reply,
        path: Option<(u16, Limiter)>,
        devices: Vec<VxlanDevice>,
    ) -> Self {
        let overhead = if asked.address.is_ipv4() {
            OVER_IPV4
        } else {
            OVER_IPV6
        };
        let path_mtu = path.map(|(mtu, _)| mtu);
        Self {
            asked,
            reply,
            path_mtu,
            limiter: path.map(|(_, limiter)| limiter),
            fits: path_mtu.map(|mtu| mtu.saturating_sub(overhead)),
            devices,
        }
    }

    fn port(&self) -> UdpReach {
        UdpReach {
            asked: self.asked.clone(),
            port: VXLAN_PORT,
            sent: 0,
            reply: self.reply,
        }
    }

    fn too_large(&self) -> impl Iterator<Item = &VxlanDevice> {
        let fits = self.fits.map(u32::from);
        self.devices
            .iter()
            .filter(move |device| fits.is_some_and(|fits| device.mtu > fits))
    }

    fn reach(&self) -> String {
        match self.reply {
            Reply::Refused { .. } => self.port().conclusions().swap_remove(0),
            Reply::Answer { .. } => {
                format!(
                    "something other than VXLAN listens on UDP {VXLAN_PORT}: VXLAN never answers"
                )
            }
            Reply::Nothing { .. } => format!(
                "cannot tell whether UDP {VXLAN_PORT} arrives: VXLAN never answers, so silence is what a working one looks like"
            ),
        }
    }
}

impl Facts for VxlanReach {
    const KIND: &'static str = "VxlanReach";

    fn title(&self) -> String {
        format!("VXLAN to {}", self.asked.name())
    }

    fn lines(&self) -> Lines {
        let unknown = || "unknown".to_owned();
        let mut lines = vec![
            line("UDP 8472", self.port().heard()),
            line(
                "path MTU",
                self.path_mtu.map_or_else(unknown, |mtu| mtu.to_string()),
            ),
        ];
        lines.extend(
            self.limiter
                .map(|limiter| line("limited by", limiter.line())),
        );
        lines.push(line(
            "fits inside of VXLAN",
            self.fits.map_or_else(unknown, |mtu| mtu.to_string()),
        ));
        lines.extend(self.devices.iter().map(|device| {
            line(
                &format!("device {}", device.name),
                format!("MTU {}", device.mtu),
            )
        }));
        lines.push(line("marked", self.asked.way()));
        lines
    }

    fn conclusions(&self) -> Vec<String> {
        let mut conclusions = vec![self.reach()];
        let fits = self.fits.unwrap_or_default();
        conclusions.extend(self.too_large().map(|device| {
            format!(
                "{} has an MTU of {} and only {fits} fit on this path: large packets of pods are lost or fragmented",
                device.name, device.mtu
            )
        }));
        if self.path_mtu.is_none() {
            conclusions
                .push("cannot tell what fits: the path MTU could not be measured".to_owned());
        }
        conclusions
    }

    fn method(&self) -> String {
        "zeros to UDP 8472, which VXLAN drops for want of its flag, and a size sweep, both unmarked as the overlay's own packets \
         are; the port of a VXLAN device is not looked at"
            .to_owned()
    }

    fn exit(&self) -> Exit {
        let is_closed = !matches!(self.reply, Reply::Nothing { .. });
        if is_closed || self.too_large().next().is_some() {
            Exit::NotReady
        } else {
            Exit::CannotTell
        }
    }
}
