//! What libFuzzer drives: one program for all targets, which its environment chooses from.
//!
//! `FUZZ_TARGET` names the target. With `FUZZ_SEEDS` set to a folder, the target's seeds are written there first.
#![no_main]

use std::{env, fs, path::Path, process, sync::OnceLock};

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static CHOSEN: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(init: choose(), |bytes: &[u8]| {
    if let Some(target) = CHOSEN.get() {
        (target.run)(bytes);
    }
});

#[expect(
    clippy::print_stderr,
    reason = "libFuzzer has the command line; this is all that is left"
)]
fn choose() {
    let name = env::var("FUZZ_TARGET").unwrap_or_default();
    let Some(target) = fuzz::target(&name) else {
        eprintln!(
            "FUZZ_TARGET is {name:?}, expected one of {}",
            fuzz::names().join(", ")
        );
        process::exit(2);
    };
    if let Some(folder) = env::var_os("FUZZ_SEEDS")
        && let Err(error) = plant(target, Path::new(&folder))
    {
        eprintln!("write the seeds of {name} to {}: {error}", folder.display());
        process::exit(1);
    }
    CHOSEN.get_or_init(|| target);
}

fn plant(target: &Target, folder: &Path) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    for (number, seed) in (target.seeds)().iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed)?;
    }
    Ok(())
}
