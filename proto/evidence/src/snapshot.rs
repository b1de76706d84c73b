//! All facts of one node, and the difference between two such states.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    mem,
    sync::Arc,
};

use crate::{CannotMove, Fact, FactKey, Moved, MovedFact, OfPeer, PublicKey, of_peer::of_key};

/// The present facts of one node, at most one per [`FactKey`].
///
/// A clone costs nothing until one of the two is changed, and then what differs: who writes a whole view down holds up
/// nobody who goes on taking in reports, and who keeps the last state finds what is new in it by looking at pointers.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Those that are about no key.
    own: Arc<BTreeMap<FactKey, Fact>>,
    of_peers: Arc<BTreeMap<PublicKey, Arc<OfPeer>>>,
    len: usize,
    edition: Edition,
}

/// One edition of the facts of a node: the same as long as nothing is changed. Two that are not the same may still hold equal facts.
#[derive(Clone, Debug, Default)]
pub struct Edition(Arc<()>);

impl Edition {
    /// Whether both are the very same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl PartialEq for Facts {
    fn eq(&self, other: &Self) -> bool {
        self.edition.is(&other.edition)
            || (self.len == other.len && self.own == other.own && self.of_peers == other.of_peers)
    }
}

impl Eq for Facts {}

/// What changed from one [`Facts`] to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// New and changed facts.
    pub upserts: Vec<Fact>,
    /// Keys that are gone.
    pub removed: Vec<FactKey>,
    /// Facts that merely moved, of which nothing else is told ([`Delta::by_moves`]).
    pub moved: Moved,
    /// Whether all of it merely goes on from what was said before ([`Fact::goes_on_from`]). False if that is not known.
    pub routine: bool,
}

impl Delta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removed.is_empty() && self.moved.is_empty()
    }

    /// How many facts it tells of.
    pub const fn len(&self) -> usize {
        self.upserts.len() + self.removed.len() + self.moved.len()
    }
}

impl Facts {
    /// No facts.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a fact in the place of the older one with its key.
    pub fn insert(&mut self, fact: Fact) {
        self.leave_edition();
        let key = fact.key();
        let replaced = match of_key(&key) {
            None => Arc::make_mut(&mut self.own).insert(key, fact).is_some(),
            Some((peer, kind)) => {
                let of_peers = Arc::make_mut(&mut self.of_peers);
                let of_peer = Arc::make_mut(of_peers.entry(*peer).or_default());
                of_peer.put(kind, fact)
            }
        };
        self.len += usize::from(!replaced);
    }

    /// Takes a fact out.
    pub fn remove(&mut self, key: &FactKey) -> Option<Fact> {
        self.get(key)?;
        self.leave_edition();
        let removed = match of_key(key) {
            None => Arc::make_mut(&mut self.own).remove(key),
            Some((peer, kind)) => match Arc::make_mut(&mut self.of_peers).entry(*peer) {
                Entry::Vacant(_) => None,
                Entry::Occupied(mut entry) => {
                    let removed = Arc::make_mut(entry.get_mut()).take(kind);
                    if entry.get().is_empty() {
                        entry.remove();
                    }
                    removed
                }
            },
        };
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// The fact about `key`.
    pub fn get(&self, key: &FactKey) -> Option<&Fact> {
        match of_key(key) {
            None => self.own.get(key),
            Some((peer, kind)) => self.of_peers.get(peer)?.kind(kind),
        }
    }

    /// All facts: those about no key in the order of their kinds, then those about each key.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        let of_peers = self.of_peers.values();
        let of_peers = of_peers.flat_map(|of_peer| of_peer.iter());
        self.own.values().chain(of_peers)
    }

    /// Those about no key, in the order of their kinds.
    pub fn own(&self) -> impl Iterator<Item = &Fact> {
        self.own.values()
    }

    /// What is said of each key, in the order of the keys.
    pub fn of_peers(&self) -> impl ExactSizeIterator<Item = (&PublicKey, &Arc<OfPeer>)> {
        self.of_peers.iter()
    }

    /// What is said of a key.
    pub fn of_peer(&self, key: &PublicKey) -> Option<&Arc<OfPeer>> {
        self.of_peers.get(key)
    }

    /// How many facts there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The present edition. Whoever keeps it can tell whether anything was changed since.
    pub const fn edition(&self) -> &Edition {
        &self.edition
    }

    /// Applies a difference. What merely moved goes first, as it goes on from what was there before; other order within it does not matter,
    /// and moves of one fact add up. A difference from other facts than these may not fit: then nothing is changed.
    pub fn apply(&mut self, delta: Delta) -> Result<(), CannotMove> {
        if !delta.moved.is_empty() {
            self.fits(&delta.moved)?;
            self.go_on(&delta.moved);
        }
        for key in &delta.removed {
            self.remove(key);
        }
        for fact in delta.upserts {
            self.insert(fact);
        }
        Ok(())
    }

