//! Facts that go on, told by what moved in them.

use evidence::{
    CannotMove, EchoHeard, EchoSent, Fact, Facts, Layer, Moment, MovedKind, NodeAsked, NodeEcho,
    NodeHeard, Peer, PublicKey, Rtt, ShortKey, Sizes, SourceId, SourceState, Via, WallReading,
};
use proptest::prelude::*;

const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

/// Numbers that have moved: by the first of a list, by the next, and so on round it.
struct Numbers<'a> {
    by: &'a [i64],
    place: usize,
}

impl Numbers<'_> {
    fn next(&mut self) -> i64 {
        self.place += 1;
        self.by[self.place % self.by.len()]
    }

    fn count(&mut self) -> u64 {
        1_000_u64.wrapping_add_signed(self.next())
    }

    fn few(&mut self) -> u32 {
        1_000_u32.saturating_add_signed(i32::try_from(self.next()).unwrap_or(i32::MAX))
    }

    fn moment(&mut self) -> Moment {
        at(50_000).shifted(self.next())
    }

    fn peer(&mut self) -> Peer {
        Peer {
            endpoint: Some(([203, 0, 113, 12], 51_820).into()),
            allowed_ips: vec!["10.0.0.1/32".to_owned()],
            rx_bytes: self.count(),
            tx_bytes: self.count(),
            rx_moved: Some(self.moment()),
            last_handshake: Some(self.moment()),
            since: at(0),
            keepalive: Some(25),
            endpoint_changes: Vec::new(),
        }
    }

    fn echo_sent(&mut self) -> EchoSent {
        EchoSent {
            sent: self.count(),
            answered: self.count(),
            consecutive_lost: 0,
            loss_since: None,
            last_sent: Some(self.moment()),
            last_answered: Some(self.moment()),
            rtt: Some(Rtt {
                last_us: self.few(),
                min_us: self.few(),
                mean_us: self.few(),
                max_us: self.few(),
            }),
            window: self.few(),
            window_lost: self.few(),
            short_losses: self.few(),
            refused: None,
            clock: Some(WallReading {
                at: self.moment(),
                wall_ms: self.moment().as_millis(),
                error_us: self.few(),
            }),
        }
    }

    fn echo_heard(&mut self) -> EchoHeard {
        EchoHeard {
            heard: self.count(),
            last_heard: Some(self.moment()),
            window: self.few(),
            window_missing: self.few(),
        }
    }

    fn sizes(&mut self, layer: Layer) -> Sizes {
        Sizes {
            layer,
            to: [10, 0, 0, 1].into(),
            full: 1420,
            full_arrived: Some(self.moment()),
            seen_arriving: Some(self.moment()),
            in_fragments: Some(self.moment()),
            lost: 0,
            lost_since: None,
            mended: None,
            bracket: None,
            too_big: None,
        }
    }

    fn asked(&mut self) -> NodeAsked {
        NodeAsked {
            to: [10, 0, 0, 1].into(),
            answered: self.count(),
            last_answered: Some(self.moment()),
            back: Some(Via::Tunnel),
            through: Some(true),
            lost: 0,
            lost_since: None,
            beside: None,
            mended: None,
        }
    }

    fn heard(&mut self) -> NodeHeard {
        NodeHeard {
            at: [10, 0, 0, 2].into(),
            heard: self.count(),
            last: self.moment(),
            via: Some(Via::Tunnel),
            around: 0,
            around_since: None,
        }
    }

    fn node_echo(&mut self) -> NodeEcho {
        NodeEcho {
            asked: vec![self.asked(), self.asked()],
            heard: vec![self.heard(), self.heard()],
        }
    }
}

