//! The tap and its bookkeeping beside a real tunnel: wireguard-go at both ends.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use evidence::PublicKey;
use probe_core::{
    sightings::{Direction, Sighting, Sightings},
    wireguard::Handshake,
};
use probe_io::Tap;
use tokio::time::{sleep, timeout};

use crate::{
    namespace::{BOUND, inside, sh},
    tap::{PORT, two_hosts},
};

/// A wireguard-go process that ends with this value.
struct Device(Child);

impl Device {
    async fn start(host: &str, interface: &str) -> Self {
        let child = Command::new("nsenter")
            .args([host, "wireguard-go", "-f", interface])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let device = Self(child.expect("nsenter starts"));
        let socket = format!("/run/wireguard/{interface}.sock");
        let appears = async {
            while !Path::new(&socket).exists() {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(BOUND, appears)
            .await
            .expect("the device appears in time");
        device
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Makes keys and joins the devices; the near one has a keepalive, so it dials at once.
fn join_devices() -> (PublicKey, PublicKey) {
    sh(&format!(
        "cd /run && for host in near far; do wg genkey > $host.key && wg pubkey < $host.key > $host.pub; done
         ip netns exec far wg set wg-far listen-port {PORT} private-key far.key \
            peer $(cat near.pub) allowed-ips ::/0
         wg set wg-near listen-port {PORT} private-key near.key \
            peer $(cat far.pub) allowed-ips ::/0 endpoint 203.0.113.12:{PORT} persistent-keepalive 25
         ip -n far link set wg-far up
         ip link set wg-near up"
    ));
    let public = |host| {
        let text = std::fs::read_to_string(format!("/run/{host}.pub")).expect("a key");
        text.trim().parse().expect("a key")
    };
    (public("near"), public("far"))
}

/// What the tap saw up to the first response, in the order of passing.
async fn sightings_of_a_handshake(tap: &mut Tap) -> Vec<(Sighting, evidence::Moment)> {
    let mut seen = Vec::new();
    let answered = |seen: &[(Sighting, evidence::Moment)]| {
        seen.iter()
            .any(|(sighting, _)| matches!(sighting.handshake, Handshake::Response { .. }))
    };
    while !answered(&seen) {
        let sighted = timeout(BOUND, tap.next())
            .await
            .expect("a handshake in time")
            .expect("the tap works");
        let datagram = sighted
            .datagram()
            .expect("the filter passes whole datagrams only");
        let remote = match sighted.direction {
            Direction::Out => datagram.destination,
            Direction::In => datagram.source,
        };
        let handshake = Handshake::parse(datagram.payload).expect("a handshake message");
        let sighting = Sighting {
            direction: sighted.direction,
            remote,
            handshake,
        };
        seen.push((sighting, sighted.seen_at.moment()));
    }
    seen
}

#[test]
fn a_handshake_of_wireguard_go_is_attributed_and_matched_with_its_response() {
    let name = "wireguard::a_handshake_of_wireguard_go_is_attributed_and_matched_with_its_response";
    inside(name, &["wireguard-go", "wg", "nsenter"], async {
        two_hosts();
        let mut tap = Tap::open(PORT).unwrap();
        let _near = Device::start("--net=/proc/self/ns/net", "wg-near").await;
        let _far = Device::start("--net=/run/netns/far", "wg-far").await;
        let (near, far) = join_devices();
        let seen = sightings_of_a_handshake(&mut tap).await;

        // As the near host has it: who was dialled, and that the answer came.
        let mut here = Sightings::new(Some(&near));
        here.add_peer(PublicKey::from_bytes([3; 32]));
        here.add_peer(far);
        // As the far host would have it: the same datagrams, the other way round.
        let mut there = Sightings::new(Some(&far));
        for (sighting, at) in seen {
            here.handle(&sighting, at);
            let direction = match sighting.direction {
                Direction::Out => Direction::In,
                Direction::In => Direction::Out,
            };
            there.handle(
                &Sighting {
                    direction,
                    ..sighting
                },
                at,
            );
        }
        let initiated = here.initiated(&far).last().unwrap();
        assert_eq!(initiated.to, "203.0.113.12:51820".parse().unwrap());
        assert!(initiated.response_at.is_some());
        let arrival = there.arrivals().last().unwrap();
        assert_eq!(
            (arrival.sender_index, arrival.for_us),
            (initiated.sender_index, Some(true))
        );
        assert!(arrival.answered_at.is_some());
        assert_eq!(here.counters().outgoing_unattributed, 0);
    });
}
