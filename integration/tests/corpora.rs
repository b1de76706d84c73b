//! Replays what fuzzing found worth keeping, on any compiler: every seed and every committed input of every target.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs, panic,
    path::{Path, PathBuf},
};

use fuzz::{MAX_INPUT, TARGETS, Target};

/// Most inputs of one target, and most bytes of all: the replay is to stay a matter of seconds, the checkout small.
const MAX_FILES: usize = 60;
const MAX_BYTES: usize = 400_000;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut found: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

/// The committed inputs of a target, with the names of their files.
fn inputs(target: &Target) -> Vec<(String, Vec<u8>)> {
    let files = entries(&corpus().join(target.name));
    let read = |file: PathBuf| (file.display().to_string(), fs::read(&file).unwrap());
    files.into_iter().map(read).collect()
}

/// Whether the target finds nothing wrong with this input.
fn holds(target: &Target, input: &[u8]) -> bool {
    panic::catch_unwind(|| (target.run)(input)).is_ok()
}

#[test]
fn every_committed_input_holds() {
    let mut broken = Vec::new();
    for target in TARGETS {
        let inputs = inputs(target).into_iter();
        broken.extend(inputs.filter(|(_, input)| !holds(target, input)));
    }
    let names: Vec<_> = broken.iter().map(|(name, _)| name).collect();
    assert!(names.is_empty(), "{names:#?}");
}

#[test]
fn every_seed_holds_whole_and_cut_off_anywhere() {
    for target in TARGETS {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            assert!(
                seed.len() <= MAX_INPUT,
                "{}: seed {number} is never tried",
                target.name
            );
            for length in 0..=seed.len() {
                let held = holds(target, &seed[..length]);
                assert!(
                    held,
                    "{}: seed {number}, the first {length} bytes",
                    target.name
                );
            }
        }
    }
}

#[test]
fn every_target_has_a_corpus_and_every_corpus_a_target() {
    let folders = entries(&corpus()).into_iter();
    let folders: BTreeSet<_> = folders
        .map(|folder| folder.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let targets: BTreeSet<_> = fuzz::names().into_iter().map(str::to_owned).collect();
    assert_eq!(folders, targets);
    for target in TARGETS {
        assert!(!inputs(target).is_empty(), "{} has no input", target.name);
        assert!((target.seeds)().len() > 1, "{} has no seeds", target.name);
    }
}

#[test]
fn the_corpora_stay_small() {
    let mut bytes = 0;
    for target in TARGETS {
        let inputs = inputs(target);
        assert!(
            inputs.len() <= MAX_FILES,
            "{}: {} inputs",
            target.name,
            inputs.len()
        );
        bytes += inputs.iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(bytes <= MAX_BYTES, "{bytes} bytes");
}

/// A replay that nothing can fail would be worth nothing.
#[test]
fn a_target_that_finds_something_wrong_is_noticed() {
    let never = Target {
        name: "never",
        run: |bytes| assert!(bytes.is_empty(), "as it should"),
        seeds: Vec::new,
    };
    assert!(holds(&never, b"") && !holds(&never, b"x"));
}
