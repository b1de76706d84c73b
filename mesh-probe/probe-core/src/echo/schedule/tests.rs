use super::*;

const SECOND: i64 = 1000;

fn peer(number: u16) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_bytes(bytes)
}

fn schedule(peers: u16) -> Schedule {
    let mut schedule = Schedule::new(1, MAX_REQUESTS_PER_SECOND);
    for number in 0..peers {
        schedule.add(peer(number), Moment::ZERO);
    }
    schedule
}

/// Runs for so many seconds; returns all sendings.
fn run(schedule: &mut Schedule, seconds: i64) -> Vec<(i64, PublicKey)> {
    let mut sent = Vec::new();
    for millis in 0..seconds * SECOND {
        while let Some(peer) = schedule.take(Moment::from_millis(millis)) {
            sent.push((millis, peer));
        }
    }
    sent
}

fn most_in_a_second(sent: &[(i64, PublicKey)]) -> usize {
    let times: Vec<i64> = sent.iter().map(|(at, _)| *at).collect();
    let within = |start: i64| {
        times.partition_point(|at| *at < start + SECOND) - times.partition_point(|at| *at < start)
    };
    times.iter().map(|start| within(*start)).max().unwrap_or(0)
}

#[test]
fn the_interval_is_two_seconds_until_the_budget_stretches_it() {
    assert_eq!(schedule(3).interval(), Duration::from_secs(2));
    assert_eq!(schedule(68).interval(), Duration::from_secs(2));
    assert_eq!(schedule(170).interval(), Duration::from_secs(5));
    assert_eq!(schedule(1023).interval().as_secs(), 30);
}

#[test]
fn a_small_mesh_is_asked_every_two_seconds_give_or_take_ten_percent_and_a_tick() {
    let sent = run(&mut schedule(3), 60);
    for number in 0..3 {
        let times: Vec<i64> = sent
            .iter()
            .filter(|(_, p)| *p == peer(number))
            .map(|(at, _)| *at)
            .collect();
        assert!((29..=31).contains(&times.len()), "{times:?}");
        assert!(
            times
                .windows(2)
                .all(|w| (1400..=2600).contains(&(w[1] - w[0]))),
            "{times:?}"
        );
    }
}

#[test]
fn no_second_sees_more_requests_than_the_budget_for_any_mesh() {
    for peers in [1, 34, 68, 69, 300, 1023] {
        let mut schedule = schedule(peers);
        for number in (0..peers).step_by(2) {
            schedule.promote(peer(number), Moment::ZERO);
        }
        assert!(
            most_in_a_second(&run(&mut schedule, 40)) <= 34,
            "{peers} peers"
        );
    }
}

#[test]
fn in_a_full_mesh_every_peer_is_asked_within_the_interval_and_the_jitter() {
    let mut schedule = schedule(1023);
    let longest = schedule.interval() + schedule.jitter() * 2 + Duration::from_millis(500);
    let mut last: BTreeMap<PublicKey, i64> = (0..1023).map(|number| (peer(number), 0)).collect();
    for (at, peer) in run(&mut schedule, 120) {
        let gap = at - last.insert(peer, at).unwrap();
        assert!(
            at < 40 * SECOND || u128::try_from(gap).unwrap() <= longest.as_millis(),
            "gap of {gap} ms"
        );
    }
    assert!(last.values().all(|at| *at > 80 * SECOND));
}

#[test]
fn a_promoted_peer_is_asked_every_four_ticks_and_returns_to_its_place() {
    let mut schedule = schedule(1);
    let (first, _) = run(&mut schedule, 3)[0];
    schedule.promote(peer(0), Moment::from_millis(first));
    let retried: Vec<i64> = run(&mut schedule, 10).iter().map(|(at, _)| *at).collect();
    assert!(
        retried.windows(2).all(|w| w[1] - w[0] == 1004),
        "{retried:?}"
    );
    schedule.demote(peer(0), Moment::from_millis(10 * SECOND));
    let (next, _) = schedule.next(Moment::from_millis(10 * SECOND)).unwrap();
    let moved = (next.as_millis() - first + SECOND).rem_euclid(2 * SECOND) - SECOND;
    assert!(moved.abs() <= 200 + 251, "phase moved by {moved} ms");
}

