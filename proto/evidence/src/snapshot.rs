//! All facts of one node, and the difference between two such states.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Fact, FactKey, Peer, PublicKey};

/// The present facts of one node, at most one per [`FactKey`].
///
/// A clone costs nothing until one of the two is changed: who writes a whole view down holds up nobody who goes on
/// taking in reports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    by_key: Arc<BTreeMap<FactKey, Fact>>,
}

/// What changed from one [`Facts`] to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// New and changed facts.
    pub upserts: Vec<Fact>,
    /// Keys that are gone.
    pub removed: Vec<FactKey>,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removed.is_empty()
    }
}

impl Facts {
    /// No facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a fact in the place of the older one with its key.
    pub fn insert(&mut self, fact: Fact) {
        Arc::make_mut(&mut self.by_key).insert(fact.key(), fact);
    }

    /// Takes a fact out.
    pub fn remove(&mut self, key: &FactKey) -> Option<Fact> {
        Arc::make_mut(&mut self.by_key).remove(key)
    }

    /// The fact about `key`.
    pub fn get(&self, key: &FactKey) -> Option<&Fact> {
        self.by_key.get(key)
    }

    /// All facts in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.by_key.values()
    }

    /// All peers of the device in the order of their keys.
    pub fn peers(&self) -> impl Iterator<Item = (&PublicKey, &Peer)> {
        let [least, most] = [[0; 32], [u8::MAX; 32]].map(PublicKey::from_bytes);
        let range = FactKey::Peer(least)..=FactKey::Peer(most);
        self.by_key.range(range).filter_map(|(_, fact)| match fact {
            Fact::Peer(key, peer) => Some((key, peer)),
            _ => None,
        })
    }

    /// How many facts there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Applies a difference; order within it does not matter.
    pub fn apply(&mut self, delta: Delta) {
        if delta.is_empty() {
            return;
        }
        let facts = Arc::make_mut(&mut self.by_key);
        for key in &delta.removed {
            facts.remove(key);
        }
        for fact in delta.upserts {
            facts.insert(fact.key(), fact);
        }
    }

    /// The difference that turns `older` into `self`.
    pub fn difference_from(&self, older: &Self) -> Delta {
        let changed = |fact: &&Fact| older.by_key.get(&fact.key()) != Some(*fact);
        Delta {
            upserts: self.iter().filter(changed).cloned().collect(),
            removed: older
                .by_key
                .keys()
                .filter(|key| !self.by_key.contains_key(key))
                .copied()
                .collect(),
        }
    }
}

impl FromIterator<Fact> for Facts {
    fn from_iter<I: IntoIterator<Item = Fact>>(facts: I) -> Self {
        let mut all = Self::new();
        for fact in facts {
            all.insert(fact);
        }
        all
    }
}
