mod full_mesh;
mod past;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use evidence::{Moment, Sizes};
use proptest::prelude::*;

use super::*;

const A: PublicKey = PublicKey::from_bytes([1; 32]);
const B: PublicKey = PublicKey::from_bytes([2; 32]);
const FULL: u16 = 1420;

fn key() -> ProbeKey {
    ProbeKey::from_bytes([0x42; 32])
}

fn ula() -> IpAddr {
    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into()
}

/// Two nodes and a way between them that carries packets up to a limit.
struct Way {
    prober: SizeProber,
    responder: SizeResponder,
    limit: usize,
    now: Moment,
    sent: Vec<(i64, usize)>,
    /// Loses every packet whose number is in here.
    lost: Vec<usize>,
}

impl Way {
    fn new(limit: usize) -> Self {
        let mut responder = SizeResponder::new(B, key());
        assert!(responder.add_peer(A));
        let mut prober = SizeProber::new(A, key(), 7, 9);
        let target = Input::Target {
            peer: B,
            layer: Layer::Tunnel,
            to: ula(),
            full: FULL,
        };
        prober.handle(target, Moment::ZERO);
        Self {
            prober,
            responder,
            limit,
            now: Moment::ZERO,
            sent: Vec::new(),
            lost: Vec::new(),
        }
    }

    fn run_until(&mut self, millis: i64) {
        loop {
            match self.prober.poll() {
                Output::Transmit { payload, .. } => self.carry(&payload),
                Output::Wait(until) if until.as_millis() >= millis => break,
                Output::Wait(until) => {
                    assert!(until > self.now, "time must pass");
                    self.now = until;
                    self.prober.handle(Input::Tick, self.now);
                }
            }
        }
        self.now = Moment::from_millis(millis);
        self.prober.handle(Input::Tick, self.now);
    }

    fn carry(&mut self, payload: &[u8]) {
        let size = payload.len() + 48;
        let number = self.sent.len();
        self.sent.push((self.now.as_millis(), size));
        if size > self.limit || self.lost.contains(&number) {
            return;
        }
        let answer =
            self.responder
                .handle(payload, (Layer::Tunnel, Seen::Delivered), size, self.now);
        if let Ok((to, tally)) = answer {
            assert_eq!(to, A);
            assert!(tally.len() <= payload.len());
            self.prober.handle(Input::Datagram(&tally), self.now);
        }
    }

    fn state(&self) -> Sizes {
        self.prober.sizes(&B)[0]
    }
}

#[test]
fn a_wide_way_costs_one_packet_in_five_seconds() {
    let mut way = Way::new(9000);
    way.run_until(60_000);
    assert!((10..=13).contains(&way.sent.len()), "{:?}", way.sent);
    assert!(way.sent.iter().all(|(_, size)| *size == usize::from(FULL)));
    let state = way.state();
    assert!(state.full_arrived.unwrap().as_millis() > 50_000);
    assert_eq!((state.lost, state.bracket), (0, None));
}

/// An outage loses packets of every size. Whoever judged that by size would accuse the way of being narrow once it is back.
#[test]
fn what_an_outage_lost_says_nothing_of_sizes_once_the_tunnel_is_back() {
    let mut way = Way::new(9000);
    way.run_until(20_000);
    way.limit = 0;
    way.run_until(40_000);
    let arrived = way.state().full_arrived;
    assert!(way.state().lost >= CONFIRMING_LOSSES && way.state().bracket.is_some());
    way.limit = 9000;
    way.prober.handle(Input::Back(B), way.now);
    let state = way.state();
    assert_eq!(
        (state.lost, state.lost_since, state.bracket),
        (0, None, None)
    );
    assert_eq!(state.full_arrived, arrived);
    way.run_until(41_500);
    assert!(way.state().full_arrived > arrived, "it is asked at once");
}

#[test]
fn a_limit_is_found_to_the_byte_with_few_packets() {
    let mut way = Way::new(1337);
    way.run_until(15_000);
    let bracket = way.state().bracket.unwrap();
    assert_eq!((bracket.passed, bracket.failed), (Some(1337), 1338));
    assert!(way.state().lost >= CONFIRMING_LOSSES);
    assert!(way.sent.len() < 70, "{}", way.sent.len());
}

#[test]
fn a_way_that_narrows_is_noticed_within_the_time_that_is_promised_and_so_is_one_that_widens() {
    let mut way = Way::new(9000);
    way.run_until(30_000);
    way.limit = 1280;
    let promised = i64::try_from(way.prober.detection_time().as_millis()).unwrap();
    way.run_until(30_000 + promised + 600);
    assert!(way.state().lost >= CONFIRMING_LOSSES);
    way.run_until(50_000);
    assert_eq!(way.state().bracket.unwrap().passed, Some(1280));
    way.limit = 9000;
    way.run_until(57_000);
    assert_eq!((way.state().lost, way.state().bracket), (0, None));
}

