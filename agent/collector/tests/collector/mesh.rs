//! Get, Watch and Explain.

use std::collections::BTreeSet;

use diagnosis::{View, Watch};
use evidence::{Moment, NodeState, PairRef, Rung, Verdict, limits::PAGE};
use proto::{
    convert::{pair_to_wire, pairs_from_wire, verdict_from_wire},
    limits::MESSAGE_BYTES,
    wire::{ExplainRequest, GetRequest, PairRef as PairRefOnWire, PairsRequest},
};
use tonic::Code;

use crate::fixture::{Collector, identity, node, peer, picture, soon};

/// A picture of about one megabyte, so that few fit into the window of a connection.
fn heavy(watch: &mut Watch, view: &View, now: Moment) -> Verdict {
    padded(watch, view, now, 1024 * 1024)
}

fn too_heavy(watch: &mut Watch, view: &View, now: Moment) -> Verdict {
    padded(watch, view, now, MESSAGE_BYTES)
}

fn padded(watch: &mut Watch, view: &View, now: Moment, bytes: usize) -> Verdict {
    let mut verdict = picture(watch, view, now);
    for NodeState { gaps, .. } in &mut verdict.nodes {
        gaps.push("x".repeat(bytes));
    }
    verdict
}

#[tokio::test]
async fn get_gives_the_present_verdict() {
    let collector = Collector::start();
    let _agent = collector.reporting("vps-1").await;
    collector
        .until(|verdict| node(verdict, "vps-1").is_some())
        .await;
    let mut mesh = collector.mesh().await;
    let verdict = soon(mesh.get(GetRequest {})).await.unwrap().into_inner();
    let verdict = verdict_from_wire(verdict).unwrap();
    assert!(node(&verdict, "vps-1").unwrap().reporting);
}

#[tokio::test]
async fn a_slow_watcher_skips_verdicts_and_delays_nobody() {
    const CHANGES: usize = 12;
    let collector = Collector::judging_by(heavy);
    let mut agent = collector.reporting("vps-1").await;
    let mut client = collector.mesh().await;
    let mut slow = soon(client.watch(GetRequest {}))
        .await
        .unwrap()
        .into_inner();
    for change in 0..CHANGES {
        let boot_id = format!("boot-{change}");
        agent.delta(vec![identity("vps-1", &boot_id)], vec![]).await;
        // Another watcher sees each change while the slow one reads nothing.
        collector.until(|verdict| shows(verdict, &boot_id)).await;
    }
    let mut seen = BTreeSet::new();
    let last = format!("boot-{}", CHANGES - 1);
    while !seen.contains(&last) {
        let verdict = soon(slow.message()).await.unwrap().unwrap();
        let verdict = verdict_from_wire(verdict).unwrap();
        let version = node(&verdict, "vps-1").and_then(|node| node.version.clone());
        seen.insert(version.unwrap_or_default());
    }
    assert!(seen.len() < CHANGES, "nothing was skipped: {seen:?}");
}

fn shows(verdict: &Verdict, boot_id: &str) -> bool {
    node(verdict, "vps-1").is_some_and(|node| node.version.as_deref() == Some(boot_id))
}

#[tokio::test]
async fn a_verdict_that_no_message_can_hold_is_refused_by_its_size() {
    let collector = Collector::judging_by(too_heavy);
    let _agent = collector.reporting("vps-1").await;
    let mut mesh = collector.mesh().await;
    let mut verdicts = soon(mesh.watch(GetRequest {})).await.unwrap().into_inner();
    let refused = loop {
        if let Err(status) = soon(verdicts.message()).await {
            break status;
        }
    };
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let refused = soon(mesh.get(GetRequest {})).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(collector.counters.verdicts_oversized.get(), 2);
}

/// One node and twenty peers of its device that do not report: every ordered pair of them is judged.
#[tokio::test]
async fn pairs_are_told_as_they_are_asked_for_page_by_page() {
    let collector = Collector::start();
    let mut agent = collector.agent("vps-1", b"machine").await;
    let handshake = agent.now;
    let peers = (1..=20).map(|byte| peer(byte, handshake));
    let facts: Vec<_> = std::iter::once(identity("vps-1", "boot-a"))
        .chain(peers)
        .collect();
    agent.snapshot(facts).await;
    collector.until(|verdict| verdict.pairs.len() == 20).await;
    let mut mesh = collector.mesh().await;
    let mut asked = PairsRequest::default();
    let mut told = Vec::new();
    loop {
        let page = soon(mesh.pairs(asked.clone())).await.unwrap().into_inner();
        let (pairs, more) = pairs_from_wire(page).unwrap();
        assert!(pairs.len() <= PAGE);
        told.extend(pairs);
        if !more {
            break;
        }
        asked.after = told.last().map(|last| {
            pair_to_wire(&PairRef {
                from: last.from.clone(),
                to: last.to.clone(),
            })
        });
    }
    let all: BTreeSet<_> = told.iter().map(|one| (&one.from, &one.to)).collect();
    assert_eq!((all.len(), told.len()), (21 * 20, 21 * 20));
    assert!(told.iter().all(|one| one.rungs.len() == Rung::ALL.len()));
    let of = PairsRequest {
        from: Some("vps-1".to_owned()),
        not_good: true,
        ..PairsRequest::default()
    };
    let page = soon(mesh.pairs(of)).await.unwrap().into_inner();
    assert_eq!((page.pairs.len(), page.more), (20, false));
    let odd = PairsRequest {
        after: Some(PairRefOnWire::default()),
        ..PairsRequest::default()
    };
    let refused = soon(mesh.pairs(odd)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_was_acknowledged_counts_in_the_page_that_is_asked_for_next() {
    let collector = Collector::start();
    let mut agent = collector.reporting("vps-1").await;
    let mut mesh = collector.mesh().await;
    for peers in 1..=20_u8 {
        agent.delta(vec![peer(peers, agent.now)], vec![]).await;
        while agent.response().await.unwrap().acknowledged < u64::from(peers) + 1 {}
        let all = PairsRequest::default();
        let page = soon(mesh.pairs(all)).await.unwrap().into_inner();
        let peers = usize::from(peers);
        assert_eq!(page.pairs.len(), (peers * (peers + 1)).min(PAGE));
    }
}

#[tokio::test]
async fn explain_gives_every_page_and_refuses_an_unknown_code() {
    let collector = Collector::start();
    let mut mesh = collector.mesh().await;
    for page in diagnosis::pages() {
        let code = page.code.to_owned();
        let response = soon(mesh.explain(ExplainRequest { code })).await.unwrap();
        assert_eq!(response.into_inner().title, page.title);
    }
    let code = "no-such-code".to_owned();
    let refused = soon(mesh.explain(ExplainRequest { code }))
        .await
        .unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::NotFound, "no finding has the code \"no-such-code\"")
    );
}
