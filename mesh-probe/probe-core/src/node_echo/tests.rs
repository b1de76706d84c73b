use std::time::Duration;

use evidence::{Moment, NodeAsked, NodeHeard, Via};
use proptest::prelude::*;

use super::*;
use crate::Refusal;

const A: PublicKey = PublicKey::from_bytes([0xaa; 32]);
const B: PublicKey = PublicKey::from_bytes([0xbb; 32]);
const AT_B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 12));

fn key() -> ProbeKey {
    ProbeKey::from_bytes([0x42; 32])
}

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

fn request() -> Datagram {
    Datagram {
        kind: Kind::Request,
        sender: A,
        receiver: B,
        session: 0x0102_0304_0506_0708,
        sequence: 9,
        address: AT_B,
    }
}

/// What becomes of a request on its way to B, and of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Through,
    Around,
    Lost,
    AnswerLost,
}

/// A asks, B answers, at ticks.
struct Pair {
    prober: Prober,
    responder: Responder,
    sent: Vec<i64>,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            prober: Prober::new(A, key(), 77, 5),
            responder: Responder::new(B, key()),
            sent: Vec::new(),
        };
        pair.responder.add_peer(A);
        let at_b = [Some(AT_B), None];
        let aim = Input::Aim { peer: B, at: at_b };
        pair.prober.handle(aim, at(0));
        pair
    }

    fn run(&mut self, from: i64, until: i64, way: impl Fn(i64) -> Way) {
        for now in (from..until).step_by(251) {
            self.prober.handle(Input::Tick, at(now));
            while let Some(request) = self.prober.take(at(now)) {
                self.sent.push(now);
                self.carry(&request, way(now), now);
            }
        }
    }

    fn carry(&mut self, request: &Request, way: Way, now: i64) {
        let via = match way {
            Way::Lost => return,
            Way::Around => Via::Link("eth0".to_owned()),
            Way::Through | Way::AnswerLost => Via::Tunnel,
        };
        let reply = self
            .responder
            .handle(&request.bytes, (request.to, Some(via)), at(now + 20));
        let reply = reply.expect("a fresh request is answered");
        if way != Way::AnswerLost {
            self.answer(&reply, now + 40);
        }
    }

    fn answer(&mut self, bytes: &[u8], now: i64) {
        let input = Input::Datagram {
            bytes,
            from: AT_B,
            via: Some(Via::Tunnel),
        };
        self.prober.handle(input, at(now));
    }

    fn asked(&self) -> NodeAsked {
        self.prober.asked(&B).remove(0)
    }

    fn heard(&self) -> NodeHeard {
        self.responder.heard(&A).remove(0)
    }
}

#[test]
fn a_request_has_the_documented_bytes_and_its_reply_the_same_size() {
    let bytes = request().encode(&key());
    assert_eq!(bytes.len(), 128);
    assert_eq!(bytes[..8], *b"mPn1\x01\x01\x00\x00");
    assert_eq!(bytes[8..40], [0xaa; 32]);
    assert_eq!(bytes[40..72], [0xbb; 32]);
    let numbers = [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(bytes[72..88], numbers);
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 203, 0, 113, 12];
    assert_eq!(bytes[88..104], mapped);
    assert_eq!(bytes[104..112], [0; 8]);
    let reply = Datagram {
        kind: Kind::Reply {
            through: Some(false),
        },
        ..request()
    };
    let bytes = reply.encode(&key());
    assert_eq!((bytes.len(), bytes[5], bytes[104]), (LENGTH, 2, 2));
}

#[test]
fn a_peer_that_answers_is_asked_every_five_seconds_and_both_ends_know_the_link() {
    let mut pair = Pair::new();
    pair.run(0, 60_000, |_| Way::Through);
    assert!((10..=13).contains(&pair.sent.len()), "{:?}", pair.sent);
    let asked = pair.asked();
    assert_eq!((asked.to, asked.lost, asked.lost_since), (AT_B, 0, None));
    assert_eq!((asked.back, asked.through), (Some(Via::Tunnel), Some(true)));
    let heard = pair.heard();
    assert_eq!((heard.at, heard.around), (AT_B, 0));
    assert_eq!(heard.heard, asked.answered);
    assert_eq!(heard.via, Some(Via::Tunnel));
}

