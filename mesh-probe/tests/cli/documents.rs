//! The JSON documents, as scripts read them.

use evidence::{Ladder, PairHealth, Phase, Verdict};
use serde_json::json;

use crate::{
    exit_codes::nobody,
    fixture::{blocked_inbound, gate},
    program::{ask, bare, run},
    server::{Canned, serve},
};

#[tokio::test]
async fn status_and_pairs_carry_the_whole_verdict() {
    let verdict = blocked_inbound();
    let address = serve(Canned::saying(verdict.clone()));
    for (command, kind) in [("status", "MeshStatus"), ("pairs", "MeshPairs")] {
        let document = ask(address, &format!("{command} -o json")).await.json();
        assert_eq!(document["apiVersion"], "mesh.talos/v1");
        assert_eq!(document["kind"], kind);
        let back: Verdict = serde_json::from_value(document["verdict"].clone()).unwrap();
        assert_eq!(back, verdict);
    }
}

#[tokio::test]
async fn pairs_can_be_asked_for_by_node_and_come_whole_though_in_pages() {
    let verdict = blocked_inbound();
    let address = serve(Canned::saying(verdict.clone()));
    let told = |document: serde_json::Value| -> Vec<Ladder> {
        serde_json::from_value(document["verdict"]["pairs"].clone()).unwrap()
    };
    let wanted = |which: fn(&Ladder) -> bool| {
        let mut pairs: Vec<Ladder> = verdict
            .pairs
            .iter()
            .filter(|one| which(one))
            .cloned()
            .collect();
        pairs.sort_by(|a, b| (&a.from, &a.to).cmp(&(&b.from, &b.to)));
        pairs
    };
    let of = ask(address, "pairs --node home-worker -o json")
        .await
        .json();
    let ends = |one: &Ladder| [&one.from, &one.to].map(ToString::to_string);
    let expected = wanted(|one| {
        [&one.from, &one.to]
            .iter()
            .any(|end| end.to_string() == "home-worker")
    });
    assert!(
        expected.len() > 2,
        "{:?}",
        expected.iter().map(ends).collect::<Vec<_>>()
    );
    assert_eq!(told(of), expected);
    let broken = ask(address, "pairs --broken -o json").await.json();
    assert_eq!(told(broken), wanted(|one| one.health() != PairHealth::Good));
    let one = ask(address, "pairs --from vps-1 --to home-worker -o wide").await;
    assert!(one.stdout.contains("vps-1 -> home-worker"), "{one:?}");
    let nobody = ask(address, "pairs --node vps-9").await;
    assert_eq!(nobody.code, 2, "{nobody:?}");
    assert!(
        nobody.stderr.contains("there is no node \"vps-9\""),
        "{nobody:?}"
    );
}

#[tokio::test]
async fn the_history_is_read_as_a_log_and_as_a_document() {
    let address = serve(Canned::saying(Verdict::default()));
    let screen = ask(address, "history").await;
    assert_eq!(screen.code, 0);
    let lines: Vec<&str> = screen.stdout.lines().collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(
        lines[1].starts_with("1 m 0 s  vps-1 -> home-worker"),
        "{lines:#?}"
    );
    assert!(lines[3].contains("ready -> not-ready"), "{lines:#?}");
    assert!(
        lines[4].starts_with("51 s ") && lines[4].ends_with("gone"),
        "{lines:#?}"
    );
    let document = ask(address, "history -o json").await.json();
    assert_eq!(document["kind"], "MeshHistory");
    assert_eq!(document["now"], 61_000);
    assert_eq!(
        document["transitions"][0],
        json!({"at": 1000, "change": {
            "kind": "pair",
            "from": {"kind": "named", "name": "vps-1"},
            "to": {"kind": "named", "name": "home-worker"},
            "good": false,
            "rung": "tunnel",
        }})
    );
}

#[tokio::test]
async fn a_gate_is_one_document_and_its_exit_code_stays() {
    let address = serve(Canned::with_gate(gate("mesh", Phase::NotReady)));
    let checked = ask(address, "gate mesh -o json").await;
    assert_eq!(checked.code, 1);
    assert_eq!(
        checked.json(),
        json!({
            "apiVersion": "mesh.talos/v1",
            "kind": "Gate",
            "question": "ready",
            "answer": "not-ready",
            "ready": false,
            "gate": {
                "level": "mesh",
                "phase": "not-ready",
                "mayStart": "ready",
                "dependsOn": ["wireguard"],
                "reasons": ["2 of 12 directions fail at underlay"],
                "terminal": false,
            },
            "timedOut": false,
            "codes": [],
        })
    );
    let waited = ask(address, "wait mesh --wait-timeout 1s -o json").await;
    assert_eq!((waited.code, &waited.json()["timedOut"]), (4, &json!(true)));
}

#[tokio::test]
async fn an_error_is_a_document_too() {
    let run = ask(nobody(), "status -o json").await;
    let document = run.json();
    assert_eq!(run.code, 3);
    assert_eq!(document["kind"], "Error");
    assert_eq!(document["exitCode"], 3);
    assert!(
        document["message"]
            .as_str()
            .unwrap()
            .starts_with("failed to reach")
    );
    assert_eq!(document["causes"][1], "Connection refused (os error 111)");
    assert!(run.stderr.starts_with("error: "), "{run:?}");
}

#[tokio::test]
async fn a_usage_error_is_a_document_too() {
    let run = ask(nobody(), "nonsense --output json").await;
    let document = run.json();
    assert_eq!((run.code, &document["exitCode"]), (2, &json!(2)));
    assert!(
        document["message"].as_str().unwrap().contains("nonsense"),
        "{document}"
    );
}

#[tokio::test]
async fn explain_lists_its_codes_as_a_document() {
    let mut command = bare();
    command.args(["explain", "--all", "-o", "json"]);
    let document = run(command).await.json();
    let codes = document["codes"].as_array().unwrap();
    assert_eq!(codes.len(), diagnosis::pages().len());
    for page in diagnosis::pages() {
        let mut command = bare();
        command.args(["explain", page.code, "-o", "json"]);
        let explained = run(command).await.json();
        assert_eq!(explained["kind"], "Explain");
        assert_eq!(explained["page"], page.text);
    }
}
