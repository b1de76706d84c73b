//! Runs a test inside user, network and mount namespaces of its own, by starting the test's program again in them.

use std::{env, process::Command, time::Duration};

/// Set in the program that runs inside.
const INSIDE: &str = "SOURCES_TEST_INSIDE_NAMESPACE";

/// How long any single condition may take to become true.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// Runs `body` of the test `name` in new namespaces that have an empty `/run/wireguard` and loopback only.
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
    let program = env::current_exe().expect("the path of this program");
    let setup =
        "mount -t tmpfs tmpfs /run && mkdir /run/wireguard && ip link set lo up && exec \"$@\"";
    let output = Command::new("unshare")
        .args(["-Urnm", "--kill-child", "sh", "-ec", setup, "sh"])
        .arg(program)
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

fn missing(tools: &[&str]) -> Option<String> {
    for tool in ["unshare", "mount", "ip"].iter().chain(tools) {
        let found = run_quietly("sh", &["-c", &format!("command -v {tool}")]);
        if !found {
            return Some(format!("{tool} is not installed"));
        }
    }
    let namespaces = run_quietly("unshare", &["-Urnm", "true"]);
    (!namespaces).then(|| "user and network namespaces are not allowed here".to_owned())
}

fn run_quietly(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}

#[expect(clippy::print_stderr, reason = "a skipped test must be loud")]
fn skip(name: &str, missing: &str) {
    let required = env::var("REQUIRE_STAGE").is_ok_and(|stages| stages.contains("netns"));
    assert!(!required, "{name} cannot run: {missing}");
    eprintln!("SKIPPED: {name}: {missing}");
}

/// Runs a shell script and gives back what it printed.
pub(crate) fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output();
    let output = output.expect("sh starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script}: {errors}");
    String::from_utf8(output.stdout).expect("tools print UTF-8")
}
