//! What survives a restart: the history, the keys that are pinned, and how pairs came and went. No gate does.
//!
//! One journal of lines that are checked each for itself. It was preferred to an embedded database because nothing that a
//! disk can hold may stop a collector or be told as history: ARCHITECTURE.md has the figures.
//!
//! ```text
//! judge --leaves--> Writer (bounded) --thread--> Kept (bounded) --append, or write anew--> history
//! start <--Restored-- Kept <--lines that are whole-- history
//! ```
//!
//! In reading order: `record` (a line), `kept` (what is kept, and how much), `dating` (when it was), `last` (the last verdict,
//! in a file beside), `files` (how it gets to the disk), `writer` (who waits for that, and who does not).

mod dating;
mod files;
mod kept;
mod last;
mod record;
mod writer;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, thread, time::Duration};

use evidence::{NodeName, PairPast, Transition};
use tokio::{sync::oneshot, time::timeout};
use tracing::{error, info, warn};

use crate::counters::Counters;
use dating::Present;
use files::{Files, Found, StoreError};
use kept::Kept;

pub(crate) use kept::Pins;
pub(crate) use writer::Writer;

/// Time to open and read a store. A disk that takes longer does not keep the collector from serving.
const OPENING: Duration = Duration::from_secs(5);

/// Where the store is, and what is to be left out of it.
#[derive(Clone, Debug, Default)]
pub struct StoreConfig {
    /// Its folder; made if it is not there.
    pub folder: PathBuf,
    /// Nodes whose machine was replaced: their keys are forgotten.
    pub forget: Vec<NodeName>,
}

/// An open store, and what was in it.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) writer: Writer,
    pub(crate) restored: Restored,
}

/// What earlier runs have left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restored {
    pub(crate) transitions: Vec<Transition>,
    pub(crate) pins: BTreeMap<NodeName, Pins>,
    pub(crate) pasts: Vec<PairPast>,
}

impl Store {
    /// Opens a store. A collector goes on without one that cannot be opened, and says so: gates need no past.
    pub(crate) async fn open(config: StoreConfig, counters: &Arc<Counters>) -> Option<Self> {
        let (reply, opened) = oneshot::channel();
        let shared = Arc::clone(counters);
        // Not one of the runtime's threads: it would wait for a disk that hangs when it ends.
        let work = move || drop(reply.send(open(&config, shared)));
        let spawned = thread::Builder::new()
            .name("store-open".to_owned())
            .spawn(work);
        let failed = match spawned {
            Err(error) => error.into(),
            Ok(_) => match timeout(OPENING, opened).await {
                Ok(Ok(Ok(store))) => return Some(store),
                Ok(Ok(Err(error))) => anyhow::Error::from(error),
                Ok(Err(_)) => anyhow::anyhow!("the thread that opens it has ended, this is a bug"),
                Err(_) => anyhow::anyhow!("the disk did not answer in {} s", OPENING.as_secs()),
            },
        };
        counters.store_failures.add();
        error!(
            "no store: {failed:#}. The collector goes on in memory: history and pinned keys begin anew"
        );
        None
    }
}

fn open(config: &StoreConfig, counters: Arc<Counters>) -> Result<Store, StoreError> {
    let Found {
        files,
        contents,
        set_aside,
    } = Files::open(&config.folder)?;
    if let Some(path) = set_aside {
        counters.store_damaged.add();
        error!(
            set_aside = %path.display(),
            damaged_lines = contents.damaged,
            whole_lines = contents.records.len(),
            "the store is damaged: a new one is begun with what is whole in it"
        );
    }
    if contents.torn > 0 {
        warn!(
            bytes = contents.torn,
            "the last line of the store was written half, as after a kill or a loss of power; it is left out"
        );
    }
    let mut kept = Kept::default();
    for record in contents.records {
        kept.take(record);
    }
    for node in &config.forget {
        let had = kept.forget(node);
        info!(%node, had, "the pinned keys of the node are forgotten");
    }
    let now = Present::read();
    let run = kept.begin(&now);
    let restored = Restored {
        transitions: kept.transitions(&run, &now),
        pins: kept.pins(),
        pasts: kept.pasts(&run, &now),
    };
    info!(
        folder = %config.folder.display(),
        run = run.number,
        transitions = restored.transitions.len(),
        nodes = restored.pins.len(),
        pairs = restored.pasts.len(),
        "the store is open; gates wait for fresh reports all the same"
    );
    Ok(Store {
        writer: Writer::start(files, kept, run.number, counters),
        restored,
    })
}

#[cfg(test)]
mod tests;
