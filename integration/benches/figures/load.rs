//! `collector-load`: a collector under the reports of very many agents, each over a TLS connection of its own, beside a bare service that
//! receives the same.
//!
//! `BENCH_AGENTS` says how many (default 1,024). The load and what is measured share the processors of this machine: so costs are
//! processor time of the server's process alone, and the thread that plays the agents stands back (`nice`), as real agents
//! have machines of their own. Times until something is answered or judged are by the clock, and so include what the load
//! takes from the server.

mod agents;
mod asker;
mod bytes;
mod facts;
mod process;
mod service;

use std::{
    env,
    io::{self, Write as _},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use proto::{
    limits::MESSAGE_BYTES,
    transport::{Mark, dial},
    trust::MeshKey,
    wire::{GetRequest, Phase, Tally, mesh_client::MeshClient},
};
use tokio::time::sleep;

use crate::figure::{Better, Figure, Goal, percentile};
pub(crate) use agents::{Agents, come_anew};
pub(crate) use asker::metrics;
use asker::{Answer, Asker, By};
use process::{ADDRESS, Server};
pub(crate) use process::{HTTP, MESH_KEY, Process};

pub(crate) use service::play;

/// How many agents, if nothing else is said.
const AGENTS: u16 = 1024;
/// What is measured begins so long after the last agent was taken in.
const SETTLE: Duration = Duration::from_secs(5);
/// How long is measured.
const WINDOW: Duration = Duration::from_secs(15);
/// How long a judgement may take to be the one that is waited for.
const JUDGED: Duration = Duration::from_mins(2);
/// Shares that are free on a machine where each agent has its own.
const NICE: i32 = 5;

/// What may be used, by the issue that this project answers.
const GOAL_CPU_PERCENT: f64 = 5.0;
const GOAL_MEGABYTES: f64 = 200.0;
const GOAL_COLLAPSE_SECONDS: f64 = 2.0;
const GOAL_ANSWER_MILLIS: f64 = 5.0;
/// At most twice the processor time of the bare service.
const GOAL_RATIO: f64 = 0.5;

/// What a server costs while it takes reports in.
#[derive(Clone, Copy, Debug, Default)]
struct Steady {
    /// Microseconds of processor time for a fact: how many are in a message follows from how often an agent gets to speak.
    per_fact: f64,
    /// The same in percent of a core, at the pace of the agents.
    percent: f64,
    megabytes: f64,
    most_megabytes: f64,
}

/// What became of a collapse.
#[derive(Clone, Debug, Default)]
struct Collapse {
    /// Seconds until the last report was taken in, and until a verdict has all of them.
    taken: f64,
    judged: f64,
    /// Seconds of processor time for that.
    cpu: f64,
}

#[derive(Clone, Debug, Default)]
struct Outcome {
    steady: Steady,
    collapse: Collapse,
    /// Milliseconds that the gate took to answer, by gRPC and by HTTP, and somebody who knows nothing, in the steady state.
    answers: [Vec<f64>; 3],
    /// The same from the collapse to its verdict.
    meanwhile: [Vec<f64>; 3],
}

pub(crate) fn run() -> anyhow::Result<Vec<Figure>> {
    let agents = agents_wanted()?;
    let bare = apart(Server::Bare, agents)?;
    let intake = apart(Server::Intake, agents)?;
    let whole = apart(Server::Collector, agents)?;
    let ratio = |name, unit, ours, peer| Figure {
        name,
        unit,
        ours,
        peer: Some(peer),
        better: Better::Less,
        goal: Goal::Ratio(GOAL_RATIO),
    };
    let alone = |name, unit, ours, goal| Figure {
        name,
        unit,
        ours,
        peer: None,
        better: Better::Less,
        goal: Goal::AtMost(goal),
    };
    let mut figures = vec![
        ratio(
            "collector-intake-per-fact",
            "us",
            intake.steady.per_fact,
            bare.steady.per_fact,
        ),
        ratio(
            "collector-intake-of-a-collapse",
            "s",
            intake.collapse.cpu,
            bare.collapse.cpu,
        ),
        alone(
            "collector-steady-intake",
            "%",
            intake.steady.percent,
            GOAL_CPU_PERCENT,
        ),
        alone(
            "collector-steady",
            "%",
            whole.steady.percent,
            GOAL_CPU_PERCENT,
        ),
        alone(
            "collector-memory",
            "MB",
            whole.steady.megabytes,
            GOAL_MEGABYTES,
        ),
        alone(
            "collector-memory-at-most",
            "MB",
            whole.steady.most_megabytes,
            GOAL_MEGABYTES,
        ),
        alone(
            "collector-collapse-taken-in",
            "s",
            whole.collapse.taken,
            GOAL_COLLAPSE_SECONDS,
        ),
        alone(
            "collector-collapse-judged",
            "s",
            whole.collapse.judged,
            GOAL_COLLAPSE_SECONDS,
        ),
    ];
    let names = [
        ["collector-gate-p99-grpc", "collector-gate-p99-http"],
        [
            "collector-gate-p99-grpc-in-collapse",
            "collector-gate-p99-http-in-collapse",
        ],
    ];
    for (names, answers) in names.into_iter().zip([whole.answers, whole.meanwhile]) {
        let [grpc, http, nobody] = answers.map(|answers| percentile(answers, 0.99));
        for (name, ours) in names.into_iter().zip([grpc, http]) {
            figures.push(Figure {
                peer: Some(nobody),
                ..alone(name, "ms", ours, GOAL_ANSWER_MILLIS)
            });
        }
    }
    Ok(figures)
}

fn agents_wanted() -> anyhow::Result<u16> {
    let Some(text) = env::var_os("BENCH_AGENTS") else {
        return Ok(AGENTS);
    };
    let number = text.to_str().and_then(|text| text.parse().ok());
    number
        .filter(|number| (2..=AGENTS).contains(number))
        .with_context(|| {
            format!(
                "BENCH_AGENTS: expected a number from 2 to {AGENTS}, got {}",
                text.display()
            )
        })
}

/// Measures one server, on a thread of its own: what stands back once does so for ever.
fn apart(server: Server, agents: u16) -> anyhow::Result<Outcome> {
    let mut process = Process::start(server)?;
    let asker = (server == Server::Collector).then(Asker::start);
    let outcome =
        standing_back(move || runtime()?.block_on(measure(&mut process, asker.as_ref(), agents)))?;
    let Outcome {
        steady, collapse, ..
    } = &outcome;
    writeln!(
        io::stdout(),
        "# {server:?}, {agents} agents: {:.2} us a fact, {:.1} % of a core, {:.0} MB; a collapse: {:.2} s of processor time, taken in after {:.2} s",
        steady.per_fact,
        steady.percent,
        steady.megabytes,
        collapse.cpu,
        collapse.taken,
    )?;
    Ok(outcome)
}

/// Does `job` on a thread that lets others go first.
pub(crate) fn standing_back<T: Send + 'static>(
    job: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    let thread = thread::spawn(move || {
        rustix::process::nice(NICE).context("stand back")?;
        job()
    });
    let joined = thread
        .join()
        .map_err(|_| anyhow::anyhow!("the thread of the load panicked"));
    joined?
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

async fn measure(
    process: &mut Process,
    asker: Option<&Asker>,
    nodes: u16,
) -> anyhow::Result<Outcome> {
    let mut agents = Agents::start(nodes, 1).await?;
    if asker.is_some() {
        wait_for(nodes, "good", |tally| tally.good).await?;
    }
    sleep(SETTLE).await;
    let mut outcome = Outcome {
        steady: steady(process, &mut agents, nodes, asker).await?,
        ..Outcome::default()
    };
    if let Some(asker) = asker {
        outcome.answers = split(&asker.answers()?);
    }
    let bodies = agents.fall_silent().await;
    let before = process.cpu()?;
    if let Some(asker) = asker {
        drop(asker.answers()?);
    }
    let begun = Instant::now();
    outcome.collapse.taken = agents.collapse(bodies).await?.as_secs_f64();
    if let Some(asker) = asker {
        wait_for(nodes, "broken", |tally| tally.broken).await?;
        outcome.collapse.judged = begun.elapsed().as_secs_f64();
        let answers = asker.answers()?;
        let last = answers.iter().rev().find_map(|answer| answer.phase);
        ensure!(
            last != Some(Phase::Ready),
            "every pair is broken, and the gate is open"
        );
        outcome.meanwhile = split(&answers);
    }
    outcome.collapse.cpu = process.cpu()? - before;
    outcome.steady.most_megabytes = process.memory()?.1;
    agents.check()?;
    process.check()?;
    Ok(outcome)
}

async fn steady(
    process: &mut Process,
    agents: &mut Agents,
    nodes: u16,
    asker: Option<&Asker>,
) -> anyhow::Result<Steady> {
    if let Some(asker) = asker {
        drop(asker.answers()?);
    }
    drop(agents.delays());
    let (cpu, sent, begun) = (process.cpu()?, agents.sent(), Instant::now());
    sleep(WINDOW).await;
    let (now, said, took) = (process.cpu()?, agents.sent(), begun.elapsed());
    agents.check()?;
    process.check()?;
    let delays = agents.delays();
    let messages = said.messages - sent.messages;
    ensure!(messages > 0.0, "no agent said anything");
    let share = (now - cpu) / took.as_secs_f64();
    let full = f64::from(nodes) * took.as_secs_f64() / facts::spacing(nodes).as_secs_f64();
    writeln!(
        io::stdout(),
        "# {messages:.0} messages in {:.1} s ({:.0} % of the pace of real agents), {:.0} facts and {:.0} bytes each; acknowledged after {:.0} ms (p99 {:.0})",
        took.as_secs_f64(),
        100.0 * messages / full,
        (said.facts - sent.facts) / messages,
        (said.bytes - sent.bytes) / messages,
        percentile(delays.clone(), 0.5),
        percentile(delays, 0.99),
    )?;
    Ok(Steady {
        per_fact: (now - cpu) * 1e6 / (said.facts - sent.facts),
        percent: share * 100.0,
        megabytes: process.memory()?.0,
        most_megabytes: 0.0,
    })
}

/// Waits until a verdict has all pairs in one state.
async fn wait_for(nodes: u16, what: &str, count: impl Fn(&Tally) -> u64) -> anyhow::Result<()> {
    let key = MeshKey::from_base64(MESH_KEY, "the key of the bench")?;
    let channel = dial(ADDRESS, Mark::None, Arc::new(key.reader_config()?)).await?;
    let mut mesh = MeshClient::new(channel).max_decoding_message_size(MESSAGE_BYTES);
    let all = u64::from(nodes) * u64::from(nodes - 1);
    let begun = Instant::now();
    loop {
        let verdict = mesh.get(GetRequest {}).await;
        let tally = verdict.ok().and_then(|verdict| verdict.into_inner().tally);
        if tally.as_ref().is_some_and(|tally| count(tally) == all) {
            return Ok(());
        }
        if begun.elapsed() > JUDGED {
            bail!("not all of {all} pairs are {what} after {JUDGED:?}: {tally:?}");
        }
        sleep(Duration::from_millis(50)).await;
    }
}

fn split(answers: &[Answer]) -> [Vec<f64>; 3] {
    let of = |by: By| {
        let those = answers.iter().filter(|answer| answer.by == by);
        those
            .map(|answer| answer.took.as_secs_f64() * 1000.0)
            .collect()
    };
    [By::Grpc, By::Http, By::Nobody].map(of)
}
