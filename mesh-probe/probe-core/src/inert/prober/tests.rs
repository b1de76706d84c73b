use super::*;

const ME: PublicKey = PublicKey::from_bytes([1; 32]);
const PEER: PublicKey = PublicKey::from_bytes([2; 32]);

fn prober() -> InertProber {
    InertProber::new(ME, ProbeKey::from_bytes([9; 32]), 77)
}

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

fn stamp(millis: i64) -> Stamp {
    at(millis).into()
}

fn endpoint(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 11], port))
}

fn suspect(peer: PublicKey) -> Input<'static> {
    Input::Suspect {
        peer,
        endpoint: endpoint(51820),
    }
}

/// Follows the machine's own deadlines; returns when it sent.
fn run(prober: &mut InertProber, from: i64, to: i64) -> Vec<i64> {
    let mut now = from;
    let mut sent = Vec::new();
    while now < to {
        prober.handle(Input::Tick, stamp(now));
        now = loop {
            match prober.poll() {
                Output::Transmit { from, .. } => {
                    if from == SourcePort::Tunnel {
                        sent.push(now);
                    }
                }
                Output::Wait { until, .. } => break until.as_millis(),
            }
        };
    }
    sent
}

#[test]
fn a_suspicion_sends_five_times_quickly_and_then_slowly() {
    let mut prober = prober();
    prober.handle(suspect(PEER), stamp(0));
    assert_eq!(
        run(&mut prober, 0, 26_000),
        [0, 1000, 2000, 3000, 4000, 14_000, 24_000]
    );
    let expected = InertStats {
        sent: 7,
        last_sent: Some(at(24_000)),
        to: Some(endpoint(51820)),
        answered: None,
    };
    assert_eq!(prober.stats(&PEER), Some(expected));
}

#[test]
fn a_cleared_suspect_is_left_alone_and_its_counts_are_kept() {
    let mut prober = prober();
    prober.handle(suspect(PEER), stamp(0));
    run(&mut prober, 0, 500);
    prober.handle(Input::Cleared(PEER), stamp(500));
    assert_eq!(run(&mut prober, 500, 60_000), []);
    assert_eq!(prober.stats(&PEER).unwrap().sent, 1);
    assert!(matches!(
        prober.poll(),
        Output::Wait {
            reason: Reason::NoSuspicion,
            ..
        }
    ));
}

#[test]
fn a_flickering_suspicion_sends_no_faster_than_a_lasting_one() {
    let mut prober = prober();
    let mut sent = Vec::new();
    for now in 0..5000 {
        prober.handle(suspect(PEER), stamp(now));
        sent.extend(run(&mut prober, now, now + 1));
        prober.handle(Input::Cleared(PEER), stamp(now));
    }
    assert_eq!(sent, [0, 1000, 2000, 3000, 4000]);
}

#[test]
fn a_repeated_suspicion_only_moves_the_endpoint() {
    let mut prober = prober();
    prober.handle(suspect(PEER), stamp(0));
    run(&mut prober, 0, 5000);
    prober.handle(
        Input::Suspect {
            peer: PEER,
            endpoint: endpoint(4000),
        },
        stamp(5000),
    );
    assert_eq!(run(&mut prober, 5000, 15_000), [14_000]);
    assert_eq!(prober.stats(&PEER).unwrap().to, Some(endpoint(4000)));
}

#[test]
fn no_second_sees_more_than_five_whatever_the_number_of_suspects() {
    let mut prober = prober();
    for number in 10..60 {
        prober.handle(suspect(PublicKey::from_bytes([number; 32])), stamp(0));
    }
    let sent = run(&mut prober, 0, 30_000);
    let most = sent
        .iter()
        .map(|t| sent.iter().filter(|u| (*t..t + 1000).contains(*u)).count())
        .max();
    assert_eq!(most, Some(5));
    assert!(prober.peers().all(|(_, stats)| stats.sent >= 1));
}

#[test]
fn suspects_are_bounded() {
    let mut prober = prober();
    for number in 0..1030_u32 {
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&number.to_be_bytes());
        prober.handle(suspect(PublicKey::from_bytes(bytes)), stamp(0));
    }
    assert_eq!(
        (prober.peers().count(), prober.counters().suspicions_refused),
        (MAX_PEERS, 6)
    );
}

const MAPPED: ([u8; 4], u16) = ([198, 51, 100, 2], 47918);

/// What `PEER` answers to a probe that came 400 us after it left, by a clock that is 10 s behind; it took 50 us.
fn reply(session: u64, sequence: u64, sent: Stamp) -> Vec<u8> {
    let received = Stamp::from_micros((sent.as_micros() + 400).saturating_sub(10_000_000));
    let reply = Datagram::Reply(Reply {
        answers: Probe {
            sender: PEER,
            receiver: ME,
            session,
            sequence,
        },
        mapped: MAPPED.into(),
        hop_limit: 61,
        received,
        answered: Stamp::from_micros(received.as_micros() + 50),
    });
    reply.encode(&ProbeKey::from_bytes([9; 32])).to_vec()
}

