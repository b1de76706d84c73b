//! Runs a test inside user, network and mount namespaces of its own, by starting the test's program again in them.

use std::{env, process::Command, time::Duration};

/// Set in the program that runs inside.
const INSIDE: &str = "PROBE_IO_TEST_INSIDE_NAMESPACE";

/// How long anything that is waited for may take.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// Runs `body` of the test `name` in new namespaces where loopback is up and `/run` is empty.
///
/// Without `tools` or namespaces the test fails if `REQUIRE_STAGE` has "netns", and says that it was skipped otherwise.
pub(crate) fn inside(name: &str, tools: &[&str], body: impl Future<Output = ()>) {
    if env::var_os(INSIDE).is_some() {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
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
        .arg(env::current_exe().expect("the path of this program"))
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare starts");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    // A misspelt name would run no test at all, and that successfully.
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{name} failed inside its namespace:\n{text}");
}

/// Runs a shell script that must succeed.
pub(crate) fn sh(script: &str) {
    let output = Command::new("sh")
        .args(["-ec", script])
        .output()
        .expect("sh starts");
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
    Command::new(program)
        .args(arguments)
        .output()
        .is_ok_and(|output| output.status.success())
}

#[expect(clippy::print_stderr, reason = "a skipped test must be loud")]
fn skip(name: &str, missing: &str) {
    let required = env::var("REQUIRE_STAGE").is_ok_and(|stages| stages.contains("netns"));
    assert!(!required, "{name} cannot run: {missing}");
    eprintln!("SKIPPED: {name}: {missing}");
}
