use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::random::Random;

const ROUTER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));
/// Most datagrams and bytes that any path below may cost.
const DATAGRAMS: u32 = 400;
const BYTES: u32 = 2_500_000;

/// What larger packets meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wall {
    BlackHole,
    Router,
    /// A router that does not tell the MTU.
    Laconic,
    Interface,
}

/// A path, on which the first datagram of each size in `lossy` is lost.
#[derive(Clone, Debug)]
struct Path {
    mtu: u16,
    wall: Wall,
    rtt_us: u64,
    lossy: BTreeSet<u16>,
    /// Of a hundred datagrams so many get lost, chosen by a seed.
    loss: (u64, u64),
    /// Answers in a burst, and microseconds until there is one more.
    limit: Option<(u32, u64)>,
}

#[derive(Debug)]
struct Run {
    swept: Swept,
    took_us: u64,
}

impl Path {
    fn new(mtu: u16, wall: Wall) -> Self {
        Self {
            mtu,
            wall,
            rtt_us: 20_000,
            lossy: BTreeSet::new(),
            loss: (0, 0),
            limit: None,
        }
    }

    fn sweep(&self, answers: Answers) -> Run {
        let start = Stamp::from_micros(5_000_000);
        let mut sweep = Sweep::new(answers, start);
        let mut now = start;
        let mut lossy = self.lossy.clone();
        let (percent, seed) = self.loss;
        let mut chance = Random::new(seed);
        let mut bucket = Bucket::new(self.limit, now);
        let mut coming: BTreeMap<(Stamp, u16), Input> = BTreeMap::new();
        loop {
            match sweep.poll() {
                Output::Transmit { token, size } => {
                    let lost =
                        size <= self.mtu && (lossy.remove(&size) || chance.next() % 100 < percent);
                    let input = self.meets(token, size).filter(|_| !lost);
                    let answered = matches!(input, Some(Input::Answered { .. }));
                    if let Some(input) = input.filter(|_| !answered || bucket.take(now)) {
                        let wait = if size > self.mtu { 1_000 } else { self.rtt_us };
                        let at = Stamp::from_micros(now.as_micros() + wait);
                        coming.insert((at, token), input);
                    }
                }
                Output::Wait { until, .. } => {
                    let next = coming.first_key_value().map(|((at, _), _)| *at);
                    let (at, input) = match next {
                        Some(at) if at <= until => (at, coming.pop_first().unwrap().1),
                        _ => (until, Input::Tick),
                    };
                    assert!(at >= now, "time goes on");
                    now = at;
                    sweep.handle(input, now);
                }
                Output::Done(swept) => {
                    let took_us = now.micros_since(start);
                    return Run { swept, took_us };
                }
            }
        }
    }

    fn meets(&self, token: u16, size: u16) -> Option<Input> {
        if size <= self.mtu {
            return Some(Input::Answered { token });
        }
        let mtu = u32::from(self.mtu);
        let told = |mtu| Input::TooBig {
            token,
            reporter: ROUTER,
            mtu,
        };
        match self.wall {
            Wall::BlackHole => None,
            Wall::Router => Some(told(mtu)),
            Wall::Laconic => Some(told(0)),
            Wall::Interface => Some(Input::TooBigHere {
                token,
                mtu: Some(mtu),
            }),
        }
    }

    fn limit(&self) -> Limit {
        let mtu = u32::from(self.mtu);
        let told = |mtu| Limit::Told {
            reporter: ROUTER,
            mtu,
        };
        match self.wall {
            _ if self.mtu >= MAX_SIZE => Limit::Ceiling,
            Wall::BlackHole => Limit::Silent,
            Wall::Router => told(mtu),
            Wall::Laconic => told(0),
            Wall::Interface => Limit::Here { mtu: Some(mtu) },
        }
    }
}

/// A host's limit on its answers.
struct Bucket {
    limit: Option<(u32, u64)>,
    tokens: u32,
    since: Stamp,
}