#[test]
fn when_the_budget_is_short_losses_and_the_round_share_it() {
    let mut schedule = schedule(200);
    for number in 0..100 {
        schedule.promote(peer(number), Moment::ZERO);
    }
    let sent = run(&mut schedule, 20);
    let retries = sent.iter().filter(|(_, p)| *p < peer(100)).count();
    assert!(
        (sent.len() * 4 / 10..=sent.len() * 6 / 10).contains(&retries),
        "{retries} of {}",
        sent.len()
    );
    let (interval, retry) = schedule.guaranteed();
    assert!(interval > schedule.interval() || retry > RETRY_INTERVAL);
}

#[test]
fn requests_leave_at_ticks_and_no_tick_carries_more_than_its_share() {
    for peers in [3, 68, 1023] {
        let mut schedule = schedule(peers);
        for number in (0..peers).step_by(3) {
            schedule.promote(peer(number), Moment::ZERO);
        }
        let mut ticks: BTreeMap<i64, usize> = BTreeMap::new();
        let mut now = Moment::ZERO;
        while now < Moment::from_millis(40 * SECOND) {
            while schedule.take(now).is_some() {
                *ticks.entry(now.as_millis()).or_default() += 1;
            }
            let (next, _) = schedule.next(now).unwrap();
            assert!(next > now, "{peers} peers: {next:?} after {now:?}");
            now = next;
        }
        assert!(ticks.keys().all(|at| at % 251 == 0), "{ticks:?}");
        assert!(ticks.values().all(|count| *count <= 9), "{ticks:?}");
    }
}

/// Runs for so many seconds at the ticks, where a request is lent first if it may be; returns all sendings and all lent ones.
fn run_lending(schedule: &mut Schedule, seconds: i64) -> (Vec<(i64, PublicKey)>, Vec<i64>) {
    let (mut sent, mut lent) = (Vec::new(), Vec::new());
    for tick in 0..seconds * SECOND / 251 {
        let at = tick * 251;
        while schedule.lend(Moment::from_millis(at)) {
            lent.push(at);
        }
        while let Some(peer) = schedule.take(Moment::from_millis(at)) {
            sent.push((at, peer));
        }
    }
    (sent, lent)
}

#[test]
fn what_is_lent_to_node_addresses_is_of_the_one_budget_and_never_more_than_its_share() {
    for (peers, least, most) in [
        (3, 100, 120),
        (68, 100, 120),
        (300, 100, 120),
        (1023, 28, 30),
    ] {
        let mut schedule = schedule(peers);
        assert!(!schedule.lend(Moment::ZERO), "nobody has asked for a share");
        schedule.lend_to_others(true);
        for number in (0..peers).step_by(2) {
            schedule.promote(peer(number), Moment::ZERO);
        }
        let (sent, lent) = run_lending(&mut schedule, 60);
        let mut all: Vec<i64> = sent.iter().map(|(at, _)| *at).chain(lent.clone()).collect();
        all.sort_unstable();
        let all: Vec<_> = all.into_iter().map(|at| (at, peer(0))).collect();
        assert!(most_in_a_second(&all) <= 34, "{peers} peers");
        let count = lent.len();
        assert!(
            count >= least && count <= most,
            "{peers} peers: {count} lent"
        );
        let of_a_tick = |at: i64| all.iter().filter(|(other, _)| *other == at).count();
        assert!(lent.iter().all(|at| of_a_tick(*at) <= 9), "{peers} peers");
    }
}

#[test]
fn what_is_lent_takes_its_share_of_a_low_budget_too() {
    let mut schedule = Schedule::new(1, 1);
    schedule.add(peer(0), Moment::ZERO);
    schedule.lend_to_others(true);
    let (sent, lent) = run_lending(&mut schedule, 170);
    assert!((8..=11).contains(&lent.len()), "{}", lent.len());
    assert!(sent.len() >= 70, "{}", sent.len());
}

/// A driver that wakes up to so late at each tick loses next to nothing of the budget.
#[test]
fn waking_late_costs_little_of_the_budget() {
    let mut schedule = schedule(1023);
    let (mut now, mut sent, mut late) = (Moment::ZERO, 0_u32, Random::new(3));
    while now < Moment::from_millis(60 * SECOND) {
        while schedule.take(now).is_some() {
            sent += 1;
        }
        let (next, _) = schedule.next(now).unwrap();
        now = next.max(now).plus(late.within(Duration::from_millis(3)));
    }
    assert!(sent >= 60 * MAX_REQUESTS_PER_SECOND * 99 / 100, "{sent}");
}
