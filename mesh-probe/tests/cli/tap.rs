//! `tap` on an interface of a namespace, and without the right to look.

use std::time::{Duration, Instant};

use insta::assert_snapshot;
use mesh_probe::{
    adhoc::TapView,
    render::{Style, facts},
};
use probe_core::{packet::Datagram, sightings::Direction};
use tokio::{net::UdpSocket, process::Command, time::sleep};

use crate::{
    namespace::{inside, sh},
    program::{Run, bare, run},
};

const BOUND: Duration = Duration::from_secs(10);

/// What looks like an initiation from outside.
fn initiation(index: u8) -> Vec<u8> {
    let mut payload = vec![7; 148];
    payload[..8].copy_from_slice(&[1, 0, 0, 0, index, 0, 0, 0]);
    payload
}

/// Runs `tap` beside somebody who keeps sending initiations to a host behind `eth0`.
async fn beside_initiations(arguments: &str) -> Run {
    let mut command = bare();
    command.args(arguments.split_whitespace());
    let watching = tokio::spawn(run(command));
    let socket = UdpSocket::bind("0.0.0.0:0").await.unwrap();
    let begun = Instant::now();
    let mut index = 0;
    while !watching.is_finished() {
        assert!(begun.elapsed() < BOUND, "tap ends after three messages");
        socket
            .send_to(&initiation(index), "203.0.113.12:51820")
            .await
            .unwrap();
        index = index.wrapping_add(1);
        sleep(Duration::from_millis(20)).await;
    }
    watching.await.unwrap()
}

#[test]
fn messages_are_shown_as_they_pass_and_summed_up_at_the_end() {
    inside(
        "tap::messages_are_shown_as_they_pass_and_summed_up_at_the_end",
        &[],
        async {
            sh(
                "ip link add eth0 type veth peer name eth1 && ip link set eth1 up
                ip addr add 203.0.113.11/24 dev eth0 && ip link set eth0 up
                ip neigh add 203.0.113.12 lladdr 02:00:00:00:00:01 dev eth0",
            );
            let text = beside_initiations("tap --count 3 --duration 10s").await;
            assert_eq!(text.code, 0, "{text:?}");
            let live = text
                .stdout
                .lines()
                .filter(|line| line.contains("  out  203.0.113.12:51820"));
            assert_eq!(
                live.filter(|line| line.ends_with("  eth0")).count(),
                3,
                "{text:?}"
            );
            assert!(
                text.stdout.contains("does not answer our handshakes"),
                "{text:?}"
            );

            let document = beside_initiations("tap --count 2 -o json").await.json();
            assert_eq!(document["kind"], "Tap");
            let listed = document["facts"]["messages"].as_array().unwrap();
            assert_eq!(listed.len(), 2, "{document}");
            assert_eq!(listed[0]["kind"]["type"], "initiation");
            assert_eq!(
                document["facts"]["remotes"][0]["outgoing"]["initiations"],
                2
            );
        },
    );
}

#[test]
fn a_tap_that_sees_nothing_cannot_tell_and_ends_in_time() {
    inside(
        "tap::a_tap_that_sees_nothing_cannot_tell_and_ends_in_time",
        &[],
        async {
            let mut command = bare();
            command.args(["tap", "--duration", "200ms"]);
            let run = run(command).await;
            assert_eq!(run.code, 3, "{run:?}");
            assert!(run.stdout.contains("no handshake passed"), "{run:?}");
        },
    );
}

#[test]
fn without_raw_sockets_the_tap_says_which_capability_it_needs() {
    inside(
        "tap::without_raw_sockets_the_tap_says_which_capability_it_needs",
        &[],
        async {
            // A further user namespace has no rights over this network.
            let mut command = Command::new("unshare");
            command.args(["-U", env!("CARGO_BIN_EXE_mesh-probe"), "tap"]);
            let run = run(command).await;
            assert_eq!(run.code, 3, "{run:?}");
            assert!(run.stderr.contains("CAP_NET_RAW"), "{run:?}");
        },
    );
}

#[test]
fn the_summary_says_who_is_not_answered_and_what_was_lost() {
    let mut view = TapView::new(51820);
    for (direction, index) in [(Direction::In, 1), (Direction::In, 2), (Direction::Out, 3)] {
        let far = format!("203.0.113.{}:51820", if index == 2 { 12 } else { 11 });
        let (far, here) = (far.parse().unwrap(), "192.0.2.1:51820".parse().unwrap());
        let incoming = direction == Direction::In;
        let datagram = Datagram {
            packet_length: 0,
            source: if incoming { far } else { here },
            destination: if incoming { here } else { far },
            hop_limit: 64,
            payload: &initiation(index),
        };
        view.see(direction, "eth0", &datagram, 1500);
    }
    view.lasted_ms = 10_000;
    view.lost = 4;
    assert_snapshot!(facts(&view, Style::default()));
}