impl Bucket {
    fn new(limit: Option<(u32, u64)>, since: Stamp) -> Self {
        let tokens = limit.map_or(0, |(burst, _)| burst);
        Self {
            limit,
            tokens,
            since,
        }
    }

    fn take(&mut self, now: Stamp) -> bool {
        let Some((burst, refill)) = self.limit else {
            return true;
        };
        while self.since.as_micros() + refill <= now.as_micros() {
            self.since = Stamp::from_micros(self.since.as_micros() + refill);
            self.tokens = (self.tokens + 1).min(burst);
        }
        let free = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        free
    }
}

fn wall() -> impl Strategy<Value = Wall> {
    prop_oneof![
        Just(Wall::BlackHole),
        Just(Wall::Router),
        Just(Wall::Laconic),
        Just(Wall::Interface)
    ]
}

fn assert_exact(path: &Path, run: &Run) {
    let Swept {
        passed,
        failed,
        limit,
        ..
    } = run.swept;
    assert_eq!(passed, Some(path.mtu), "{path:?} {run:?}");
    let above = (path.mtu < MAX_SIZE).then_some(path.mtu + 1);
    assert_eq!((failed, limit), (above, Some(path.limit())), "{path:?}");
}

#[test]
fn the_candidates_leave_at_once_and_the_largest_first() {
    assert!(CANDIDATES.is_sorted_by(|left, right| left > right));
    let now = Stamp::from_micros(0);
    let mut sweep = Sweep::new(Answers::Free, now);
    for (expected, number) in CANDIDATES.into_iter().zip(0_u16..) {
        let transmit = Output::Transmit {
            token: number,
            size: expected,
        };
        assert_eq!(sweep.poll(), transmit);
    }
    let wait = Output::Wait {
        until: Stamp::from_micros(1_000_000),
        reason: Reason::Answers,
    };
    assert_eq!(sweep.poll(), wait);
}

#[test]
fn a_router_that_tells_its_mtu_is_believed_after_two_round_trips() {
    for mtu in [1280, 1400, 1407, 1420, 1500] {
        let path = Path::new(mtu, Wall::Router);
        let run = path.sweep(Answers::Free);
        assert_exact(&path, &run);
        assert!(run.took_us <= 2 * path.rtt_us, "{mtu}: {run:?}");
    }
}

#[test]
fn a_black_hole_takes_two_round_trips_and_one_timeout() {
    for mtu in 1200..1500 {
        let path = Path::new(mtu, Wall::BlackHole);
        let run = path.sweep(Answers::Free);
        assert_exact(&path, &run);
        let timeout = (4 * path.rtt_us).max(100_000);
        assert!(run.took_us <= 2 * path.rtt_us + timeout, "{mtu}: {run:?}");
        assert!(run.swept.cost.bytes <= 300_000, "{mtu}: {run:?}");
    }
}

#[test]
fn a_host_that_never_answers_is_given_up() {
    let path = Path {
        limit: Some((0, u64::MAX / 2)),
        ..Path::new(1500, Wall::BlackHole)
    };
    let run = path.sweep(Answers::Free);
    assert_eq!((run.swept.passed, run.swept.limit), (None, None));
    assert!(run.took_us <= 2_000_000, "{run:?}");
}

#[test]
fn a_refusal_ends_a_sweep_that_heard_nothing() {
    let now = Stamp::from_micros(0);
    let mut sweep = Sweep::new(Answers::Free, now);
    while matches!(sweep.poll(), Output::Transmit { .. }) {}
    let refusal = Refusal {
        reporter: Some(ROUTER),
        icmp: Some((3, 1)),
        errno: 113,
    };
    sweep.handle(Input::Refused(refusal), now);
    assert!(
        matches!(sweep.poll(), Output::Done(Swept { passed: None, refusal: Some(told), .. }) if told == refusal)
    );
}

#[test]
fn a_path_that_breaks_under_way_is_called_unsteady_and_not_narrow() {
    let path = Path {
        limit: Some((16, u64::MAX / 2)),
        ..Path::new(1415, Wall::BlackHole)
    };
    let run = path.sweep(Answers::Free);
    assert_eq!(run.swept.passed, Some(1400), "{run:?}");
    assert_eq!(run.swept.limit, Some(Limit::Unsteady), "{run:?}");
}

