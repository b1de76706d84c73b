//! What is written, and what is refused.

use std::{fs, path::Path, process::Command};

use diagnosis::graph::Graph;
use mesh_probe::bundle::{BundleError, FORMAT, parse};

use crate::{bundle, support::cases};

#[test]
fn whatever_is_written_is_read_and_judged_the_same() {
    for case in cases::all() {
        let written = bundle(&case);
        let text = written.to_text().unwrap();
        let read = parse(text.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", case.title));
        assert_eq!(read, written, "{}", case.title);
        assert_eq!(read.judge(), case.lab.verdict(), "{}", case.title);
        assert_eq!(read.to_text().unwrap(), text, "{}", case.title);
    }
}

fn text() -> String {
    let case = cases::all().next().expect("the table has rows");
    bundle(&case).to_text().unwrap()
}

fn refusal(text: &str) -> String {
    match parse(text.as_bytes()) {
        Ok(_) => panic!("taken: {text}"),
        Err(error) => match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

#[test]
fn a_file_that_was_cut_off_anywhere_is_refused() {
    let text = text();
    let lines: Vec<&str> = text.lines().collect();
    for count in 0..lines.len() {
        let cut = lines[..count].join("\n");
        assert!(parse(cut.as_bytes()).is_err(), "{count} lines");
    }
    let half = &text[..text.len() / 2];
    assert!(parse(half.as_bytes()).is_err());
    let but_the_last = lines[..lines.len() - 1].join("\n");
    let why = refusal(&but_the_last);
    assert!(why.contains("it ended before it was complete"), "{why}");
}

#[test]
fn what_is_no_bundle_or_of_another_format_is_refused_with_its_name() {
    for other in [
        "",
        "garbage",
        "{}",
        "{\"kind\":\"Gate\",\"format\":1}",
        "\n\n",
    ] {
        assert_eq!(
            refusal(other),
            "it is no bundle: its first line does not say that it is one",
            "{other:?}"
        );
    }
    let later = text().replacen(&format!("\"format\":{FORMAT}"), "\"format\":7", 1);
    assert_eq!(
        refusal(&later),
        "it has format 7, this mesh-probe reads 1: use the mesh-probe that wrote it (mesh-probe 0.0.1)"
    );
    assert!(matches!(parse(&[0xff, 0xfe]), Err(BundleError::NoText(0))));
}

#[test]
fn a_line_that_is_wrong_is_named_by_its_number() {
    let text = text();
    let edited = |from: &str, to: &str| refusal(&text.replacen(from, to, 1));
    assert!(edited("\"Identity\":", "\"Nonsense\":").starts_with("line 3: expected a fact"));
    assert!(edited("\"minNodes\":", "\"other\":").starts_with("line 1: expected the header"));
    let long = format!("\"boot_id\":\"{}", "x".repeat(600));
    let why = edited("\"boot_id\":\"", &long);
    assert!(why.contains("a fact that no agent may state"), "{why}");
    assert!(why.contains("at most 512 bytes"), "{why}");
    let twice = text.replacen("\"node\":\"vps-1\"", "\"node\":\"home-cp\"", 1);
    assert!(refusal(&twice).contains("a node for the second time"));
    let more = format!("{text}{{\"end\":{{\"nodes\":4,\"facts\":1}}}}\n");
    assert!(refusal(&more).contains("something after the end"));
}

/// The bundle with its header changed.
fn with_header(change: impl Fn(&mut serde_json::Value)) -> String {
    let text = text();
    let (first, rest) = text.split_once('\n').unwrap();
    let mut header = serde_json::from_str(first).unwrap();
    change(&mut header);
    format!("{header}\n{rest}")
}

#[test]
fn a_bundle_without_a_graph_is_judged_by_the_built_in_one() {
    let case = cases::all().next().expect("the table has rows");
    let bare = with_header(|header| {
        let graph = header.as_object_mut().unwrap().remove("graph");
        let levels = graph.unwrap().as_array().unwrap().len();
        assert_eq!(levels, Graph::default().levels().len());
    });
    let read = parse(bare.as_bytes()).unwrap();
    assert_eq!(read.view.expectation.graph, Graph::default());
    assert_eq!(read.judge(), case.lab.verdict());
}

#[test]
fn a_graph_that_is_not_sound_is_refused_with_what_is_wrong() {
    type Change = fn(&mut serde_json::Value);
    let refused = |change: Change| refusal(&with_header(|header| change(&mut header["graph"])));
    let cases: [(Change, &str); 8] = [
        (
            |graph| graph[1]["check"] = "phlogiston".into(),
            "level 2: check: expected one of underlay, wireguard, mesh, mtu, discovery, none, got \"phlogiston\"",
        ),
        (
            |graph| {
                graph[0]["dependsOn"] = serde_json::json!([{"level": "wireguard", "cost": 1}]);
            },
            "circular: underlay -> wireguard -> underlay",
        ),
        (
            |graph| graph[1]["name"] = "underlay".into(),
            "level 2: there is a level \"underlay\" already",
        ),
        (
            |graph| graph[1]["dependsOn"][0]["level"] = "cellar".into(),
            "level 2: there is no level \"cellar\"",
        ),
        (
            |graph| graph[1]["dependsOn"][0]["cost"] = 0.into(),
            "level 2: cost: expected a number from 1 to 1000, got 0",
        ),
        (
            |graph| graph[0]["nodes"] = serde_json::json!(["vps-1", "vps-1"]),
            "level 1: nodes: \"vps-1\" is named already",
        ),
        (
            |graph| graph[0]["freshMs"] = 1.into(),
            "level 1: fresh_within: expected 2s to 4m, got 1 ms",
        ),
        (
            |graph| {
                let level = graph[0].clone();
                *graph = vec![level; 65].into();
            },
            "expected 1 to 64 levels, got 65",
        ),
    ];
    for (change, expected) in cases {
        let why = refused(change);
        assert!(
            why.starts_with("line 1: its gate graph is not sound: "),
            "{why}"
        );
        assert!(why.contains(expected), "{why}");
    }
    let why = refused(|graph| {
        for level in graph.as_array_mut().unwrap() {
            level["check"] = "phlogiston".into();
        }
    });
    assert!(why.ends_with("; and 7 more"), "{why}");
}

fn replay(file: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mesh-probe"))
        .env_clear()
        .arg("replay")
        .arg(file)
        .args(more)
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
fn a_bundle_of_another_version_is_replayed_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mesh.jsonl");
    let case = cases::all().next().expect("the table has rows");
    let mut old = bundle(&case);
    old.collector = "99.1.0".to_owned();
    fs::write(&file, old.to_text().unwrap()).unwrap();
    let (code, screen, _) = replay(&file, &[]);
    assert_eq!(code, Some(0));
    assert!(
        screen.contains("Note: the collector was version 99.1.0, this is "),
        "{screen}"
    );
    assert!(screen.contains("PROBLEM 1: "), "{screen}");
    let (_, pairs, _) = replay(&file, &["--pairs"]);
    assert!(pairs.contains("BROKEN-AT"), "{pairs}");
}

#[test]
fn a_file_that_cannot_be_replayed_is_a_usage_error_that_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("other.jsonl");
    let (code, _, messages) = replay(&file, &[]);
    assert_eq!(code, Some(2), "{messages}");
    assert!(messages.contains("failed to read "), "{messages}");
    fs::write(&file, "no bundle").unwrap();
    let (code, _, messages) = replay(&file, &[]);
    assert_eq!(code, Some(2), "{messages}");
    assert!(messages.contains("it is no bundle"), "{messages}");
}
