//! The tap and the raw sender, between two hosts that a veth pair joins.

use std::{fs::File, net::SocketAddr, os::fd::AsFd, thread};

use crate::namespace::{BOUND, inside, sh};
use evidence::PublicKey;
use probe_core::{
    ProbeKey, inert,
    packet::Datagram,
    sightings::Direction,
    wireguard::{Handshake, INITIATION_LENGTH},
};
use probe_io::{InertSender, Sighted, Tap, UNDERLAY_MARK, mark_socket};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::{net::UdpSocket, time::timeout};

pub(crate) const PORT: u16 = 51820;
pub(crate) const NEAR: [&str; 2] = ["203.0.113.11", "2001:db8::11"];
const FAR: [&str; 2] = ["203.0.113.12", "2001:db8::12"];

/// This namespace is the near host; a second one is the far host.
pub(crate) fn two_hosts() {
    sh("
        mkdir -p /run/netns && ip netns add far
        ip link add eth0 type veth peer name eth0 netns far
        ip addr add 203.0.113.11/24 dev eth0 && ip addr add 2001:db8::11/64 dev eth0 nodad
        ip link set eth0 up
        ip -n far addr add 203.0.113.12/24 dev eth0 && ip -n far addr add 2001:db8::12/64 dev eth0 nodad
        ip -n far link set eth0 up && ip -n far link set lo up
    ");
}

/// Opens something on the far host. Sockets stay in the namespace where they were made.
pub(crate) fn on_far_host<T: Send>(open: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let far = File::open("/run/netns/far").expect("the far host's namespace");
        let kind = Some(LinkNameSpaceType::Network);
        move_into_link_name_space(far.as_fd(), kind).expect("a way in");
        open()
    };
    thread::scope(|scope| scope.spawn(enter).join().expect("no panic on the far host"))
}

pub(crate) fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

fn inert_payload(sequence: u64) -> [u8; inert::LENGTH] {
    let (sender, receiver) = (
        PublicKey::from_bytes([1; 32]),
        PublicKey::from_bytes([2; 32]),
    );
    inert::Datagram::Probe(inert::Probe {
        sender,
        receiver,
        session: 1,
        sequence,
    })
    .encode(&ProbeKey::from_bytes([9; 32]))
}

/// What looks like an initiation from outside; nobody could answer it.
fn initiation(length: usize) -> Vec<u8> {
    let mut payload = vec![7; length];
    payload[..4].copy_from_slice(&[1, 0, 0, 0]);
    payload
}

pub(crate) async fn seen(tap: &mut Tap) -> Sighted {
    timeout(BOUND, tap.next())
        .await
        .expect("the tap sees it in time")
        .expect("the tap works")
}

fn datagram(sighted: &Sighted) -> Datagram<'_> {
    sighted
        .datagram()
        .expect("the filter passes whole datagrams only")
}

#[test]
fn an_inert_datagram_is_seen_leaving_and_arriving_in_both_families() {
    inside(
        "tap::an_inert_datagram_is_seen_leaving_and_arriving_in_both_families",
        &[],
        async {
            two_hosts();
            let mut tap = Tap::open(PORT).unwrap();
            let near = InertSender::open(PORT).unwrap();
            let far = on_far_host(|| InertSender::open(PORT).unwrap());
            for (near_address, far_address) in NEAR.into_iter().zip(FAR) {
                let (here, there) = (at(near_address, PORT), at(far_address, PORT));
                near.send(there, &inert_payload(1)).unwrap();
                let sighted = seen(&mut tap).await;
                assert_eq!(sighted.direction, Direction::Out);
                let left = datagram(&sighted);
                assert_eq!((left.source, left.destination), (here, there));
                assert_eq!(left.payload, inert_payload(1));

                far.send(here, &inert_payload(2)).unwrap();
                let sighted = seen(&mut tap).await;
                assert_eq!(sighted.direction, Direction::In);
                let came = datagram(&sighted);
                assert_eq!((came.source, came.destination), (there, here));
                assert_eq!((came.hop_limit, came.payload), (64, &inert_payload(2)[..]));
            }
            assert_eq!(tap.statistics().unwrap().passed, 4);
            assert_eq!(tap.statistics().unwrap().dropped, 0);
            assert_eq!(tap.try_next().unwrap(), None);
        },
    );
}

