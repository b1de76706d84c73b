//! One name, one key, one machine.

use tonic::Code;

use crate::fixture::{Agent, Collector, identity, mesh_key, name, node};

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

/// While the mesh key is changed, some nodes have the old one and some the new one: nobody is missed and nobody is refused.
#[tokio::test]
async fn nodes_of_two_mesh_keys_report_to_one_collector_while_keys_are_changed() {
    let collector = Collector::also_accepting(vec![mesh_key(2)]);
    let _old = collector.reporting("vps-1").await;
    let mut second = collector.reporting("vps-2").await;
    let tls = mesh_key(2)
        .agent_config(&name("vps-2"), b"machine")
        .unwrap();
    let mut changed = Agent::on(collector.channel(tls).await).await.unwrap();
    changed.snapshot([identity("vps-2", "boot-a")]).await;
    changed.response().await.unwrap();
    assert_eq!(second.refusal().await.code(), Code::Aborted);
    let verdict = collector
        .until(|verdict| {
            ["vps-1", "vps-2"]
                .iter()
                .all(|name| node(verdict, name).is_some_and(|node| node.reporting))
        })
        .await;
    assert!(verdict.nodes.iter().all(|node| node.gaps.is_empty()));
    assert_eq!(collector.counters.keys_refused.get(), 0);
    let reader = mesh_key(2).reader_config().unwrap();
    drop(collector.channel(reader).await);
}
