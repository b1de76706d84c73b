//! Two echo sockets with their machines, on loopback.

use std::{net::SocketAddr, time::Duration};

use crate::namespace::{BOUND, inside};
use evidence::PublicKey;
use probe_core::{
    ProbeKey, Stamp,
    echo::{Answer, EchoStats, Input, MAX_REQUESTS_PER_SECOND, Output, Prober, Responder, Walls},
};
use probe_io::{EchoEvent, EchoReplies, EchoSocket, MAX_DATAGRAM, clock};
use tokio::time::{sleep, timeout};

const ASKING: PublicKey = PublicKey::from_bytes([1; 32]);
const ANSWERING: PublicKey = PublicKey::from_bytes([2; 32]);

fn key() -> ProbeKey {
    ProbeKey::from_bytes([9; 32])
}

fn bind(address: &str) -> EchoSocket {
    let address = address.parse().expect("an address");
    EchoSocket::bind(address).expect("a free port")
}

/// A prober on its socket, and the address of the only peer it has.
struct Asking {
    socket: EchoSocket,
    prober: Prober,
    peer: SocketAddr,
}

impl Asking {
    fn new(address: &str, peer: SocketAddr) -> Self {
        let mut prober = Prober::new(ASKING, key(), 77, 5, MAX_REQUESTS_PER_SECOND);
        prober.handle(Input::PeerAdded(ANSWERING), clock::stamp());
        Self {
            socket: bind(address),
            prober,
            peer,
        }
    }

    /// One turn of a driver: drain, then wait for one event or the deadline, and hand it in.
    async fn turn(&mut self) {
        let until = loop {
            match self.prober.poll() {
                Output::Transmit { bytes, .. } => {
                    self.socket.send_to(&bytes, self.peer).expect("room");
                }
                Output::Event(_) => {}
                Output::Wait { until, .. } => break until,
            }
        };
        let pause = until.since(clock::moment()) + Duration::from_millis(1);
        tokio::select! {
            event = self.socket.next() => self.take(&event.expect("an event")),
            () = sleep(pause) => self.prober.handle(Input::Tick, clock::stamp()),
        }
    }

    fn take(&mut self, event: &EchoEvent) {
        let input = match event {
            EchoEvent::Datagram {
                bytes, received_at, ..
            } => Input::Datagram {
                bytes,
                received_at: *received_at,
            },
            EchoEvent::TooBig { to, .. } => panic!("{to} is said to be too narrow for an echo"),
            EchoEvent::Refused { to, .. } => {
                assert_eq!(*to, self.peer);
                Input::Refused(ANSWERING)
            }
        };
        self.prober.handle(input, clock::stamp());
    }

    async fn until(&mut self, condition: impl Fn(&EchoStats) -> bool) -> EchoStats {
        let turns = async {
            loop {
                let stats = self.prober.stats(&ANSWERING).expect("a known peer");
                if condition(&stats) {
                    return stats;
                }
                self.turn().await;
            }
        };
        timeout(BOUND, turns)
            .await
            .expect("the condition holds in time")
    }
}

async fn answer(mut socket: EchoSocket) {
    let mut responder = Responder::new(ANSWERING, key());
    responder.add_peer(ASKING);
    loop {
        if let EchoEvent::Datagram {
            from,
            bytes,
            received_at,
            ..
        } = socket.next().await.expect("an event")
            && let Answer::Reply(reply) =
                responder.handle(&bytes, received_at.moment(), Walls::default())
        {
            socket.send_to(&reply, from).expect("room");
        }
    }
}

async fn ask_and_answer(address: &str) {
    let answering = bind(address);
    let mut asking = Asking::new(address, answering.local_addr().expect("an address"));
    let stats = tokio::select! {
        stats = asking.until(|stats| stats.answered == 2) => stats,
        () = answer(answering) => unreachable!("answers for ever"),
    };
    assert_eq!((stats.sent, stats.window.missing), (2, 0));
    let round_trip = stats.round_trip.expect("an answer");
    assert!(
        round_trip.min_micros > 0 && round_trip.max_micros < 1_000_000,
        "{round_trip:?}"
    );
    assert_eq!(stats.forward.unwrap_or_default().missing, 0);
}

/// An address on which nobody listens.
fn closed_port(address: &str) -> SocketAddr {
    let socket = std::net::UdpSocket::bind(address).expect("a free port");
    socket.local_addr().expect("an address")
}

async fn ask_a_closed_port(address: &str) {
    let mut asking = Asking::new(address, closed_port(address));
    let stats = asking.until(|stats| stats.refused.is_some()).await;
    assert_eq!((stats.sent, stats.answered), (1, 0));
}

#[tokio::test(flavor = "current_thread")]
async fn two_machines_ask_and_answer_over_ipv4() {
    ask_and_answer("127.0.0.1:0").await;
}