#[test]
fn what_goes_around_the_tunnel_is_asked_again_at_once_and_counted_where_it_comes_in() {
    let mut pair = Pair::new();
    pair.run(0, 20_000, |_| Way::Through);
    let before = pair.sent.len();
    pair.run(20_080, 40_000, |_| Way::Around);
    let around = &pair.sent[before..];
    assert!(around.len() >= 8, "{around:?}");
    assert!(around[1] - around[0] <= 1300, "{around:?}");
    let heard = pair.heard();
    assert_eq!(usize::try_from(heard.around), Ok(around.len()));
    assert_eq!(heard.around_since, Some(at(around[0] + 20)));
    assert_eq!(heard.via, Some(Via::Link("eth0".to_owned())));
    assert_eq!(pair.asked().through, Some(false));
    pair.run(40_160, 50_000, |_| Way::Through);
    assert_eq!((pair.heard().around, pair.heard().around_since), (0, None));
    let mended = pair.asked().mended.expect("a run has ended");
    assert!(mended >= at(40_160), "{mended:?}");
}

#[test]
fn one_that_goes_around_has_all_others_asked_at_once() {
    let other = PublicKey::from_bytes([0xcc; 32]);
    let mut pair = Pair::new();
    let far = IpAddr::from([198, 51, 100, 7]);
    let aim = Input::Aim {
        peer: other,
        at: [Some(far), None],
    };
    pair.prober.handle(aim, at(0));
    let (mut around, mut asked) = (None, Vec::new());
    for now in (0..30_000).step_by(251) {
        pair.prober.handle(Input::Tick, at(now));
        while let Some(request) = pair.prober.take(at(now)) {
            if request.to == AT_B && now > 7_000 {
                around = around.or(Some(now));
                pair.carry(&request, Way::Around, now);
            } else if request.to == AT_B {
                pair.carry(&request, Way::Through, now);
            } else {
                asked.push(now);
                let mut reply = Datagram::decode(&request.bytes, &key()).expect("a request");
                (reply.sender, reply.receiver) = (other, A);
                reply.kind = Kind::Reply {
                    through: Some(true),
                };
                let input = Input::Datagram {
                    bytes: &reply.encode(&key()),
                    from: far,
                    via: Some(Via::Tunnel),
                };
                pair.prober.handle(input, at(now + 40));
            }
        }
    }
    let around = around.expect("one went around");
    assert!(
        asked.iter().any(|now| (0..=502).contains(&(now - around))),
        "{around} {asked:?}"
    );
    assert!(
        asked.len() <= 10,
        "once, and not again and again: {asked:?}"
    );
}

#[test]
fn three_losses_take_few_seconds_and_an_address_that_stays_silent_is_asked_sparingly() {
    let mut pair = Pair::new();
    pair.run(0, 20_000, |_| Way::Through);
    let before = pair.sent.len();
    pair.run(20_080, 120_000, |_| Way::Lost);
    let lost = pair.sent[before..].to_vec();
    assert!(lost[2] - lost[0] <= 5_000, "{lost:?}");
    assert!(lost.len() <= 27, "{}", lost.len());
    let asked = pair.asked();
    assert!(usize::try_from(asked.lost).unwrap_or(0) + 1 >= lost.len());
    assert_eq!(asked.lost_since, Some(at(lost[0])));
    pair.run(120_480, 130_000, |_| Way::Through);
    assert_eq!((pair.asked().lost, pair.asked().lost_since), (0, None));
    assert!(pair.asked().mended >= Some(at(120_480)));
}

#[test]
fn a_lost_answer_is_a_loss_of_the_asking_side_alone() {
    let mut pair = Pair::new();
    pair.run(0, 30_000, |_| Way::AnswerLost);
    assert!(pair.asked().lost >= 3);
    assert_eq!(pair.asked().answered, 0);
    assert_eq!(pair.heard().via, Some(Via::Tunnel));
}

#[test]
fn that_another_peer_hears_it_past_the_tunnel_is_told_with_what_is_lost() {
    let other = PublicKey::from_bytes([0xcc; 32]);
    let mut pair = Pair::new();
    let far = IpAddr::from([198, 51, 100, 7]);
    let aim = Input::Aim {
        peer: other,
        at: [Some(far), None],
    };
    pair.prober.handle(aim, at(0));
    let mut told = 0;
    for now in (0..30_000).step_by(251) {
        pair.prober.handle(Input::Tick, at(now));
        while let Some(request) = pair.prober.take(at(now)) {
            if request.to == AT_B {
                pair.carry(&request, Way::Around, now);
                told = now + 40;
            }
        }
    }
    let lost = pair.prober.asked(&other).remove(0);
    assert!(lost.lost >= 3);
    assert_eq!(lost.beside, Some(at(told)));
    assert_eq!(pair.asked().beside, None);
}

