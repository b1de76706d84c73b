//! The listener for probes of the overlay's port: whoever owns the port, and only behind the firewall.

use std::net::UdpSocket;

use probe_core::size::MAGIC;
use probe_io::{Delivered, OVERLAY_PORT, OverlayListener, Tap};
use tokio::time::timeout;

use crate::{
    namespace::{BOUND, inside, sh},
    tap::{NEAR, PORT, at, on_far_host, seen, two_hosts},
};

/// Addresses to send from, of the families of [`NEAR`].
const ANY: [&str; 2] = ["0.0.0.0:0", "[::]:0"];
/// Bytes of IP and UDP headers of these families.
const HEADERS: [usize; 2] = [28, 48];

fn probe(length: usize) -> Vec<u8> {
    let mut payload = vec![0; length];
    payload[..4].copy_from_slice(&MAGIC);
    payload
}

fn send(length: usize) {
    for (near, any) in NEAR.into_iter().zip(ANY) {
        let far = on_far_host(|| UdpSocket::bind(any).expect("a free port"));
        far.send_to(&probe(length), at(near, OVERLAY_PORT))
            .expect("room");
        far.send_to(&[8; 200], at(near, OVERLAY_PORT))
            .expect("room");
        far.send_to(&probe(length), at(near, PORT)).expect("room");
    }
}

async fn heard(listener: &mut OverlayListener) -> Delivered {
    timeout(BOUND, listener.next())
        .await
        .expect("it is heard in time")
        .expect("the listener works")
}

async fn hears_both_families(listener: &mut OverlayListener, length: usize) {
    send(length);
    let mut packets = Vec::new();
    for _ in NEAR {
        let delivered = heard(listener).await;
        assert_eq!(delivered.payload[..4], MAGIC);
        packets.push(delivered.packet);
    }
    packets.sort_unstable();
    assert_eq!(packets, HEADERS.map(|headers| headers + length));
}

#[test]
fn probes_are_heard_whether_a_vxlan_device_owns_the_port_or_nobody() {
    let name = "listener::probes_are_heard_whether_a_vxlan_device_owns_the_port_or_nobody";
    inside(name, &[], async {
        two_hosts();
        let mut listener = OverlayListener::open().unwrap();
        hears_both_families(&mut listener, 600).await;
        sh("ip link add vx0 type vxlan id 1 dstport 8472 dev eth0 && ip link set vx0 up");
        sh("ip link add vx1 type vxlan id 1 dstport 8472 local 2001:db8::11 && ip link set vx1 up");
        hears_both_families(&mut listener, 1400).await;
        let devices = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let vxlan = devices.lines().find(|line| line.contains("vx0:")).unwrap();
        let received: Vec<&str> = vxlan.split_whitespace().skip(1).take(2).collect();
        assert_eq!(received, ["0", "0"], "the device took a probe: {vxlan}");
    });
}

#[test]
fn what_the_firewall_drops_is_seen_at_the_interface_and_not_heard_behind_it() {
    let name = "listener::what_the_firewall_drops_is_seen_at_the_interface_and_not_heard_behind_it";
    inside(name, &[], async {
        two_hosts();
        sh("
            nft add table inet closed
            nft add chain inet closed input '{ type filter hook input priority 0; }'
            nft add rule inet closed input udp length 608 drop
        ");
        let mut tap = Tap::open(PORT).unwrap();
        let mut listener = OverlayListener::open().unwrap();
        send(600);
        for _ in NEAR {
            let sighted = seen(&mut tap).await;
            let datagram = sighted.datagram().unwrap();
            assert_eq!(datagram.destination.port(), OVERLAY_PORT);
            assert!(datagram.packet_length > 600);
        }
        hears_both_families(&mut listener, 700).await;
    });
}
