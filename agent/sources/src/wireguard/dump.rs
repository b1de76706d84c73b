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
use crate::netlink::each_attribute;

/// Length of the generic netlink header before the attributes.
const GENERIC_HEADER: usize = 4;

// Attributes that are looked at before they are decoded (linux/wireguard.h).
const DEVICE_PEERS: u16 = 8;
const PEER_ALLOWED_IPS: u16 = 9;
const ALLOWED_IP_PREFIX_LENGTH: u16 = 3;

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
    check_prefix_lengths(attributes)?;
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

/// The decoder takes the one byte of a prefix length without looking whether it is there.
fn check_prefix_lengths(attributes: &mut [u8]) -> Result<(), &'static str> {
    each_attribute(attributes, |kind, peers| match kind {
        DEVICE_PEERS => each_attribute(peers, |_, peer| check_peer(peer)),
        _ => Ok(()),
    })
}

fn check_peer(peer: &mut [u8]) -> Result<(), &'static str> {
    each_attribute(peer, |kind, list| match kind {
        PEER_ALLOWED_IPS => each_attribute(list, |_, allowed_ip| {
            each_attribute(allowed_ip, |kind, value| match (kind, value) {
                (ALLOWED_IP_PREFIX_LENGTH, []) => Err("a prefix length has a byte"),
                _ => Ok(()),
            })
        }),
        _ => Ok(()),
    })
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

#[cfg(test)]
mod tests {
    use netlink_packet_core::Emitable;
    use netlink_packet_wireguard::{WireguardAddressFamily, WireguardCmd};
    use proptest::prelude::*;

    use super::*;
    use crate::wireguard::{Backend, Device};

    const PRIVATE: [u8; 32] = [0xaa; 32];
    const PRESHARED: [u8; 32] = [0xbb; 32];

    fn key(number: u8) -> [u8; 32] {
        [number; 32]
    }

    fn allowed(peer: u8, number: u8) -> WireguardAllowedIp {
        WireguardAllowedIp(vec![
            WireguardAllowedIpAttr::Family(WireguardAddressFamily::Ipv4),
            WireguardAllowedIpAttr::IpAddr([10, peer, number, 0].into()),
            WireguardAllowedIpAttr::Cidr(24),
        ])
    }

