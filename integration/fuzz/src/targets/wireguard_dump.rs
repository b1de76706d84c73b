//! The kernel's dump of a `WireGuard` device.

use netlink_packet_core::Emitable;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute,
    WireguardCmd, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardTimeSpec,
};
use sources::{
    decode,
    wireguard::{Backend, Device, MAX_ALLOWED_IPS, MAX_PEERS},
};

use super::netlink::{done, message};
use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "wireguard-dump",
    run,
    seeds,
};

/// The number of the `wireguard` family differs from kernel to kernel; any will do.
const FAMILY: u16 = 33;

fn run(bytes: &[u8]) {
    let mut messages = bytes.to_vec();
    let Ok(device) = decode::wireguard_dump(&mut messages) else {
        return;
    };
    check(&device);
    assert_eq!(device.source, Backend::Kernel);
    let again = decode::wireguard_dump(&mut messages);
    let again = again.expect("what was read once can be read again");
    assert_eq!(
        again, device,
        "overwriting the keys has changed the reading"
    );
}

/// What holds of every reading.
pub(super) fn check(device: &Device) {
    assert!(device.peers.len() <= MAX_PEERS);
    assert!(
        device
            .peers
            .is_sorted_by(|one, other| one.public_key < other.public_key)
    );
    for peer in &device.peers {
        assert!(peer.allowed_ips.len() <= MAX_ALLOWED_IPS);
        assert_eq!(device.peer(&peer.public_key), Some(peer));
        for allowed in &peer.allowed_ips {
            assert!(allowed.contains(allowed.address()), "{allowed}");
            assert_eq!(allowed.to_string().parse(), Ok(*allowed));
        }
    }
}

fn allowed(ip: &str, bits: u8) -> WireguardAllowedIp {
    let ip: std::net::IpAddr = ip.parse().expect("the seeds name addresses");
    let family = if ip.is_ipv4() {
        WireguardAddressFamily::Ipv4
    } else {
        WireguardAddressFamily::Ipv6
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(ip),
        WireguardAllowedIpAttr::Cidr(bits),
    ])
}

fn beginning(number: u8) -> WireguardPeer {
    let endpoint = "[2001:db8::2]:51820"
        .parse()
        .expect("the seeds name addresses");
    WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey([number; 32]),
        WireguardPeerAttribute::PresharedKey([0xbb; 32]),
        WireguardPeerAttribute::LastHandshake(WireguardTimeSpec {
            seconds: 1_700_000_000,
            nano_seconds: 5,
        }),
        WireguardPeerAttribute::PersistentKeepalive(25),
        WireguardPeerAttribute::TxBytes(148),
        WireguardPeerAttribute::RxBytes(92),
        WireguardPeerAttribute::Endpoint(endpoint),
        WireguardPeerAttribute::AllowedIps(vec![
            allowed("10.244.3.0", 25),
            allowed("fd7f::1", 128),
        ]),
    ])
}

fn continuation(number: u8) -> WireguardPeer {
    WireguardPeer(vec![
        WireguardPeerAttribute::PublicKey([number; 32]),
        WireguardPeerAttribute::AllowedIps(vec![allowed("10.244.4.0", 25)]),
    ])
}

fn generic(attributes: Vec<WireguardAttribute>) -> Vec<u8> {
    let wireguard = WireguardMessage {
        cmd: WireguardCmd::GetDevice,
        attributes,
    };
    let mut payload = vec![0; 4 + wireguard.buffer_len()];
    wireguard.emit(&mut payload[4..]);
    message(FAMILY, &payload)
}

fn seeds() -> Vec<Vec<u8>> {
    let device = vec![
        WireguardAttribute::ListenPort(51820),
        WireguardAttribute::Fwmark(0x20),
        WireguardAttribute::IfIndex(7),
        WireguardAttribute::IfName("kubespan".to_owned()),
        WireguardAttribute::PrivateKey([0xaa; 32]),
        WireguardAttribute::PublicKey([0xcc; 32]),
        WireguardAttribute::Peers(vec![beginning(1), beginning(2)]),
    ];
    let first = generic(device);
    let rest = generic(vec![WireguardAttribute::Peers(vec![
        continuation(2),
        beginning(3),
    ])]);
    let dump = [first.clone(), rest, done()].concat();
    let cut_off = first[..first.len() - 30].to_vec();
    vec![
        first,
        dump,
        cut_off,
        generic(Vec::new()),
        done(),
        message(2, &(-19_i32).to_ne_bytes()),
    ]
}
