//! What gate and wait print for other programs.

use evidence::{Gate, Phase};
use serde_json::{Value, json};

use crate::{
    exit_codes::nobody,
    fixture::gate,
    program::{ask, bare, run},
    server::{Canned, KEY_TEXT, serve},
};

fn with(phase: Phase) -> std::net::SocketAddr {
    serve(Canned::with_gate(gate("mesh", phase)))
}

#[tokio::test]
async fn yaml_is_the_same_document_as_json() {
    for command in ["gate mesh", "gate graph", "status"] {
        let address = with(Phase::NotReady);
        let as_json = ask(address, &format!("{command} -o json")).await;
        let as_yaml = ask(address, &format!("{command} -o yaml")).await;
        let parsed: Value = serde_saphyr::from_str(&as_yaml.stdout).unwrap();
        assert_eq!(parsed, as_json.json(), "{command}");
        assert_eq!(as_yaml.code, as_json.code, "{command}");
    }
    let error = ask(nobody(), "status -o yaml").await;
    let parsed: Value = serde_saphyr::from_str(&error.stdout).unwrap();
    assert_eq!((error.code, &parsed["kind"]), (3, &json!("Error")));
}

#[tokio::test]
async fn jsonl_prints_one_line_for_each_state_of_a_wait_and_one_for_its_end() {
    let run = ask(
        with(Phase::NotReady),
        "wait mesh -o jsonl --wait-timeout 3s",
    )
    .await;
    let lines: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told: Vec<(&Value, &Value)> = lines
        .iter()
        .map(|line| (&line["answer"], &line["timedOut"]))
        .collect();
    let no = json!("not-ready");
    assert_eq!(told, [(&no, &json!(false)), (&no, &json!(true))], "{run:?}");
    assert_eq!(run.code, 4);
}

#[tokio::test]
async fn a_name_is_printed_only_for_yes() {
    let yes = ask(with(Phase::Ready), "gate mesh -o name").await;
    assert_eq!((yes.code, yes.stdout.as_str()), (0, "gate/mesh\n"));
    let no = ask(with(Phase::NotReady), "gate mesh -o name").await;
    assert_eq!((no.code, no.stdout.as_str()), (1, ""));
}

#[tokio::test]
async fn terraform_gets_a_flat_map_of_texts_and_never_a_failure_that_waiting_may_end() {
    for (phase, ready, state) in [
        (Phase::Ready, "true", "ready"),
        (Phase::NotReady, "false", "not-ready"),
        (Phase::Unknown, "false", "unknown"),
    ] {
        let run = ask(with(phase), "gate mesh -o terraform-external").await;
        assert_eq!(run.code, 0, "{run:?}");
        let map = run.json();
        let fields = map.as_object().unwrap();
        assert!(fields.values().all(Value::is_string), "{map}");
        assert_eq!(
            (&map["ready"], &map["state"]),
            (&json!(ready), &json!(state))
        );
        assert_eq!(map["reason"] == "", phase == Phase::Ready, "{map}");
    }
    let away = ask(nobody(), "gate mesh -o terraform-external --timeout 1s").await;
    assert_eq!((away.code, &away.json()["ready"]), (0, &json!("false")));
    let waited = ask(
        with(Phase::NotReady),
        "gate mesh -o terraform-external --wait-timeout 1s",
    );
    let waited = waited.await;
    assert_eq!(
        (waited.code, &waited.json()["timed_out"]),
        (0, &json!("true"))
    );
}

#[tokio::test]
async fn terraform_fails_for_mistakes_and_where_it_is_asked_to() {
    let mistake = ask(with(Phase::Ready), "gate mash -o terraform-external").await;
    assert_eq!(
        (mistake.code, mistake.stdout.as_str()),
        (2, ""),
        "{mistake:?}"
    );
    let required = ask(
        with(Phase::NotReady),
        "gate mesh -o terraform-external --require",
    );
    let required = required.await;
    assert_eq!((required.code, required.stdout.as_str()), (1, ""));
    assert!(required.stderr.contains("mesh: NOT READY"), "{required:?}");
    let away = ask(
        nobody(),
        "gate mesh -o terraform-external --require --timeout 1s",
    )
    .await;
    assert_eq!((away.code, away.stdout.as_str()), (3, ""), "{away:?}");
}

