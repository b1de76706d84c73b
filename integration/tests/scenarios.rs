//! The scenario files that come with the project, without staging them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use integration::lab::scenario::Scenario;

fn files() -> Vec<std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_scenario_file_can_be_read_and_is_named_as_its_file() {
    let mut names = BTreeSet::new();
    for file in files() {
        let scenario = Scenario::load(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            file.file_stem().unwrap().to_str(),
            Some(scenario.name.as_str())
        );
        names.insert(scenario.name);
    }
    assert!(names.contains("healthy"), "{names:?}");
}

#[test]
fn every_code_that_is_expected_somewhere_must_be_absent_somewhere_else() {
    let scenarios: Vec<_> = files()
        .iter()
        .map(|file| Scenario::load(file).unwrap())
        .collect();
    let expectations: Vec<_> = scenarios
        .iter()
        .filter_map(|scenario| scenario.expect.as_ref())
        .collect();
    let absent: BTreeSet<_> = expectations
        .iter()
        .flat_map(|expect| &expect.absent)
        .collect();
    for root in expectations.iter().flat_map(|expect| &expect.roots) {
        assert!(
            absent.contains(&root.code),
            "no scenario says when {} must not be named",
            root.code
        );
    }
}

#[test]
fn the_program_refuses_a_misspelt_key_before_it_starts_anything() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("odd.toml");
    fs::write(
        &file,
        "name = \"odd\"\nabout = \"x\"\n[expect]\nrots = []\n",
    )
    .unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("run")
        .arg(&file)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    for part in ["odd.toml", "unknown field `rots`", "`roots`"] {
        assert!(stderr.contains(part), "{part} is not in: {stderr}");
    }
}
