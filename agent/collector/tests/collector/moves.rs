//! Facts that merely went on, told by what moved in them.

use std::time::Duration;

use evidence::{Facts, limits::MOVED_LAYOUT};
use proto::convert::delta_to_wire;
use tonic::Code;

use crate::fixture::{Collector, identity, node, peer};

#[tokio::test]
async fn what_moved_goes_on_from_what_was_said_on_the_collectors_timeline() {
    let collector = Collector::start();
    let mut agent = collector.agent("vps-1", b"machine").await;
    let handshake = |ago| agent.now.minus(Duration::from_secs(ago));
    let before = [identity("vps-1", "boot-a"), peer(1, handshake(3_600))];
    let (older, newer): (Facts, Facts) = (
        before.clone().into_iter().collect(),
        [before[0].clone(), peer(1, handshake(60))]
            .into_iter()
            .collect(),
    );
    agent.snapshot(before).await;
    assert_eq!(
        agent.response().await.unwrap().moved_layout,
        Some(MOVED_LAYOUT)
    );
    let delta = newer.difference_from(&older).by_moves(&older);
    assert_eq!((delta.upserts.len(), delta.moved.len()), (0, 1));
    agent.raw(delta_to_wire(2, agent.now, &delta)).await;
    let is_young = |age: u64| (60_000..80_000).contains(&age);
    collector
        .until(|verdict| {
            let pair = verdict.pairs.first();
            pair.and_then(|pair| pair.handshake_age_ms)
                .is_some_and(is_young)
        })
        .await;
}

#[tokio::test]
async fn moves_of_what_was_never_said_end_the_stream_with_what_was_expected() {
    let collector = Collector::start();
    let mut agent = collector.agent("vps-1", b"machine").await;
    let [older, newer] = [3_600, 60].map(|ago| -> Facts {
        let handshake = agent.now.minus(Duration::from_secs(ago));
        [identity("vps-1", "boot-a"), peer(1, handshake)]
            .into_iter()
            .collect()
    });
    agent.snapshot([identity("vps-1", "boot-a")]).await;
    let delta = newer.difference_from(&older).by_moves(&older);
    agent.raw(delta_to_wire(2, agent.now, &delta)).await;
    let refusal = agent.refusal().await;
    assert_eq!(refusal.code(), Code::InvalidArgument);
    assert_eq!(
        refusal.message(),
        "field delta.moved: expected a fact that was said before, got wireguard-peer of AQEBA.."
    );
    assert_eq!(collector.counters.messages_malformed.get(), 1);
    collector
        .until(|verdict| node(verdict, "vps-1").is_some_and(|node| !node.reporting))
        .await;
}