    /// Whether all that moved is there, and has as many numbers.
    fn fits(&self, moved: &Moved) -> Result<(), CannotMove> {
        for (id, _) in &moved.sources {
            if !self.own.contains_key(&FactKey::Source(*id)) {
                return Err(CannotMove::Source(*id));
            }
        }
        for told in &moved.of_peers {
            let (key, of_peer) = self.of_short_key(*told)?;
            let known = of_key(&told.kind.of(*key)).and_then(|(_, kind)| of_peer.kind(kind));
            let expected = known.ok_or(CannotMove::Unsaid(*told))?.count_numbers();
            if expected != usize::from(told.numbers) {
                return Err(CannotMove::Numbers {
                    fact: *told,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// What fits goes on.
    fn go_on(&mut self, moved: &Moved) {
        self.leave_edition();
        let own = Arc::make_mut(&mut self.own);
        for (id, later) in &moved.sources {
            if let Some(Fact::Source(_, state)) = own.get_mut(&FactKey::Source(*id)) {
                state.go_on(*later);
            }
        }
        let of_peers = Arc::make_mut(&mut self.of_peers);
        let mut by = moved.by.iter().copied();
        for told in &moved.of_peers {
            let mut by = by.by_ref().take(usize::from(told.numbers));
            let (least, greatest) = told.key.bounds();
            let known = of_peers.range_mut(least..=greatest).next();
            let fact = known.and_then(|(key, of_peer)| {
                let (_, kind) = of_key(&told.kind.of(*key))?;
                Arc::make_mut(of_peer).kind_mut(kind)
            });
            if let Some(fact) = fact {
                fact.move_by(&mut by);
            }
        }
    }

    /// What is said of the one key that begins so.
    pub(crate) fn of_short_key(
        &self,
        told: MovedFact,
    ) -> Result<(&PublicKey, &Arc<OfPeer>), CannotMove> {
        let (least, greatest) = told.key.bounds();
        let mut those = self.of_peers.range(least..=greatest);
        match (those.next(), those.next()) {
            (None, _) => Err(CannotMove::Unsaid(told)),
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(CannotMove::Two(told)),
        }
    }

    /// The same facts on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(mut self, offset: i64) -> Self {
        self.leave_edition();
        for fact in Arc::make_mut(&mut self.own).values_mut() {
            fact.shift(offset);
        }
        for of_peer in Arc::make_mut(&mut self.of_peers).values_mut() {
            Arc::make_mut(of_peer).shift(offset);
        }
        self
    }

    /// The difference that turns `older` into `self`.
    pub fn difference_from(&self, older: &Self) -> Delta {
        if self.edition.is(&older.edition) {
            return Delta::default();
        }
        let mut routine = true;
        let upserts = self.what_differs(older).map(|(new, old)| {
            routine &= old.is_some_and(|old| new.goes_on_from(old));
            new.clone()
        });
        let upserts = upserts.collect();
        let removed = older.keys_that_lack(self);
        Delta {
            upserts,
            routine: routine && removed.is_empty(),
            removed,
            moved: Moved::default(),
        }
    }

    /// Facts that are new or others than before, with what they were.
    fn what_differs<'a>(
        &'a self,
        older: &'a Self,
    ) -> impl Iterator<Item = (&'a Fact, Option<&'a Fact>)> {
        let own = self.own.values();
        let own = own.map(|fact| (fact, older.own.get(&fact.key())));
        let of_peers = self.of_peers.iter().flat_map(|(key, of_peer)| {
            let before = older.of_peers.get(key);
            let same = before.is_some_and(|before| Arc::ptr_eq(before, of_peer));
            let known = move |fact: &Fact| {
                let before = before?;
                of_key(&fact.key()).and_then(|(_, kind)| before.kind(kind))
            };
            let facts = (!same).then(|| of_peer.iter()).into_iter().flatten();
            facts.map(move |fact| (fact, known(fact)))
        });
        let all = own.chain(of_peers);
        all.filter(|(fact, before)| *before != Some(*fact))
    }

    /// The keys of facts that `newer` does not have.
    fn keys_that_lack(&self, newer: &Self) -> Vec<FactKey> {
        let own = self.own.keys().filter(|key| !newer.own.contains_key(key));
        let of_peers = self.of_peers.iter().flat_map(|(key, of_peer)| {
            let after = newer.of_peers.get(key);
            let same = after.is_some_and(|after| Arc::ptr_eq(after, of_peer));
            let facts = (!same).then(|| of_peer.iter()).into_iter().flatten();
            facts.map(Fact::key).filter(|key| newer.get(key).is_none())
        });
        own.copied().chain(of_peers).collect()
    }

    /// Whoever has kept the present edition keeps it alone.
    fn leave_edition(&mut self) {
        if Arc::strong_count(&self.edition.0) > 1 {
            drop(mem::take(&mut self.edition));
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
