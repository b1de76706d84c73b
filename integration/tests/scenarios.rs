//! The scenario files that come with the project, without staging them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use integration::{
    lab::{scenario::Scenario, stage_kind::StageKind},
    vagrant::{machines, stage, table},
};

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

/// The faults of a host and of discovery that a scenario has to show: clocks (T01, T03, T04), identities and addresses (T06, T07,
/// T09), and the ways in which discovery fails (S). A scenario names those that it shows at the beginning of its `about`.
const FAULTS: [&str; 13] = [
    "T01", "T03", "T04", "T06", "T07", "T09", "S01", "S02", "S03", "S04", "S05", "S07", "S10",
];

#[test]
fn every_fault_of_a_host_and_of_discovery_has_a_scenario_that_says_so() {
    let files = files();
    let scenarios = files.iter().map(|file| Scenario::load(file).unwrap());
    let shown: BTreeSet<String> = scenarios
        .filter(|scenario| scenario.expect.is_some())
        .filter_map(|scenario| Some(scenario.about.split_once(": ")?.0.to_owned()))
        .collect();
    let missing: Vec<_> = FAULTS
        .iter()
        .filter(|fault| !shown.contains(**fault))
        .collect();
    assert!(missing.is_empty(), "no scenario shows {missing:?}");
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

/// Made by `./dev track-record`: who adds a scenario, or mends what one shows, makes it anew.
#[test]
fn the_track_record_is_of_every_scenario_and_nothing_in_it_is_wrong() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("TRACK_RECORD.md");
    let record = fs::read_to_string(file).unwrap();
    let (rows, _) = record.split_once("\n## ").unwrap();
    let name = |row: &str| Some(row.strip_prefix("| ")?.split(" |").next()?.to_owned());
    let recorded: BTreeSet<String> = rows.lines().filter_map(name).skip(1).collect();
    let stem = |file: &std::path::PathBuf| file.file_stem()?.to_str().map(str::to_owned);
    let there: BTreeSet<String> = files().iter().filter_map(stem).collect();
    assert_eq!(recorded, there);
    let count = there.len();
    let last = format!("track record: {count} scenarios, {count} right, 0 wrong accusations");
    assert_eq!(record.lines().last(), Some(last.as_str()));
}

fn scenarios() -> Vec<Scenario> {
    let files = files();
    files
        .iter()
        .map(|file| Scenario::load(file).unwrap())
        .collect()
}

/// Made by `lab carried --write`: who adds a scenario makes it anew.
#[test]
fn the_table_of_what_the_machines_carry_is_of_these_files() {
    let committed = machines::read("SCENARIOS.md").unwrap();
    assert_eq!(committed, table::document(&scenarios()));
    assert!(committed.contains("| blocked-inbound-at-home | yes |"));
    assert!(committed.contains("| steering-table-empty | no | it runs a command inside of vps-2"));
}

/// What a dry run prints is what would be typed: whatever is said to be carried must have a command for each action.
#[test]
fn every_scenario_that_the_machines_carry_has_a_command_for_each_action() {
    let scenarios = scenarios();
    let carried = |scenario: &&Scenario| StageKind::Vagrant.carries(scenario).is_ok();
    let carried: Vec<_> = scenarios.iter().filter(carried).collect();
    assert!(carried.len() >= 20, "{}", carried.len());
    for scenario in carried {
        let script = stage::dry_run(scenario);
        let script = script.unwrap_or_else(|error| panic!("{}: {error}", scenario.name));
        let commands = script.matches("ssh -F target/vagrant/ssh-config ").count();
        // Two routers anew and seven services, stopped, started, and left running; each step has at least one of its own.
        assert!(commands >= scenario.steps.len() + 25, "{script}");
    }
}

fn lab_run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_lab"))
        .arg("run")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests"))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_dry_run_prints_the_commands_of_a_scenario_and_types_nothing() {
    let dry = |name| lab_run(&[name, "--stage", "vagrant", "--dry-run"]);
    let (code, out, _) = dry("blocked-inbound-at-home");
    assert_eq!(code, Some(0));
    for part in [
        "home-router 'sudo sh -c '",
        "table inet lab_fault_0 { chain forward",
        "conntrack -F",
        "service ext-mesh-agent stop",
        "mesh-lab-network",
    ] {
        assert!(out.contains(part), "{part} is not in: {out}");
    }
    let (code, out, _) = dry("steering-table-empty");
    assert_eq!(code, Some(77), "a harness reads this as not carried");
    assert!(out.contains("inside of vps-2"), "{out}");
}

#[test]
fn without_machines_nothing_is_tried_and_what_starts_them_is_named() {
    let (code, _, error) = lab_run(&["healthy", "--stage", "vagrant"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("./dev vagrant up"), "{error}");
    let (code, _, error) = lab_run(&["healthy", "--dry-run"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("--stage vagrant"), "{error}");
}
