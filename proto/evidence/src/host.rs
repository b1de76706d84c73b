//! Facts about the host: what tells the machine from a clone of it, and what its kernel dropped or filters.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Drops;

/// What a node's host says of itself. What could not be read is `None`, never a zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// A fingerprint of the operating system's machine id: equal on a cloned disk. The id itself never leaves the node.
    pub machine_id: Option<Fingerprint>,
    /// A fingerprint of the firmware's system UUID: equal on a cloned virtual machine, or where a vendor gave all the same.
    pub system_uuid: Option<Fingerprint>,
    /// The first of its links that are not of the loopback kind, at most [`crate::limits::HOST_LINKS`].
    pub links: Vec<HostLink>,
    /// How many more there are.
    pub left_out: u32,
    /// What drops packets for the way that they came.
    pub reverse_path: Option<ReversePath>,
    /// Who else uses the ports of tunnel and overlay.
    pub ports: Option<Ports>,
    /// What the kernel did to datagrams.
    pub udp: Option<Udp>,
    /// Segments and datagrams with a wrong checksum.
    pub checksum_errors: Option<Drops>,
    /// How many of these there were in the last minute.
    pub checksum_errors_lately: Option<u32>,
    /// Addresses of the node that came or went since the agent started.
    pub address_changes: Drops,
    /// How often routes or rules were changed since the agent started.
    pub route_changes: Drops,
    /// What the kernel has complained of since the agent started, at most [`crate::limits::COMPLAINTS`]; `None` if its log may
    /// not be read.
    pub complaints: Option<Vec<Complaint>>,
}

/// Something that the kernel wrote into its log, as often as it did. The log is that of all namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Complaint {
    /// What it is about.
    pub kind: ComplaintKind,
    /// The link that it names.
    pub link: Option<String>,
    /// How often, and when last.
    pub seen: Drops,
}

/// The lines that are recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ComplaintKind {
    /// What a virtual device encapsulates is led into it again.
    DeadLoop,
    /// A datagram for the overlay's port had a wrong checksum.
    OverlayChecksum,
}

/// What a network card does of the work on packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offload {
    /// Checksums of what leaves (`tx-checksum-ip-generic`).
    pub checksum: bool,
    /// Cutting up what is inside of UDP tunnels (`tx-udp_tnl-segmentation`).
    pub tunnel_segmentation: bool,
    /// The same with outer checksums (`tx-udp_tnl-csum-segmentation`).
    pub tunnel_checksum: bool,
}

/// What two machines do not share by chance: a hash of something that a machine keeps to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub [u8; 16]);

/// The address of a network card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HardwareAddress(pub [u8; 6]);

/// One link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLink {
    /// Its name.
    pub name: String,
    /// Its kind, if it is none of hardware: `bridge`, `wireguard`, `vxlan`.
    pub kind: Option<String>,
    /// Its hardware address.
    pub address: Option<HardwareAddress>,
    /// Whether it is administratively up.
    pub up: bool,
    /// The longest packet that it takes.
    pub mtu: u32,
    /// Its `rp_filter`; the greater of this and that of all links counts.
    pub rp_filter: Option<u8>,
    /// What the card does of the kernel's work.
    pub offload: Option<Offload>,
    /// Packets that came and were dropped.
    pub rx_dropped: Option<Drops>,
    /// Packets that were to leave and were dropped.
    pub tx_dropped: Option<Drops>,
    /// Packets that came spoiled.
    pub rx_errors: Option<Drops>,
    /// Packets that could not be sent.
    pub tx_errors: Option<Drops>,
}

/// The reverse path filter of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReversePath {
    /// `rp_filter` of all links: 0 off, 1 strict, 2 loose.
    pub all: u8,
    /// Whether the filter looks at the mark of a packet (`src_valid_mark` of all links).
    pub src_valid_mark: bool,
    /// Packets that it dropped.
    pub dropped: Option<Drops>,
}

/// Sockets and devices on the ports of tunnel and overlay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// Sockets that are bound to the tunnel's port, whoever owns them.
    pub tunnel_sockets: u32,
    /// Sockets that are bound to the overlay's port.
    pub overlay_sockets: u32,
    /// `WireGuard` links other than `kubespan`, at most [`crate::limits::HOST_LINKS`].
    pub other_wireguard: Vec<String>,
}

/// What the kernel did to datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Udp {
    /// That no socket had room for.
    pub no_room: Drops,
    /// That the kernel had no memory to send.
    pub not_sent: Drops,
    /// Pages of memory that sockets use now.
    pub pages: Option<u32>,
    /// Pages from which on the kernel refuses more.
    pub pages_max: Option<u32>,
}

impl ComplaintKind {
    /// In the words of a person.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DeadLoop => "dead loop on a virtual device",
            Self::OverlayChecksum => "wrong checksum on the overlay's port",
        }
    }
}

impl HostLink {
    /// Whether it is a network card, or what passes for one in a virtual machine.
    pub const fn is_hardware(&self) -> bool {
        self.kind.is_none()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl From<HardwareAddress> for String {
    fn from(address: HardwareAddress) -> Self {
        address.to_string()
    }
}

/// Why a text is no [`HardwareAddress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected six bytes in hexadecimal with colons between, as 02:00:00:00:ab:0c")]
pub struct HardwareAddressError;

impl TryFrom<String> for HardwareAddress {
    type Error = HardwareAddressError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut parts = text.split(':');
        let mut bytes = [0; 6];
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2);
            let part = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
            let parsed = part.and_then(|part| u8::from_str_radix(part, 16).ok());
            *byte = parsed.ok_or(HardwareAddressError)?;
        }
        match parts.next() {
            None => Ok(Self(bytes)),
            Some(_) => Err(HardwareAddressError),
        }
    }
}

impl Host {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(mut self, offset: i64) -> Self {
        let one = |drops: &mut Drops| *drops = drops.shifted(offset);
        let maybe = |drops: &mut Option<Drops>| *drops = drops.map(|drops| drops.shifted(offset));
        for link in &mut self.links {
            maybe(&mut link.rx_dropped);
            maybe(&mut link.tx_dropped);
            maybe(&mut link.rx_errors);
            maybe(&mut link.tx_errors);
        }
        if let Some(filter) = &mut self.reverse_path {
            maybe(&mut filter.dropped);
        }
        if let Some(udp) = &mut self.udp {
            one(&mut udp.no_room);
            one(&mut udp.not_sent);
        }
        maybe(&mut self.checksum_errors);
        one(&mut self.address_changes);
        one(&mut self.route_changes);
        for complaint in self.complaints.iter_mut().flatten() {
            one(&mut complaint.seen);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_fingerprints_are_written_as_people_know_them() {
        let address = HardwareAddress([0x02, 0, 0, 0, 0xab, 0x0c]);
        assert_eq!(address.to_string(), "02:00:00:00:ab:0c");
        assert_eq!(HardwareAddress::try_from(address.to_string()), Ok(address));
        for wrong in [
            "",
            "02:00",
            "02:00:00:00:ab:0c:00",
            "2:0:0:0:ab:c",
            "+2:00:00:00:ab:0c",
        ] {
            let read = HardwareAddress::try_from(wrong.to_owned());
            assert_eq!(read, Err(HardwareAddressError), "{wrong}");
        }
        let text = Fingerprint([0x1f; 16]).to_string();
        assert_eq!(text, "1f".repeat(16));
    }
}
