//! `gate graph`, of a collector and of a file.

use std::{io::Write as _, path::Path};

use evidence::Phase;
use tempfile::NamedTempFile;

use crate::{
    fixture::{blocked_inbound, gate},
    program::{Run, ask, bare, run},
    server::{Canned, serve},
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
        "LEVEL  CHECK  RESTS ON  ASKS FOR              WHAT IT IS FOR\n\
         mesh   mesh   -         20 s without a break  it \"carries\"\n\
         api    none   mesh      -\n"
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

#[tokio::test]
async fn a_level_is_still_asked_beside_the_word_graph() {
    let address = serve(Canned::with_gate(gate("mesh", Phase::Ready)));
    assert_eq!(ask(address, "gate mesh").await.code, 0);
    assert_eq!(ask(address, "gate").await.code, 2);
    assert_eq!(ask(address, "gate mesh graph").await.code, 2);
}
