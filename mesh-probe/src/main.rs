//! `mesh-probe`: questions to the collector. Everything is in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    mesh_probe::run(std::env::args_os().collect()).into()
}
