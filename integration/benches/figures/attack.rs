//! `collector-attack`: ten thousand connections of strangers and of holders of credentials that misbehave, while good agents report.
//!
//! What good agents see: how long a report takes until it is acknowledged, and how long an agent that comes anew takes until its
//! snapshot is. The attackers share the processors of this machine with everybody, and stand back. So the same attack is also made
//! on a second collector, to which nobody reports: what good agents see then is what the machine is too slow for, and what they
//! see more when their own collector is attacked is what that one lets the attackers do. Both kinds take turns.

mod attempts;

use std::{
    fmt,
    io::{self, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::time::sleep;

use crate::{
    cpu,
    figure::{Better, Figure, Goal, percentile},
    load::{Agents, HTTP, Process, come_anew, metrics, runtime, standing_back},
    namespace::sh,
};
use attempts::Attempts;

/// Good agents: a small mesh, so that what is measured is the intake and not the judge.
const GOOD: u16 = 16;
/// Ticks between two reports of one: an acknowledgement leaves at once if the last one was a quarter of a second ago.
const EVERY: u32 = 3;
/// How often each kind of attack has its turn.
const TURNS: usize = 4;
/// How long a turn without an attack takes.
const QUIET: Duration = Duration::from_secs(5);
/// Attempts of a turn, of ten thousand on each collector; and those from the address of the good agents, at the end: what comes from
/// there is suspect from then on.
const ATTEMPTS: usize = 2_500;
const ATTEMPTS_BESIDE: usize = 2_000;
/// An agent that comes anew, so often.
const ANEW: Duration = Duration::from_millis(250);
/// The collectors listen on all addresses of the namespace; the attackers come from one of their own.
const ATTACKED: &str = "0.0.0.0:21820";
const CONTROL: (&str, &str) = ("0.0.0.0:21830", "127.0.0.1:21831");
const ATTACKER: &str = "10.9.9.9";
/// What counts as not delayed: the median is no tenth longer than when the other collector is attacked. The slowest hundredth
/// hangs on who has the processor.
const GOAL_MEDIAN: f64 = 0.9;
const GOAL_P99: f64 = 0.5;
/// What the collector may grow by, at most: as many connections as it holds, with what HTTP/2 and TLS buffer for each.
const GOAL_MEGABYTES: f64 = 128.0;

/// What is going on meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Quiet,
    /// The other collector is attacked.
    Control,
    /// That of the good agents is, from another address.
    Attack,
    /// From that of the good agents, as behind one NAT.
    Beside,
}

/// What good agents saw, in milliseconds.
#[derive(Clone, Debug, Default)]
struct Seen {
    reports: Vec<f64>,
    arrivals: Vec<f64>,
}

/// All turns of a kind.
#[derive(Clone, Debug, Default)]
struct Turns {
    seen: Seen,
    attempts: Attempts,
    seconds: f64,
    /// Seconds of processor time of the attackers, of the collector with good agents, and of the other one.
    cpu: [f64; 3],
}

impl Turns {
    fn add(&mut self, one: Self) {
        self.seen.reports.extend(one.seen.reports);
        self.seen.arrivals.extend(one.seen.arrivals);
        self.attempts = self.attempts.and(one.attempts);
        self.seconds += one.seconds;
        for (all, one) in self.cpu.iter_mut().zip(one.cpu) {
            *all += one;
        }
    }
}

impl fmt::Display for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { reports, arrivals } = &self.seen;
        let of = |values: &Vec<f64>, share| percentile(values.clone(), share);
        let [attackers, good, other] = self.cpu.map(|cpu| 100.0 * cpu / self.seconds);
        write!(
            f,
            "{:.0} s: a report {:.2} ms (p99 {:.1}, of {}), an arrival {:.1} ms (p99 {:.0}, of {}); of a core: attackers {attackers:.0} %, \
             collector {good:.0} %, other collector {other:.0} %",
            self.seconds,
            of(reports, 0.5),
            of(reports, 0.99),
            reports.len(),
            of(arrivals, 0.5),
            of(arrivals, 0.99),
            arrivals.len(),
        )?;
        match self.attempts.count() {
            0 => Ok(()),
            _ => write!(f, "; {}", self.attempts),
        }
    }
}

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    sh(&format!("ip addr add {ATTACKER}/32 dev lo"))?;
    let mut bench = Bench {
        good: Process::collector_on(ATTACKED, HTTP)?,
        other: Process::collector_on(CONTROL.0, CONTROL.1)?,
    };
    runtime()?.block_on(bench.measure())
}

struct Bench {
    good: Process,
    other: Process,
}

