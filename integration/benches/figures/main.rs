//! `./dev bench [NAME ..]`: measures ourselves and others at the same job, in turn, and prints a line per figure.
//!
//! Each bench runs in namespaces of its own. A new one is a module with `run`, and its line in [`BENCHES`].

mod attack;
mod cpu;
mod delay;
mod disturbance;
mod echo;
mod figure;
mod load;
mod namespace;
mod path_mtu;
mod tap;
mod wireguard;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::{Context as _, ensure};
use figure::Figure;

type Run = fn() -> anyhow::Result<Vec<Figure>>;

const BENCHES: [(&str, Run); 7] = [
    ("wireguard-read-1000", wireguard::run),
    ("echo-probes-per-cpu-second", echo::run),
    ("tap-cost-per-foreign-packet", tap::run),
    ("path-mtu", path_mtu::run),
    ("transfer-beside-agents", disturbance::run),
    ("collector-load", load::run),
    ("collector-attack", attack::run),
];

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to report a broken standard error to.
            drop(writeln!(io::stderr(), "bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<()> {
    if let Some(ended) = load::play() {
        return ended;
    }
    if wireguard::is_reader() {
        return wireguard::read_once();
    }
    if let Some(name) = env::var_os(namespace::INSIDE) {
        let name = name.to_str().context("the name of a bench is text")?;
        return inside(name);
    }
    // Cargo adds options of its own.
    let mut wanted: Vec<_> = env::args()
        .skip(1)
        .filter(|name| !name.starts_with("--"))
        .collect();
    if wanted.is_empty() {
        wanted = BENCHES.map(|(name, _)| name.to_owned()).to_vec();
    }
    for name in &wanted {
        find(name)?;
    }
    for name in &wanted {
        ensure!(namespace::enter(name)?.success(), "{name} has no figure");
    }
    Ok(())
}

fn inside(name: &str) -> anyhow::Result<()> {
    for figure in find(name)?().with_context(|| format!("measure {name}"))? {
        writeln!(io::stdout(), "{figure}")?;
    }
    Ok(())
}

fn find(name: &str) -> anyhow::Result<Run> {
    let found = BENCHES.iter().find(|(known, _)| *known == name);
    let names = BENCHES.map(|(name, _)| name).join(", ");
    found
        .map(|(_, run)| *run)
        .with_context(|| format!("no bench {name:?}; there are {names}"))
}