#[test]
fn an_address_that_changes_begins_anew_and_one_that_goes_is_asked_no_more() {
    let mut pair = Pair::new();
    pair.run(0, 10_000, |_| Way::Through);
    let v6: IpAddr = "2001:db8::12".parse().expect("an address");
    let aim = |at| Input::Aim { peer: B, at };
    pair.prober.handle(aim([Some(AT_B), Some(v6)]), at(10_100));
    assert_eq!(
        pair.asked().answered,
        pair.heard().heard,
        "it keeps its counts"
    );
    let mut asked = Vec::new();
    for now in (10_291..16_000).step_by(251) {
        asked.extend(pair.prober.take(at(now)).map(|request| request.to));
    }
    assert!(asked.contains(&AT_B) && asked.contains(&v6), "{asked:?}");
    pair.prober.handle(aim([None, None]), at(16_100));
    assert!(pair.prober.is_idle() && pair.prober.take(at(60_000)).is_none());
    assert!(pair.prober.asked(&B).is_empty());
}

#[test]
fn while_the_tunnel_is_in_doubt_nothing_is_asked_and_what_was_lost_is_forgotten() {
    let mut pair = Pair::new();
    pair.run(0, 20_000, |_| Way::Through);
    pair.run(20_080, 28_000, |_| Way::Lost);
    assert!(pair.asked().lost > 0);
    pair.prober.handle(Input::Doubted(B), at(28_100));
    assert_eq!((pair.asked().lost, pair.asked().lost_since), (0, None));
    let before = pair.sent.len();
    pair.run(28_347, 60_000, |_| Way::Lost);
    assert_eq!(pair.sent.len(), before);
    pair.prober.handle(Input::Back(B), at(60_100));
    pair.run(60_240, 62_000, |_| Way::Through);
    assert_eq!(pair.sent.len(), before + 1, "it is asked at once");
    assert_eq!(pair.asked().lost, 0);
}

#[test]
fn nothing_is_answered_twice_or_for_others_or_at_another_address() {
    let mut responder = Responder::new(B, key());
    responder.add_peer(A);
    let tunnel = || Some(Via::Tunnel);
    let bytes = request().encode(&key());
    assert!(responder.handle(&bytes, (AT_B, tunnel()), at(0)).is_ok());
    let again = responder.handle(&bytes, (AT_B, tunnel()), at(100));
    assert_eq!(again, Err(Reject::Replay(Refusal::Duplicate)));
    let mut refused = |change: fn(&mut Datagram)| {
        let mut datagram = request();
        datagram.sequence = 10;
        change(&mut datagram);
        responder.handle(&datagram.encode(&key()), (AT_B, tunnel()), at(200))
    };
    let elsewhere = IpAddr::from([203, 0, 113, 99]);
    let altered = Reject::Altered {
        sent: elsewhere,
        came: AT_B,
    };
    let to_another = refused(|datagram| datagram.address = IpAddr::from([203, 0, 113, 99]));
    assert_eq!(to_another, Err(altered));
    let stranger = refused(|datagram| datagram.sender = B);
    assert_eq!(stranger, Err(Reject::UnknownPeer(B)));
    assert_eq!(refused(|d| d.receiver = A), Err(Reject::NotForMe(A)));
    let reply = refused(|datagram| datagram.kind = Kind::Reply { through: None });
    assert_eq!(reply, Err(Reject::NotARequest));
    let heard = responder.heard(&A).remove(0);
    assert_eq!(heard.heard, 1, "what is refused is not heard");
}

#[test]
fn a_peer_that_asks_too_often_is_heard_and_not_answered() {
    let mut responder = Responder::new(B, key());
    responder.add_peer(A);
    let ask = |responder: &mut Responder, sequence: u64| {
        let datagram = Datagram {
            sequence,
            ..request()
        };
        responder.handle(&datagram.encode(&key()), (AT_B, None), at(500))
    };
    let answers = (0..20).filter(|sequence| ask(&mut responder, *sequence).is_ok());
    assert_eq!(answers.count(), MAX_REPLIES_PER_SECOND);
    assert_eq!(responder.heard(&A).remove(0).heard, 20);
    assert_eq!(responder.counters().rate_limited, 16);
}