impl Bench {
    async fn measure(&mut self) -> anyhow::Result<Vec<Figure>> {
        let mut agents = Agents::start(GOOD, EVERY).await?;
        sleep(Duration::from_secs(3)).await;
        let before = self.good.memory()?.0;
        let kinds = [Turn::Quiet, Turn::Control, Turn::Attack];
        let mut turns = [const { None::<Turns> }; 3];
        for _ in 0..TURNS {
            for (kind, all) in kinds.into_iter().zip(&mut turns) {
                let one = self.turn(kind, &mut agents).await?;
                all.get_or_insert_default().add(one);
            }
        }
        let beside = self.turn(Turn::Beside, &mut agents).await?;
        let grown = self.good.memory()?.1 - before;
        let [quiet, control, attack] = turns.map(Option::unwrap_or_default);
        let mut out = io::stdout();
        for (name, turns) in [
            ("no attack", &quiet),
            ("another collector attacked", &control),
            ("this one attacked", &attack),
            ("this one attacked from the address of its agents", &beside),
        ] {
            writeln!(out, "# {name}: {turns}")?;
        }
        for line in metrics()?.lines() {
            let counts = ["refused", "failed", "displaced", "late", "last", "silent"];
            let is_count = line.starts_with("mesh_collector_") && !line.ends_with(" 0");
            if is_count && counts.iter().any(|count| line.contains(count)) {
                writeln!(out, "# {line}")?;
            }
        }
        let made = attack.attempts.count();
        ensure!(
            made >= TURNS * ATTEMPTS,
            "only {made} attempts were made on the collector"
        );
        figures(control.seen, attack.seen, grown)
    }

    /// Watches good agents for a turn.
    async fn turn(&mut self, kind: Turn, agents: &mut Agents) -> anyhow::Result<Turns> {
        let target = match kind {
            Turn::Quiet => None,
            Turn::Control => Some((format!("{ATTACKER}:21830"), ATTEMPTS)),
            Turn::Attack => Some((format!("{ATTACKER}:21820"), ATTEMPTS)),
            Turn::Beside => Some(("127.0.0.1:21820".to_owned(), ATTEMPTS_BESIDE)),
        };
        let over = Arc::new(AtomicBool::new(false));
        let cpu = [self.good.cpu()?, self.other.cpu()?];
        let begun = Instant::now();
        let attack = target.map(|(target, number)| {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let attempts = standing_back(move || {
                    let attempts = runtime()?.block_on(Attempts::make(&target, number))?;
                    Ok((attempts, cpu::of_this_thread()?))
                });
                over.store(true, Ordering::Relaxed);
                attempts
            })
        });
        let is_over = |begun: Instant| match kind {
            Turn::Quiet => begun.elapsed() >= QUIET,
            _ => over.load(Ordering::Relaxed),
        };
        let seen = self.watch(agents, is_over).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let (attempts, attackers) = match attack {
            None => Default::default(),
            Some(attack) => attack
                .join()
                .map_err(|_| anyhow::anyhow!("the thread of the attack panicked"))??,
        };
        let [good, other] = cpu;
        Ok(Turns {
            seen,
            attempts,
            seconds,
            cpu: [
                attackers,
                self.good.cpu()? - good,
                self.other.cpu()? - other,
            ],
        })
    }

    async fn watch(
        &mut self,
        agents: &mut Agents,
        is_over: impl Fn(Instant) -> bool,
    ) -> anyhow::Result<Seen> {
        drop(agents.delays());
        let begun = Instant::now();
        let mut seen = Seen::default();
        while !is_over(begun) {
            let started = Instant::now();
            come_anew(GOOD).await.context("an agent that comes anew")?;
            seen.arrivals.push(started.elapsed().as_secs_f64() * 1000.0);
            self.good.check()?;
            self.other.check()?;
            agents.check()?;
            sleep(ANEW).await;
        }
        seen.reports = agents.delays();
        Ok(seen)
    }
}

fn figures(control: Seen, attacked: Seen, grown: f64) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let pairs = [
        (
            ["collector-attack-report", "collector-attack-report-p99"],
            attacked.reports,
            control.reports,
        ),
        (
            ["collector-attack-arrival", "collector-attack-arrival-p99"],
            attacked.arrivals,
            control.arrivals,
        ),
    ];
    for (names, ours, peer) in pairs {
        ensure!(
            !ours.is_empty() && !peer.is_empty(),
            "nobody reported for {names:?}"
        );
        let shares = [(0.5, GOAL_MEDIAN), (0.99, GOAL_P99)];
        for (name, (share, goal)) in names.into_iter().zip(shares) {
            figures.push(Figure {
                name,
                unit: "ms",
                ours: percentile(ours.clone(), share),
                peer: Some(percentile(peer.clone(), share)),
                better: Better::Less,
                goal: Goal::Ratio(goal),
            });
        }
    }
    figures.push(Figure {
        name: "collector-attack-memory-grown",
        unit: "MB",
        ours: grown,
        peer: None,
        better: Better::Less,
        goal: Goal::AtMost(GOAL_MEGABYTES),
    });
    Ok(figures)
}
