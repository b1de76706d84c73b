//! The commands that need no collector: their screens from made-up facts, and the program on loopback.

use std::net::IpAddr;

use insta::assert_snapshot;
use mesh_probe::{
    adhoc::{Asked, Facts, Limiter, Marking, PathMtu, Refused, Reply, UdpReach},
    exit::Exit,
    render::{Style, facts},
};
use probe_core::sweep::{Cost, Limit, Refusal, Swept};
use tokio::net::UdpSocket;

use crate::program::{Run, bare, run};

const FAR: &str = "203.0.113.11";
const ROUTER: &str = "198.51.100.1";

fn screen<F: Facts>(shown: &F) -> String {
    facts(shown, Style::default())
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn asked(host: &str, to: &str) -> Asked {
    Asked {
        host: host.to_owned(),
        address: address(to),
        marking: Marking::Marked { mark: 0x20 },
    }
}

fn swept(passed: u16, limit: Limit) -> Swept {
    Swept {
        passed: Some(passed),
        failed: Some(passed + 1),
        limit: Some(limit),
        refusal: None,
        rtt_us: Some(23_400),
        cost: Cost {
            datagrams: 34,
            bytes: 29_211,
            rounds: 2,
            lost: 0,
            unknown: 0,
        },
    }
}

fn nothing() -> Swept {
    Swept {
        passed: None,
        failed: None,
        limit: None,
        rtt_us: None,
        ..swept(0, Limit::Silent)
    }
}

fn udp(reply: Reply) -> UdpReach {
    UdpReach {
        asked: asked("vps-1", FAR),
        port: 51820,
        sent: 1,
        reply,
    }
}

fn refused(reporter: Option<&str>, icmp: Option<(u8, u8)>, errno: i32) -> Reply {
    let refusal = Refusal {
        reporter: reporter.map(address),
        icmp,
        errno,
    };
    Reply::Refused {
        refused: Refused::from(refusal),
        after_us: 1_500,
    }
}

#[test]
fn a_router_that_limits_a_path_is_named() {
    let told = Limit::Told {
        reporter: address(ROUTER),
        mtu: 1420,
    };
    let mtu = PathMtu::new(asked("vps-1", FAR), true, &swept(1420, told));
    assert_eq!(mtu.exit(), Exit::Ready);
    assert_snapshot!(screen(&mtu));
}

#[test]
fn what_this_node_tells_itself_is_its_own_limit() {
    let told = Limit::Told {
        reporter: address(FAR),
        mtu: 1420,
    };
    let mtu = PathMtu::new(asked("vps-2", "203.0.113.12"), true, &swept(1420, told));
    let own = mtu.clone().seen_by(&[address(FAR)]);
    assert_eq!(own.limiter, Some(Limiter::ThisNode { mtu: Some(1420) }));
    assert_eq!(mtu.clone().seen_by(&[address(ROUTER)]), mtu);
}

#[test]
fn a_black_hole_too_narrow_for_kubespan_is_called_so() {
    let mut black_hole = PathMtu::new(
        asked("2001:db8::11", "2001:db8::11"),
        false,
        &swept(1350, Limit::Silent),
    );
    black_hole.asked.marking = Marking::NotPermitted;
    assert_snapshot!(screen(&black_hole));
}

#[test]
fn a_path_of_which_nothing_is_heard_is_not_judged() {
    let mut unheard = nothing();
    unheard.refusal = Some(Refusal {
        reporter: Some(address(ROUTER)),
        icmp: Some((3, 1)),
        errno: 113,
    });
    let mtu = PathMtu::new(asked("vps-1", FAR), false, &unheard);
    assert_eq!(mtu.exit(), Exit::CannotTell);
    assert_snapshot!(screen(&mtu));
}

#[test]
fn an_address_of_kubespan_is_inside_of_the_tunnel_whatever_the_mark() {
    let inside = "fd5f:dc07:a059:4702:5054:ff:fec5:c522";
    let mtu = PathMtu::new(asked(inside, inside), true, &swept(1344, Limit::Silent));
    let text = screen(&mtu);
    assert!(text.contains("inside of the tunnel"), "{text}");
    assert!(
        text.contains("the tunnel carries packets of 1344"),
        "{text}"
    );
    assert!(!text.contains("WireGuard with an MTU"), "{text}");
    assert_eq!(mtu.wireguard_mtu, None);
}

#[test]
fn a_path_that_broke_under_way_gives_no_advice_on_tunnels() {
    let mtu = PathMtu::new(asked("vps-1", FAR), true, &swept(1400, Limit::Unsteady));
    let text = screen(&mtu);
    assert_eq!(mtu.exit(), Exit::CannotTell);
    assert!(text.contains("at least 1400"), "{text}");
    assert!(!text.contains("WireGuard"), "{text}");
}

#[test]
fn silence_of_a_udp_port_is_explained_and_not_judged() {
    let silent = udp(Reply::Nothing { within_ms: 2100 });
    assert_eq!(silent.exit(), Exit::CannotTell);
    assert_snapshot!(screen(&silent));
}

#[test]
fn who_turned_a_datagram_away_is_told_apart() {
    let cases = [
        (Some(FAR), Some((3, 3)), 111, "nobody listens there"),
        (
            Some(FAR),
            Some((3, 13)),
            113,
            "firewall of 203.0.113.11 itself",
        ),
        (
            Some(ROUTER),
            Some((3, 13)),
            113,
            "before 203.0.113.11, by 198.51.100.1",
        ),
        (
            Some(ROUTER),
            Some((3, 3)),
            111,
            "before 203.0.113.11, by 198.51.100.1",
        ),
        (None, None, 1, "does not leave this node"),
    ];
    for (reporter, icmp, errno, words) in cases {
        let reach = udp(refused(reporter, icmp, errno));
        let text = screen(&reach);
        assert!(text.contains(words), "{text}");
        assert_eq!(reach.exit(), Exit::NotReady);
    }
}

#[tokio::test]
async fn a_closed_port_on_loopback_is_closed_and_an_answering_one_open() {
    let closed = on_loopback("udp 127.0.0.1:9 --mark 0 -o json").await;
    assert_eq!(closed.code, 1, "{closed:?}");
    assert_eq!(closed.json()["kind"], "UdpReach");
    let refused = &closed.json()["facts"]["reply"]["refused"];
    assert_eq!(refused["why"], "port-unreachable", "{closed:?}");

    let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = async {
        let mut buffer = [0; 64];
        let (length, from) = listener.recv_from(&mut buffer).await.unwrap();
        assert!(buffer[..length].iter().all(|byte| *byte == 0));
        listener.send_to(b"hello", from).await.unwrap();
    };
    let command = format!("udp 127.0.0.1:{port} --mark 0");
    let (open, ()) = tokio::join!(on_loopback(&command), answering);
    assert_eq!(open.code, 0, "{open:?}");
    assert!(open.stdout.contains("an answer of 5 bytes"), "{open:?}");
}

#[tokio::test]
async fn a_silent_port_cannot_be_told_from_a_blocked_one() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let run = on_loopback(&format!("udp 127.0.0.1:{port} --mark 0")).await;
    assert_eq!(run.code, 3, "{run:?}");
    assert!(run.stdout.contains("conclusion: cannot tell"), "{run:?}");
}

#[tokio::test]
async fn a_name_that_stands_for_nothing_is_an_error_with_advice() {
    let run = on_loopback("mtu 127.0.0.1 -6 -o json").await;
    assert_eq!((run.code, run.json()["kind"].as_str()), (3, Some("Error")));
    assert_eq!(on_loopback("mtu a:b").await.code, 2);
}

async fn on_loopback(arguments: &str) -> Run {
    let mut command = bare();
    command.args(arguments.split_whitespace());
    run(command).await
}
