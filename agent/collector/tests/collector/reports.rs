//! What is taken in, what is refused, and what the agent is told.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use diagnosis::{View, Watch};
use evidence::{FactKey, Moment, Verdict, limits::FACTS};
use mesh_collector::RunError;
use proto::{
    convert::{peers_from_wire, snapshot_to_wire},
    limits::{self, MESSAGE_BYTES},
    transport::{DialError, Mark, dial},
    wire::{Fact, Peer, ReportRequest, Snapshot, fact, report_request::Body},
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::fixture::{Agent, Collector, identity, key, mesh_key, name, node, peer, picture, soon};

#[tokio::test]
async fn a_snapshot_and_its_deltas_appear_in_the_view_on_the_collectors_timeline() {
    let collector = Collector::start();
    let mut agent = collector.agent("vps-1", b"machine").await;
    let handshake = agent.now.minus(Duration::from_mins(1));
    agent
        .snapshot([
            identity("vps-1", "boot-a"),
            peer(1, handshake),
            peer(2, handshake),
        ])
        .await;
    let verdict = collector.until(|verdict| verdict.pairs.len() == 2).await;
    let age = verdict.pairs[0].handshake_age_ms.unwrap();
    assert!((60_000..80_000).contains(&age), "{age} ms");

    agent.now = agent.now.plus(Duration::from_secs(2));
    let removed = vec![FactKey::Peer(key(1)), FactKey::Peer(key(2))];
    agent.delta(vec![peer(3, handshake)], removed).await;
    let verdict = collector.until(|verdict| verdict.pairs.len() == 1).await;
    // The offset is the stream's, so the same moment stays the same moment.
    let age = verdict.pairs[0].handshake_age_ms.unwrap();
    assert!((60_000..80_000).contains(&age), "{age} ms");
    assert!(node(&verdict, "vps-1").unwrap().reporting);
}

#[tokio::test]
async fn every_message_is_acknowledged_in_the_end() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    for _ in 0..20 {
        agent.delta(vec![], vec![]).await;
    }
    let mut responses = 0;
    loop {
        responses += 1;
        if agent.response().await.unwrap().acknowledged == 21 {
            break;
        }
    }
    assert!(responses <= 20, "{responses} responses for 20 deltas");
    assert_eq!(collector.counters.messages.get(), 21);
}

#[tokio::test]
async fn an_agent_that_sends_far_too_much_is_read_slowly_and_nothing_of_it_is_lost() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    let many = u64::from(limits::REPORTS.at_once) + 10;
    for _ in 0..many {
        agent.delta(vec![], vec![]).await;
    }
    while agent.response().await.unwrap().acknowledged <= many {}
    assert_eq!(collector.counters.messages.get(), many + 1);
    assert!(collector.counters.messages_waited.get() > 0);
}

#[tokio::test]
async fn an_agent_that_begins_streams_all_the_time_is_told_to_wait() {
    let collector = Collector::start();
    let tls = mesh_key(1)
        .agent_config(&name("vps-1"), b"machine")
        .unwrap();
    let channel = collector.channel(tls).await;
    let waits = limits::TURN.as_secs() / limits::STREAMS.every.as_secs();
    let mut begun = JoinSet::new();
    for _ in 0..=u64::from(limits::STREAMS.at_once) + waits {
        begun.spawn(Agent::on(channel.clone()));
    }
    let begun = soon(begun.join_all()).await;
    let refused: Vec<&Status> = begun
        .iter()
        .filter_map(|agent| agent.as_ref().err())
        .collect();
    assert!(!refused.is_empty());
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("report streams"), "{status}");
    }
}

#[tokio::test]
async fn a_report_in_the_name_of_another_node_is_refused_with_both_names() {
    let collector = Collector::start();
    let mut agent = collector.agent("vps-1", b"machine").await;
    agent.snapshot([identity("vps-2", "boot-a")]).await;
    let refusal = agent.refusal().await;
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert_eq!(
        refusal.message(),
        "certificate is for vps-1, the report claims vps-2"
    );
    assert_eq!(collector.counters.names_refused.get(), 1);
    let verdict = collector.until(|_| true).await;
    assert!(verdict.nodes.is_empty());
}

#[tokio::test]
async fn a_reader_cannot_report_and_is_told_what_is_needed() {
    let collector = Collector::start();
    let refusal = Agent::on(collector.reader().await)
        .await
        .err()
        .expect("a refusal");
    assert_eq!(refusal.code(), Code::PermissionDenied);
    assert_eq!(
        refusal.message(),
        "the certificate's role is reader, which may not report: an agent certificate is needed"
    );
    assert_eq!(collector.counters.roles_refused.get(), 1);
}

#[tokio::test]
async fn an_agent_of_another_mesh_is_refused_at_the_tls_handshake() {
    let collector = Collector::start();
    let tls = mesh_key(2)
        .agent_config(&name("vps-1"), b"machine")
        .unwrap();
    let target = collector.address.to_string();
    let refused = soon(Box::pin(dial(&target, Mark::None, Arc::new(tls)))).await;
    assert!(matches!(refused, Err(DialError::Tls { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_skipped_sequence_ends_the_stream() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    let mut skipping = snapshot_to_wire(3, agent.now, &[].into_iter().collect());
    skipping.body = Some(Body::Delta(proto::wire::Delta::default()));
    agent.raw(skipping).await;
    let refusal = agent.refusal().await;
    assert_eq!(refusal.code(), Code::FailedPrecondition);
    assert_eq!(refusal.message(), "field sequence: expected 2, got 3");
    collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.reporting))
        .await;
}

#[tokio::test]
async fn facts_over_the_limit_of_a_node_end_the_stream_with_the_reason() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    let heard = |number: usize| {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_be_bytes());
        let key = evidence::PublicKey::from_bytes(key);
        evidence::Fact::EchoHeard(key, evidence::EchoHeard::default())
    };
    agent
        .delta((0..FACTS / 2).map(heard).collect(), vec![])
        .await;
    agent
        .delta((FACTS / 2..FACTS).map(heard).collect(), vec![])
        .await;
    let refusal = agent.refusal().await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(
        refusal.message(),
        format!(
            "field delta.upserts: expected at most {FACTS} facts of one node, got {}",
            FACTS + 1
        )
    );
    assert_eq!(collector.counters.messages_malformed.get(), 1);
    collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.reporting))
        .await;
}

