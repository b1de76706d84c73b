//! `cargo bench -p diagnosis [-- NODES ..]`: how long a judgement takes, and how much memory, in meshes of many nodes.
//!
//! Each figure is the median of a few runs, in a process of its own, so that peaks of memory are its own.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a bench measures time and memory, and tells them; the crate itself stays pure"
)]

mod mesh;

use std::{env, fs, process::Command};

use diagnosis::{View, Watch};
use mesh::{Fault, NOW};
use rustix::time::{ClockId, clock_gettime};

const SIZES: [usize; 3] = [4, 100, 1024];
/// How many judgements of each kind follow a first one, at least and at most, and after how many milliseconds there are enough.
const ROUNDS: [usize; 2] = [3, 21];
const ENOUGH: f64 = 2000.0;

fn main() {
    let arguments: Vec<String> = env::args()
        .skip(1)
        .filter(|one| !one.starts_with("--"))
        .collect();
    if let Some((size, fault)) = env::var("BENCH_CASE").ok().as_deref().and_then(case) {
        return measure(size, fault);
    }
    let sizes: Vec<usize> = arguments
        .iter()
        .filter_map(|one| one.parse().ok())
        .collect();
    let sizes = if sizes.is_empty() {
        SIZES.to_vec()
    } else {
        sizes
    };
    for size in sizes {
        for fault in Fault::ALL {
            let program = env::current_exe().expect("this program");
            let case = format!("{size} {}", fault.name());
            let ended = Command::new(program).env("BENCH_CASE", case).status();
            assert!(
                ended.is_ok_and(|status| status.success()),
                "{size} {fault:?} has no figure"
            );
        }
    }
}

fn case(text: &str) -> Option<(usize, Fault)> {
    let (size, name) = text.split_once(' ')?;
    let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name)?;
    Some((size.parse().ok()?, fault))
}

fn measure(size: usize, fault: Fault) {
    let view = mesh::view(size, fault);
    let name = |what: &str| format!("{what}-{size}-{}", fault.name());
    let before = memory();
    tell(&name("view"), before, "MB", None);
    let verdict = diagnosis::diagnose(&view, NOW);
    println!(
        "# {} findings, {} roots",
        verdict.findings.len(),
        verdict.roots().count()
    );
    let taken = median(if size > 500 { 3 } else { 5 }, || {
        drop(diagnosis::diagnose(&view, NOW));
    });
    tell(
        &name("diagnose"),
        taken,
        "ms",
        (size == 1024).then_some(1000.0),
    );
    tell(&name("verdict"), memory() - before, "MB", None);
    drop(verdict);
    again(view, size, name);
}

/// Judgements that follow one another: after one node has told all its peers' echoes anew, after nothing, and after what a second
/// brings in which every node sends as many echoes as it may.
fn again(mut view: View, size: usize, name: impl Fn(&str) -> String) {
    let before = memory();
    let mut watch = Watch::default();
    drop(watch.diagnose(&view, NOW));
    tell(&name("remembered"), memory() - before, "MB", None);
    let mut now = NOW;
    let goal = (size == 1024).then_some(10.0);
    let mut after = |what: &str, goal, nodes: usize, peers: usize| {
        let taken = rounds(|turn| {
            now = now.shifted(200);
            mesh::speak(&mut view, now);
            for node in (0..nodes).map(|node| (node * 7 + turn) % size) {
                mesh::report(&mut view, size, (node, turn * peers), peers, now);
            }
            let begun = processor_time();
            drop(watch.diagnose(&view, now));
            processor_time() - begun
        });
        tell(&name(what), middle(taken), "ms", goal);
    };
    after("nothing-new", goal, 0, 0);
    after("one-node-changed", goal, 1, size);
    after("all-nodes-changed", None, size, 7);
}

fn tell(name: &str, ours: f64, unit: &str, goal: Option<f64>) {
    let goal = goal.map_or_else(String::new, |goal| {
        let verdict = if ours <= goal { "ok" } else { "short" };
        format!(" goal=<={goal}{unit} {verdict}")
    });
    println!("bench {name} ours={ours:.2}{unit} peer=- ratio=-{goal}");
}

/// The median of so many runs, in milliseconds of processor time: what others do on the machine is not our figure.
fn median(runs: usize, mut run: impl FnMut()) -> f64 {
    let taken = (0..runs).map(|_| {
        let begun = processor_time();
        run();
        processor_time() - begun
    });
    middle(taken.collect())
}

/// What each of some rounds took: many of what is quick, few of what is slow.
fn rounds(mut round: impl FnMut(usize) -> f64) -> Vec<f64> {
    let [least, most] = ROUNDS;
    let mut taken = Vec::new();
    while taken.len() < least || (taken.len() < most && taken.iter().sum::<f64>() < ENOUGH) {
        taken.push(round(taken.len()));
    }
    taken
}

fn middle(mut taken: Vec<f64>) -> f64 {
    taken.sort_by(f64::total_cmp);
    taken.get(taken.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Milliseconds that this process has run, all of it on one thread. What procfs tells of it is brought up to date at ticks only.
fn processor_time() -> f64 {
    let run = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(run.tv_nsec).expect("less than a second");
    let seconds = u32::try_from(run.tv_sec).expect("less than a century");
    f64::from(seconds) * 1e3 + f64::from(nanos) / 1e6
}

/// Megabytes that this process holds.
fn memory() -> f64 {
    let status = fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.expect("a figure") / 1024.0
}
