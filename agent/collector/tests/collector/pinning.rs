//! One name, one key, one machine.

use tonic::Code;

use crate::fixture::{Collector, identity, node};

#[tokio::test]
async fn a_second_key_for_a_node_is_a_conflict_and_does_not_replace_the_first() {
    let collector = Collector::start();
    let mut first = collector.reporting("vps-1").await;
    let mut clone = collector.agent("vps-1", b"another machine").await;
    clone.snapshot([identity("vps-1", "boot-b")]).await;
    let refusal = clone.refusal().await;
    assert_eq!(refusal.code(), Code::AlreadyExists);
    assert!(
        refusal
            .message()
            .starts_with("vps-1 has reported with another certificate key"),
        "{refusal}"
    );
    let verdict = collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.gaps.is_empty()))
        .await;
    let node = node(&verdict, "vps-1").unwrap();
    assert_eq!(node.gaps, ["another certificate key, from 127.0.0.1"]);
    assert_eq!(node.version.as_deref(), Some("boot-a"));
    assert_eq!(collector.counters.keys_refused.get(), 1);
    first.delta(vec![], vec![]).await;
    assert_eq!(first.response().await.unwrap().acknowledged, 2);
}

#[tokio::test]
async fn two_machines_with_one_key_at_the_same_time_are_a_conflict() {
    let collector = Collector::start();
    let _first = collector.reporting("vps-1").await;
    let mut clone = collector.agent("vps-1", b"machine").await;
    clone.snapshot([identity("vps-1", "boot-b")]).await;
    let refusal = clone.refusal().await;
    assert_eq!(refusal.code(), Code::AlreadyExists);
    assert_eq!(
        refusal.message(),
        "another machine reports as vps-1 at present, with another boot id"
    );
    let verdict = collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.gaps.is_empty()))
        .await;
    let node = node(&verdict, "vps-1").unwrap();
    assert_eq!(node.gaps, ["another boot id, from 127.0.0.1"]);
    assert_eq!(node.version.as_deref(), Some("boot-a"));
}

#[tokio::test]
async fn a_restarted_agent_replaces_its_old_stream_and_the_old_one_is_ended() {
    let collector = Collector::start();
    let mut old = collector.reporting("vps-1").await;
    let mut new = collector.reporting("vps-1").await;
    let refusal = old.refusal().await;
    assert_eq!(refusal.code(), Code::Aborted);
    new.delta(vec![], vec![]).await;
    assert_eq!(new.response().await.unwrap().acknowledged, 2);
    let verdict = collector
        .until(|verdict| node(verdict, "vps-1").is_some())
        .await;
    let node = node(&verdict, "vps-1").unwrap();
    assert!(node.reporting && node.gaps.is_empty(), "{node:?}");
    assert_eq!(collector.counters.streams_replaced.get(), 1);
}

#[tokio::test]
async fn a_rebooted_machine_may_come_back_once_its_stream_has_ended() {
    let collector = Collector::start();
    drop(collector.reporting("vps-1").await);
    collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.reporting))
        .await;
    let mut rebooted = collector.agent("vps-1", b"machine").await;
    rebooted.snapshot([identity("vps-1", "boot-b")]).await;
    let verdict = collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| node.reporting))
        .await;
    let node = node(&verdict, "vps-1").unwrap();
    assert_eq!(node.version.as_deref(), Some("boot-b"));
    assert!(node.gaps.is_empty());
}