/// One fact of each kind that is told by moves, with all numbers that move.
fn all(key: PublicKey, by: &[i64]) -> Vec<Fact> {
    let mut numbers = Numbers { by, place: 0 };
    let source = SourceState {
        read_at: numbers.moment(),
        gap: None,
        since: at(0),
    };
    let layers = Layer::ALL.map(|layer| numbers.sizes(layer));
    vec![
        Fact::Source(SourceId::Echo, source),
        Fact::Peer(key, numbers.peer()),
        Fact::EchoSent(key, numbers.echo_sent()),
        Fact::EchoHeard(key, numbers.echo_heard()),
        Fact::Sizes(key, layers.to_vec()),
        Fact::NodeEcho(key, Box::new(numbers.node_echo())),
    ]
}

fn facts(by: &[i64]) -> Facts {
    all(KEY, by).into_iter().collect()
}

/// What says of losses, which are no number that merely moves.
fn losing(lost: u32) -> Fact {
    let echo = Numbers { by: &[0], place: 0 }.echo_sent();
    Fact::EchoSent(
        KEY,
        EchoSent {
            consecutive_lost: lost,
            ..echo
        },
    )
}

#[test]
fn all_of_a_mesh_that_is_well_is_told_by_moves() {
    let (older, newer) = (facts(&[0]), facts(&[3, -1, 4]));
    let delta = newer.difference_from(&older).by_moves(&older);
    assert_eq!(
        (delta.upserts.len(), delta.moved.len()),
        (0, all(KEY, &[0]).len())
    );
    assert!(delta.routine);
}

/// Moves the first of its numbers by one, the next by two, and so on, in the order of the layout.
fn move_each_by_its_place(fact: &mut Fact) {
    let mut place = 0;
    let mut next = || {
        place += 1;
        place
    };
    let mut numbers: Vec<Move<'_>> = match fact {
        Fact::Source(_, source) => vec![at_moment(&mut source.read_at)],
        Fact::Peer(_, peer) => vec![
            count(&mut peer.rx_bytes),
            count(&mut peer.tx_bytes),
            maybe(&mut peer.rx_moved),
            maybe(&mut peer.last_handshake),
        ],
        Fact::EchoSent(_, echo) => {
            let (rtt, clock) = (echo.rtt.as_mut(), echo.clock.as_mut());
            let (Some(rtt), Some(clock)) = (rtt, clock) else {
                panic!("there are both");
            };
            vec![
                count(&mut echo.sent),
                count(&mut echo.answered),
                maybe(&mut echo.last_sent),
                maybe(&mut echo.last_answered),
                few(&mut rtt.last_us),
                few(&mut rtt.min_us),
                few(&mut rtt.mean_us),
                few(&mut rtt.max_us),
                few(&mut echo.window),
                few(&mut echo.window_lost),
                few(&mut echo.short_losses),
                at_moment(&mut clock.at),
                Box::new(|by| clock.wall_ms += by),
                few(&mut clock.error_us),
            ]
        }
        Fact::EchoHeard(_, echo) => vec![
            count(&mut echo.heard),
            maybe(&mut echo.last_heard),
            few(&mut echo.window),
            few(&mut echo.window_missing),
        ],
        Fact::Sizes(_, layers) => layers
            .iter_mut()
            .flat_map(|sizes| {
                [
                    maybe(&mut sizes.full_arrived),
                    maybe(&mut sizes.seen_arriving),
                    maybe(&mut sizes.in_fragments),
                ]
            })
            .collect(),
        Fact::NodeEcho(_, echo) => {
            let NodeEcho { asked, heard } = &mut **echo;
            let asked = asked
                .iter_mut()
                .flat_map(|asked| [count(&mut asked.answered), maybe(&mut asked.last_answered)]);
            let heard = heard
                .iter_mut()
                .flat_map(|heard| [count(&mut heard.heard), at_moment(&mut heard.last)]);
            asked.chain(heard).collect()
        }
        other => panic!("{other:?}"),
    };
    for number in &mut numbers {
        number(next());
    }
}

type Move<'a> = Box<dyn FnMut(i64) + 'a>;

