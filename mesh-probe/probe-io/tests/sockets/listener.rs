//! The listener for probes of size: whoever owns the port, and only behind the firewall.

use std::net::UdpSocket;

use probe_core::size::MAGIC;
use probe_io::{Delivered, InertSender, OVERLAY_PORT, SizeListener, Tap, TooLong, WholeSender};
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
        far.send_to(&probe(length), at(near, PORT + 1))
            .expect("room");
    }
}

async fn heard(listener: &mut SizeListener) -> Delivered {
    timeout(BOUND, listener.next())
        .await
        .expect("it is heard in time")
        .expect("the listener works")
}

async fn hears_both_families(listener: &mut SizeListener, length: usize) {
    send(length);
    let mut packets = Vec::new();
    for _ in 0..2 * NEAR.len() {
        let delivered = heard(listener).await;
        assert_eq!(delivered.payload[..4], MAGIC);
        packets.push((delivered.port, delivered.packet));
    }
    packets.sort_unstable();
    let of = |port| HEADERS.map(|headers| (port, headers + length));
    assert_eq!(packets, [of(OVERLAY_PORT), of(PORT)].concat());
}

#[test]
fn probes_are_heard_whether_a_vxlan_device_owns_the_port_or_nobody() {
    let name = "listener::probes_are_heard_whether_a_vxlan_device_owns_the_port_or_nobody";
    inside(name, &[], async {
        two_hosts();
        let mut listener = SizeListener::open(PORT).unwrap();
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
        let mut listener = SizeListener::open(PORT).unwrap();
        send(600);
        let mut ports = Vec::new();
        for _ in 0..2 * NEAR.len() {
            let sighted = seen(&mut tap).await;
            let datagram = sighted.datagram().unwrap();
            assert!(datagram.packet_length > 600);
            ports.push(datagram.destination.port());
        }
        ports.sort_unstable();
        assert_eq!(ports, [OVERLAY_PORT, OVERLAY_PORT, PORT, PORT]);
        hears_both_families(&mut listener, 700).await;
    });
}

#[test]
fn a_probe_in_fragments_is_heard_whole_and_no_tap_takes_a_fragment_for_it() {
    let name = "listener::a_probe_in_fragments_is_heard_whole_and_no_tap_takes_a_fragment_for_it";
    inside(name, &[], async {
        two_hosts();
        let mut tap = Tap::open(PORT).unwrap();
        let mut listener = SizeListener::open(PORT).unwrap();
        let near = at(NEAR[0], PORT);
        let sender = on_far_host(|| InertSender::open(PORT).expect("raw sockets"));
        // The wire takes 1,500 bytes.
        sender.send(near, &probe(1972)).expect("room");
        assert_eq!(heard(&mut listener).await.packet, 2000);
        assert_eq!(tap.try_next().unwrap(), None);
    });
}

#[test]
fn what_may_not_be_fragmented_is_objected_to_by_this_node_or_by_the_one_that_cannot_pass_it_on() {
    let name = "listener::what_may_not_be_fragmented_is_objected_to_by_this_node_or_by_the_one_that_cannot_pass_it_on";
    inside(name, &[], async {
        two_hosts();
        // Behind the far host there is a network with a narrow link.
        sh("
            ip route add 192.0.2.0/24 via 203.0.113.12
            ip -n far link add narrow type veth peer name end
            ip -n far link set end up && ip -n far link set narrow mtu 1400 up
            ip -n far addr add 192.0.2.1/24 dev narrow
            ip netns exec far sysctl -qw net.ipv4.ip_forward=1
        ");
        let sender = WholeSender::open(PORT).unwrap();
        let beyond = at("192.0.2.9", PORT);
        sender
            .send(beyond, &probe(1572))
            .expect("told of in the queue");
        let here = word(&sender, |word| word.reporter.is_none()).await;
        assert_eq!((here.to, here.mtu), (beyond.ip(), 1500));
        sender.send(beyond, &probe(1472)).expect("room");
        let there = word(&sender, |word| word.reporter.is_some()).await;
        let expected = TooLong {
            to: beyond.ip(),
            port: Some(PORT),
            mtu: 1400,
            reporter: Some([203, 0, 113, 12].into()),
        };
        assert_eq!(there, expected);
    });
}

/// The next word of this kind; one datagram may be refused more than once.
async fn word(sender: &WholeSender, wanted: impl Fn(&TooLong) -> bool) -> TooLong {
    let said = async {
        loop {
            let word = sender.next_word().expect("a queue");
            if let Some(word) = word.filter(&wanted) {
                return word;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    timeout(BOUND, said).await.expect("somebody objects")
}
