//! The messages of one report stream: a snapshot, then what changed, with a sign of life at least every second.
//!
//! News go out at once. What merely goes on from what was said before waits, the longer the more peers there are, or goes with the
//! next news: what is said at one moment is always all that is known at it.

use evidence::{FactKey, Facts};
use probe_io::clock;
use proto::{
    convert::{delta_to_wire, snapshot_to_wire},
    limits,
    wire::ReportRequest,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::supervisor::Published;

/// Makes them of the newest facts; nothing is queued.
pub(crate) struct Messages {
    facts: watch::Receiver<Published>,
    sequence: u64,
    sent: Facts,
    heartbeat: Instant,
    /// Before it nothing goes out that is no news.
    routine: Instant,
    /// Whether the other side takes facts that merely went on by what moved in them.
    takes_moves: watch::Receiver<bool>,
}

impl Messages {
    /// All that is told are whole facts: so everybody understands them.
    pub(crate) fn new(facts: watch::Receiver<Published>) -> Self {
        Self {
            facts,
            takes_moves: watch::channel(false).1,
            sequence: 0,
            sent: Facts::new(),
            heartbeat: Instant::now(),
            routine: Instant::now(),
        }
    }

    /// The same for somebody who takes moves of facts, from when he says so.
    pub(crate) fn with_moves(mut self, takes_moves: watch::Receiver<bool>) -> Self {
        self.takes_moves = takes_moves;
        self
    }

    /// The first one. Without an identity among the facts it would be refused: see [`knows_itself`].
    pub(crate) fn snapshot(&mut self) -> ReportRequest {
        self.sent = self.facts.borrow_and_update().1.clone();
        self.sequence = 1;
        self.told();
        snapshot_to_wire(1, clock::moment(), &self.sent)
    }

    /// The next one, when it is due; `None` once nobody observes any more.
    pub(crate) async fn next(&mut self) -> Option<ReportRequest> {
        let mut due = self.heartbeat;
        loop {
            sleep(limits::SPACING).await;
            tokio::select! {
                changed = self.facts.changed() => changed.ok()?,
                () = sleep_until(due) => {}
            }
            let newest = self.facts.borrow_and_update().1.clone();
            let delta = newest.difference_from(&self.sent);
            if delta.routine && Instant::now() < self.routine {
                due = self.routine;
                continue;
            }
            let delta = if *self.takes_moves.borrow() {
                delta.by_moves(&self.sent)
            } else {
                delta
            };
            self.sent = newest;
            self.sequence += 1;
            self.told();
            return Some(delta_to_wire(self.sequence, clock::moment(), &delta));
        }
    }

    fn told(&mut self) {
        let now = Instant::now();
        self.heartbeat = now + limits::HEARTBEAT;
        self.routine = now + limits::routine_spacing(self.sent.of_peers().len());
    }
}

/// Whether the node knows who it is.
pub(crate) fn knows_itself(known: &Published) -> bool {
    known.1.get(&FactKey::Identity).is_some()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use evidence::{EchoSent, Fact, PublicKey};
    use proto::wire::{self, report_request::Body};

    use super::*;

    /// So many that what merely goes on waits as long as it may.
    const PEERS: u16 = 250;

    fn key(peer: u16) -> PublicKey {
        let mut key = [1; 32];
        key[..2].copy_from_slice(&peer.to_be_bytes());
        PublicKey::from_bytes(key)
    }

    fn echo(sent: u64, lost: u32) -> EchoSent {
        EchoSent {
            sent,
            consecutive_lost: lost,
            ..EchoSent::default()
        }
    }

    struct Story {
        facts: Facts,
        publish: watch::Sender<Published>,
        messages: Messages,
    }

    impl Story {
        fn start(peers: u16) -> Self {
            let facts: Facts = (0..peers)
                .map(|peer| Fact::EchoSent(key(peer), echo(1, 0)))
                .collect();
            let (publish, facts_seen) = watch::channel(Published::default());
            let mut messages = Messages::new(facts_seen);
            publish.send_replace(Arc::new((clock::moment(), facts.clone())));
            messages.snapshot();
            Self {
                facts,
                publish,
                messages,
            }
        }

        fn say(&mut self, fact: Fact) {
            self.facts.insert(fact);
            let all = Arc::new((clock::moment(), self.facts.clone()));
            self.publish.send_replace(all);
        }

        /// How long it took until the next message, and how many facts it has.
        async fn next(&mut self) -> (Duration, usize) {
            let asked = Instant::now();
            let delta = self.delta().await;
            (asked.elapsed(), delta.upserts.len())
        }

        async fn delta(&mut self) -> wire::Delta {
            match self.messages.next().await.unwrap().body {
                Some(Body::Delta(delta)) => delta,
                other => panic!("a delta, got {other:?}"),
            }
        }
    }

    #[tokio::test]
    async fn what_goes_on_waits_in_a_large_mesh_and_not_for_the_sign_of_life() {
        let mut story = Story::start(PEERS);
        story.say(Fact::EchoSent(key(1), echo(2, 0)));
        let (took, facts) = story.next().await;
        assert!(took > limits::HEARTBEAT / 4, "{took:?}");
        assert!(took < limits::HEARTBEAT, "{took:?}");
        assert_eq!(facts, 1);
    }

    #[tokio::test]
    async fn news_go_out_at_once_and_take_along_what_waits() {
        let mut story = Story::start(PEERS);
        story.say(Fact::EchoSent(key(1), echo(2, 0)));
        story.say(Fact::EchoSent(key(2), echo(2, 1)));
        let (took, facts) = story.next().await;
        assert!(took < limits::HEARTBEAT, "{took:?}");
        assert_eq!(facts, 2);
    }

    #[tokio::test]
    async fn what_goes_on_is_told_by_what_moved_only_to_who_takes_that() {
        let mut story = Story::start(8);
        let takes_moves = watch::Sender::new(false);
        story.messages = story.messages.with_moves(takes_moves.subscribe());
        story.say(Fact::EchoSent(key(1), echo(2, 0)));
        let whole = story.delta().await;
        assert_eq!((whole.upserts.len(), whole.moved), (1, None));
        takes_moves.send_replace(true);
        story.say(Fact::EchoSent(key(1), echo(5, 0)));
        story.say(Fact::EchoSent(key(2), echo(2, 1)));
        let parted = story.delta().await;
        // What is news is told whole.
        assert_eq!(parted.upserts.len(), 1);
        let moved = parted.moved.unwrap();
        assert_eq!(
            (moved.keys, moved.by),
            (vec![0x0001_0101], vec![3, 0, 0, 0, 0])
        );
    }

    #[tokio::test]
    async fn in_a_small_mesh_all_goes_out_at_once() {
        let mut story = Story::start(8);
        story.say(Fact::EchoSent(key(1), echo(2, 0)));
        let (took, facts) = story.next().await;
        assert!(took < limits::HEARTBEAT, "{took:?}");
        assert_eq!(facts, 1);
    }
}
