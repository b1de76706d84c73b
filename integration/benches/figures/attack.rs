//! `collector-attack`: ten thousand connections of strangers and of holders of credentials that misbehave, while good agents report.
//!
//! What good agents see is measured with the attack and without it, in turn, in one collector: how long a report takes until it is
//! acknowledged, and how long an agent that comes anew takes until its snapshot is. The attackers share the two processors with
//! both, and stand back.

mod attempts;

use std::{
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
    figure::{Better, Figure, Goal, percentile},
    load::{Agents, Process, Server, come_anew, metrics, runtime, standing_back},
};
use attempts::Attempts;

/// Good agents: a small mesh, so that what is measured is the intake and not the judge.
const GOOD: u16 = 16;
/// Ticks between two reports of one: an acknowledgement leaves at once if the last one was a quarter of a second ago.
const EVERY: u32 = 3;
/// How long is measured without an attack.
const QUIET: Duration = Duration::from_secs(20);
/// An agent that comes anew, so often.
const ANEW: Duration = Duration::from_millis(250);
/// What counts as not delayed: the median is no tenth longer. The slowest hundredth hangs on who has the processor.
const GOAL_MEDIAN: f64 = 0.9;
const GOAL_P99: f64 = 0.5;
/// What the collector may grow by, at most: as many connections as it holds, with what HTTP/2 and TLS buffer for each.
const GOAL_MEGABYTES: f64 = 128.0;

/// What good agents saw, in milliseconds.
#[derive(Debug, Default)]
struct Seen {
    reports: Vec<f64>,
    arrivals: Vec<f64>,
}

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    let mut process = Process::start(Server::Collector)?;
    runtime()?.block_on(measure(&mut process))
}

async fn measure(process: &mut Process) -> anyhow::Result<Vec<Figure>> {
    let mut agents = Agents::start(GOOD, EVERY).await?;
    sleep(Duration::from_secs(3)).await;
    let quiet = watch(process, &mut agents, |begun| begun.elapsed() >= QUIET).await?;
    let before = process.memory()?.0;
    let over = Arc::new(AtomicBool::new(false));
    let attack = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let attempts = standing_back(|| runtime()?.block_on(Attempts::make()));
            over.store(true, Ordering::Relaxed);
            attempts
        }
    });
    let begun = Instant::now();
    let attacked = watch(process, &mut agents, |_| over.load(Ordering::Relaxed)).await?;
    let took = begun.elapsed();
    let attempts = attack
        .join()
        .map_err(|_| anyhow::anyhow!("the thread of the attack panicked"))??;
    let most = process.memory()?.1;
    ensure!(
        attempts.count() >= attempts::ATTEMPTS,
        "only {} attempts were made",
        attempts.count()
    );
    let mut out = io::stdout();
    writeln!(
        out,
        "# {attempts} in {:.0} s; {} reports and {} arrivals of good agents meanwhile",
        took.as_secs_f64(),
        attacked.reports.len(),
        attacked.arrivals.len()
    )?;
    for line in metrics()?.lines() {
        let counts = ["refused", "failed", "displaced", "late", "silent"];
        let is_count = line.starts_with("mesh_collector_") && !line.ends_with(" 0");
        if is_count && counts.iter().any(|count| line.contains(count)) {
            writeln!(out, "# {line}")?;
        }
    }
    figures(quiet, attacked, most - before)
}

fn figures(quiet: Seen, attacked: Seen, grown: f64) -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let pairs = [
        (
            ["collector-attack-report", "collector-attack-report-p99"],
            attacked.reports,
            quiet.reports,
        ),
        (
            ["collector-attack-arrival", "collector-attack-arrival-p99"],
            attacked.arrivals,
            quiet.arrivals,
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

/// Watches good agents until `over`.
async fn watch(
    process: &mut Process,
    agents: &mut Agents,
    over: impl Fn(Instant) -> bool,
) -> anyhow::Result<Seen> {
    drop(agents.delays());
    let begun = Instant::now();
    let mut seen = Seen::default();
    while !over(begun) {
        let started = Instant::now();
        come_anew(GOOD).await.context("an agent that comes anew")?;
        seen.arrivals.push(started.elapsed().as_secs_f64() * 1000.0);
        process.check()?;
        agents.check()?;
        sleep(ANEW).await;
    }
    seen.reports = agents.delays();
    Ok(seen)
}