#[test]
fn only_what_is_missing_at_the_end_of_a_round_is_called_lost() {
    let lossy = BTreeSet::from([1300, 1400]);
    let path = Path {
        lossy,
        ..Path::new(1400, Wall::BlackHole)
    };
    assert_eq!(path.sweep(Answers::Free).swept.cost.lost, 2);
    let wide = Path::new(MAX_SIZE, Wall::BlackHole).sweep(Answers::Free);
    assert_eq!(wide.swept.cost.lost, 0, "{wide:?}");
}

#[test]
fn a_path_that_loses_every_fifth_datagram_is_measured_exactly() {
    for seed in 0..300 {
        let path = Path {
            loss: (20, seed),
            ..Path::new(1393, Wall::BlackHole)
        };
        assert_exact(&path, &path.sweep(Answers::Free));
    }
}

#[test]
fn what_was_never_sent_is_counted_and_changes_nothing() {
    let now = Stamp::from_micros(0);
    let mut sweep = Sweep::new(Answers::Free, now);
    sweep.handle(Input::Answered { token: 9 }, now);
    let other = Input::TooBigHere {
        token: 7,
        mtu: None,
    };
    sweep.handle(other, now);
    assert_eq!(sweep.known.passed(), None);
    assert_eq!(sweep.known.conclude(1, None).cost.unknown, 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_mtu_is_found_exactly_whatever_is_lost_once(
        mtu in MIN_SIZE..=MAX_SIZE,
        wall in wall(),
        rtt_us in 100..900_000_u64,
        odds in 0..=10_u64,
        seed: u64,
    ) {
        let lost = |size: &u16| (u64::from(*size).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed).rotate_left(23) % 10 < odds;
        let lossy = (MIN_SIZE..=MAX_SIZE).filter(lost).collect();
        let path = Path { rtt_us, lossy, ..Path::new(mtu, wall) };
        let run = path.sweep(Answers::Free);
        assert_exact(&path, &run);
        prop_assert!(run.swept.cost.datagrams <= DATAGRAMS, "{:?}", run);
        prop_assert!(run.swept.cost.bytes <= BYTES, "{:?}", run);
    }

    #[test]
    fn a_limit_on_answers_is_not_taken_for_a_narrow_path(
        mtu in MIN_SIZE..=1500_u16,
        wall in wall(),
        burst in 1..30_u32,
    ) {
        let path = Path { limit: Some((burst, 1_000_000)), ..Path::new(mtu, wall) };
        for answers in [Answers::Free, Answers::Limited] {
            assert_exact(&path, &path.sweep(answers));
        }
    }

    #[test]
    fn any_input_at_any_time_ends_within_the_limits(
        inputs in prop::collection::vec((any::<u16>(), 0..4_u8, any::<u32>(), 0..300_000_u64), 0..200),
    ) {
        let mut now = Stamp::from_micros(0);
        let mut sweep = Sweep::new(Answers::Free, now);
        let mut transmitted = 0_usize;
        let mut inputs = inputs.into_iter();
        loop {
            match sweep.poll() {
                Output::Transmit { .. } => transmitted += 1,
                Output::Done(_) => break,
                Output::Wait { until, .. } => {
                    let input = inputs.next();
                    let (token, kind, mtu, wait) = input.unwrap_or_else(|| (0, 9, 0, until.micros_since(now)));
                    now = Stamp::from_micros(now.as_micros() + wait);
                    let token = token % 600;
                    sweep.handle(match kind {
                        0 => Input::Answered { token },
                        1 => Input::TooBig { token, reporter: ROUTER, mtu: mtu % 70_000 },
                        2 => Input::TooBigHere { token, mtu: Some(mtu) },
                        _ => Input::Tick,
                    }, now);
                }
            }
        }
        prop_assert!(transmitted <= MAX_DATAGRAMS);
    }
}