#[test]
fn one_or_two_lost_packets_start_no_search() {
    let mut way = Way::new(9000);
    way.lost = vec![1, 2];
    way.run_until(40_000);
    assert!(way.sent.iter().all(|(_, size)| *size == usize::from(FULL)));
    assert_eq!(way.state().lost, 0);
}

#[test]
fn a_way_that_carries_nothing_is_searched_rarely() {
    let mut way = Way::new(0);
    way.run_until(60_000);
    let bracket = way.state().bracket.unwrap();
    assert_eq!(bracket.passed, None);
    assert!(way.sent.len() < 60, "{}", way.sent.len());
}

#[test]
fn a_new_mtu_is_a_new_question() {
    let mut way = Way::new(9000);
    way.run_until(10_000);
    let target = |full| Input::Target {
        peer: B,
        layer: Layer::Tunnel,
        to: ula(),
        full,
    };
    way.prober.handle(target(FULL), way.now);
    assert!(way.state().full_arrived.is_some());
    way.prober.handle(target(1380), way.now);
    assert_eq!((way.state().full, way.state().full_arrived), (1380, None));
    way.prober
        .handle(Input::NoTarget(B, Layer::Tunnel), way.now);
    assert!(way.prober.sizes(&B).is_empty());
}

#[test]
fn word_of_a_narrow_link_is_kept_until_full_size_passes() {
    let mut way = Way::new(1400);
    way.run_until(2500);
    let reporter = Some(Ipv4Addr::new(198, 51, 100, 1).into());
    let word = Input::TooBig {
        peer: B,
        layer: Layer::Tunnel,
        reporter,
        mtu: 1400,
    };
    way.prober.handle(word, way.now);
    let kept = way.state().too_big.unwrap();
    assert_eq!((kept.reporter, kept.mtu), (reporter, 1400));
    way.limit = 1500;
    way.run_until(20_000);
    assert_eq!(way.state().too_big, None);
}

#[test]
fn only_one_search_runs_at_a_time_and_full_size_packets_keep_their_budget() {
    let mut prober = SizeProber::new(A, key(), 7, 9);
    for byte in 2..202 {
        for layer in Layer::ALL {
            let target = Input::Target {
                peer: PublicKey::from_bytes([byte; 32]),
                layer,
                to: ula(),
                full: FULL,
            };
            prober.handle(target, Moment::ZERO);
        }
    }
    let mut sent: Vec<i64> = Vec::new();
    let mut now = Moment::ZERO;
    while now.as_millis() < 120_000 {
        match prober.poll() {
            Output::Transmit { .. } => sent.push(now.as_millis()),
            Output::Wait(until) => {
                now = until;
                prober.handle(Input::Tick, now);
            }
        }
    }
    let within = |start: &i64| {
        let second = *start..*start + 1000;
        sent.iter().filter(|at| second.contains(at)).count()
    };
    let most = sent.iter().map(within).max().unwrap();
    let allowed = usize::try_from(CANARIES_PER_SECOND).unwrap() + MAX_AT_ONCE;
    assert!(most <= allowed, "{most} packets within a second");
}

fn probe(place: u8, size: u16, sequence: u64) -> Datagram {
    Datagram {
        kind: Kind::Probe,
        sender: A,
        receiver: B,
        session: 1,
        sequence,
        layer: Layer::Overlay,
        place,
        size,
        run: 3,
        arrived: 0,
        seen: 0,
    }
}

fn responder() -> SizeResponder {
    let mut responder = SizeResponder::new(B, key());
    assert!(responder.add_peer(A));
    responder
}

#[test]
fn the_tally_names_all_that_has_arrived_of_the_newest_run() {
    let mut responder = responder();
    let mut hear = |probe: Datagram| {
        let size = usize::from(probe.size);
        let bytes = probe.encode(&key());
        let answer = responder.handle(
            &bytes,
            (Layer::Overlay, Seen::Delivered),
            size,
            Moment::ZERO,
        );
        Datagram::decode(&answer.unwrap().1, &key())
            .unwrap()
            .arrived
    };
    assert_eq!(hear(probe(0, 1000, 0)), 0b1);
    assert_eq!(hear(probe(3, 1100, 1)), 0b1001);
    let next = Datagram {
        run: 4,
        ..probe(1, 1000, 2)
    };
    assert_eq!(hear(next), 0b10);
}

#[test]
fn a_packet_that_the_tap_saw_and_the_firewall_dropped_is_told_from_one_that_never_came() {
    let mut responder = responder();
    let mut seen = |probe: Datagram, seen| {
        let size = usize::from(probe.size);
        let bytes = probe.encode(&key());
        let answer = responder.handle(&bytes, (Layer::Overlay, seen), size, Moment::ZERO);
        let tally = Datagram::decode(&answer.unwrap().1, &key()).unwrap();
        (tally.seen, tally.arrived)
    };
    assert_eq!(seen(probe(0, 1000, 0), Seen::AtInterface), (0b1, 0));
    assert_eq!(seen(probe(0, 1000, 0), Seen::Delivered), (0b1, 0b1));
    assert_eq!(seen(probe(1, 1000, 1), Seen::AtInterface), (0b11, 0b1));

    let mut way = Way::new(0);
    way.run_until(2000);
    let sent = Datagram {
        session: 7,
        layer: Layer::Tunnel,
        run: 1,
        seen: 1,
        kind: Kind::Tally,
        sender: B,
        receiver: A,
        ..probe(0, FULL, 0)
    };
    way.prober
        .handle(Input::Datagram(&sent.encode(&key())), way.now);
    let state = way.state();
    assert_eq!(
        (state.seen_arriving, state.full_arrived),
        (Some(way.now), None)
    );
}

