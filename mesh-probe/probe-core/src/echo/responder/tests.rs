use super::*;
use crate::Wall;

const ME: PublicKey = PublicKey::from_bytes([1; 32]);
const PEER: PublicKey = PublicKey::from_bytes([2; 32]);

const WALLS: Walls = Walls {
    received: Wall::from_micros(1_700_000_000_000_000),
    sent: Wall::from_micros(1_700_000_000_000_030),
};

fn key() -> ProbeKey {
    ProbeKey::from_bytes([9; 32])
}

fn responder() -> Responder {
    let mut responder = Responder::new(ME, key());
    responder.add_peer(PEER);
    responder
}

fn request(session: u64, sequence: u64) -> [u8; LENGTH] {
    Datagram::Request(Request {
        sender: PEER,
        receiver: ME,
        session,
        sequence,
    })
    .encode(&key())
}

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

#[test]
fn a_reply_repeats_the_question_and_says_how_many_were_heard() {
    let mut responder = responder();
    let mut last = Answer::Reject(Reject::NotARequest);
    for sequence in [4, 5, 7] {
        last = responder.handle(&request(1, sequence), at(0), WALLS);
    }
    let Answer::Reply(bytes) = last else {
        unreachable!("refused: {last:?}")
    };
    let answers = Request {
        sender: ME,
        receiver: PEER,
        session: 1,
        sequence: 7,
    };
    assert_eq!(
        Datagram::decode(&bytes, &key()),
        Ok(Datagram::Reply(Reply {
            answers,
            first: 4,
            heard: 3,
            wall: WALLS,
        }))
    );
    assert_eq!(responder.heard(&PEER).unwrap().window.missing, 1);
}

#[test]
fn a_request_is_answered_once() {
    let mut responder = responder();
    assert!(matches!(
        responder.handle(&request(1, 0), at(0), WALLS),
        Answer::Reply(_)
    ));
    assert_eq!(
        responder.handle(&request(1, 0), at(5000), WALLS),
        Answer::Reject(Reject::Replay(Refusal::Duplicate))
    );
    assert_eq!(
        (
            responder.heard(&PEER).unwrap().duplicates,
            responder.counters().duplicate
        ),
        (1, 1)
    );
}

#[test]
fn strangers_and_misdirected_requests_get_no_reply() {
    let mut responder = responder();
    let of = |sender, receiver| {
        Datagram::Request(Request {
            sender,
            receiver,
            session: 1,
            sequence: 0,
        })
        .encode(&key())
    };
    let stranger = PublicKey::from_bytes([3; 32]);
    assert_eq!(
        responder.handle(&of(stranger, ME), at(0), WALLS),
        Answer::Reject(Reject::UnknownPeer(stranger))
    );
    assert_eq!(
        responder.handle(&of(PEER, stranger), at(0), WALLS),
        Answer::Reject(Reject::NotForMe(stranger))
    );
    let answers = Request {
        sender: PEER,
        receiver: ME,
        session: 1,
        sequence: 0,
    };
    let reply = Datagram::Reply(Reply {
        answers,
        first: 0,
        heard: 0,
        wall: WALLS,
    })
    .encode(&key());
    assert_eq!(
        responder.handle(&reply, at(0), WALLS),
        Answer::Reject(Reject::NotARequest)
    );
    assert_eq!(
        responder.handle(&[0; 3], at(0), WALLS),
        Answer::Reject(Reject::Malformed(WireError::Length {
            found: 3,
            expected: LENGTH
        }))
    );
    assert_eq!(responder.counters().answered, 0);
}

#[test]
fn no_second_sees_more_than_twenty_replies_to_a_peer() {
    let mut responder = responder();
    let mut replies = Vec::new();
    for (sequence, millis) in (0..5000).zip(0..) {
        if matches!(
            responder.handle(&request(1, sequence), at(millis), WALLS),
            Answer::Reply(_)
        ) {
            replies.push(millis);
        }
    }
    let most = replies
        .iter()
        .map(|t| {
            replies
                .iter()
                .filter(|u| (*t..t + 1000).contains(*u))
                .count()
        })
        .max();
    assert!((15..=20).contains(&most.unwrap()), "{most:?}");
    assert_eq!(responder.heard(&PEER).unwrap().heard, 5000);
}

#[test]
fn peers_are_bounded_and_a_removed_peer_is_a_stranger() {
    let mut responder = responder();
    let peer = |number: u16| {
        let mut bytes = [8; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    };
    let added = (0..1100)
        .filter(|number| responder.add_peer(peer(*number)))
        .count();
    assert_eq!(added, MAX_PEERS - 1);
    responder.remove_peer(&PEER);
    assert_eq!(
        responder.handle(&request(1, 0), at(0), WALLS),
        Answer::Reject(Reject::UnknownPeer(PEER))
    );
}
