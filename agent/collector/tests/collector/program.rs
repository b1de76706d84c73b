//! The program: its exit codes, and how a signal ends it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mesh-collector"));
    command
        .args(arguments)
        .env_remove("MESH_KEY")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The exit code, within a bound.
fn ended(child: &mut Child) -> Option<i32> {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("the program did not end");
}

fn failed(mut command: Command) -> (Option<i32>, String) {
    let mut child = command.spawn().unwrap();
    let code = ended(&mut child);
    let mut text = String::new();
    child.stderr.unwrap().read_to_string(&mut text).unwrap();
    (code, text)
}

#[test]
fn a_missing_mesh_key_and_a_bad_name_are_usage_errors() {
    let (code, text) = failed(program(&["--listen", "127.0.0.1:0"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--mesh-key-file"), "{text}");
    let (code, text) = failed(program(&["--expect", "vps-1,vps 2"]));
    assert_eq!(code, Some(2), "{text}");
    let (code, text) = failed(program(&["--min-nodes", "0"]));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn a_gate_graph_with_mistakes_is_a_usage_error_that_tells_them_all_once() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text =
        "levels:\n- name: a\n  depends_on: [b]\n  check: mash\n- name: b\n  depends_on: [a]\n";
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let (code, text) = failed(program(&["--gates", path]));
    assert_eq!(code, Some(2), "{text}");
    for told in [
        ":4: levels[0].check: expected one of",
        ":6: levels[1].depends_on[0]: circular: a -> b -> a",
    ] {
        assert_eq!(text.matches(told).count(), 1, "{text}");
    }
    let (code, text) = failed(program(&["--gates", "/nonexistent/gates.yaml"]));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn http_beyond_loopback_has_to_be_asked_for() {
    let (code, text) = failed(program(&["--http", "0.0.0.0:0"]));
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("--http-anywhere"), "{text}");
    let (code, text) = failed(program(&["--http-details"]));
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn an_export_that_cannot_be_is_a_usage_error() {
    for (arguments, told) in [
        (
            ["--otlp-endpoint", "http://192.0.2.1:4317"],
            "--otlp-insecure",
        ),
        (
            ["--otlp-endpoint", "192.0.2.1:4317"],
            "expected http://HOST:PORT",
        ),
    ] {
        let (code, text) = failed(program(&arguments));
        assert_eq!(code, Some(2), "{text}");
        assert!(text.contains(told), "{text}");
    }
    let mut command = program(&["--otlp-endpoint", "http://127.0.0.1:4317"]);
    command.env("OTEL_EXPORTER_OTLP_HEADERS", "a=b,c2VjcmV0");
    let (code, text) = failed(command);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("OTEL_EXPORTER_OTLP_HEADERS: item 2"),
        "{text}"
    );
    assert!(!text.contains("c2VjcmV0"), "{text}");
}

#[test]
fn a_key_file_that_cannot_be_read_is_an_error_with_its_cause() {
    let (code, text) = failed(program(&["--mesh-key-file", "/nonexistent/key"]));
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("/nonexistent/key: No such file"), "{text}");
}

#[test]
fn a_signal_ends_the_program_with_success() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = program(&["--listen", "127.0.0.1:0", "--expect", "vps-1,vps-2"]);
        let mut child = command.env("MESH_KEY", KEY).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let serves = lines.any(|line| line.unwrap().contains("collector serves"));
        assert!(serves);
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(ended(&mut child), Some(0));
        assert!(lines.any(|line| line.unwrap().contains("collector stopped")));
    }
}

/// What it says until it serves.
fn said_before_serving(arguments: &[&str]) -> Vec<String> {
    let mut command = program(arguments);
    let mut child = command.env("MESH_KEY", KEY).spawn().unwrap();
    let mut said = Vec::new();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in lines.by_ref() {
        said.push(line.unwrap());
        if said.last().is_some_and(|line| line.contains("serves")) {
            break;
        }
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(ended(&mut child), Some(0), "{said:#?}");
    said
}

#[test]
fn a_store_that_cannot_be_used_is_told_and_the_collector_serves() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let said = said_before_serving(&["--listen", "127.0.0.1:0", "--store", path]);
    let told = said
        .iter()
        .filter(|line| line.contains("no store: failed to make the folder"));
    assert_eq!(told.count(), 1, "{said:#?}");
    let said = said_before_serving(&["--listen", "127.0.0.1:0"]);
    let told = said
        .iter()
        .filter(|line| line.contains("kept in memory only"));
    assert_eq!(told.count(), 1, "{said:#?}");
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_it_may_be() {
    let mut command = Command::new("sh");
    let script = "ulimit -S -n 64; exec \"$0\" --listen 127.0.0.1:0";
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_mesh-collector")])
        .env("MESH_KEY", KEY)
        .env("RUST_LOG", "info")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let serves = lines.any(|line| line.unwrap().contains("collector serves"));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(serves);
    let limits = limits.unwrap();
    let files = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let values: Vec<_> = files.unwrap().split_whitespace().collect();
    assert_eq!(values[3], values[4], "{files:?}");
}
