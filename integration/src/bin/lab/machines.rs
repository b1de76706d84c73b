//! `lab run --stage vagrant`: the scenarios on the machines of `vagrant/`. `lab carried`: which can be played there, or in virtual time.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use integration::{
    lab::{runner, scenario::Scenario, stage_kind::StageKind},
    sim,
    vagrant::{
        stage::{self, Machines},
        table,
    },
};

use crate::{
    cli::{CarriedArguments, CarriedStage, RunArguments, USUAL_PLACE},
    inside,
};

const FAILED: u8 = 1;

pub(crate) fn run(scenario: &Scenario, arguments: &RunArguments) -> anyhow::Result<u8> {
    if arguments.dry_run {
        let text = stage::dry_run(scenario).map_err(anyhow::Error::msg)?;
        write!(io::stdout(), "{text}")?;
        return Ok(0);
    }
    let mut machines = Machines::prepare()?;
    let played = runner::play(
        scenario,
        StageKind::Vagrant,
        &mut machines,
        &mut io::stderr(),
    );
    let left = machines.leave();
    let result = played?;
    inside::print(&result, arguments.output)?;
    left.context("the machines are not as they were")?;
    Ok(if result.pass { 0 } else { FAILED })
}

pub(crate) fn carried(arguments: &CarriedArguments, files: &[PathBuf]) -> anyhow::Result<u8> {
    let scenarios: Result<Vec<_>, _> = files.iter().map(|file| Scenario::load(file)).collect();
    let (text, place) = match arguments.stage {
        CarriedStage::Vagrant => (table::document(&scenarios?), "vagrant/SCENARIOS.md"),
        CarriedStage::Sim => (
            sim::table::document(&scenarios?),
            "integration/SIMULATED.md",
        ),
    };
    let usual = |file: &PathBuf| file.as_os_str() == USUAL_PLACE;
    let file = arguments.write.clone();
    let file = file.map(|file| if usual(&file) { place.into() } else { file });
    match file {
        Some(file) => {
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        }
        None => write!(io::stdout(), "{text}")?,
    }
    Ok(0)
}
