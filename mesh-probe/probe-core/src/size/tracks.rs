//! All tracks, in the order of their turns.

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Layer, Moment, PublicKey};

use super::track::Track;

/// Whose track it is.
pub(super) type Key = (PublicKey, Layer);

/// Tracks with a queue for each kind of turn. Those that wait for their next full-size packet stand apart from those at work, as
/// they need room in the budget: else each step would pass over all that wait for room, and in a large mesh those are nearly
/// all. Those that lost their last packet go before those that did not.
#[derive(Clone, Debug, Default)]
pub(super) struct Tracks {
    all: BTreeMap<Key, Track>,
    at_work: BTreeSet<(Moment, Key)>,
    retried: BTreeSet<(Moment, Key)>,
    waiting: BTreeSet<(Moment, Key)>,
    searching: BTreeSet<Key>,
    #[cfg(test)]
    pub(super) changes: usize,
}

impl Tracks {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Track> {
        self.all.get(key)
    }

    pub(super) fn insert(&mut self, key: Key, track: Track) {
        self.remove(&key);
        self.enqueue(key, &track);
        self.all.insert(key, track);
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(track) = self.all.remove(key) {
            self.dequeue(*key, &track);
        }
    }

    /// Changes a track, which may change its place; `None` if there is none.
    pub(super) fn change<T>(
        &mut self,
        key: &Key,
        change: impl FnOnce(&mut Track) -> T,
    ) -> Option<T> {
        let mut track = self.all.remove(key)?;
        #[cfg(test)]
        {
            self.changes += 1;
        }
        self.dequeue(*key, &track);
        let outcome = change(&mut track);
        self.enqueue(*key, &track);
        self.all.insert(*key, track);
        Some(outcome)
    }

    /// Of those with something on its way, the one whose turn is first.
    pub(super) fn first_at_work(&self) -> Option<(Moment, Key)> {
        self.at_work.first().copied()
    }

    /// Of those that lost their last packet, the one whose turn is first.
    pub(super) fn first_retried(&self) -> Option<(Moment, Key)> {
        self.retried.first().copied()
    }

    /// Of the others that wait, the one whose turn is first.
    pub(super) fn first_waiting(&self) -> Option<(Moment, Key)> {
        self.waiting.first().copied()
    }

    pub(super) fn is_another_searching(&self, key: &Key) -> bool {
        self.searching.iter().any(|other| other != key)
    }

    fn enqueue(&mut self, key: Key, track: &Track) {
        if track.is_searching() {
            self.searching.insert(key);
        }
        self.queue(track).insert((track.due, key));
    }

    fn dequeue(&mut self, key: Key, track: &Track) {
        self.searching.remove(&key);
        self.queue(track).remove(&(track.due, key));
    }

    fn queue(&mut self, track: &Track) -> &mut BTreeSet<(Moment, Key)> {
        if track.is_at_work() {
            &mut self.at_work
        } else if track.is_retried() {
            &mut self.retried
        } else {
            &mut self.waiting
        }
    }
}
