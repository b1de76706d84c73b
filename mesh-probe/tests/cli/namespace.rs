//! Runs a test in user, network and mount namespaces of its own, by starting the test's program again in them.

use std::{env, process::Command};

/// Set in the program that runs inside.
const INSIDE: &str = "MESH_PROBE_TEST_INSIDE_NAMESPACE";

/// Runs `body` of the test `name` where loopback is up, `/run` is empty, and nothing of this machine's network is there.
///
/// Without `tools` or namespaces the test fails if `REQUIRE_STAGE` has "netns", and says that it was skipped otherwise.
pub(crate) fn inside(name: &str, tools: &[&str], body: impl Future<Output = ()>) {
    if env::var_os(INSIDE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(body);
        return;
    }
    if let Some(missing) = missing(tools) {
        skip(name, &missing);
        return;
    }
    let setup = "mount -t tmpfs tmpfs /run && ip link set lo up && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["-Urnm", "--kill-child", "sh", "-ec", setup, "sh"])
        .arg(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // A misspelt name would run no test at all, and that successfully.
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{name} failed inside its namespace:\n{text}");
}

/// Runs a shell script that must succeed.
pub(crate) fn sh(script: &str) {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
}

fn missing(tools: &[&str]) -> Option<String> {
    for tool in ["unshare", "mount", "ip"].iter().chain(tools) {
        if !succeeds("sh", &["-c", &format!("command -v {tool}")]) {
            return Some(format!("{tool} is not installed"));
        }
    }
    let allowed = succeeds("unshare", &["-Urnm", "true"]);
    (!allowed).then(|| "user and network namespaces are not allowed here".to_owned())
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

fn skip(name: &str, why: &str) {
    let stages = env::var("REQUIRE_STAGE").unwrap_or_default();
    assert!(!stages.contains("netns"), "{name} cannot run: {why}");
    eprintln!("SKIPPED: {name}: {why}");
}
