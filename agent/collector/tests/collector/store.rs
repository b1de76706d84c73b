//! What survives a restart, and what does not.

use evidence::{Change, Dated, Transition};
use proto::{
    convert::transition_from_wire,
    wire::{CheckRequest, HistoryRequest, Phase, Question},
};
use tonic::Code;

use crate::fixture::{Collector, MESH, identity, node, soon};

async fn history(collector: &Collector) -> (Option<u64>, Vec<Transition>) {
    let mut mesh = collector.mesh().await;
    let told = soon(mesh.history(HistoryRequest {})).await.unwrap();
    let told = told.into_inner();
    let transitions = told.transitions.into_iter().map(transition_from_wire);
    (told.run, transitions.map(Result::unwrap).collect())
}

async fn phase(collector: &Collector) -> Phase {
    let request = CheckRequest {
        level: MESH.to_owned(),
        question: Question::Ready.into(),
    };
    let mut gates = collector.gates().await;
    let state = soon(gates.check(request)).await.unwrap();
    state.into_inner().ready()
}

async fn until_ready(collector: &Collector) {
    let ready = |verdict: &evidence::Verdict| {
        let gate = verdict.gate(MESH);
        gate.is_some_and(|gate| gate.phase == evidence::Phase::Ready)
    };
    collector.until(ready).await;
}

#[tokio::test]
async fn after_a_restart_the_history_is_there_and_the_gate_waits_for_fresh_reports() {
    let folder = tempfile::tempdir().unwrap();
    let first = Collector::keeping(folder.path());
    let agents = (
        first.reporting("vps-1").await,
        first.reporting("vps-2").await,
    );
    until_ready(&first).await;
    let (run, before) = history(&first).await;
    assert_eq!(run, Some(1));
    assert!(!before.is_empty() && before.iter().all(|one| one.earlier.is_none()));
    drop(agents);
    first.stop().await.unwrap();
    let last = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(last("last-verdict.json").contains("\"run\": 1"));

    let second = Collector::keeping(folder.path());
    assert_ne!(phase(&second).await, Phase::Ready);
    let (run, after) = history(&second).await;
    assert_eq!(run, Some(2));
    // The first may have judged once more before it stopped.
    assert!(after.len() >= before.len(), "{after:#?}");
    for (told, was) in after.iter().zip(&before) {
        assert_eq!((told.at, &told.change), (was.at, &was.change));
        let earlier = told.earlier.unwrap();
        assert_eq!((earlier.run, earlier.dated), (1, Dated::Exactly));
    }
    let _agents = (
        second.reporting("vps-1").await,
        second.reporting("vps-2").await,
    );
    until_ready(&second).await;
    let (_, all) = history(&second).await;
    let opened = all.last().unwrap();
    assert!(opened.earlier.is_none(), "{opened:?}");
    assert!(matches!(opened.change, Change::Gate { .. }), "{opened:?}");
    second.stop().await.unwrap();
    assert!(last("last-verdict.json").contains("\"run\": 2"));
    assert!(last("last-verdict.before.json").contains("\"run\": 1"));
    // One to which nobody reports has nothing to say.
    Collector::keeping(folder.path()).stop().await.unwrap();
    assert!(last("last-verdict.json").contains("\"run\": 2"));
}

#[tokio::test]
async fn a_pinned_key_survives_a_restart_and_a_clone_that_comes_first_is_refused_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let first = Collector::keeping(folder.path());
    drop(first.reporting("vps-1").await);
    first.stop().await.unwrap();

    let second = Collector::keeping(folder.path());
    let mut clone = second.agent("vps-1", b"another machine").await;
    clone.snapshot([identity("vps-1", "boot-b")]).await;
    let refusal = clone.refusal().await;
    assert_eq!(refusal.code(), Code::AlreadyExists);
    assert!(refusal.message().contains("--forget vps-1"), "{refusal}");
    assert_eq!(second.counters.keys_refused.get(), 1);
    let _rightful = second.reporting("vps-1").await;
    let verdict = second
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.gaps.is_empty()))
        .await;
    let node = node(&verdict, "vps-1").unwrap();
    assert_eq!(node.gaps, ["another certificate key, from 127.0.0.1"]);
    assert_eq!(node.version.as_deref(), Some("boot-a"));
    second.stop().await.unwrap();
}

#[tokio::test]
async fn without_a_store_nothing_survives_and_no_run_is_told() {
    let collector = Collector::start();
    let _agent = collector.reporting("vps-1").await;
    let (run, _) = history(&collector).await;
    assert_eq!(run, None);
}