#[test]
fn an_answer_counts_only_from_the_address_that_was_asked_and_once() {
    let mut pair = Pair::new();
    let mut request = None;
    for now in (0..10_000).step_by(251) {
        request = request.or_else(|| pair.prober.take(at(now)));
    }
    let request = request.expect("B is asked within the interval");
    let reply = pair
        .responder
        .handle(&request.bytes, (request.to, None), at(0))
        .expect("a fresh request is answered");
    let elsewhere = Input::Datagram {
        bytes: &reply,
        from: IpAddr::from([203, 0, 113, 99]),
        via: None,
    };
    pair.prober.handle(elsewhere, at(100));
    assert!(pair.prober.asked(&B).is_empty());
    pair.answer(&reply, 200);
    pair.answer(&reply, 300);
    assert_eq!(pair.asked().answered, 1);
    assert_eq!(pair.prober.counters().stray, 2);
}

#[test]
fn of_many_addresses_none_waits_for_those_that_fail() {
    let peer = |number: u16| {
        let mut bytes = [5; 32];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    };
    let mut prober = Prober::new(A, key(), 7, 9);
    for number in 0..=1023_u16 {
        let [high, low] = number.to_be_bytes();
        let at_it = Some(IpAddr::from([10, 0, high, low]));
        let aim = Input::Aim {
            peer: peer(number),
            at: [at_it, None],
        };
        prober.handle(aim, at(0));
    }
    // Two a second, and nobody answers.
    let mut asked = std::collections::BTreeSet::new();
    for now in (0..1_200_000).step_by(502) {
        prober.handle(Input::Tick, at(now));
        asked.extend(prober.take(at(now)).map(|request| request.to));
    }
    assert!(asked.len() >= 900, "{}", asked.len());
    let confirmed = (0..=1023).filter(|number| {
        let asked = prober.asked(&peer(*number));
        asked.first().is_some_and(|asked| asked.lost >= 3)
    });
    assert!(confirmed.count() >= 100);
}

#[test]
fn a_reply_takes_no_longer_than_its_time_even_if_both_ends_wait_for_a_tick() {
    assert!(REPLY_TIMEOUT >= Duration::from_secs(1) + crate::echo::TICK * 2);
}

fn any_datagram() -> impl Strategy<Value = Datagram> {
    let kind = prop_oneof![
        Just(Kind::Request),
        any::<Option<bool>>().prop_map(|through| Kind::Reply { through }),
    ];
    let keys = any::<([u8; 32], [u8; 32])>();
    let address = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|octets| IpAddr::from(octets).to_canonical()),
    ];
    (kind, keys, any::<(u64, u64)>(), address).prop_map(
        |(kind, (sender, receiver), (session, sequence), address)| Datagram {
            kind,
            sender: PublicKey::from_bytes(sender),
            receiver: PublicKey::from_bytes(receiver),
            session,
            sequence,
            address,
        },
    )
}

proptest! {
    #[test]
    fn every_datagram_survives_the_round_trip(datagram in any_datagram()) {
        prop_assert_eq!(Datagram::decode(&datagram.encode(&key()), &key()), Ok(datagram));
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(datagram in any_datagram(), bit in 0..LENGTH * 8) {
        let mut bytes = datagram.encode(&key());
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Datagram::decode(&bytes, &key()).is_err());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..160)) {
        prop_assert!(Datagram::decode(&bytes, &key()).is_err());
    }

    /// One or two lost requests are told as such, and a run begins when the first of it was sent.
    #[test]
    fn losses_are_counted_since_the_last_answer(ways in prop::collection::vec(any::<bool>(), 1..40)) {
        let mut pair = Pair::new();
        let place = |now: i64| ways[usize::try_from(now / 2_500).unwrap_or(0) % ways.len()];
        let way = |now: i64| if place(now) { Way::Through } else { Way::Lost };
        pair.run(0, 100_000, way);
        let decided: Vec<i64> = pair.sent.iter().copied().filter(|sent| *sent < 97_000).collect();
        pair.prober.handle(Input::Tick, at(103_000));
        let run: Vec<i64> = pair.sent.iter().rev().copied().take_while(|sent| !place(*sent)).collect();
        prop_assert!(!decided.is_empty());
        let asked = pair.asked();
        prop_assert_eq!(usize::try_from(asked.lost), Ok(run.len()));
        prop_assert_eq!(asked.lost_since, run.last().map(|sent| at(*sent)));
    }
}