#[tokio::test]
async fn nagios_gets_one_line_and_its_own_codes() {
    for (phase, code, start) in [
        (
            Phase::Ready,
            0,
            "MESH OK - mesh: ready | ready=1;;;0;1 may_start=1;;;0;1\n",
        ),
        (
            Phase::NotReady,
            2,
            "MESH CRITICAL - mesh: NOT READY: 2 of 12 directions",
        ),
        (
            Phase::Unknown,
            3,
            "MESH UNKNOWN - mesh: cannot tell whether it is ready",
        ),
    ] {
        let run = ask(with(phase), "gate mesh --nagios").await;
        assert_eq!(run.code, code, "{run:?}");
        assert!(run.stdout.starts_with(start), "{run:?}");
        assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    }
    for (target, arguments) in [
        (nobody().to_string(), "gate mesh --nagios --timeout 1s"),
        (with(Phase::Ready).to_string(), "gate mash --nagios"),
        (
            with(Phase::Ready).to_string(),
            "gate mesh --nagios --wait-timeout 1",
        ),
    ] {
        let run = ask(target, arguments).await;
        assert_eq!(run.code, 3, "{run:?}");
        assert!(run.stdout.starts_with("MESH UNKNOWN - "), "{run:?}");
        assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
    }
}

#[tokio::test]
async fn a_bar_in_a_reason_begins_no_performance_data() {
    let odd = Gate {
        reasons: vec!["a | b\nc".to_owned()],
        ..gate("mesh", Phase::NotReady)
    };
    let run = ask(serve(Canned::with_gate(odd)), "gate mesh --nagios").await;
    assert_eq!(run.stdout.matches('|').count(), 1, "{run:?}");
    assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
}

/// A reason that counts, and one that names a finding.
fn with_a_cause() -> Gate {
    Gate {
        reasons: vec![
            "2 of 12 directions fail at or below steering".to_owned(),
            "udp-51820-blocked-inbound: home-worker".to_owned(),
            "home-cp without echo: not read yet".to_owned(),
        ],
        ..gate("mesh", Phase::NotReady)
    }
}

#[tokio::test]
async fn one_line_has_all_reasons_and_begins_with_the_finding() {
    const SAYS: &str = "mesh: NOT READY: udp-51820-blocked-inbound: home-worker; \
                        2 of 12 directions fail at or below steering; home-cp without echo: not read yet";
    let address = serve(Canned::with_gate(with_a_cause()));
    let nagios = ask(address, "gate mesh --nagios").await;
    assert_eq!(
        nagios.stdout,
        format!("MESH CRITICAL - {SAYS} | ready=0;;;0;1 may_start=1;;;0;1\n")
    );
    let terraform = ask(address, "gate mesh -o terraform-external").await.json();
    assert_eq!(terraform["reason"], SAYS);
    assert_eq!(terraform["codes"], "udp-51820-blocked-inbound");
    let document = ask(address, "gate mesh -o json").await.json();
    assert_eq!(document["codes"], json!(["udp-51820-blocked-inbound"]));
    let both = ask(address, "gate mesh --nagios --require").await;
    assert_eq!(both.code, 3, "{both:?}");
    assert!(both.stdout.starts_with("MESH UNKNOWN - "), "{both:?}");
    let required = ask(address, "gate mesh -o terraform-external --require").await;
    assert_eq!((required.code, required.stderr), (1, format!("{SAYS}\n")));
    let ready = ask(with(Phase::Ready), "gate mesh -o terraform-external").await;
    assert_eq!(ready.json()["codes"], "");
}

#[tokio::test]
async fn more_reasons_than_fit_are_counted() {
    let many = Gate {
        reasons: (1..=20).map(|n| format!("reason {n}")).collect(),
        ..gate("mesh", Phase::NotReady)
    };
    let run = ask(serve(Canned::with_gate(many)), "gate mesh --nagios").await;
    assert!(
        run.stdout.contains("reason 15; reason 16; and 4 more | "),
        "{run:?}"
    );
}

#[tokio::test]
async fn a_plugin_tells_why_there_is_no_answer_with_all_causes() {
    let nobody = nobody();
    let away = ask(nobody, "gate mesh --nagios --timeout 1s").await;
    assert_eq!(
        away.stdout,
        format!(
            "MESH UNKNOWN - failed to reach the collector at {nobody}: failed to connect to {nobody}: Connection refused (os error 111)\n"
        )
    );
    let address = with(Phase::Ready);
    let mut command = bare();
    command
        .env("MESH_KEY", KEY_TEXT.replacen("Bw", "CA", 1))
        .args(["gate", "mesh", "--nagios", "--collector"])
        .arg(address.to_string());
    let other = run(command).await;
    assert_eq!(other.code, 3, "{other:?}");
    let says =
        format!("MESH UNKNOWN - {address} was reached, but is no collector of this mesh key: ");
    assert!(other.stdout.starts_with(&says), "{other:?}");
    assert!(other.stdout.contains("UnknownIssuer"), "{other:?}");
    assert_eq!(other.stdout.lines().count(), 1, "{other:?}");
    assert!(!other.stderr.contains("failed to reach"), "{other:?}");
}
