//! Ladders that no verdict tells: asked of the owner of the view, by the page.

use std::sync::Arc;

use diagnosis::{PairFilter, PairPage};
use tokio::sync::{Mutex, mpsc, oneshot};
use tonic::Status;

use crate::{counters::Counters, judge::Change};

/// Who asks for pages; clones ask in turn.
#[derive(Clone, Debug)]
pub(crate) struct Pairs {
    changes: mpsc::Sender<Change>,
    one_page: Arc<Mutex<()>>,
    counters: Arc<Counters>,
}

impl Pairs {
    pub(crate) fn new(changes: mpsc::Sender<Change>, counters: Arc<Counters>) -> Self {
        Self {
            changes,
            one_page: Arc::default(),
            counters,
        }
    }

    /// One page. One at a time, over all surfaces: reports wait while one of a large mesh is made.
    pub(crate) async fn page(&self, filter: PairFilter) -> Result<PairPage, Status> {
        let Ok(_alone) = self.one_page.try_lock() else {
            self.counters.pages_refused.add();
            return Err(Status::resource_exhausted(
                "another page of pairs is being made: ask again",
            ));
        };
        let (reply, answer) = oneshot::channel();
        let stopping = || Status::unavailable("the collector is stopping");
        let asked = self.changes.send(Change::Pairs { filter, reply }).await;
        asked.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }
}