#[test]
fn only_messages_of_their_exact_length_and_port_are_seen() {
    inside(
        "tap::only_messages_of_their_exact_length_and_port_are_seen",
        &[],
        async {
            two_hosts();
            let mut tap = Tap::open(PORT).unwrap();
            let far = on_far_host(|| InertSender::open(PORT).unwrap());
            let elsewhere = on_far_host(|| InertSender::open(40000).unwrap());
            for near in NEAR {
                far.send(at(near, PORT), &initiation(INITIATION_LENGTH - 1))
                    .unwrap();
                far.send(at(near, PORT), &[4; 148]).unwrap();
                elsewhere
                    .send(at(near, 40001), &initiation(INITIATION_LENGTH))
                    .unwrap();
                far.send(at(near, PORT), &initiation(INITIATION_LENGTH))
                    .unwrap();
                // The veth keeps the order, so whatever was seen of the others would be seen before this one.
                let sighted = seen(&mut tap).await;
                let came = datagram(&sighted);
                assert_eq!(came.source.port(), PORT);
                assert!(matches!(
                    Handshake::parse(came.payload),
                    Ok(Handshake::Initiation(_))
                ));
            }
            assert_eq!(tap.try_next().unwrap(), None);
        },
    );
}

#[test]
fn what_the_host_firewall_drops_is_seen_all_the_same() {
    inside(
        "tap::what_the_host_firewall_drops_is_seen_all_the_same",
        &["nft"],
        async {
            two_hosts();
            sh("nft add table inet wall
            nft 'add chain inet wall in { type filter hook input priority -300; policy drop; }'");
            let mut tap = Tap::open(PORT).unwrap();
            let far = on_far_host(|| InertSender::open(PORT).unwrap());
            // IPv4 only: the firewall also drops the neighbour discovery of IPv6.
            far.send(at(NEAR[0], PORT), &initiation(INITIATION_LENGTH))
                .unwrap();
            assert_eq!(seen(&mut tap).await.direction, Direction::In);
        },
    );
}

#[test]
fn a_raw_datagram_has_a_valid_checksum_and_the_port_of_somebody_else() {
    inside(
        "tap::a_raw_datagram_has_a_valid_checksum_and_the_port_of_somebody_else",
        &[],
        async {
            two_hosts();
            for (near, far) in NEAR.into_iter().zip(FAR) {
                let owner = on_far_host(|| std::net::UdpSocket::bind(at(far, PORT)).unwrap());
                let sender = on_far_host(|| InertSender::open(PORT).unwrap());
                let receiver = UdpSocket::bind(at(near, PORT)).await.unwrap();
                // An odd length: the last byte of the checksum is padded.
                sender.send(at(near, PORT), b"odd").unwrap();
                let mut buffer = [0; 16];
                // The kernel hands over nothing whose checksum is wrong.
                let (length, from) = timeout(BOUND, receiver.recv_from(&mut buffer))
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(
                    (&buffer[..length], from),
                    (&b"odd"[..], owner.local_addr().unwrap())
                );
            }
        },
    );
}

#[test]
fn a_raw_datagram_carries_the_mark_that_keeps_it_out_of_the_tunnel() {
    inside(
        "tap::a_raw_datagram_carries_the_mark_that_keeps_it_out_of_the_tunnel",
        &["nft"],
        async {
            two_hosts();
            sh("nft add table inet steer
            nft 'add chain inet steer out { type route hook output priority 0; policy drop; }'
            nft add rule inet steer out meta mark and 0x60 == 0x20 accept
            nft add rule inet steer out icmpv6 type 135-136 accept");
            let mut tap = Tap::open(PORT).unwrap();
            let near = InertSender::open(PORT).unwrap();
            for far in FAR {
                near.send(at(far, PORT), &inert_payload(1)).unwrap();
                assert_eq!(seen(&mut tap).await.direction, Direction::Out);
            }
            let unmarked = UdpSocket::bind(at(NEAR[0], 0)).await.unwrap();
            assert!(
                unmarked
                    .send_to(&inert_payload(2), at(FAR[0], PORT))
                    .await
                    .is_err()
            );
            mark_socket(&unmarked, UNDERLAY_MARK).unwrap();
            unmarked
                .send_to(&inert_payload(3), at(FAR[0], PORT))
                .await
                .unwrap();
            assert_eq!(datagram(&seen(&mut tap).await).payload, inert_payload(3));
        },
    );
}

#[test]
fn each_datagram_has_the_source_address_that_its_own_route_asks_for() {
    inside(
        "tap::each_datagram_has_the_source_address_that_its_own_route_asks_for",
        &[],
        async {
            two_hosts();
            sh("ip addr add 198.51.100.11/24 dev eth0
            ip neigh add 198.51.100.12 lladdr 02:00:00:00:00:01 dev eth0");
            let mut tap = Tap::open(PORT).unwrap();
            let near = InertSender::open(PORT).unwrap();
            for (to, from) in [
                (FAR[0], NEAR[0]),
                ("198.51.100.12", "198.51.100.11"),
                (FAR[0], NEAR[0]),
            ] {
                near.send(at(to, PORT), &inert_payload(1)).unwrap();
                assert_eq!(datagram(&seen(&mut tap).await).source, at(from, PORT));
            }
        },
    );
}

#[test]
fn a_destination_without_a_route_is_an_error_that_names_it() {
    inside(
        "tap::a_destination_without_a_route_is_an_error_that_names_it",
        &[],
        async {
            let sender = InertSender::open(PORT).unwrap();
            let v4 = sender.send(at("192.0.2.1", PORT), b"\0").unwrap_err();
            assert_eq!(
                v4.to_string(),
                "find the source address for 192.0.2.1:51820"
            );
            let v6 = sender.send(at("2001:db8::1", PORT), b"\0").unwrap_err();
            assert_eq!(v6.to_string(), "send a datagram to [2001:db8::1]:51820");
        },
    );
}

#[test]
fn without_the_capability_the_tap_says_what_to_do() {
    inside(
        "tap::without_the_capability_the_tap_says_what_to_do",
        &[],
        async {
            drop_capabilities();
            let tap = Tap::open(PORT).unwrap_err();
            assert!(tap.to_string().contains("CAP_NET_RAW"), "{tap}");
            let raw = InertSender::open(PORT).unwrap_err();
            assert!(raw.to_string().contains("CAP_NET_RAW"), "{raw}");
        },
    );
}

pub(crate) fn drop_capabilities() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    set_capabilities(None, sets).expect("giving up is always permitted");
}

/// A data message as `WireGuard` begins it, of so many bytes.
fn data_message(length: usize) -> Vec<u8> {
    let mut message = vec![0x55; length];
    message[..4].copy_from_slice(&[4, 0, 0, 0]);
    message
}

#[test]
fn a_look_for_data_sees_lengths_of_wanted_peers_both_ways_and_none_of_the_data() {
    inside(
        "tap::a_look_for_data_sees_lengths_of_wanted_peers_both_ways_and_none_of_the_data",
        &["ip"],
        look_for_data(),
    );
}

async fn look_for_data() {
    two_hosts();
    for (near, far) in NEAR.into_iter().zip(FAR) {
        let wanted = [far.parse().expect("an address")];
        let mut tap = Tap::open_for_data(PORT, &wanted).expect("a tap");
        let here = bound(at(near, PORT)).await;
        let there = on_far_host(|| std::net::UdpSocket::bind(at(far, PORT)).expect("free"));
        there
            .send_to(&data_message(148), at(near, PORT))
            .expect("room");
        let sent = here.send_to(&data_message(32), at(far, PORT)).await;
        sent.expect("room");
        let mut seen = Vec::new();
        for _ in 0..2 {
            let sighted = timeout(BOUND, tap.next())
                .await
                .expect("in time")
                .expect("seen");
            let datagram = sighted.datagram().expect("headers");
            assert_eq!(datagram.payload, b"", "bytes of a message were captured");
            let headers = probe_core::packet::headers_length(datagram.source.ip());
            seen.push((sighted.direction, datagram.packet_length - headers));
        }
        seen.sort_by_key(|(_, length)| *length);
        assert_eq!(seen, [(Direction::Out, 32), (Direction::In, 148)]);
    }
}

async fn bound(address: SocketAddr) -> UdpSocket {
    UdpSocket::bind(address).await.expect("a free port")
}
