use super::*;

const ME: PublicKey = PublicKey::from_bytes([1; 32]);
const PEER: PublicKey = PublicKey::from_bytes([2; 32]);

fn prober() -> InertProber {
    InertProber::new(ME, ProbeKey::from_bytes([9; 32]), 77)
}

fn at(millis: i64) -> Moment {
    Moment::from_millis(millis)
}

fn endpoint(port: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 11], port))
}

fn suspect(peer: PublicKey) -> Input {
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
        prober.handle(Input::Tick, at(now));
        now = loop {
            match prober.poll() {
                Output::Transmit { .. } => sent.push(now),
                Output::Wait { until, .. } => break until.as_millis(),
            }
        };
    }
    sent
}

#[test]
fn a_suspicion_sends_five_times_quickly_and_then_slowly() {
    let mut prober = prober();
    prober.handle(suspect(PEER), at(0));
    assert_eq!(
        run(&mut prober, 0, 26_000),
        [0, 1000, 2000, 3000, 4000, 14_000, 24_000]
    );
    let expected = InertStats {
        sent: 7,
        last_sent: Some(at(24_000)),
        to: Some(endpoint(51820)),
    };
    assert_eq!(prober.stats(&PEER), Some(expected));
}

#[test]
fn a_cleared_suspect_is_left_alone_and_its_counts_are_kept() {
    let mut prober = prober();
    prober.handle(suspect(PEER), at(0));
    run(&mut prober, 0, 500);
    prober.handle(Input::Cleared(PEER), at(500));
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
        prober.handle(suspect(PEER), at(now));
        sent.extend(run(&mut prober, now, now + 1));
        prober.handle(Input::Cleared(PEER), at(now));
    }
    assert_eq!(sent, [0, 1000, 2000, 3000, 4000]);
}

#[test]
fn a_repeated_suspicion_only_moves_the_endpoint() {
    let mut prober = prober();
    prober.handle(suspect(PEER), at(0));
    run(&mut prober, 0, 5000);
    prober.handle(
        Input::Suspect {
            peer: PEER,
            endpoint: endpoint(4000),
        },
        at(5000),
    );
    assert_eq!(run(&mut prober, 5000, 15_000), [14_000]);
    assert_eq!(prober.stats(&PEER).unwrap().to, Some(endpoint(4000)));
}

#[test]
fn no_second_sees_more_than_five_whatever_the_number_of_suspects() {
    let mut prober = prober();
    for number in 10..60 {
        prober.handle(suspect(PublicKey::from_bytes([number; 32])), at(0));
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
        prober.handle(suspect(PublicKey::from_bytes(bytes)), at(0));
    }
    assert_eq!(
        (prober.peers().count(), prober.counters().suspicions_refused),
        (MAX_PEERS, 6)
    );
}
