use boringtun::{
    noise::{Tunn, TunnResult},
    x25519::{PublicKey as Public, StaticSecret},
};

use super::*;

const ME: u8 = 1;
const PEER: u8 = 2;
const OTHER: u8 = 3;

fn key(secret: u8) -> PublicKey {
    PublicKey::from_bytes(Public::from(&StaticSecret::from([secret; 32])).to_bytes())
}

/// An initiation with this index, as another implementation makes it.
fn initiation(from: u8, to: u8, index: u32) -> Handshake {
    let peer = Public::from(&StaticSecret::from([to; 32]));
    let mut tunnel = Tunn::new(
        StaticSecret::from([from; 32]),
        peer,
        None,
        None,
        index,
        None,
    );
    let mut buffer = [0; 256];
    match tunnel.format_handshake_initiation(&mut buffer, false) {
        TunnResult::WriteToNetwork(bytes) => Handshake::parse(bytes).unwrap(),
        other => unreachable!("no datagram: {other:?}"),
    }
}

fn index_of(handshake: &Handshake) -> u32 {
    match handshake {
        Handshake::Initiation(initiation) => initiation.sender_index(),
        other => unreachable!("not an initiation: {other:?}"),
    }
}

fn response_to(handshake: &Handshake) -> Handshake {
    Handshake::Response {
        sender_index: 99,
        receiver_index: index_of(handshake),
    }
}

fn cookie_for(handshake: &Handshake) -> Handshake {
    Handshake::CookieReply {
        receiver_index: index_of(handshake),
    }
}

fn place(last: u8) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, last], 51820))
}

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

fn sightings() -> Sightings {
    let mut sightings = Sightings::new(Some(&key(ME)));
    sightings.add_peer(key(PEER));
    sightings.add_peer(key(OTHER));
    sightings
}

fn saw(
    sightings: &mut Sightings,
    millis: i64,
    direction: Direction,
    remote: SocketAddr,
    handshake: &Handshake,
) {
    sightings.handle(
        &Sighting {
            direction,
            remote,
            handshake: handshake.clone(),
        },
        at(millis),
    );
}

#[test]
fn an_initiation_that_leaves_is_attributed_by_mac1_and_not_by_address() {
    let mut sightings = sightings();
    let first = initiation(ME, PEER, 1);
    let second = initiation(ME, OTHER, 2);
    saw(&mut sightings, 10, Direction::Out, place(7), &first);
    saw(&mut sightings, 20, Direction::Out, place(7), &second);
    let sent = Initiated {
        sender_index: index_of(&first),
        sent_at: at(10),
        to: place(7),
        response_at: None,
        cookie_at: None,
    };
    assert_eq!(sightings.initiated(&key(PEER)).collect::<Vec<_>>(), [&sent]);
    assert_eq!(sightings.initiated(&key(OTHER)).count(), 1);
}

#[test]
fn a_response_and_a_cookie_reply_mark_the_initiation_they_answer() {
    let mut sightings = sightings();
    let (first, second) = (initiation(ME, PEER, 1), initiation(ME, PEER, 2));
    saw(&mut sightings, 0, Direction::Out, place(7), &first);
    saw(&mut sightings, 5000, Direction::Out, place(7), &second);
    saw(
        &mut sightings,
        5010,
        Direction::In,
        place(7),
        &cookie_for(&first),
    );
    saw(
        &mut sightings,
        5020,
        Direction::In,
        place(7),
        &response_to(&second),
    );
    let seen: Vec<_> = sightings
        .initiated(&key(PEER))
        .map(|sent| (sent.cookie_at, sent.response_at))
        .collect();
    assert_eq!(seen, [(Some(at(5010)), None), (None, Some(at(5020)))]);
    assert_eq!(sightings.counters().incoming_unmatched, 0);
}

#[test]
fn an_arrival_tells_whether_our_key_was_dialled_and_whether_we_answered() {
    let mut sightings = sightings();
    let (ours, stale) = (initiation(PEER, ME, 1), initiation(PEER, OTHER, 2));
    saw(&mut sightings, 0, Direction::In, place(7), &ours);
    saw(
        &mut sightings,
        1,
        Direction::Out,
        place(7),
        &response_to(&ours),
    );
    saw(&mut sightings, 2, Direction::In, place(7), &stale);
    let seen: Vec<_> = sightings
        .arrivals()
        .map(|seen| (seen.for_us, seen.answered_at))
        .collect();
    assert_eq!(seen, [(Some(true), Some(at(1))), (Some(false), None)]);
    assert_eq!(sightings.counters().incoming_for_another_key, 1);
}

#[test]
fn without_our_own_key_it_is_unknown_for_whom_an_arrival_is() {
    let mut sightings = Sightings::new(None);
    saw(
        &mut sightings,
        0,
        Direction::In,
        place(7),
        &initiation(PEER, ME, 1),
    );
    sightings.set_own_key(&key(ME));
    saw(
        &mut sightings,
        1,
        Direction::In,
        place(7),
        &initiation(PEER, ME, 2),
    );
    let seen: Vec<_> = sightings.arrivals().map(|seen| seen.for_us).collect();
    assert_eq!(seen, [None, Some(true)]);
}

#[test]
fn a_datagram_seen_on_a_bridge_and_its_port_counts_once() {
    let mut sightings = sightings();
    let (out, came) = (initiation(ME, PEER, 1), initiation(PEER, ME, 2));
    for millis in [0, 1] {
        saw(&mut sightings, millis, Direction::Out, place(7), &out);
        saw(&mut sightings, millis, Direction::In, place(7), &came);
    }
    assert_eq!(sightings.initiated(&key(PEER)).count(), 1);
    assert_eq!(sightings.arrivals().count(), 1);
    assert_eq!(sightings.counters().seen_twice, 2);
}

#[test]
fn both_rings_forget_the_oldest() {
    let mut sightings = sightings();
    let handshake = initiation(ME, PEER, 1);
    let other = initiation(PEER, ME, 2);
    for millis in (0..300).map(|number| number * 2000) {
        saw(&mut sightings, millis, Direction::Out, place(7), &handshake);
        saw(&mut sightings, millis, Direction::In, place(8), &other);
    }
    assert_eq!(sightings.initiated(&key(PEER)).count(), MAX_INITIATED);
    assert_eq!(sightings.arrivals().count(), MAX_ARRIVALS);
    assert_eq!(sightings.arrivals().last().unwrap().at, at(299 * 2000));
}

#[test]
fn what_matches_nothing_is_counted() {
    let mut sightings = Sightings::new(Some(&key(ME)));
    let handshake = initiation(ME, PEER, 1);
    saw(&mut sightings, 0, Direction::Out, place(7), &handshake);
    saw(
        &mut sightings,
        1,
        Direction::In,
        place(7),
        &response_to(&handshake),
    );
    saw(
        &mut sightings,
        2,
        Direction::Out,
        place(7),
        &cookie_for(&handshake),
    );
    let counters = sightings.counters();
    assert_eq!(counters.outgoing_unattributed, 1);
    assert_eq!(
        (counters.incoming_unmatched, counters.outgoing_unmatched),
        (1, 1)
    );
    assert_eq!(
        (
            counters.outgoing.initiations,
            counters.outgoing.cookie_replies,
            counters.incoming.responses
        ),
        (1, 1, 1)
    );
}
