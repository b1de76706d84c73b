//! Our readers against the real ones: COSI's own state server with genuine Talos resources, the discovery service, and the probe of gRPC health; and our
//! documents before Talos' own judges of machine configs.
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
mod discovery;
mod health;
mod machines;
mod protocol;
mod readers;
mod real;
mod report;
mod workstation;

use std::{fs, path::Path, process::ExitCode};

use report::Report;

/// Where the result is kept, beside the manifest.
const FILE: &str = "CONFORMANCE.md";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut report = Report::default();
    runtime.block_on(cosi::run(&mut report));
    runtime.block_on(discovery::run(&mut report));
    machines::run(&mut report);
    runtime.block_on(health::run(&mut report));
    let text = report.text();
    println!("{text}");
    fs::write(own().join(FILE), &text).unwrap();
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
