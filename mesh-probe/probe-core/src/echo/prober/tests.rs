use super::*;
use crate::{
    LossWindow, Wall,
    echo::{Answer, MAX_REQUESTS_PER_SECOND, MIN_INTERVAL, Responder, Walls},
};

const ME: PublicKey = PublicKey::from_bytes([1; 32]);
const PEER: PublicKey = PublicKey::from_bytes([2; 32]);

fn key() -> ProbeKey {
    ProbeKey::from_bytes([9; 32])
}

fn prober() -> Prober {
    Prober::new(ME, key(), 77, 5, MAX_REQUESTS_PER_SECOND)
}

fn at(millis: u64) -> Stamp {
    Stamp::from_micros(millis * 1000)
}

/// The clock of the answering side.
fn walls(at: Stamp) -> Walls {
    let epoch = 1_700_000_000_000_000_i64;
    let wall = Wall::from_micros(epoch.saturating_add_unsigned(at.as_micros()));
    Walls {
        received: wall,
        sent: wall,
    }
}

/// Two machines and the network between them: replies take 300 microseconds, `lost` decides what gets lost.
struct Pair {
    prober: Prober,
    responder: Responder,
    sent: Vec<u64>,
    events: Vec<Event>,
}

impl Pair {
    fn new() -> Self {
        let mut responder = Responder::new(PEER, key());
        responder.add_peer(ME);
        let mut prober = prober();
        prober.handle(Input::PeerAdded(PEER), at(0));
        Self {
            prober,
            responder,
            sent: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Runs from one millisecond to another; `lost(millis)` tells whether a request sent then gets no reply.
    fn run(&mut self, millis: std::ops::Range<u64>, lost: impl Fn(u64) -> bool) {
        for now in millis {
            self.prober.handle(Input::Tick, at(now));
            self.drain(now, &lost);
        }
    }

    fn drain(&mut self, now: u64, lost: &impl Fn(u64) -> bool) {
        loop {
            match self.prober.poll() {
                Output::Wait { .. } => return,
                Output::Event(event) => self.events.push(event),
                Output::Transmit { bytes, .. } => {
                    self.sent.push(now);
                    if !lost(now) {
                        self.deliver(&bytes, now);
                    }
                }
            }
        }
    }

    fn deliver(&mut self, request: &[u8], now: u64) {
        let received_at = Stamp::from_micros(now * 1000 + 300);
        let Answer::Reply(bytes) =
            self.responder
                .handle(request, received_at.moment(), walls(received_at))
        else {
            unreachable!("refused: {:?}", self.responder.counters())
        };
        self.prober.handle(
            Input::Datagram {
                bytes: &bytes,
                received_at,
            },
            received_at,
        );
    }

    fn stats(&self) -> EchoStats {
        self.prober.stats(&PEER).unwrap()
    }
}

#[test]
fn the_answers_tell_the_clock_of_the_peer() {
    let mut pair = Pair::new();
    pair.run(0..10_000, |_| false);
    let clock = pair.stats().clock.unwrap();
    // The other clock was read as the request came, which in this play is when the answer is back.
    assert_eq!(clock.error_micros, 150);
    let off = clock.wall.as_micros() - walls(clock.at).sent.as_micros();
    assert_eq!(off, 150);
}

#[test]
fn a_machine_without_peers_waits_for_peers() {
    let mut prober = prober();
    prober.handle(Input::Tick, at(5));
    assert_eq!(
        prober.poll(),
        Output::Wait {
            until: Moment::from_millis(3_600_005),
            reason: Reason::NoPeers
        }
    );
}

#[test]
fn a_healthy_pair_is_asked_and_answers_without_an_event() {
    let mut pair = Pair::new();
    pair.run(0..60_000, |_| false);
    let stats = pair.stats();
    assert_eq!(stats.sent, stats.answered);
    assert!((29..=31).contains(&stats.sent));
    assert_eq!(stats.window.missing, 0);
    assert_eq!(stats.round_trip.unwrap().mean_micros, 300);
    assert_eq!(stats.forward.unwrap().missing, 0);
    assert_eq!(pair.events, []);
    assert_eq!(*pair.prober.counters(), ProberCounters::default());
}

#[test]
fn a_dead_pair_is_known_within_the_detection_time_and_retried_every_four_ticks() {
    let mut pair = Pair::new();
    pair.run(0..20_000, |_| false);
    let limit = u64::try_from(pair.prober.detection_time().as_millis()).unwrap();
    pair.run(20_000..20_000 + limit + 1, |_| true);
    let stats = pair.stats();
    assert!(stats.consecutive_lost >= CONFIRMING_LOSSES, "{stats:?}");
    let first = pair
        .sent
        .iter()
        .copied()
        .find(|sent| *sent >= 20_000)
        .unwrap();
    assert_eq!(stats.loss_since, Some(at(first).moment()));
    assert_eq!(
        pair.events,
        [Event::LossBegan {
            peer: PEER,
            since: at(first).moment()
        }]
    );
    let retries: Vec<u64> = pair
        .sent
        .iter()
        .copied()
        .filter(|sent| *sent >= first)
        .collect();
    assert!(
        retries.windows(2).all(|w| w[1] - w[0] == 1004),
        "{retries:?}"
    );
}

#[test]
fn an_answer_ends_the_run_of_losses_and_the_haste() {
    let mut pair = Pair::new();
    pair.run(0..10_000, |now| (4000..7000).contains(&now));
    pair.run(10_000..20_000, |_| false);
    assert!(
        matches!(
            pair.events[..],
            [Event::LossBegan { .. }, Event::LossEnded { .. }]
        ),
        "{:?}",
        pair.events
    );
    let stats = pair.stats();
    assert_eq!((stats.consecutive_lost, stats.loss_since), (0, None));
    let calm: Vec<u64> = pair
        .sent
        .iter()
        .copied()
        .filter(|sent| *sent > 12_000)
        .collect();
    assert!(calm.windows(2).all(|w| w[1] - w[0] > 1400), "{calm:?}");
}

#[test]
fn a_reply_that_comes_too_late_shows_life_but_stays_lost() {
    let mut pair = Pair::new();
    let mut request = None;
    for now in 0..4000 {
        pair.prober.handle(Input::Tick, at(now));
        if let Output::Transmit { bytes, .. } = pair.prober.poll() {
            request = request.or(Some(bytes));
        }
    }
    pair.deliver(&request.unwrap(), 4000);
    let stats = pair.stats();
    assert_eq!((stats.late, stats.answered, stats.loss_since), (1, 0, None));
    assert!(stats.window.missing >= 1);
    assert_eq!(stats.last_answered, Some(at(4000).moment()));
}

#[test]
fn a_reply_read_after_a_stall_is_judged_by_when_it_was_received() {
    let mut pair = Pair::new();
    let mut now = 0;
    let request = loop {
        pair.prober.handle(Input::Tick, at(now));
        if let Output::Transmit { bytes, .. } = pair.prober.poll() {
            break bytes;
        }
        now += 1;
    };
    let received_at = at(now + 10);
    let Answer::Reply(bytes) =
        pair.responder
            .handle(&request, received_at.moment(), walls(received_at))
    else {
        unreachable!("refused")
    };
    pair.prober.handle(
        Input::Datagram {
            bytes: &bytes,
            received_at,
        },
        at(now + 1500),
    );
    pair.prober.handle(Input::Tick, at(now + 1500));
    assert_eq!(pair.stats().answered, 1);
    assert_eq!(
        pair.stats().window,
        LossWindow {
            expected: 1,
            missing: 0
        }
    );
}

#[test]
fn requests_remembered_per_peer_are_bounded() {
    let mut pair = Pair::new();
    pair.run(0..60_000, |_| true);
    let peer = &pair.prober.peers[&PEER];
    assert_eq!(
        peer.given_up.len() + usize::from(peer.waiting.is_some()),
        MAX_OUTSTANDING
    );
    assert!(pair.prober.timeouts.len() <= 1);
}

#[test]
fn a_repeated_reply_and_a_reply_of_another_session_do_not_count() {
    let mut pair = Pair::new();
    pair.run(0..3000, |_| false);
    let before = pair.stats();
    let again = |session| {
        let answers = Request {
            sender: PEER,
            receiver: ME,
            session,
            sequence: 0,
        };
        Datagram::Reply(Reply {
            answers,
            first: 0,
            heard: 1,
            wall: Walls::default(),
        })
        .encode(&key())
    };
    for session in [77, 78] {
        pair.prober.handle(
            Input::Datagram {
                bytes: &again(session),
                received_at: at(3000),
            },
            at(3000),
        );
    }
    assert_eq!(pair.stats(), before);
    assert_eq!(
        (
            pair.prober.counters().unexpected,
            pair.prober.counters().not_for_me
        ),
        (1, 1)
    );
}

#[test]
fn a_refusal_is_noted_and_told() {
    let mut pair = Pair::new();
    pair.prober.handle(Input::Refused(PEER), at(50));
    assert_eq!(
        pair.prober.poll(),
        Output::Event(Event::Refused { peer: PEER })
    );
    assert_eq!(pair.stats().refused, Some(at(50).moment()));
}

#[test]
fn a_removed_peer_leaves_nothing_behind() {
    let mut pair = Pair::new();
    pair.run(0..3000, |_| true);
    pair.prober.handle(Input::PeerRemoved(PEER), at(3000));
    assert!(pair.prober.timeouts.is_empty());
    assert!(pair.prober.stats(&PEER).is_none());
    assert!(matches!(
        pair.prober.poll(),
        Output::Wait {
            reason: Reason::NoPeers,
            ..
        }
    ));
}

#[test]
fn peers_beyond_the_limit_and_oneself_are_refused() {
    let mut prober = prober();
    prober.handle(Input::PeerAdded(ME), at(0));
    for number in 0..1030_u32 {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        prober.handle(Input::PeerAdded(PublicKey::from_bytes(bytes)), at(0));
    }
    assert_eq!(prober.peers().count(), MAX_PEERS);
    assert_eq!(prober.counters().peers_refused, 7);
}

#[test]
fn detection_takes_ten_seconds_in_a_mesh_of_170_and_35_in_one_of_1024() {
    for (peers, limit) in [(1_u32, 6), (169, 10), (1023, 35)] {
        let mut prober = prober();
        prober.lend_to_others(true);
        for number in 0..peers {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            prober.handle(Input::PeerAdded(PublicKey::from_bytes(bytes)), at(0));
        }
        assert!(prober.interval() >= MIN_INTERVAL);
        assert!(
            prober.detection_time() <= Duration::from_secs(limit),
            "{peers}: {:?}",
            prober.detection_time()
        );
    }
}

/// Runs a mesh of so many peers, all of which answer at once until `dead` of them die after a warm-up. Returns the longest
/// time from the death until a dead peer had [`CONFIRMING_LOSSES`], and the longest detection time that was promised
/// meanwhile.
fn longest_detection(
    (per_second, lends): (u32, bool),
    peers: u32,
    dead: u32,
) -> (Duration, Duration) {
    let name = |number: u32| {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        PublicKey::from_bytes(bytes)
    };
    let mut prober = Prober::new(ME, key(), 77, 5, per_second);
    prober.lend_to_others(lends);
    for number in 0..peers {
        prober.handle(Input::PeerAdded(name(number)), at(0));
    }
    let dies_at = u64::try_from(prober.interval().as_millis()).unwrap() * 2;
    let (mut found, mut promised, mut now) = (BTreeMap::new(), Duration::ZERO, 0);
    while now < dies_at || found.len() < usize::try_from(dead).unwrap() {
        assert!(now < dies_at + 200_000, "{} of {dead} found", found.len());
        prober.handle(Input::Tick, at(now));
        // As at each tick: whoever asks node addresses takes what is left to him.
        while prober.lend(at(now)) {}
        let until = loop {
            match prober.poll() {
                Output::Event(_) => {}
                Output::Wait { until, .. } => break until,
                Output::Transmit { to, bytes } => {
                    if now < dies_at || to >= name(dead) {
                        prober.handle(
                            Input::Datagram {
                                bytes: &answered(&bytes),
                                received_at: at(now),
                            },
                            at(now),
                        );
                    }
                }
            }
        };
        for number in 0..dead {
            let lost = prober.stats(&name(number)).unwrap().consecutive_lost;
            if lost >= CONFIRMING_LOSSES {
                found.entry(number).or_insert(now - dies_at);
            }
        }
        promised = promised.max(prober.detection_time());
        now = u64::try_from(until.as_millis()).unwrap().max(now + 1);
    }
    (
        Duration::from_millis(*found.values().max().unwrap()),
        promised,
    )
}

/// What a peer that hears everything replies.
fn answered(request: &[u8]) -> [u8; LENGTH] {
    let Ok(Datagram::Request(request)) = Datagram::decode(request, &key()) else {
        unreachable!("not a request")
    };
    let answers = Request {
        sender: request.receiver,
        receiver: request.sender,
        ..request
    };
    Datagram::Reply(Reply {
        answers,
        first: 0,
        heard: request.sequence + 1,
        wall: Walls::default(),
    })
    .encode(&key())
}

#[test]
fn the_promised_detection_time_is_kept_by_meshes_of_every_size_and_by_a_collapse() {
    let meshes = [
        (3, 1),
        (3, 3),
        (68, 1),
        (169, 1),
        (169, 100),
        (1023, 1),
        (1023, 60),
    ];
    let budgets = [
        ((MAX_REQUESTS_PER_SECOND, false), &meshes[..]),
        ((MAX_REQUESTS_PER_SECOND, true), &meshes[..]),
        ((3, false), &meshes[..2]),
        ((3, true), &meshes[..2]),
        ((1, false), &meshes[..2]),
        ((1, true), &meshes[..2]),
    ];
    for (budget, meshes) in budgets {
        for (peers, dead) in meshes {
            let (longest, promised) = longest_detection(budget, *peers, *dead);
            let case = format!("{dead} of {peers} at {budget:?}");
            assert!(
                longest <= promised,
                "{case}: {longest:?}, promised {promised:?}"
            );
        }
    }
}

#[test]
fn a_peer_that_was_forgotten_and_is_met_again_takes_nothing_for_a_replay() {
    let mut pair = Pair::new();
    pair.run(0..60_000, |_| false);
    pair.prober.handle(Input::PeerRemoved(PEER), at(60_000));
    pair.prober.handle(Input::PeerAdded(PEER), at(70_000));
    pair.run(70_000..80_000, |_| false);
    let stats = pair.stats();
    assert!(stats.answered >= 4 && stats.sent == stats.answered);
    assert_eq!(pair.responder.counters().duplicate, 0);
    let heard = pair.responder.heard(&ME).unwrap();
    assert_eq!(heard.window.missing, 0, "and none for lost");
}
