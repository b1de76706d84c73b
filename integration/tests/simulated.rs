//! The scenario files in virtual time: which of them the simulator carries, and that their expectations hold there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use integration::{
    lab::{
        runner::RunResult,
        scenario::{Expect, ExpectedRoot, Scenario},
        stage_kind::StageKind,
    },
    sim::{stage, stage::Distance, table},
};

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn scenarios() -> Vec<Scenario> {
    let entries = fs::read_dir(folder().join("scenarios")).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| Scenario::load(file).unwrap())
        .collect()
}

fn scenario(name: &str) -> Scenario {
    let file = folder().join("scenarios").join(name).with_extension("toml");
    Scenario::load(&file).unwrap()
}

fn play(scenario: &Scenario, seed: u64) -> (RunResult, String) {
    play_at(scenario, seed, Distance::Near)
}

fn play_at(scenario: &Scenario, seed: u64, distance: Distance) -> (RunResult, String) {
    let mut log = Vec::new();
    let result = stage::run(scenario, seed, distance, &mut log).unwrap();
    (result, String::from_utf8(log).unwrap())
}

/// Made by `lab carried --stage sim --write`: who adds a scenario makes it anew.
#[test]
fn the_table_of_what_the_simulator_carries_is_of_these_files() {
    let committed = fs::read_to_string(folder().join("SIMULATED.md")).unwrap();
    assert_eq!(committed, table::document(&scenarios()));
    assert!(committed.contains("| blocked-inbound-at-home | yes |"));
    assert!(committed.contains("| discovery-served | no | it asks a resolver"));
}

/// That of `lab run NAME --stage sim`, if none is given.
const SEED: u64 = 0;

/// What the files expect, within the seconds that they give.
#[test]
fn every_carried_scenario_holds_in_virtual_time() {
    let mut failed = BTreeMap::new();
    let mut played = 0;
    for scenario in scenarios() {
        if StageKind::Sim.carries(&scenario).is_err() {
            continue;
        }
        played += 1;
        let (result, log) = play(&scenario, SEED);
        if !result.pass {
            failed.insert(scenario.name, (result.failures, log));
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(played >= 50, "only {played} scenarios are carried");
}

/// What is on its way while an endpoint is set anew sets it right, or does not: each seed is another story, and in none a path is accused.
#[test]
fn endpoints_that_somebody_sets_accuse_no_path_however_far_the_nodes_are() {
    for name in ["endpoint-overwritten", "endpoint-elsewhere"] {
        let scenario = scenario(name);
        for seed in [1, 2, 3, 45, 49] {
            let (result, log) = play_at(&scenario, seed, Distance::Far);
            assert!(
                result.pass,
                "{name}, seed {seed}: {:#?}\n{log}",
                result.failures
            );
        }
    }
}

/// Who is named must be named for what the file does: left alone, no mesh has the roots that it is expected to have.
#[test]
fn no_scenario_holds_in_virtual_time_without_its_faults() {
    let mut held = Vec::new();
    let mut played = 0;
    for mut scenario in scenarios() {
        let expects = |expect: &Expect| !expect.roots.is_empty();
        let expects = scenario.expect.as_ref().is_some_and(expects);
        let faults = std::mem::take(&mut scenario.steps);
        if !expects || faults.is_empty() || StageKind::Sim.carries(&scenario).is_err() {
            continue;
        }
        played += 1;
        scenario.expect.as_mut().unwrap().within_s = 5.0;
        let (result, _) = play(&scenario, SEED);
        if result.pass {
            held.push(scenario.name);
        }
    }
    assert!(held.is_empty(), "{held:?}");
    assert!(played >= 40, "only {played} were played");
}

/// A stage that held whatever it is asked would prove nothing: each expectation turned round must fail, for the reason given.
#[test]
fn an_expectation_that_is_wrong_fails_in_virtual_time() {
    let failures = |edit: fn(&mut Scenario)| {
        let mut scenario = scenario("blocked-inbound-at-home");
        edit(&mut scenario);
        let (result, _) = play(&scenario, SEED);
        assert!(!result.pass, "{result}");
        result.failures.join("; ")
    };
    let other = failures(|scenario| {
        scenario.expect.as_mut().unwrap().roots = vec![ExpectedRoot {
            code: "udp-51820-blocked-inbound".to_owned(),
            subject: "home-cp".to_owned(),
        }];
    });
    assert!(
        other.contains("not named as root: udp-51820-blocked-inbound (home-cp)"),
        "{other}"
    );
    let never = failures(|scenario| {
        let absent = &mut scenario.expect.as_mut().unwrap().absent;
        absent.push("udp-51820-blocked-inbound".to_owned());
    });
    assert!(never.contains("which it must never be"), "{never}");
    let soon = failures(|scenario| scenario.expect.as_mut().unwrap().within_s = 1.0);
    assert!(soon.contains("did not hold within 1 s"), "{soon}");
    let untouched = failures(|scenario| scenario.steps.clear());
    assert!(untouched.contains("not named as root"), "{untouched}");
    let unhealed = failures(|scenario| {
        let expect = scenario.expect.as_mut().unwrap();
        expect.gates_after = vec!["kubernetes-api".to_owned()];
    });
    assert!(unhealed.contains("not ready within"), "{unhealed}");
}

#[test]
fn a_scenario_plays_the_same_again_from_its_seed() {
    let scenario = scenario("path-flapping");
    let log = |seed| play(&scenario, seed).1;
    let first = log(3);
    assert!(first.lines().count() > 10, "{first}");
    assert_eq!(first, log(3));
    assert_ne!(first, log(4), "the seed decides nothing");
}

#[test]
fn a_command_that_the_simulator_does_not_know_is_the_reason_why_a_file_is_not_carried() {
    let reason = |step: &str| {
        let text = format!("name = \"x\"\nabout = \"y\"\n[[step]]\n{step}\n");
        let scenario = Scenario::parse(Path::new("x.toml"), &text).unwrap();
        StageKind::Sim.carries(&scenario)
    };
    assert_eq!(
        reason("in = \"home-router\"\nrun = \"conntrack -F\""),
        Ok(())
    );
    for (step, said) in [
        (
            "in = \"vps-2\"\nrun = \"conntrack -F\"",
            "what belongs to a site's router",
        ),
        (
            "in = \"vps-2\"\nrun = \"true\"",
            "`true` on vps-2 is not known",
        ),
        (
            "in = \"vps-2\"\nrun = \"ip link set eth0 down\"\nheal = \"reboot\"",
            "`reboot` on vps-2",
        ),
        (
            "in = \"vps-2\"\nrun = \"nft 'table inet x { chain c { type filter hook input priority 0; tcp dport 22 drop; }; }'\"",
            "`tcp dport 22 drop` in a rule",
        ),
        (
            "in = \"vps-2\"\nrun = \"nft 'table inet x { chain c { type filter hook input priority 0; udp dport 22 accept; }; }'\"",
            "`accept` in a rule",
        ),
        (
            "in = \"vps-2\"\nrun = \"wg set kubespan peer $(wg show kubespan endpoints | awk '/10.9.9.9:/ { print $1 }') remove\"",
            "no node has the address 10.9.9.9",
        ),
    ] {
        let reason = reason(step).unwrap_err();
        assert!(reason.contains(said), "{reason}");
    }
}