#[tokio::test]
async fn an_oversized_message_is_refused_by_its_size() {
    let collector = Collector::start();
    let mut agent = collector.agent("vps-1", b"machine").await;
    let fact = Fact {
        fact: Some(fact::Fact::Peer(Peer {
            public_key: vec![0; MESSAGE_BYTES + 1],
            ..Peer::default()
        })),
    };
    agent.raw(first(vec![fact])).await;
    let refusal = agent.refusal().await;
    assert_eq!(refusal.code(), Code::InvalidArgument, "{refusal}");
    assert_eq!(refusal.message(), "message is larger than 4194304 bytes");
    assert_eq!(collector.counters.messages_oversized.get(), 1);
}

#[tokio::test]
async fn a_malformed_fact_is_refused_by_the_name_of_its_field() {
    let collector = Collector::start();
    let mut agent = collector.agent("vps-1", b"machine").await;
    let fact = Fact {
        fact: Some(fact::Fact::Peer(Peer {
            public_key: vec![0; 31],
            ..Peer::default()
        })),
    };
    agent.raw(first(vec![fact])).await;
    let refusal = agent.refusal().await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(
        refusal.message(),
        "field peer.public_key: expected a public key of 32 bytes, got 31"
    );
    assert_eq!(collector.counters.messages_malformed.get(), 1);
}

#[tokio::test]
async fn a_stream_that_ends_leaves_its_node_in_the_view_as_closed() {
    let collector = Collector::start();
    let agent = collector.reporting("vps-1").await;
    collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| node.reporting))
        .await;
    drop(agent);
    collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.reporting))
        .await;
}

#[tokio::test]
async fn the_peer_list_comes_first_and_again_when_it_changes() {
    let collector = Collector::start();
    let mut first = collector.agent("vps-1", b"machine").await;
    first.snapshot([identity("vps-1", "boot-a")]).await;
    assert!(first.response().await.unwrap().peers.is_some());

    let second = collector.reporting("vps-2").await;
    let seen = |peers: Vec<(String, bool)>| move |list: &[(String, bool)]| list == peers.as_slice();
    let both = |second| vec![("vps-1".to_owned(), true), ("vps-2".to_owned(), second)];
    peers_until(&mut first, seen(both(true))).await;
    drop(second);
    peers_until(&mut first, seen(both(false))).await;
}

#[tokio::test]
async fn a_collector_that_stops_tells_its_agents_and_ends_in_time() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    let mut silent = collector.agent("vps-2", b"machine").await;
    let started = Instant::now();
    let stopped = collector.stop().await;
    assert!(stopped.is_ok(), "{stopped:?}");
    // Nothing had to be waited for until the drain gave up.
    assert!(started.elapsed() < Duration::from_secs(3));
    assert_eq!(agent.refusal().await.code(), Code::Unavailable);
    assert_eq!(silent.refusal().await.code(), Code::Unavailable);
}

#[tokio::test]
async fn a_view_too_large_to_be_judged_inline_is_judged_all_the_same() {
    const NODES: usize = 70;
    let collector = Collector::start();
    let mut agents = Vec::new();
    for number in 0..NODES {
        agents.push(collector.reporting(&format!("node-{number}")).await);
    }
    let verdict = collector
        .until(|verdict| verdict.nodes.len() == NODES)
        .await;
    assert!(verdict.nodes.iter().all(|node| node.reporting));
    let first = &mut agents[0];
    first.delta(vec![peer(1, first.now)], vec![]).await;
    collector.until(|verdict| verdict.pairs.len() == 1).await;
}

#[tokio::test]
async fn a_judge_that_fails_ends_the_collector_and_leaves_no_gate_open() {
    fn failing(watch: &mut Watch, view: &View, now: Moment) -> Verdict {
        assert!(view.nodes.is_empty(), "this judge cannot judge a node");
        picture(watch, view, now)
    }
    let collector = Collector::judging_by(failing);
    let mut agent = collector.agent("vps-1", b"machine").await;
    agent.snapshot([identity("vps-1", "boot-a")]).await;
    assert_eq!(agent.refusal().await.code(), Code::Unavailable);
    let ended = collector.ended().await;
    assert!(matches!(ended, Err(RunError::Judge)), "{ended:?}");
}

fn first(facts: Vec<Fact>) -> ReportRequest {
    ReportRequest {
        sequence: 1,
        now_ms: Moment::ZERO.as_millis(),
        body: Some(Body::Snapshot(Snapshot { facts })),
    }
}

async fn peers_until(agent: &mut Agent, condition: impl Fn(&[(String, bool)]) -> bool) {
    loop {
        let Some(list) = agent.response().await.unwrap().peers else {
            continue;
        };
        let peers: Vec<_> = peers_from_wire(list)
            .unwrap()
            .into_iter()
            .map(|peer| (peer.name.to_string(), peer.reporting))
            .collect();
        if condition(&peers) {
            return;
        }
    }
}
