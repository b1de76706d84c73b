//! `record`: every scenario, each in a process of its own.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
};

use anyhow::{Context as _, anyhow};
use integration::lab::{record::TrackRecord, runner::RunResult, scenario::Scenario};

use crate::cli::RecordArguments;

/// The record is written in any case; the exit code says whether everything in it is right.
pub(crate) fn run(arguments: &RecordArguments, files: &[PathBuf]) -> anyhow::Result<u8> {
    let waiting: Mutex<VecDeque<&PathBuf>> = Mutex::new(files.iter().collect());
    let record = Mutex::new(TrackRecord::default());
    let results: Vec<anyhow::Result<()>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.at_once)
            .map(|_| scope.spawn(|| work(&waiting, &record)))
            .collect();
        let ended = workers.into_iter().map(|worker| {
            worker
                .join()
                .unwrap_or_else(|_| Err(anyhow!("a worker panicked")))
        });
        ended.collect()
    });
    results.into_iter().collect::<anyhow::Result<()>>()?;
    let record = record
        .into_inner()
        .map_err(|_| anyhow!("a worker panicked"))?;
    let report = &arguments.report;
    fs::write(report, record.markdown()).with_context(|| format!("write {}", report.display()))?;
    writeln!(io::stdout(), "{}", record.summary())?;
    Ok(u8::from(!record.holds()))
}

fn work(waiting: &Mutex<VecDeque<&PathBuf>>, record: &Mutex<TrackRecord>) -> anyhow::Result<()> {
    let poisoned = || anyhow!("another worker panicked");
    loop {
        let next = waiting.lock().map_err(|_| poisoned())?.pop_front();
        let Some(file) = next else {
            return Ok(());
        };
        let scenario = Scenario::load(file)?;
        let result = stage(file)?;
        writeln!(io::stdout(), "{:<40} {}", result.scenario, result.mark())?;
        record
            .lock()
            .map_err(|_| poisoned())?
            .add(&scenario, result);
    }
}

/// A lab that fails to stand still prints no object: then its last words are the error.
fn stage(file: &Path) -> anyhow::Result<RunResult> {
    let myself = std::env::current_exe().context("find this program")?;
    let output = Command::new(myself)
        .arg("run")
        .arg(file)
        .args(["-o", "json"])
        .output()
        .context("start a lab")?;
    serde_json::from_slice(&output.stdout).with_context(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().last().unwrap_or("no word of why").to_owned();
        format!("{} gave no result: {last}", file.display())
    })
}
