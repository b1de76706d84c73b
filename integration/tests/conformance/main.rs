//! Our readers against the real ones: COSI's own state server with genuine Talos resources, the discovery service, and the probe of gRPC health; our
//! documents before Talos' own judges of machine configs; our dashboard before Grafana's types; our exports at an OpenTelemetry Collector.
//!
//! `./dev conformance` runs it: it needs Go and the module registry, so it is no part of the ordinary tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    clippy::print_stdout,
    reason = "a test harness reports on standard output"
)]

#[path = "../../../proto/tests/support/authority.rs"]
mod authority;
mod compare;
mod cosi;
mod dashboard;
mod discovery;
mod health;
mod machines;
mod otel;
mod protocol;
mod readers;
mod real;
mod report;
mod workstation;

use std::{env, fs, path::Path, process::ExitCode};

use report::Report;

/// Where the result is kept, beside the manifest.
const FILE: &str = "CONFORMANCE.md";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Some of the sections by name, or all; only all of them are a report.
    let wanted: Vec<String> = env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
    let mut report = Report::default();
    if is_wanted("cosi") {
        runtime.block_on(cosi::run(&mut report));
    }
    if is_wanted("discovery") {
        runtime.block_on(discovery::run(&mut report));
    }
    if is_wanted("machines") {
        machines::run(&mut report);
    }
    if is_wanted("health") {
        runtime.block_on(health::run(&mut report));
    }
    if is_wanted("dashboard") {
        dashboard::run(&mut report);
    }
    if is_wanted("otel") {
        runtime.block_on(otel::run(&mut report));
    }
    let text = report.text();
    println!("{text}");
    if wanted.is_empty() {
        fs::write(own().join(FILE), &text).unwrap();
    }
    if report.agrees() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The folder of this crate.
fn own() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
