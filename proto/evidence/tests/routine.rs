//! What goes on from what was said before, and what is news.

use evidence::{
    Arrival, EchoHeard, EchoSent, EndpointChange, Fact, Facts, Health, Inert, Initiated, Layer,
    Moment, Peer, PublicKey, Sizes, SourceId, SourceState,
};

const KEY: PublicKey = PublicKey::from_bytes([7; 32]);

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

fn peer() -> Peer {
    Peer {
        endpoint: Some(([203, 0, 113, 12], 51_820).into()),
        allowed_ips: vec!["10.0.0.1/32".to_owned()],
        last_handshake: Some(at(1000)),
        rx_bytes: 5,
        tx_bytes: 5,
        rx_moved: Some(at(1000)),
        since: at(0),
        keepalive: Some(25),
        endpoint_changes: Vec::new(),
    }
}

fn sizes() -> Sizes {
    Sizes {
        layer: Layer::Tunnel,
        to: [10, 0, 0, 1].into(),
        full: 1420,
        full_arrived: Some(at(1000)),
        seen_arriving: None,
        lost: 0,
        lost_since: None,
        mended: None,
        bracket: None,
        too_big: None,
        in_fragments: None,
    }
}

fn initiated(index: u32, answered: bool) -> Initiated {
    Initiated {
        sender_index: index,
        sent_at: at(1000),
        to: ([203, 0, 113, 12], 51_820).into(),
        response_at: answered.then(|| at(1020)),
    }
}

fn arrival(index: u32, answered: bool) -> Arrival {
    Arrival {
        sender_index: index,
        at: at(1000),
        from: ([203, 0, 113, 12], 51_820).into(),
        for_us: Some(true),
        answered_at: answered.then(|| at(1001)),
    }
}

fn source(read_at: i64, since: i64) -> Fact {
    Fact::Source(
        SourceId::Tap,
        SourceState {
            read_at: at(read_at),
            since: at(since),
            gap: None,
        },
    )
}

type Row = (Fact, Fact, Fact);

/// Before, what goes on from it, and what is news.
fn table() -> Vec<Row> {
    [of_pairs(), of_handshakes()].concat()
}

fn of_pairs() -> Vec<Row> {
    let sent = |echo: EchoSent| Fact::EchoSent(KEY, echo);
    let echo = EchoSent {
        sent: 1,
        last_answered: Some(at(1000)),
        ..EchoSent::default()
    };
    let heard = |last| EchoHeard {
        heard: 1,
        last_heard: last,
        ..EchoHeard::default()
    };
    let inert = |from: [u8; 4], heard| {
        Fact::Inert(
            KEY,
            Box::new(Inert {
                heard,
                last_heard: Some(at(1000)),
                heard_from: Some((from, 51_820).into()),
                ..Inert::default()
            }),
        )
    };
    let moved = EndpointChange {
        at: at(2000),
        from: ([203, 0, 113, 12], 51_820).into(),
        to: ([203, 0, 113, 12], 51_820).into(),
    };
    vec![
        (source(1000, 0), source(2000, 0), source(2000, 2000)),
        (
            Fact::Peer(KEY, peer()),
            Fact::Peer(
                KEY,
                Peer {
                    rx_bytes: 9,
                    rx_moved: Some(at(2000)),
                    last_handshake: Some(at(2000)),
                    ..peer()
                },
            ),
            Fact::Peer(
                KEY,
                Peer {
                    endpoint_changes: vec![moved],
                    ..peer()
                },
            ),
        ),
        (
            sent(echo.clone()),
            sent(EchoSent {
                sent: 2,
                last_answered: Some(at(2000)),
                ..echo.clone()
            }),
            sent(EchoSent {
                consecutive_lost: 1,
                loss_since: Some(at(2000)),
                ..echo
            }),
        ),
        (
            Fact::EchoHeard(KEY, heard(Some(at(1000)))),
            Fact::EchoHeard(KEY, heard(Some(at(2000)))),
            Fact::EchoHeard(KEY, heard(None)),
        ),
        (
            inert([203, 0, 113, 12], 1),
            inert([203, 0, 113, 12], 2),
            inert([203, 0, 113, 99], 2),
        ),
        (
            Fact::Sizes(KEY, vec![sizes()]),
            Fact::Sizes(
                KEY,
                vec![Sizes {
                    full_arrived: Some(at(2000)),
                    ..sizes()
                }],
            ),
            Fact::Sizes(
                KEY,
                vec![Sizes {
                    lost: 1,
                    lost_since: Some(at(2000)),
                    ..sizes()
                }],
            ),
        ),
    ]
}

fn of_handshakes() -> Vec<Row> {
    let health = |stalled: Option<i64>, lag: u32| {
        Fact::Health(Health {
            stalled: stalled.map(at),
            lag: Some(evidence::Lag {
                mean_us: lag,
                max_us: lag,
            }),
            ..Health::default()
        })
    };
    let initiations = |all: &[(u32, bool)]| {
        let all = all
            .iter()
            .map(|(index, answered)| initiated(*index, *answered));
        Fact::Initiated(KEY, all.collect())
    };
    let arrivals = |all: &[(u32, bool)]| {
        let all = all
            .iter()
            .map(|(index, answered)| arrival(*index, *answered));
        Fact::Arrivals(all.collect())
    };
    vec![
        (health(None, 5), health(None, 9), health(Some(2000), 9)),
        (
            initiations(&[(1, true)]),
            initiations(&[(1, true), (2, false)]),
            initiations(&[(1, true), (2, false), (3, false)]),
        ),
        (
            arrivals(&[(1, true)]),
            arrivals(&[(1, true), (2, false)]),
            arrivals(&[(1, true), (2, false), (3, false)]),
        ),
    ]
}

#[test]
fn counters_and_moments_go_on_and_anything_else_is_news() {
    for (before, goes_on, news) in table() {
        assert!(goes_on.goes_on_from(&before), "{before:?}\n{goes_on:?}");
        assert!(!news.goes_on_from(&before), "{before:?}\n{news:?}");
    }
}

#[test]
fn a_difference_is_routine_only_if_all_of_it_is() {
    let older: Facts = table().into_iter().map(|(before, ..)| before).collect();
    let newer: Facts = table().into_iter().map(|(_, goes_on, _)| goes_on).collect();
    let delta = newer.difference_from(&older);
    assert!(delta.routine && delta.upserts.len() == table().len());
    for (.., news) in table() {
        let mut other = newer.clone();
        other.insert(news);
        assert!(!other.difference_from(&older).routine);
    }
    // What is new, or gone, goes on from nothing.
    for (before, ..) in table() {
        let mut fewer = older.clone();
        fewer.remove(&before.key());
        assert!(!older.difference_from(&fewer).routine);
        assert!(!fewer.difference_from(&older).routine);
    }
}

#[test]
fn a_second_initiation_without_an_answer_is_news() {
    let one = Fact::Initiated(KEY, vec![initiated(1, true), initiated(2, false)]);
    let two = Fact::Initiated(
        KEY,
        vec![initiated(1, true), initiated(2, false), initiated(3, false)],
    );
    assert!(!two.goes_on_from(&one));
}
