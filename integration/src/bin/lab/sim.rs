//! `lab sim`: hours of benign trouble in virtual time, or one chapter again with its log.

use std::{
    io::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Instant,
};

use integration::{
    lab::scenario::Scenario,
    sim::{
        self,
        benign::{self, CHAPTER},
        stage::Distance,
        time::{HOUR, SECOND},
        trouble::Story,
    },
};

use crate::{
    cli::{RunArguments, SimArguments},
    inside,
};

/// What all chapters together came to.
#[derive(Debug, Default)]
struct Sum {
    chapters: u64,
    /// Of virtual time.
    seconds: u64,
    verdicts: u64,
    datagrams: u64,
    ready: u64,
    well: u64,
    flaws: Vec<String>,
}

pub(crate) fn run(arguments: &SimArguments) -> anyhow::Result<u8> {
    if arguments.replay {
        return replay(arguments);
    }
    let began = Instant::now();
    let chapters = if arguments.faults {
        arguments.hours
    } else {
        arguments.hours * u64::try_from(HOUR / CHAPTER)?
    };
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let chapter = next.fetch_add(1, Ordering::Relaxed);
            if chapter >= chapters {
                return sum;
            }
            play(arguments, arguments.seed + chapter, &mut sum);
        }
    };
    let sums: Vec<Sum> = thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().ok())
            .collect()
    });
    let mut out = io::stdout().lock();
    let sum = |of: fn(&Sum) -> u64| sums.iter().map(of).sum::<u64>();
    let (flaws, well) = (
        sums.iter().map(|sum| sum.flaws.len()).sum::<usize>(),
        sum(|sum| sum.well),
    );
    writeln!(
        out,
        "{} chapters of {} minutes together, {} verdicts, {} datagrams, open {} of {well} verdicts on a mesh that is well, {flaws} flaws, {:.0} s",
        sum(|sum| sum.chapters),
        sum(|sum| sum.seconds) / 60,
        sum(|sum| sum.verdicts),
        sum(|sum| sum.datagrams),
        sum(|sum| sum.ready),
        began.elapsed().as_secs_f64()
    )?;
    Ok(u8::from(flaws > 0))
}

fn play(arguments: &SimArguments, seed: u64, sum: &mut Sum) {
    let outcome = if arguments.faults {
        Story::from_seed(seed, 3, arguments.nodes).play(seed, false)
    } else {
        benign::chapter(seed, arguments.nodes, false)
    };
    let reference = outcome.reference;
    sum.chapters += 1;
    sum.seconds += u64::try_from(outcome.world.now / SECOND).unwrap_or(0);
    sum.verdicts += reference.verdicts;
    sum.datagrams += outcome.world.datagrams;
    sum.ready += reference.ready;
    sum.well += reference.well;
    let mut again = String::from(if arguments.faults { " --faults" } else { "" });
    if let Some(nodes) = arguments.nodes {
        again.extend([" --nodes ".to_owned(), nodes.to_string()]);
    }
    for flaw in reference.flaws {
        let line = format!("seed {seed}: {flaw}\n  again: lab sim --replay{again} --seed {seed}");
        // A reader that is gone must not end the run.
        drop(writeln!(io::stdout(), "{line}"));
        sum.flaws.push(line);
    }
}

fn replay(arguments: &SimArguments) -> anyhow::Result<u8> {
    let seed = arguments.seed;
    let outcome = if arguments.faults {
        Story::from_seed(seed, 3, arguments.nodes).play(seed, true)
    } else {
        benign::chapter(seed, arguments.nodes, true)
    };
    let mut out = io::stdout().lock();
    for line in outcome.world.log.iter().flatten() {
        writeln!(out, "{line}")?;
    }
    for (fault, time) in &outcome.reference.times {
        writeln!(out, "{fault:?} was named after {} s", time / 1_000_000)?;
    }
    Ok(u8::from(!outcome.reference.flaws.is_empty()))
}

/// `lab run --stage sim`: a scenario in virtual time.
pub(crate) fn stage(scenario: &Scenario, arguments: &RunArguments) -> anyhow::Result<u8> {
    anyhow::ensure!(!arguments.keep, "--keep does not belong to --stage sim");
    let distance = if arguments.far {
        Distance::Far
    } else {
        Distance::Near
    };
    let result = sim::stage::run(scenario, arguments.seed, distance, &mut io::stderr())?;
    inside::print(&result, arguments.output)?;
    Ok(u8::from(!result.pass))
}