fn hear(prober: &mut InertProber, bytes: &[u8], received: Stamp) {
    let input = Input::Reply {
        bytes,
        hop_limit: 60,
        received,
    };
    prober.handle(input, received);
}

fn one_probe_sent(at: i64) -> InertProber {
    let mut prober = prober();
    prober.handle(suspect(PEER), stamp(at));
    assert!(matches!(prober.poll(), Output::Transmit { .. }));
    prober
}

#[test]
fn a_reply_tells_the_mapping_the_hops_and_the_time_without_what_the_peer_took() {
    let mut prober = one_probe_sent(20_000);
    let bytes = reply(77, 0, stamp(20_000));
    hear(&mut prober, &bytes, Stamp::from_micros(20_000_900));
    let expected = Answered {
        count: 1,
        at: at(20_000),
        sent_at: at(20_000),
        round_trip_micros: 850,
        mapped: MAPPED.into(),
        hop_limit_there: 61,
        hop_limit_back: 60,
        there_micros: -9_999_600,
    };
    assert_eq!(prober.stats(&PEER).unwrap().answered, Some(expected));
}

#[test]
fn what_was_not_asked_or_comes_twice_or_late_is_no_answer() {
    let mut prober = one_probe_sent(0);
    hear(&mut prober, &reply(78, 0, stamp(0)), stamp(1));
    hear(&mut prober, &reply(77, 1, stamp(0)), stamp(1));
    hear(&mut prober, &reply(77, 0, stamp(0))[1..], stamp(1));
    hear(&mut prober, &reply(77, 0, stamp(0)), stamp(5001));
    assert_eq!(prober.stats(&PEER).unwrap().answered, None);
    let mut prober = one_probe_sent(0);
    for _ in 0..3 {
        hear(&mut prober, &reply(77, 0, stamp(0)), stamp(1));
    }
    assert_eq!(prober.stats(&PEER).unwrap().answered.unwrap().count, 1);
    assert_eq!(prober.counters().unmatched, 2);
}

#[test]
fn a_reply_that_was_overtaken_only_counts() {
    let mut prober = prober();
    prober.handle(suspect(PEER), stamp(0));
    run(&mut prober, 0, 2000);
    hear(&mut prober, &reply(77, 1, stamp(1000)), stamp(1001));
    hear(&mut prober, &reply(77, 0, stamp(0)), stamp(1002));
    let answered = prober.stats(&PEER).unwrap().answered.unwrap();
    assert_eq!((answered.count, answered.at), (2, at(1001)));
}

#[test]
fn probes_that_are_never_answered_are_bounded() {
    let mut prober = prober();
    prober.handle(suspect(PEER), stamp(0));
    run(&mut prober, 0, 600_000);
    assert_eq!(prober.peers[&PEER].outstanding.len(), MAX_OUTSTANDING);
}

#[test]
fn times_from_the_ends_of_the_clock_do_no_harm() {
    assert_eq!(
        apart(Stamp::from_micros(u64::MAX), Stamp::default()),
        i64::MAX
    );
    assert_eq!(
        apart(Stamp::from_micros(1), Stamp::from_micros(u64::MAX / 4)),
        1 - i64::MAX / 2
    );
}

/// When unsolicited probes left, while the suspicion comes and goes each `period` milliseconds.
fn unsolicited(prober: &mut InertProber, period: i64, to: i64) -> Vec<i64> {
    let mut sent = Vec::new();
    for now in 0..to {
        if now % period == 0 {
            prober.handle(Input::Cleared(PEER), stamp(now));
            prober.handle(suspect(PEER), stamp(now));
        }
        prober.handle(Input::Tick, stamp(now));
        while let Output::Transmit { from, bytes, .. } = prober.poll() {
            let datagram = Datagram::decode(&bytes, &ProbeKey::from_bytes([9; 32])).unwrap();
            let is_unsolicited = matches!(datagram, Datagram::Unsolicited(_));
            assert_eq!(is_unsolicited, from == SourcePort::Fresh);
            if is_unsolicited {
                sent.push(now);
            }
        }
    }
    sent
}

#[test]
fn a_suspicion_sends_one_unsolicited_probe_and_a_flickering_one_no_more_than_one_in_thirty_seconds()
{
    assert_eq!(unsolicited(&mut prober(), 100_000, 100_000), [500]);
    let flickering = unsolicited(&mut prober(), 900, 100_000);
    assert!((1..=4).contains(&flickering.len()), "{flickering:?}");
    let spaced = |pair: &[i64]| pair[1] - pair[0] >= 30_000;
    assert!(flickering.windows(2).all(spaced), "{flickering:?}");
}
