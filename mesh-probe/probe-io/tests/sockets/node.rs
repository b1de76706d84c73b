//! The sockets of the echo to node addresses: from where an answer leaves, and by which link a datagram came in.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    process::Command,
    time::Duration,
};

use probe_core::node_echo::{LENGTH, MAGIC};
use probe_io::{EchoEvent, EchoSocket, NodeDatagram, NodeSockets};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    namespace::{BOUND, inside, sh},
    tap::{NEAR, at, on_far_host, two_hosts},
};

const PORT: u16 = 21_820;

fn ours(number: u8) -> Vec<u8> {
    let mut bytes = vec![number; LENGTH];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes
}

async fn heard(sockets: &NodeSockets) -> NodeDatagram {
    let until = Instant::now() + BOUND;
    while Instant::now() < until {
        if let Some(datagram) = sockets.try_next().expect("the sockets work") {
            return datagram;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("nothing came in time");
}

fn both() -> NodeSockets {
    let mut sockets = NodeSockets::bind(PORT).expect("the port is free");
    sockets.bind_v6().expect("and of IPv6");
    sockets
}

/// The kernel's number of a link, as `ip -o link` begins with it.
fn index(link: &str) -> u32 {
    let output = Command::new("ip")
        .args(["-o", "link", "show", link])
        .output();
    let text = String::from_utf8(output.expect("ip starts").stdout).expect("text");
    let (number, _rest) = text.split_once(':').expect("a number first");
    number.parse().expect("a number")
}

#[test]
fn the_link_is_told_and_the_answer_leaves_from_the_address_that_was_asked() {
    let name = "node::the_link_is_told_and_the_answer_leaves_from_the_address_that_was_asked";
    inside(name, &[], async {
        two_hosts();
        // A second address of each family, which the kernel would not choose by itself.
        sh("ip addr add 10.9.9.9/32 dev lo; ip addr add 2001:db8:9::9/128 dev lo nodad");
        sh(
            "ip netns exec far ip route add 10.9.9.9/32 via 203.0.113.11 \
            && ip netns exec far ip route add 2001:db8:9::9/128 via 2001:db8::11",
        );
        let sockets = both();
        let second: [IpAddr; 2] = [
            "10.9.9.9".parse().unwrap(),
            "2001:db8:9::9".parse().unwrap(),
        ];
        for (near, second) in NEAR.into_iter().zip(second) {
            let any = if second.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let far = on_far_host(|| UdpSocket::bind(any).unwrap());
            far.set_read_timeout(Some(BOUND)).unwrap();
            let first = at(near, PORT);
            for to in [first, SocketAddr::new(second, PORT)] {
                // Of another kind, and of another length: nobody hears them.
                far.send_to(&[7; LENGTH], to).unwrap();
                far.send_to(&ours(1)[..LENGTH - 1], to).unwrap();
                far.send_to(&ours(2), to).unwrap();
                let came = heard(&sockets).await;
                assert_eq!(came.bytes, ours(2));
                assert_eq!(
                    (came.at, came.from.port()),
                    (to.ip(), far.local_addr().unwrap().port())
                );
                assert_eq!(came.interface, index("eth0"));
                sockets.send(Some(came.at), came.from, &ours(3)).unwrap();
                let mut answer = [0; 256];
                let (length, from) = far.recv_from(&mut answer).unwrap();
                assert_eq!((&answer[..length], from), (&ours(3)[..], to));
            }
        }
        assert_eq!(sockets.try_next().unwrap(), None);
    });
}

#[test]
fn the_port_is_shared_with_the_echo_on_one_address_and_each_gets_its_own() {
    let name = "node::the_port_is_shared_with_the_echo_on_one_address_and_each_gets_its_own";
    inside(name, &[], async {
        two_hosts();
        sh(
            "ip addr add fd00::1/128 dev lo nodad && ip netns exec far ip route add fd00::1/128 via 2001:db8::11",
        );
        let inner = at("fd00::1", PORT);
        let (mut echo, _replies) = EchoSocket::bind_with_replies(inner).unwrap();
        let mut sockets = both();
        let far = on_far_host(|| UdpSocket::bind("[::]:0").unwrap());
        far.send_to(&ours(1), inner).unwrap();
        far.send_to(&ours(2), at(NEAR[1], PORT)).unwrap();
        assert_eq!(heard(&sockets).await.bytes, ours(2));
        let event = timeout(BOUND, echo.next()).await.unwrap().unwrap();
        let EchoEvent::Datagram { bytes, .. } = event else {
            panic!("no datagram: {event:?}");
        };
        assert_eq!(bytes, ours(1));
        // Another address can be taken alone only while nobody listens on all.
        sh("ip addr add fd00::2/128 dev lo nodad");
        let other = at("fd00::2", PORT);
        assert!(EchoSocket::bind_with_replies(other).is_err());
        sockets.close_v6();
        assert!(!sockets.has_v6());
        let moved = EchoSocket::bind_with_replies(other).unwrap();
        sockets.bind_v6().unwrap();
        drop((moved, sockets));
        assert!(NodeSockets::bind(PORT).is_ok(), "it was free before");
    });
}

#[test]
fn a_port_that_another_program_has_is_refused() {
    let name = "node::a_port_that_another_program_has_is_refused";
    inside(name, &[], async {
        let _other = UdpSocket::bind(("0.0.0.0", PORT)).unwrap();
        let error = NodeSockets::bind(PORT).unwrap_err().to_string();
        assert_eq!(
            error,
            "open the socket of the echo to node addresses on 0.0.0.0:21820: bind"
        );
    });
}
