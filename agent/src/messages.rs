//! The messages of one report stream: a snapshot, then what changed, with a sign of life at least every second.

use std::time::Duration;

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

/// Changes closer together than this go out as one.
const SPACING: Duration = Duration::from_millis(200);

/// Makes them of the newest facts; nothing is queued.
pub(crate) struct Messages {
    facts: watch::Receiver<Published>,
    sequence: u64,
    sent: Facts,
    heartbeat: Instant,
}

impl Messages {
    pub(crate) fn new(facts: watch::Receiver<Published>) -> Self {
        Self {
            facts,
            sequence: 0,
            sent: Facts::new(),
            heartbeat: Instant::now(),
        }
    }

    /// The first one. Without an identity among the facts it would be refused: see [`knows_itself`].
    pub(crate) fn snapshot(&mut self) -> ReportRequest {
        self.sent = self.facts.borrow_and_update().1.clone();
        self.sequence = 1;
        self.heartbeat = Instant::now() + limits::HEARTBEAT;
        snapshot_to_wire(1, clock::moment(), &self.sent)
    }

    /// The next one, when it is due; `None` once nobody observes any more.
    pub(crate) async fn next(&mut self) -> Option<ReportRequest> {
        sleep(SPACING).await;
        tokio::select! {
            changed = self.facts.changed() => changed.ok()?,
            () = sleep_until(self.heartbeat) => {}
        }
        self.heartbeat = Instant::now() + limits::HEARTBEAT;
        Some(self.delta())
    }

    fn delta(&mut self) -> ReportRequest {
        let newest = self.facts.borrow_and_update().1.clone();
        let delta = newest.difference_from(&self.sent);
        self.sent = newest;
        self.sequence += 1;
        delta_to_wire(self.sequence, clock::moment(), &delta)
    }
}

/// Whether the node knows who it is.
pub(crate) fn knows_itself(known: &Published) -> bool {
    known.1.get(&FactKey::Identity).is_some()
}