#[test]
fn two_machines_ask_and_answer_over_ipv6() {
    inside(
        "echo::two_machines_ask_and_answer_over_ipv6",
        &[],
        ask_and_answer("[::1]:0"),
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_closed_port_refuses_over_ipv4() {
    ask_a_closed_port("127.0.0.1:0").await;
}

#[test]
fn a_closed_port_refuses_over_ipv6() {
    inside(
        "echo::a_closed_port_refuses_over_ipv6",
        &[],
        ask_a_closed_port("[::1]:0"),
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_names_its_destination_cause_and_reporter() {
    let mut socket = bind("127.0.0.1:0");
    let closed = closed_port("127.0.0.1:0");
    socket.send_to(b"anybody?", closed).unwrap();
    let event = timeout(BOUND, socket.next()).await.unwrap().unwrap();
    let EchoEvent::Refused { to, cause } = event else {
        unreachable!("{event:?}")
    };
    assert_eq!(to, closed);
    assert_eq!(
        (cause.errno, cause.icmp),
        (libc::ECONNREFUSED, Some((3, 3)))
    );
    assert_eq!(cause.reporter, Some(closed.ip()));
}

#[tokio::test(flavor = "current_thread")]
async fn a_refused_peer_does_not_keep_others_from_being_asked() {
    let mut socket = bind("127.0.0.1:0");
    let mut other = bind("127.0.0.1:0");
    let listening = other.local_addr().unwrap();
    for _ in 0..3 {
        socket
            .send_to(b"anybody?", closed_port("127.0.0.1:0"))
            .unwrap();
        socket.send_to(b"hello", listening).unwrap();
        let event = timeout(BOUND, other.next()).await.unwrap().unwrap();
        assert!(matches!(event, EchoEvent::Datagram { bytes, .. } if bytes == b"hello"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_datagram_too_long_for_an_echo_is_counted_and_passed_over() {
    let mut socket = bind("127.0.0.1:0");
    let to = socket.local_addr().unwrap();
    let mut sender = bind("127.0.0.1:0");
    let before = clock::stamp();
    sender.send_to(&[7; MAX_DATAGRAM + 1], to).unwrap();
    sender.send_to(&[8; MAX_DATAGRAM], to).unwrap();
    let event = timeout(BOUND, socket.next()).await.unwrap().unwrap();
    let EchoEvent::Datagram {
        from,
        bytes,
        received_at,
        ..
    } = event
    else {
        unreachable!("{event:?}")
    };
    assert_eq!(
        (from, bytes),
        (sender.local_addr().unwrap(), vec![8; MAX_DATAGRAM])
    );
    assert!((before..=clock::stamp()).contains::<Stamp>(&received_at));
    assert_eq!(socket.counters().truncated, 1);
    assert_eq!(socket.try_next().unwrap(), None);
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_in_use_is_an_error_that_names_it() {
    let first = bind("127.0.0.1:0");
    let taken = first.local_addr().unwrap();
    let second = EchoSocket::bind(taken).unwrap_err();
    assert_eq!(
        second.to_string(),
        format!("open the echo socket on {taken}: bind")
    );
}

fn datagram(event: &EchoEvent) -> (&[u8], Stamp) {
    match event {
        EchoEvent::Datagram {
            bytes, received_at, ..
        } => (bytes, *received_at),
        other => unreachable!("{other:?}"),
    }
}

/// An echo datagram of this kind, as far as the program of the sockets looks at it.
fn begins_as(kind: u8) -> Vec<u8> {
    let mut bytes = probe_core::echo::MAGIC.to_vec();
    bytes.extend([1, kind, 0, 0]);
    bytes
}

fn bind_with_replies(address: &str) -> (EchoSocket, EchoReplies) {
    let address = address.parse().expect("an address");
    EchoSocket::bind_with_replies(address).expect("a free port")
}

async fn keeps_replies_apart(address: &str) {
    let (mut socket, mut replies) = bind_with_replies(address);
    let to = socket.local_addr().expect("an address");
    let mut sender = bind(address);
    let before = clock::stamp();
    // More than one of each, so that no chance puts them where they belong.
    for _ in 0..8 {
        sender.send_to(&begins_as(2), to).expect("room");
        sender.send_to(&begins_as(1), to).expect("room");
    }
    let mut came = Stamp::default();
    for _ in 0..8 {
        let event = timeout(BOUND, socket.next()).await.expect("in time");
        let event = event.expect("an event");
        came = came.max(datagram(&event).1);
        assert_eq!(datagram(&event).0, begins_as(1));
    }
    assert_eq!(socket.try_next().expect("a working socket"), None);
    for _ in 0..8 {
        let event = replies
            .try_next()
            .expect("a working socket")
            .expect("all have come");
        let (bytes, at) = datagram(&event);
        assert_eq!(bytes, begins_as(2));
        assert!(before <= at && at <= came, "{before:?} {at:?} {came:?}");
    }
    assert_eq!(replies.try_next().expect("a working socket"), None);
}

#[tokio::test(flavor = "current_thread")]
async fn replies_wait_in_a_socket_of_their_own_and_tell_when_they_came() {
    keeps_replies_apart("127.0.0.1:0").await;
}

#[test]
fn replies_wait_in_a_socket_of_their_own_over_ipv6() {
    inside(
        "echo::replies_wait_in_a_socket_of_their_own_over_ipv6",
        &[],
        keeps_replies_apart("[::1]:0"),
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_port_is_shared_with_nobody_but_the_own_socket_for_replies() {
    let (socket, _replies) = bind_with_replies("127.0.0.1:0");
    let taken = socket.local_addr().unwrap();
    assert!(EchoSocket::bind_with_replies(taken).is_err());
    assert!(EchoSocket::bind(taken).is_err());
}

#[tokio::test(flavor = "current_thread")]
async fn a_refusal_is_heard_by_one_of_the_two_sockets_of_a_port() {
    let (mut socket, mut replies) = bind_with_replies("127.0.0.1:0");
    let closed = closed_port("127.0.0.1:0");
    socket.send_to(b"anybody?", closed).unwrap();
    let heard = async {
        loop {
            let event = replies
                .try_next()
                .unwrap()
                .or_else(|| socket.try_next().unwrap());
            match event {
                Some(EchoEvent::Refused { to, .. }) => return to,
                Some(other) => unreachable!("{other:?}"),
                None => sleep(Duration::from_millis(1)).await,
            }
        }
    };
    assert_eq!(timeout(BOUND, heard).await.unwrap(), closed);
}