fn count(count: &mut u64) -> Move<'_> {
    Box::new(|by| *count = count.wrapping_add_signed(by))
}

fn few(few: &mut u32) -> Move<'_> {
    Box::new(|by| *few += u32::try_from(by).unwrap_or(0))
}

fn at_moment(at: &mut Moment) -> Move<'_> {
    Box::new(|by| *at = at.shifted(by))
}

fn maybe(at: &mut Option<Moment>) -> Move<'_> {
    Box::new(|by| *at = at.map(|at| at.shifted(by)))
}

/// Both ends of a stream may be of different versions: each number of a layout has its place for ever. Who changes this test gives
/// `MOVED_LAYOUT` another number.
#[test]
fn the_layout_is_frozen() {
    assert_eq!(evidence::limits::MOVED_LAYOUT, 1);
    assert_eq!(Layer::ALL.len(), 3);
    let older = facts(&[0]);
    let mut newer = older.clone();
    for mut fact in all(KEY, &[0]) {
        move_each_by_its_place(&mut fact);
        newer.insert(fact);
    }
    let moved = newer.difference_from(&older).by_moves(&older).moved;
    assert_eq!(moved.sources, [(SourceId::Echo, 1)]);
    let told = moved.of_peers.iter();
    let kinds: Vec<_> = told.map(|fact| (fact.kind, fact.numbers)).collect();
    let expected = [
        (MovedKind::Peer, 4),
        (MovedKind::EchoSent, 14),
        (MovedKind::EchoHeard, 4),
        (MovedKind::Sizes, 9),
        (MovedKind::NodeEcho, 8),
    ];
    assert_eq!(kinds, expected);
    let numbers = expected
        .iter()
        .flat_map(|(_, numbers)| 1..=i64::from(*numbers));
    assert_eq!(moved.by, numbers.collect::<Vec<_>>());
    assert!(
        moved
            .of_peers
            .iter()
            .all(|fact| fact.key == ShortKey(0x0707_0707))
    );
}

#[test]
fn what_is_news_is_told_whole() {
    let mut older = facts(&[0]);
    older.insert(losing(0));
    let mut newer = older.clone();
    newer.insert(losing(1));
    let delta = newer.difference_from(&older).by_moves(&older);
    assert_eq!((delta.upserts.len(), delta.moved.len()), (1, 0));
    // As is what a node says of a key for the first time.
    let delta = newer.difference_from(&Facts::new()).by_moves(&Facts::new());
    assert_eq!((delta.upserts.len(), delta.moved.len()), (newer.len(), 0));
}

#[test]
fn of_keys_that_begin_alike_whole_facts_are_told() {
    let mut other = *KEY.as_bytes();
    other[31] = 8;
    let other = PublicKey::from_bytes(other);
    let both = |by: &[i64]| -> Facts { all(KEY, by).into_iter().chain(all(other, by)).collect() };
    let (older, newer) = (both(&[0]), both(&[1]));
    let delta = newer.difference_from(&older).by_moves(&older);
    // The source is about no key.
    assert_eq!(
        (delta.upserts.len(), delta.moved.len()),
        (newer.len() - 1, 1)
    );
    let mut turned = older;
    turned.apply(delta).unwrap();
    assert_eq!(turned, newer);
}

