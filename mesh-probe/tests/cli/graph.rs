//! `gate graph`, of a collector and of a file.

use std::{io::Write as _, path::Path};

use diagnosis::Expectation;
use evidence::Phase;
use mesh_collector::{Config, run as collect};
use proto::transport::listen;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{
    exit_codes::nobody,
    fixture::{blocked_inbound, gate},
    program::{Run, ask, bare, run},
    server::{Canned, KEY, key, serve},
};

fn written(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

async fn of_file(text: &str, format: &str) -> Run {
    of_path(written(text).path(), format).await
}

async fn of_path(path: &Path, format: &str) -> Run {
    let mut command = bare();
    command.args(["gate", "graph", "-o", format, "--file"]);
    command.arg(path);
    run(command).await
}

const FILE: &str = "\
levels:
- name: mesh
  title: it \"carries\"
  check: mesh
  stable_for: 20s
- name: api
  depends_on: [{level: mesh, cost: 4}]
";

#[tokio::test]
async fn a_collector_tells_its_graph_with_the_states() {
    let address = serve(Canned::saying(blocked_inbound()));
    let table = ask(address, "gate graph").await;
    assert_eq!(table.code, 0, "{table:?}");
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert!(lines[0].starts_with("LEVEL           READY"), "{table:?}");
    assert!(
        lines[2].starts_with("wireguard       NOT READY  ready"),
        "{table:?}"
    );
    let document = ask(address, "gate graph -o json").await.json();
    assert_eq!(document["kind"], "GateGraph");
    assert_eq!(document["levels"][1]["state"]["phase"], "not-ready");
    assert_eq!(document["source"], "collector");
    // This one is of a version that does not tell what holds for every level: then nothing is said of it.
    assert!(document["expect"].is_null(), "{document}");
    assert!(
        document["levels"][1]["effectiveMinNodes"].is_null(),
        "{document}"
    );
    assert!(!table.stdout.contains("every level"), "{table:?}");
    let names = ask(address, "gate graph -o name").await;
    assert!(
        names.stdout.starts_with("gate/underlay\ngate/wireguard\n"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_file_is_printed_without_any_collector() {
    let table = of_file(FILE, "wide").await;
    assert_eq!(
        table.stdout,
        "LEVEL  CHECK  RESTS ON  ASKS FOR                       WHAT IT IS FOR\n\
         mesh   mesh   -         20 s without a break, 2 nodes  it \"carries\"\n\
         api    none   mesh      -\n\
         every level with a check: at least 2 nodes report\n"
    );
    let mermaid = of_file(FILE, "mermaid").await;
    assert_eq!(
        mermaid.stdout,
        "flowchart BT\n  l0[\"mesh<br/>it #quot;carries#quot;\"]\n  l1[\"api\"]\n  l0 -->|cost 4| l1\n"
    );
    let dot = of_file(FILE, "dot").await;
    assert_eq!(
        dot.stdout,
        "digraph gates {\n  rankdir=BT;\n  node [shape=box];\n  \"mesh\" [label=\"mesh\\nit \\\"carries\\\"\"];\n  \
         \"api\" [label=\"api\"];\n  \"mesh\" -> \"api\" [label=\"cost 4\"];\n}\n"
    );
    assert_eq!(
        of_file(FILE, "json").await.json()["levels"][0]["stableMs"],
        20_000
    );
}

const EXPECTING: &str = "\
expect: {min_nodes: 4, nodes: [home-cp, vps-1]}
levels:
- {name: mesh, check: mesh}
- {name: mtu, check: mtu, expect: {min_nodes: 5}}
- {name: api, depends_on: [mtu]}
";

/// A whole collector that was given this file.
fn collector(text: &str) -> String {
    let file = diagnosis::graph::parse("gates.yaml", text).unwrap();
    let expectation = Expectation {
        min_nodes: file.min_nodes.unwrap(),
        names: file.nodes,
        graph: file.graph,
    };
    let (listener, _) = listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = Config::new(key(KEY), expectation);
    tokio::spawn(collect(listener, config, std::future::pending()));
    address
}

#[tokio::test]
async fn what_holds_for_every_level_is_told_of_a_file_and_of_a_collector() {
    const LINE: &str =
        "\nevery level with a check: at least 4 nodes report, and home-cp, vps-1 among them\n";
    let file = of_file(EXPECTING, "table").await;
    assert_eq!(
        file.stdout,
        "LEVEL  CHECK  RESTS ON  ASKS FOR\n\
         mesh   mesh   -         4 nodes\n\
         mtu    mtu    -         5 nodes\n\
         api    none   mtu       -"
            .to_owned()
            + LINE
    );
    let address = collector(EXPECTING);
    let running = ask(&address, "gate graph").await;
    assert!(running.stdout.ends_with(LINE), "{running:?}");
    let from_file = of_file(EXPECTING, "json").await.json();
    let from_collector = ask(&address, "gate graph -o json").await.json();
    for document in [&from_file, &from_collector] {
        let expect = json!({"minNodes": 4, "nodes": ["home-cp", "vps-1"]});
        assert_eq!(document["expect"], expect, "{document}");
        let levels = document["levels"].as_array().unwrap();
        let least: Vec<&Value> = levels.iter().map(|one| &one["effectiveMinNodes"]).collect();
        assert_eq!(least, [&json!(4), &json!(5), &Value::Null], "{document}");
        let own: Vec<&Value> = levels.iter().map(|one| &one["minNodes"]).collect();
        assert_eq!(own, [&json!(0), &json!(5), &json!(0)], "{document}");
    }
    assert_eq!(from_file["source"], "file");
    assert_eq!(from_collector["source"], "collector");
    let one = of_file(
        "expect: {min_nodes: 1}\nlevels: [{name: a, check: mesh}]\n",
        "table",
    )
    .await;
    assert_eq!(
        one.stdout,
        "LEVEL  CHECK  RESTS ON  ASKS FOR\na      mesh   -         1 node\n\
         every level with a check: at least 1 node reports\n"
    );
}

#[tokio::test]
async fn without_a_collector_it_is_the_built_in_chain_and_that_is_said() {
    let mut command = bare();
    command.args(["gate", "graph"]);
    let table = run(command).await;
    assert_eq!(table.code, 0, "{table:?}");
    assert_eq!(
        table.stderr,
        "no collector is given: this is the built-in graph, as a collector without --gates has it\n"
    );
    let names: Vec<&str> = table.stdout.lines().skip(1).collect();
    assert!(names[0].starts_with("underlay "), "{table:?}");
    assert_eq!(
        names.last(),
        Some(&"every level with a check: at least 2 nodes report")
    );
    let mut command = bare();
    command.args(["gate", "graph", "-o", "json"]);
    let document = run(command).await.json();
    assert_eq!(document["source"], "built-in");
    assert_eq!(
        document["levels"].as_array().unwrap().len(),
        names.len() - 1
    );
    // One that is given and away is no reason to show another graph.
    let away = ask(nobody(), "gate graph").await;
    assert_eq!((away.code, away.stdout.as_str()), (3, ""), "{away:?}");
}

#[tokio::test]
async fn what_draws_a_graph_reads_a_title_as_it_is_written() {
    let text = "levels: [{name: a, check: mesh, title: 'the #1 \"b\" c\\d & <e> #quot; f\\'}]\n";
    let mermaid = of_file(text, "mermaid").await;
    assert_eq!(
        mermaid.stdout,
        "flowchart BT\n  l0[\"a<br/>the #35;1 #quot;b#quot; c\\d #amp; #lt;e#gt; #35;quot; f\\\"]\n"
    );
    let dot = of_file(text, "dot").await;
    assert_eq!(
        dot.stdout,
        "digraph gates {\n  rankdir=BT;\n  node [shape=box];\n  \
         \"a\" [label=\"a\\nthe #1 \\\"b\\\" c\\\\d &amp; <e> #quot; f\\\\\"];\n}\n"
    );
}

#[tokio::test]
async fn a_file_with_mistakes_is_2_and_all_of_them_are_told() {
    let text =
        "levels:\n- name: a\n  depends_on: [b]\n- name: b\n  depends_on: [a]\n  check: mash\n";
    let file = written(text);
    let run = of_path(file.path(), "table").await;
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    let lines: Vec<&str> = run.stderr.lines().collect();
    assert_eq!(lines[0], "error: the gate graph cannot be used:");
    for (line, says) in [
        (
            lines[1],
            ":5: levels[1].depends_on[0]: circular: a -> b -> a",
        ),
        (lines[2], ":6: levels[1].check: expected one of"),
    ] {
        let rest = line.strip_prefix(&*file.path().to_string_lossy());
        assert!(rest.is_some_and(|rest| rest.starts_with(says)), "{run:?}");
    }
    assert_eq!(lines.len(), 3, "{run:?}");
    let mut command = bare();
    command.args(["gate", "graph", "--file", "/nonexistent/gates.yaml"]);
    let missing = crate::program::run(command).await;
    assert_eq!(missing.code, 2);
    assert!(
        missing.stderr.contains("/nonexistent/gates.yaml"),
        "{missing:?}"
    );
}

/// The examples of a page are what the program prints.
#[tokio::test]
async fn the_page_shows_what_is_printed() {
    const PAGE: &str = include_str!("../../../docs/gates.md");
    const MISTAKEN: &str = "\
# expect:
#   min_nodes: 4
levels:
  - name: a
    depends_on: [b]
    check: mash
  - name: b
    title: rests on what rests on it
    depends_on: [a]
";
    let begin = PAGE.split("```yaml\n").nth(1).unwrap();
    let file = begin.split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    for (text, code) in [(file, 0), (MISTAKEN, 2)] {
        std::fs::write(folder.path().join("gates.yaml"), text).unwrap();
        let mut command = bare();
        command.current_dir(folder.path());
        command.args(["gate", "graph", "--file", "gates.yaml"]);
        let printed = run(command).await;
        assert_eq!(printed.code, code, "{printed:?}");
        let lines = printed.stdout.lines().chain(printed.stderr.lines().skip(1));
        let shown: Vec<String> = lines.map(|line| format!("    {line}\n")).collect();
        let shown = shown.concat();
        assert!(PAGE.contains(&shown), "docs/gates.md lacks:\n{shown}");
    }
}

#[tokio::test]
async fn a_level_is_still_asked_beside_the_word_graph() {
    let address = serve(Canned::with_gate(gate("mesh", Phase::Ready)));
    assert_eq!(ask(address, "gate mesh").await.code, 0);
    assert_eq!(ask(address, "gate").await.code, 2);
    assert_eq!(ask(address, "gate mesh graph").await.code, 2);
}
