//! The kernel's generic netlink reply: the attributes of one message become a part of a [`Device`](super::Device).

use std::{net::IpAddr, time::Duration};

use evidence::PublicKey;
use netlink_packet_core::ParseableParametrized;
use netlink_packet_generic::GenlHeader;
use netlink_packet_wireguard::{
    WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute, WireguardMessage,
    WireguardPeer, WireguardPeerAttribute, WireguardTimeSpec,
};

use super::{
    assembly::Assembly,
    device::{AllowedIp, Peer},
    secrets::{self, Agreement},
};

/// Length of the generic netlink header before the attributes.
const GENERIC_HEADER: usize = 4;

/// Adds one message. The keys in `payload` are overwritten first; `witness` sees the preshared ones before.
pub(super) fn absorb(
    payload: &mut [u8],
    assembly: &mut Assembly,
    witness: &mut Agreement,
) -> Result<(), &'static str> {
    let (header, attributes) = payload
        .split_at_mut_checked(GENERIC_HEADER)
        .ok_or("a generic netlink header")?;
    secrets::overwrite(attributes, witness)?;
    let header = GenlHeader {
        cmd: header[0],
        version: header[1],
    };
    let message = WireguardMessage::parse_with_param(attributes, header)
        .map_err(|_| "attributes of a WireGuard device")?;
    for attribute in message.attributes {
        device_attribute(assembly, attribute)?;
    }
    Ok(())
}

fn device_attribute(
    assembly: &mut Assembly,
    attribute: WireguardAttribute,
) -> Result<(), &'static str> {
    let device = &mut assembly.device;
    match attribute {
        WireguardAttribute::PublicKey(key) => device.public_key = Some(PublicKey::from_bytes(key)),
        WireguardAttribute::ListenPort(port) => device.listen_port = port,
        WireguardAttribute::Fwmark(mark) => device.fwmark = mark,
        WireguardAttribute::Peers(peers) => {
            for part in &peers {
                assembly.merge(peer(part)?);
            }
        }
        _ => {}
    }
    Ok(())
}

fn peer(part: &WireguardPeer) -> Result<Peer, &'static str> {
    let public_key = part.iter().find_map(|attribute| match attribute {
        WireguardPeerAttribute::PublicKey(key) => Some(PublicKey::from_bytes(*key)),
        _ => None,
    });
    let mut peer = Peer::new(public_key.ok_or("a peer has a public key of 32 bytes")?);
    for attribute in part.iter() {
        peer_attribute(&mut peer, attribute)?;
    }
    Ok(peer)
}

fn peer_attribute(peer: &mut Peer, attribute: &WireguardPeerAttribute) -> Result<(), &'static str> {
    match attribute {
        WireguardPeerAttribute::Endpoint(endpoint) => peer.endpoint = Some(*endpoint),
        WireguardPeerAttribute::PersistentKeepalive(seconds) => {
            peer.keepalive = (*seconds != 0).then_some(*seconds);
        }
        WireguardPeerAttribute::LastHandshake(time) => peer.last_handshake = handshake(time)?,
        WireguardPeerAttribute::RxBytes(bytes) => peer.rx_bytes = *bytes,
        WireguardPeerAttribute::TxBytes(bytes) => peer.tx_bytes = *bytes,
        WireguardPeerAttribute::AllowedIps(list) => {
            for part in list {
                peer.allowed_ips.push(allowed_ip(part)?);
            }
        }
        _ => {}
    }
    Ok(())
}

/// The epoch itself means never.
fn handshake(time: &WireguardTimeSpec) -> Result<Option<Duration>, &'static str> {
    let what = "a handshake time after the epoch";
    let seconds = u64::try_from(time.seconds).map_err(|_| what)?;
    let nanos = u32::try_from(time.nano_seconds).map_err(|_| what)?;
    let time = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos.into()));
    Ok((!time.is_zero()).then_some(time))
}

fn allowed_ip(part: &WireguardAllowedIp) -> Result<AllowedIp, &'static str> {
    let mut address: Option<IpAddr> = None;
    let mut prefix_len = None;
    for attribute in part.iter() {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(ip) => address = Some(*ip),
            WireguardAllowedIpAttr::Cidr(bits) => prefix_len = Some(*bits),
            _ => {}
        }
    }
    let whole = address.zip(prefix_len);
    whole
        .and_then(|(address, bits)| AllowedIp::new(address, bits))
        .ok_or("an allowed IP is an address with a prefix length")
}
