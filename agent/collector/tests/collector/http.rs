//! Paths, who is told what, and what is no request.

use std::collections::BTreeSet;

use crate::{
    fixture::{Collector, MESH, identity},
    web::{Answer, ask, get, get_tls, request},
};

async fn both(collector: &Collector, path: &str) -> (Answer, Answer) {
    (
        get(collector.bare, path).await,
        get(collector.detailed, path).await,
    )
}

#[tokio::test]
async fn without_credentials_only_phases_are_told() {
    let collector = Collector::start();
    let _agent = collector.reporting("vps-1").await;
    collector.until(|verdict| !verdict.nodes.is_empty()).await;
    for path in ["/mesh", "/findings"] {
        let (bare, detailed) = both(&collector, path).await;
        assert_eq!((bare.status, detailed.status), (403, 200), "{path}");
        assert!(!bare.body.contains("vps-1"), "{bare:?}");
        assert_eq!(get_tls(collector.https, path).await.status, 200, "{path}");
    }
    for path in [&format!("/gate/{MESH}"), "/gates"] {
        let (bare, detailed) = both(&collector, path).await;
        assert!(!bare.body.contains("nodes report"), "{bare:?}");
        assert!(detailed.body.contains("1 nodes report"), "{detailed:?}");
    }
    let (bare, detailed) = both(&collector, "/metrics").await;
    assert!(!bare.body.contains("vps-1"), "{bare:?}");
    assert!(
        detailed
            .body
            .contains("mesh_node_reporting{node=\"vps-1\"} 1\n"),
        "{detailed:?}"
    );
    assert!(bare.head.contains("text/plain; version=0.0.4"), "{bare:?}");
}

#[tokio::test]
async fn a_collector_that_can_answer_is_ready_and_alive_whatever_the_mesh_is() {
    let collector = Collector::start();
    for path in ["/livez", "/readyz"] {
        let (bare, _) = both(&collector, path).await;
        assert_eq!((bare.status, bare.body.as_str()), (200, "ok\n"), "{path}");
    }
}

#[tokio::test]
async fn findings_say_what_waiting_does_to_them() {
    let collector = Collector::judging_by(|watch, view, now| {
        let mut verdict = crate::fixture::picture(watch, view, now);
        for code in ["wireguard-psk-mismatch", "path-broken"] {
            verdict.findings.push(evidence::Finding {
                code: code.to_owned(),
                subject: evidence::Subject::Cluster,
                subject_text: "cluster".to_owned(),
                confidence: evidence::Confidence::Certain,
                summary: String::new(),
                evidence: Vec::new(),
                fixes: Vec::new(),
                could_also_be: Vec::new(),
                decided_by: None,
                explains: Vec::new(),
                explains_more: 0,
                suppressed_by: None,
            });
        }
        verdict
    });
    let document = get(collector.detailed, "/findings").await.json();
    assert_eq!(document["apiVersion"], "mesh.talos/v1");
    assert_eq!(document["kind"], "Findings");
    let told: Vec<_> = (0..2)
        .map(|at| &document["findings"][at])
        .map(|one| {
            (
                one["code"].as_str().unwrap(),
                one["terminal"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [("wireguard-psk-mismatch", true), ("path-broken", false)]
    );
    assert!(
        document["findings"][0]["terminalReason"]
            .as_str()
            .is_some_and(|why| !why.is_empty())
    );
    let metrics = get(collector.bare, "/metrics").await.body;
    let line = "mesh_findings{code=\"path-broken\",confidence=\"certain\"} 1\n";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test]
async fn what_waiting_cannot_cure_ends_a_wait_by_http_unless_it_is_sat_out() {
    let collector = Collector::start();
    let _first = collector.reporting("vps-1").await;
    let mut clone = collector.agent("vps-1", b"another machine").await;
    clone.snapshot([identity("vps-1", "boot-b")]).await;
    clone.refusal().await;
    let ended = get(collector.bare, &format!("/gate/{MESH}?wait=10m")).await;
    let document = ended.json();
    assert_eq!(
        (ended.status, &document["gate"]["terminal"]),
        (503, &true.into())
    );
    assert_eq!(document["timedOut"], false);
    let path = format!("/gate/{MESH}?wait=300ms&fail_fast=false");
    assert_eq!(get(collector.bare, &path).await.json()["timedOut"], true);
    // Nothing is below it, so nothing keeps it from being started.
    let may_start = get(collector.bare, &format!("/gate/{MESH}/may-start?wait=10m")).await;
    assert_eq!(
        (may_start.status, &may_start.json()["gate"]["terminal"]),
        (200, &false.into())
    );
}

#[tokio::test]
async fn what_is_no_question_is_refused_with_what_was_expected() {
    let collector = Collector::start();
    for (path, status, wanted) in [
        (
            "/gate/mseh",
            404,
            "no level \\\"mseh\\\"; known levels: mesh, kubernetes-api",
        ),
        (
            "/gate/mesh?wait=1",
            400,
            "expected a time up to 10m, as 30s",
        ),
        (
            "/gate/mesh?wait=1h",
            400,
            "expected a time up to 10m, as 30s",
        ),
        (
            "/gate/mesh?wiat=1s",
            400,
            "known fields: wait, stable, fail_fast",
        ),
        ("/gate/", 404, "known paths: /, /gate/LEVEL"),
        ("/index.html", 404, "known paths: /, /gate/LEVEL"),
        ("/gate/..%2f..%2fetc", 404, "no level"),
    ] {
        let answer = get(collector.bare, path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.body.contains(wanted), "{path}: {answer:?}");
        assert_eq!(answer.json()["kind"], "Error");
    }
    let posted = ask(collector.bare, &request("POST", "/gate/mesh")).await;
    assert_eq!(posted.status, 405);
    assert!(collector.counters.http_requests_refused.get() >= 5);
}

#[tokio::test]
async fn a_document_over_the_bound_is_refused_and_not_cut() {
    let collector = Collector::judging_by(|watch, view, now| {
        let mut verdict = crate::fixture::picture(watch, view, now);
        for node in &mut verdict.nodes {
            node.gaps.push("x".repeat(5 * 1024 * 1024));
        }
        verdict
    });
    let _agent = collector.reporting("vps-1").await;
    // A verdict of such a size goes through no message either: HTTP itself is asked until it knows of the node.
    let mut mesh = get(collector.detailed, "/mesh").await;
    for _ in 0..1000 {
        if mesh.status != 200 {
            break;
        }
        mesh = get(collector.detailed, "/mesh").await;
    }
    assert_eq!(mesh.status, 501, "{}", mesh.head);
    assert!(
        mesh.body.contains("ask /gates, /findings or /metrics"),
        "{mesh:?}"
    );
    assert_eq!(get(collector.detailed, "/gates").await.status, 200);
}

/// The page names every path, and no other.
#[test]
fn the_page_has_the_paths_that_there_are() {
    let page = include_str!("../../../../docs/gates.md");
    let source = include_str!("../../src/http/routes.rs");
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `/"))
        .filter_map(|line| line.split('`').next())
        .map(|path| format!("/{}", path.replace("LEVEL", "{level}")))
        .collect();
    let served: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .map(str::to_owned)
        .collect();
    assert_eq!(documented, served);
    for field in diagnosis::graph::FIELDS {
        let row = format!(
            "| `{}` | {} | {} | {} |",
            field.path, field.takes, field.default, field.about
        );
        assert!(page.contains(&row), "docs/gates.md lacks: {row}");
    }
}