#[test]
fn what_goes_on_from_facts_that_are_not_there_is_refused_and_says_which() {
    let (older, newer) = (facts(&[0]), facts(&[1]));
    let told = newer.difference_from(&older).by_moves(&older);
    let refused = |spoil: fn(&mut Facts), expected: &str| {
        let mut other = older.clone();
        spoil(&mut other);
        let before = other.clone();
        let error: CannotMove = other.apply(told.clone()).unwrap_err();
        assert_eq!(other, before, "what does not fit changes nothing");
        assert_eq!(error.to_string(), expected);
    };
    refused(
        |facts| *facts = Facts::new(),
        "a source of which something was said before, got echo",
    );
    refused(
        |facts| drop(facts.remove(&evidence::FactKey::Sizes(KEY))),
        "a fact that was said before, got sizes of BwcHB..",
    );
    refused(
        |facts| {
            let mut other = *KEY.as_bytes();
            other[4] = 8;
            let heard = EchoHeard::default();
            facts.insert(Fact::EchoHeard(PublicKey::from_bytes(other), heard));
        },
        "one key, got two that begin as that of wireguard-peer of BwcHB..",
    );
    refused(
        |facts| facts.insert(Fact::EchoHeard(KEY, EchoHeard::default())),
        "3 numbers of echo-heard of BwcHB.., got 4",
    );
}

/// Moves as they are, and as no clock makes them.
fn moves() -> impl Strategy<Value = Vec<i64>> {
    let any = prop_oneof![
        0..5_000_i64,
        -50..50_i64,
        any::<i64>(),
        Just(i64::MIN),
        Just(i64::MAX)
    ];
    prop::collection::vec(any, 1..40)
}

/// Facts as they begin: most of what moves later is not there yet.
#[test]
fn facts_of_which_nothing_is_there_yet_go_on_too() {
    let young = |count: u64| -> Facts {
        let mut numbers = Numbers { by: &[0], place: 0 };
        let layers = Layer::ALL.map(|layer| Sizes {
            full_arrived: None,
            seen_arriving: None,
            in_fragments: None,
            ..numbers.sizes(layer)
        });
        [
            Fact::Peer(
                KEY,
                Peer {
                    tx_bytes: count,
                    rx_moved: None,
                    last_handshake: None,
                    ..numbers.peer()
                },
            ),
            Fact::EchoSent(
                KEY,
                EchoSent {
                    sent: count,
                    ..EchoSent::default()
                },
            ),
            Fact::EchoHeard(
                KEY,
                EchoHeard {
                    heard: count,
                    ..EchoHeard::default()
                },
            ),
            Fact::Sizes(KEY, layers.to_vec()),
            Fact::NodeEcho(
                KEY,
                Box::new(NodeEcho {
                    asked: vec![NodeAsked {
                        answered: count,
                        last_answered: None,
                        ..numbers.asked()
                    }],
                    heard: Vec::new(),
                }),
            ),
        ]
        .into_iter()
        .collect()
    };
    let (older, newer) = (young(1), young(2));
    let delta = newer.difference_from(&older).by_moves(&older);
    assert_eq!((delta.upserts.len(), delta.moved.len()), (0, 4));
    let mut turned = older;
    turned.apply(delta).unwrap();
    assert_eq!(turned, newer);
}

proptest! {
    #[test]
    fn moves_make_of_the_older_facts_the_newer_bit_by_bit(courses in prop::collection::vec((moves(), 0..3_u32), 2..6), offset in -1_000_000..1_000_000_i64) {
        let state = |(by, lost): &(Vec<i64>, u32)| {
            let mut facts = facts(by);
            facts.insert(losing(*lost));
            for fact in all(PublicKey::from_bytes([9; 32]), by) {
                facts.insert(fact);
            }
            facts
        };
        let mut here = state(&courses[0]);
        let mut there = here.clone();
        for next in &courses[1..] {
            let newer = state(next);
            let delta = newer.difference_from(&here).by_moves(&here);
            there.apply(delta).unwrap();
            prop_assert_eq!(&there, &newer);
            here = newer;
        }
        // The other side has all moments on its own timeline.
        let near = courses.iter().all(|(by, _)| by.iter().all(|by| by.unsigned_abs() < 1_000_000));
        if near {
            let (first, last) = (state(&courses[0]), state(&courses[1]));
            let mut shifted = first.clone().shifted(offset);
            shifted.apply(last.difference_from(&first).by_moves(&first)).unwrap();
            prop_assert_eq!(shifted, last.shifted(offset));
        }
    }
}