#[test]
fn what_is_not_as_it_was_sent_is_not_answered() {
    let of = |probe: Datagram, layer, packet| {
        responder().handle(
            &probe.encode(&key()),
            (layer, Seen::Delivered),
            packet,
            Moment::ZERO,
        )
    };
    let fine = probe(0, 1000, 0);
    assert!(of(fine, Layer::Overlay, 1000).is_ok());
    let refusals = [
        (of(fine, Layer::Tunnel, 1000), SizeReject::Altered),
        (of(fine, Layer::Overlay, 999), SizeReject::Altered),
        (
            of(probe(32, 1000, 0), Layer::Overlay, 1000),
            SizeReject::Altered,
        ),
        (
            of(
                Datagram {
                    receiver: A,
                    ..fine
                },
                Layer::Overlay,
                1000,
            ),
            SizeReject::NotForMe(A),
        ),
        (
            of(Datagram { sender: B, ..fine }, Layer::Overlay, 1000),
            SizeReject::UnknownPeer(B),
        ),
        (
            of(
                Datagram {
                    kind: Kind::Tally,
                    ..fine
                },
                Layer::Overlay,
                1000,
            ),
            SizeReject::NotAProbe,
        ),
    ];
    for (answer, refusal) in refusals {
        assert_eq!(answer, Err(refusal));
    }
}

#[test]
fn a_replayed_probe_and_a_flood_are_not_answered() {
    let mut responder = responder();
    let mut hear = |sequence| {
        let bytes = probe(0, 1000, sequence).encode(&key());
        responder.handle(
            &bytes,
            (Layer::Overlay, Seen::Delivered),
            1000,
            Moment::ZERO,
        )
    };
    assert!(hear(0).is_ok());
    assert!(matches!(hear(0), Err(SizeReject::Replay(_))));
    let answered = (1..200).filter(|sequence| hear(*sequence).is_ok()).count();
    assert!(answered < 4 * MAX_AT_ONCE + 4);
}

#[test]
fn a_tally_of_another_process_or_run_counts_for_nothing() {
    let mut way = Way::new(0);
    way.run_until(3000);
    let tally = Datagram {
        kind: Kind::Tally,
        sender: B,
        receiver: A,
        session: 8,
        layer: Layer::Tunnel,
        arrived: u32::MAX,
        ..probe(0, FULL, 0)
    };
    way.prober
        .handle(Input::Datagram(&tally.encode(&key())), way.now);
    assert_eq!(way.prober.counters().stray, 1);
    assert_eq!(way.state().full_arrived, None);
}

proptest! {
    #[test]
    fn every_datagram_survives_the_round_trip(
        place: u8, size: u16, run: u32, arrived: u32, seen: u32, session: u64, sequence: u64, tally: bool,
    ) {
        let kind = if tally { Kind::Tally } else { Kind::Probe };
        let datagram = Datagram { kind, session, run, arrived, seen, ..probe(place, size, sequence) };
        let mut bytes = datagram.encode(&key()).to_vec();
        prop_assert_eq!(Datagram::decode(&bytes, &key()), Ok(datagram));
        bytes.resize(bytes.len() + 100, 0);
        prop_assert_eq!(Datagram::decode(&bytes, &key()), Ok(datagram));
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Datagram::decode(&bytes, &key()).is_err());
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Chance losses, at most one of the two times that a size is sent, never make a way look narrower than it is.
    #[test]
    fn chance_losses_never_narrow_a_way(limit in 600_usize..1420, lost in prop::collection::vec(0..3_usize, 0..3)) {
        let mut way = Way::new(limit);
        way.lost = lost;
        way.run_until(20_000);
        let bracket = way.state().bracket.unwrap();
        prop_assert_eq!(bracket.passed.map(usize::from), Some(limit));
    }
}

#[test]
fn a_peer_that_was_forgotten_and_is_met_again_answers_at_once() {
    let mut way = Way::new(9000);
    way.run_until(60_000);
    way.prober.handle(Input::Removed(B), way.now);
    let target = Input::Target {
        peer: B,
        layer: Layer::Tunnel,
        to: ula(),
        full: FULL,
    };
    way.prober.handle(target, way.now);
    way.run_until(66_000);
    let sizes = way.state();
    assert_eq!(sizes.lost, 0);
    assert!(sizes.full_arrived > Some(Moment::from_millis(60_000)));
}
