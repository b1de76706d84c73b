//! The runner itself, with stand-ins for the programs under test that say what the test wants to hear.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;

use crate::support::{TestLab, text};

const AGENT: &str = "#!/bin/sh\nexec sleep 600\n";
const COLLECTOR: &str = "#!/bin/sh\necho $$ > /run/collector\nexec sleep 600\n";
/// Accuses `vps-2` while it does not answer; knows nothing while the collector does not run.
const PROBE: &str = r#"#!/bin/sh
shift 4
phase=ready
findings=
kill -0 "$(cat /run/collector)" || exit 3
if ! ping -n -q -c 1 -W 1 203.0.113.12 > /dev/null; then
  phase=not-ready
  findings='{"code":"silent","subjectText":"vps-2","confidence":"likely","evidence":[{"text":"no answer"}],"suppressedBy":null}'
fi
echo "{\"verdict\":{\"findings\":[$findings],\"gates\":[{\"level\":\"mesh\",\"phase\":\"$phase\"}]}}"
"#;

/// Runs a scenario with the stand-ins and returns its result.
fn run(steps_and_expectation: &str) -> (Output, Value) {
    let folder = tempfile::tempdir().unwrap();
    stand_ins(folder.path());
    let file = folder.path().join("judged.toml");
    let head = "name = \"judged\"\nabout = \"x\"\n";
    fs::write(&file, format!("{head}{steps_and_expectation}")).unwrap();
    let lab = TestLab::new();
    let mut command = lab.command();
    command.env("MESH_BIN_DIR", folder.path());
    let output = command
        .arg("run")
        .arg(&file)
        .args(["-o", "json"])
        .output()
        .unwrap();
    let result = serde_json::from_slice(&output.stdout);
    let result = result.unwrap_or_else(|error| panic!("{error}: {}", text(&output)));
    assert!(lab.folders().is_empty(), "a run leaves nothing");
    (output, result)
}

fn stand_ins(folder: &Path) {
    for (name, script) in [
        ("mesh-agent", AGENT),
        ("mesh-collector", COLLECTOR),
        ("mesh-probe", PROBE),
    ] {
        let path: PathBuf = folder.join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

pub(crate) fn an_expected_verdict_passes_and_recovery_is_timed() {
    let (output, result) = run(r#"
        [[step]]
        fault = "stop-wireguard"
        node = "vps-2"
        [expect]
        roots = [{ code = "silent", subject = "vps-2" }]
        gates = { mesh = "not-ready" }
        hold_s = 1
    "#);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(result["pass"], true);
    assert_eq!(result["stage"], "namespaces");
    assert_eq!(result["roots"][0]["evidence"][0], "no answer");
    assert_eq!(result["gates"]["mesh"], "not-ready");
    assert!(
        result["time_to_verdict_s"].as_f64().unwrap() > 0.5,
        "{result}"
    );
    assert!(result["time_to_recovery_s"].is_number(), "{result}");
}

pub(crate) fn a_wrong_accusation_fails_with_both_names() {
    let (output, result) = run(r#"
        [[step]]
        in = "internet"
        run = "ip route replace blackhole 203.0.113.12"
        heal = "ip route replace 203.0.113.12 dev vps-2"
        [expect]
        roots = [{ code = "cut", subject = "vps-2" }]
        absent = ["silent"]
        within_s = 2
    "#);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert_eq!(
        (&result["pass"], &result["time_to_verdict_s"]),
        (&Value::Bool(false), &Value::Null)
    );
    let failures = result["failures"].to_string();
    for part in [
        "not named as root: cut (vps-2)",
        "wrongly named as root: silent (vps-2)",
        "must never be",
    ] {
        assert!(failures.contains(part), "{part} is not in {failures}");
    }
}

pub(crate) fn a_killed_agent_and_collector_come_back_when_healed() {
    let (output, result) = run(r#"
        [[step]]
        fault = "kill-agent"
        node = "vps-1"
        [[step]]
        at = 0.5
        fault = "kill-collector"
        [expect]
        within_s = 1
        hold_s = 0
    "#);
    assert_eq!(
        output.status.code(),
        Some(1),
        "nobody can say that all is well: {}",
        text(&output)
    );
    let failures = result["failures"].to_string();
    assert!(failures.contains("not readable"), "{failures}");
    assert!(result["time_to_recovery_s"].is_number(), "{result}");
}