    /// What the kernel sends of a peer in the message in which the peer begins.
    fn beginning(number: u8, allowed_ips: Vec<WireguardAllowedIp>) -> WireguardPeer {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(key(number)),
            WireguardPeerAttribute::PresharedKey(PRESHARED),
            WireguardPeerAttribute::LastHandshake(WireguardTimeSpec {
                seconds: 1_700_000_000,
                nano_seconds: 5,
            }),
            WireguardPeerAttribute::PersistentKeepalive(25),
            WireguardPeerAttribute::TxBytes(148),
            WireguardPeerAttribute::RxBytes(92),
            WireguardPeerAttribute::ProtocolVersion(1),
            WireguardPeerAttribute::Endpoint("192.0.2.1:51820".parse().unwrap()),
            WireguardPeerAttribute::AllowedIps(allowed_ips),
        ])
    }

    /// What the kernel sends of a peer whose allowed IPs did not fit the message before.
    fn continuation(number: u8, allowed_ips: Vec<WireguardAllowedIp>) -> WireguardPeer {
        WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(key(number)),
            WireguardPeerAttribute::AllowedIps(allowed_ips),
        ])
    }

    fn first_message(peers: Vec<WireguardPeer>) -> Vec<u8> {
        payload(vec![
            WireguardAttribute::ListenPort(51820),
            WireguardAttribute::Fwmark(0x20),
            WireguardAttribute::IfIndex(7),
            WireguardAttribute::IfName("kubespan".to_owned()),
            WireguardAttribute::PrivateKey(PRIVATE),
            WireguardAttribute::PublicKey(key(0xcc)),
            WireguardAttribute::Peers(peers),
        ])
    }

    fn payload(attributes: Vec<WireguardAttribute>) -> Vec<u8> {
        let message = WireguardMessage {
            cmd: WireguardCmd::GetDevice,
            attributes,
        };
        let mut bytes = vec![0; GENERIC_HEADER + message.buffer_len()];
        message.emit(&mut bytes[GENERIC_HEADER..]);
        bytes
    }

    fn read(messages: &mut [Vec<u8>]) -> (Device, Agreement) {
        let mut assembly = Assembly::new(Backend::Kernel);
        let mut witness = Agreement::default();
        for message in messages {
            absorb(message, &mut assembly, &mut witness).unwrap();
        }
        (assembly.finish(), witness)
    }

    /// 31 peers with 6 allowed IPs each, over 4 messages that split a peer after its third allowed IP.
    fn split_dump() -> Vec<Vec<u8>> {
        let part = |peer, numbers: std::ops::Range<u8>| {
            numbers.map(move |number| allowed(peer, number)).collect()
        };
        let whole = |peer| beginning(peer, part(peer, 0..6));
        let head = |peer| beginning(peer, part(peer, 0..3));
        let tail = |peer| continuation(peer, part(peer, 3..6));
        let messages = [(1, 8), (9, 16), (17, 24), (25, 31)];
        let peers = messages.map(|(first, last)| {
            let begun_before = (first > 1).then(|| tail(first - 1));
            let split = if last < 31 { head(last) } else { whole(last) };
            let whole = (first..last).map(whole);
            begun_before
                .into_iter()
                .chain(whole)
                .chain([split])
                .collect::<Vec<_>>()
        });
        let [first, rest @ ..] = peers;
        let rest = rest.map(|peers| payload(vec![WireguardAttribute::Peers(peers)]));
        [vec![first_message(first)], rest.to_vec()].concat()
    }

    #[test]
    fn a_split_dump_gives_each_peer_once_with_all_its_allowed_ips() {
        let (device, witness) = read(&mut split_dump());
        assert_eq!(device.peers.len(), 31);
        for (number, peer) in (1..).zip(&device.peers) {
            assert_eq!(peer.public_key, PublicKey::from_bytes(key(number)));
            let expected = (0..6).map(|n| format!("10.{number}.{n}.0/24"));
            let found = peer.allowed_ips.iter().map(ToString::to_string);
            assert!(found.eq(expected), "{peer:?}");
            assert_eq!(peer.last_handshake, Some(Duration::new(1_700_000_000, 5)));
            assert_eq!(peer.endpoint, Some("192.0.2.1:51820".parse().unwrap()));
            assert_eq!((peer.tx_bytes, peer.rx_bytes), (148, 92));
            assert_eq!(peer.keepalive, Some(25));
        }
        assert!(device.is_complete());
        // The continuation of a peer has no preshared key, which must not read as "this peer has none".
        assert_eq!(*witness.finish("kubespan").unwrap(), PRESHARED);
    }

    #[test]
    fn the_device_itself_is_read_from_the_first_message() {
        let (device, _) = read(&mut [first_message(Vec::new())]);
        assert_eq!(device.public_key, Some(PublicKey::from_bytes(key(0xcc))));
        assert_eq!((device.listen_port, device.fwmark), (51820, 0x20));
        assert_eq!(device.source, Backend::Kernel);
    }

    #[test]
    fn private_and_preshared_keys_are_overwritten_in_the_buffer() {
        let mut messages = [first_message(vec![beginning(1, Vec::new())])];
        read(&mut messages);
        for secret in [PRIVATE, PRESHARED] {
            assert!(!messages[0].windows(32).any(|window| window == secret));
        }
    }

    #[test]
    fn a_peer_that_never_shook_hands_has_no_handshake() {
        let never = WireguardPeer(vec![
            WireguardPeerAttribute::PublicKey(key(1)),
            WireguardPeerAttribute::LastHandshake(WireguardTimeSpec::default()),
            WireguardPeerAttribute::PersistentKeepalive(0),
        ]);
        let (device, _) = read(&mut [first_message(vec![never])]);
        assert_eq!(device.peers[0].last_handshake, None);
        assert_eq!(device.peers[0].keepalive, None);
    }

    /// `wg set` of one peer with an IPv6 endpoint, as the kernel's netlink header file lays it out, byte by byte.
    #[rustfmt::skip]
    const LITTLE_ENDIAN: &[u8] = &[
        0, 1, 0, 0,                                     // GET_DEVICE, version 1
        6, 0, 6, 0, 0x6c, 0xca, 0, 0,                   // listen port 51820
        8, 0, 7, 0, 0x20, 0, 0, 0,                      // fwmark 0x20
        132, 0, 8, 0x80,                                // peers
        128, 0, 0, 0x80,                                // first peer
        36, 0, 1, 0,                                    // public key
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        32, 0, 4, 0, 10, 0, 0xca, 0x6c, 0, 0, 0, 0,     // endpoint [2001:db8::2]:51820
        0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0,
        12, 0, 7, 0, 92, 0, 0, 0, 0, 0, 0, 0,           // rx bytes 92
        12, 0, 8, 0, 148, 0, 0, 0, 0, 0, 0, 0,          // tx bytes 148
        32, 0, 9, 0x80, 28, 0, 0, 0x80,                 // allowed IPs, the first one
        5, 0, 3, 0, 24, 0, 0, 0,                        // prefix length 24
        6, 0, 1, 0, 2, 0, 0, 0,                         // IPv4
        8, 0, 2, 0, 10, 244, 3, 0,                      // 10.244.3.0
    ];

    #[cfg(target_endian = "little")]
    #[test]
    fn bytes_laid_out_by_the_kernels_header_are_read() {
        let (device, _) = read(&mut [LITTLE_ENDIAN.to_vec()]);
        assert_eq!((device.listen_port, device.fwmark), (51820, 0x20));
        let peer = &device.peers[0];
        assert_eq!(peer.public_key, PublicKey::from_bytes(key(1)));
        assert_eq!(peer.endpoint, Some("[2001:db8::2]:51820".parse().unwrap()));
        assert_eq!((peer.rx_bytes, peer.tx_bytes), (92, 148));
        assert_eq!(peer.allowed_ips[0].to_string(), "10.244.3.0/24");
    }

    /// One peer with one allowed IP whose prefix length has no byte.
    #[rustfmt::skip]
    const NO_PREFIX_LENGTH: &[u8] = &[
        0, 1, 0, 0,                                     // GET_DEVICE, version 1
        56, 0, 8, 0x80, 52, 0, 0, 0x80,                 // peers, first peer
        36, 0, 1, 0,                                    // public key
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        12, 0, 9, 0x80, 8, 0, 0, 0x80,                  // allowed IPs, the first one
        4, 0, 3, 0,                                     // prefix length
    ];

    #[cfg(target_endian = "little")]
    #[test]
    fn an_allowed_ip_whose_prefix_length_has_no_byte_is_refused() {
        let mut assembly = Assembly::new(Backend::Kernel);
        let mut bytes = NO_PREFIX_LENGTH.to_vec();
        let refused = absorb(&mut bytes, &mut assembly, &mut Agreement::default());
        assert_eq!(refused, Err("a prefix length has a byte"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut assembly = Assembly::new(Backend::Kernel);
            let _ = absorb(&mut bytes, &mut assembly, &mut Agreement::default());
        }

        #[test]
        fn a_message_with_a_few_wrong_bytes_is_read_or_refused(
            wrong in prop::collection::vec((4_usize..600, any::<u8>()), 1..6),
        ) {
            let mut bytes = first_message(vec![beginning(1, vec![allowed(1, 1), allowed(1, 2)])]);
            for (at, byte) in wrong {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            let mut assembly = Assembly::new(Backend::Kernel);
            let _ = absorb(&mut bytes, &mut assembly, &mut Agreement::default());
        }
    }
}
