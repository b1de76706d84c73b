//! What an agent is told: the newest acknowledged sequence, and the peer list when it changed.

use std::{future::pending, time::Duration};

use evidence::limits::MOVED_LAYOUT;
use proto::{convert::peers_to_wire, wire::ReportResponse};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tonic::Status;

use super::check::FIRST;
use crate::judge::Peers;

/// Shortest time between two responses of one stream.
const PACE: Duration = Duration::from_millis(250);

pub(super) type Sender = mpsc::Sender<Result<ReportResponse, Status>>;

/// The responses of one stream. They are joined while the agent is slow to read; intake never waits for them.
#[derive(Debug)]
pub(super) struct Replies {
    sender: Sender,
    peers: watch::Receiver<Peers>,
    acknowledged: u64,
    /// Whether a response is due at `not_before`.
    owed: bool,
    peers_owed: bool,
    not_before: Instant,
}

impl Replies {
    /// The snapshot has been taken in; the first response leaves at once.
    pub(super) fn new(sender: Sender, peers: watch::Receiver<Peers>) -> Self {
        Self {
            sender,
            peers,
            acknowledged: FIRST,
            owed: true,
            peers_owed: true,
            not_before: Instant::now(),
        }
    }

    pub(super) fn acknowledge(&mut self, sequence: u64) {
        self.acknowledged = sequence;
        self.owed = true;
    }

    /// The sequence that must come next.
    pub(super) fn expected(&self) -> u64 {
        self.acknowledged.saturating_add(1)
    }

    /// Waits until a response is due. Nothing is lost when it is dropped.
    pub(super) async fn due(&mut self) {
        while !self.owed {
            if self.peers.changed().await.is_err() {
                // The collector is stopping; the stream is told so by its owner.
                pending::<()>().await;
            }
            self.owed = true;
            self.peers_owed = true;
        }
        sleep_until(self.not_before).await;
    }

    pub(super) fn send(&mut self) {
        self.not_before = Instant::now() + PACE;
        let Ok(slot) = self.sender.try_reserve() else {
            return;
        };
        let with_peers = self.peers_owed || self.peers.has_changed().unwrap_or(false);
        let peers = with_peers.then(|| peers_to_wire(&self.peers.borrow_and_update()));
        slot.send(Ok(ReportResponse {
            acknowledged: self.acknowledged,
            peers,
            moved_layout: Some(MOVED_LAYOUT),
        }));
        self.owed = false;
        self.peers_owed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(room: usize) -> (Replies, mpsc::Receiver<Result<ReportResponse, Status>>) {
        let (sender, receiver) = mpsc::channel(room);
        let peers = watch::Sender::new(Peers::default());
        (Replies::new(sender, peers.subscribe()), receiver)
    }

    #[tokio::test]
    async fn acknowledgements_for_a_slow_agent_are_joined_and_the_newest_is_sent() {
        let (mut replies, mut received) = replies(1);
        replies.send();
        for sequence in 2..=9 {
            replies.acknowledge(sequence);
            replies.send();
        }
        let first = received.recv().await.unwrap().unwrap();
        assert_eq!((first.acknowledged, first.peers.is_some()), (1, true));
        replies.due().await;
        replies.send();
        let second = received.recv().await.unwrap().unwrap();
        assert_eq!((second.acknowledged, second.peers.is_some()), (9, false));
    }
}
