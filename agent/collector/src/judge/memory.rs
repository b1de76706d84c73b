//! What is remembered of judgements: in memory, and in the store if there is one.

use std::sync::Arc;

use evidence::{PairPast, Transition};

use super::Recent;
use crate::{access::Agent, otlp::Queue, store::Writer, verdicts::Judged};

#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) recent: Recent,
    pub(crate) store: Option<Writer>,
    /// Where changes wait to be exported, if they are.
    pub(crate) export: Option<Queue>,
}

impl Memory {
    /// Remembers what one judgement changed.
    pub(super) fn changed(&self, transitions: Vec<Transition>, pasts: Vec<PairPast>) {
        if let Some(store) = &self.store {
            store.changed(&transitions);
            if !pasts.is_empty() {
                store.pasts(pasts);
            }
        }
        if let Some(queue) = &self.export {
            queue.changed(&transitions);
        }
        self.recent.add(transitions);
    }

    /// Remembers the newest verdict.
    pub(super) fn judged(&self, judged: &Arc<Judged>) {
        if let Some(store) = &self.store {
            store.judged(judged);
        }
    }

    /// Remembers the key with which a node was taken in.
    pub(super) fn pinned(&self, agent: &Agent) {
        if let Some(store) = &self.store {
            store.pinned(&agent.node, &agent.mesh, agent.key);
        }
    }
}
