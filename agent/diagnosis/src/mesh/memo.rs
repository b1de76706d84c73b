//! What was read of the nodes' facts, kept from one judgement to the next: only what is new in them is read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use evidence::{Edition, Facts, Moment, NodeName, NodeRef, OfPeer, Peer, PublicKey};

use crate::{
    View,
    pair::Word,
    prefix::{Holdings, Reader},
};

use super::{Places, gather, heard_at};

/// What each node that speaks says of each key.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    /// All keys that anybody has or lists.
    pub(super) keys: Places<PublicKey>,
    /// How many nodes list each of them as a peer, by their places.
    listed: Vec<usize>,
    pub(super) reader: Reader,
    heard: BTreeMap<NodeName, Heard>,
}

/// What one node says.
#[derive(Debug, Default)]
pub(super) struct Heard {
    edition: Edition,
    /// By the places of the keys.
    pub(super) row: Vec<Option<Arc<OfPeer>>>,
    /// The same in few words.
    pub(super) words: Vec<Word>,
    /// Of how many keys.
    said_of: usize,
    /// Of how many more that had no place.
    left_out: usize,
    pub(super) holdings: Holdings,
}

/// What is new since the last time.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Nodes that say something else, with the places of the keys of which they do.
    pub(crate) rows: Vec<(NodeName, Vec<usize>)>,
    /// Whose device gives addresses to other peers than before.
    pub(crate) holdings: BTreeSet<NodeName>,
    /// Places of keys that somebody hears from elsewhere than before.
    pub(crate) dialled: BTreeSet<usize>,
    /// Who began to speak, or does so no more.
    pub(crate) speakers: BTreeSet<NodeName>,
}

impl News {
    /// Whether the device of a node gives addresses to other peers than before.
    pub(crate) fn has_other_holdings(&self, node: &NodeRef) -> bool {
        matches!(node, NodeRef::Named { name } if self.holdings.contains(name))
    }
}

/// More keys or addresses than this for each that is in use, and all is read anew: nodes that have been replaced are forgotten.
const STALE_FACTOR: usize = 2;
/// Fewer are never worth it.
const STALE_LEAST: usize = 1024;

impl Memo {
    /// Takes in what is new in a view.
    pub(crate) fn take_in(&mut self, view: &View, now: Moment) -> News {
        if self.is_stale() {
            *self = Self::default();
        }
        let mut news = News::default();
        let speaks = |name: &NodeName| {
            let node = view.nodes.get(name);
            node.is_some_and(|node| gather::is_fresh(node, now))
        };
        let silent: Vec<NodeName> = self
            .heard
            .keys()
            .filter(|name| !speaks(name))
            .cloned()
            .collect();
        for name in silent {
            if let Some(heard) = self.heard.remove(&name) {
                self.unlist(&heard);
            }
            news.speakers.insert(name);
        }
        let mut strangers = self.claimed(view);
        // Twice at most: all keys in any device have a place then.
        for _ in 0..2 {
            for key in std::mem::take(&mut strangers) {
                self.keys.give(key);
            }
            for (name, node) in &view.nodes {
                if gather::is_fresh(node, now) && !self.has_heard(name, &node.facts) {
                    self.hear(name, &node.facts, &mut news, &mut strangers);
                }
            }
            if strangers.is_empty() {
                break;
            }
        }
        news
    }

    pub(super) fn heard(&self, name: &NodeName) -> Option<&Heard> {
        self.heard.get(name)
    }

    /// Whether the device of a node that speaks has a peer of this key.
    pub(super) fn is_listed(&self, key: &PublicKey) -> bool {
        let place = self.keys.of(key);
        place
            .and_then(|place| self.listed.get(place))
            .is_some_and(|by| *by > 0)
    }

    /// By their places the keys of which that is so.
    pub(super) fn listed(&self) -> impl Iterator<Item = Option<PublicKey>> {
        let keys = self.keys.iter().zip(&self.listed);
        keys.map(|(key, by)| (*by > 0).then_some(*key))
    }

    fn is_stale(&self) -> bool {
        let used = self.listed.iter().filter(|by| **by > 0).count() + self.heard.len();
        let least = STALE_LEAST.max(used * STALE_FACTOR);
        self.keys.len() > least || self.reader.len() > least.saturating_mul(Holdings::ADDRESSES)
    }

    /// The keys that nodes have and that have no place yet.
    fn claimed(&self, view: &View) -> BTreeSet<PublicKey> {
        let identities = view.nodes.values().filter_map(gather::identity);
        let claimed = identities.filter_map(|identity| identity.public_key);
        claimed.filter(|key| self.keys.of(key).is_none()).collect()
    }

    /// The place of a key that is mostly the next one, as both come in the order of keys.
    fn place_near(&self, key: &PublicKey, next: usize) -> Option<usize> {
        let is_it = |place: &usize| self.keys.at(*place).as_ref() == Some(key);
        let near = (next..next + 2).find(is_it);
        near.or_else(|| self.keys.of(key))
    }

    fn has_heard(&self, name: &NodeName, facts: &Facts) -> bool {
        let heard = self.heard.get(name);
        heard.is_some_and(|heard| {
            // What it said of a key without a place was left out, and may be heard now.
            let all = heard.left_out == 0 || heard.row.len() == self.keys.len();
            all && heard.edition.is(facts.edition())
        })
    }

    /// Takes in what a node says, in one walk that touches only what is new. Keys in its device that have no place are told.
    fn hear(
        &mut self,
        name: &NodeName,
        facts: &Facts,
        news: &mut News,
        strangers: &mut BTreeSet<PublicKey>,
    ) {
        let last = self.heard.remove(name);
        let begins = last.is_none();
        let mut heard = last.unwrap_or_default();
        if begins {
            news.speakers.insert(name.clone());
        }
        heard.edition = facts.edition().clone();
        heard.row.resize(self.keys.len(), None);
        heard.words.resize(self.keys.len(), Word::default());
        heard.left_out = 0;
        let (mut moved, mut places) = (false, Vec::new());
        let (mut next, mut said_of) = (0, 0);
        for (key, said) in facts.of_peers() {
            let Some(place) = self.place_near(key, next) else {
                heard.left_out += 1;
                if said.peer().is_some() {
                    strangers.insert(*key);
                }
                continue;
            };
            next = place + 1;
            said_of += 1;
            let Some(here) = heard.row.get_mut(place) else {
                continue;
            };
            if !here.as_ref().is_some_and(|old| Arc::ptr_eq(old, said)) {
                let old = here.replace(Arc::clone(said));
                if let Some(word) = heard.words.get_mut(place) {
                    *word = Word::of(said, place, &mut self.reader);
                }
                heard.said_of += usize::from(old.is_none());
                let other = self.note(place, (old.as_deref(), Some(said)), news);
                match said.peer().filter(|_| begins) {
                    Some(peer) => self.read(&mut heard.holdings, place, *key, &peer.allowed_ips),
                    None => moved |= other,
                }
                places.push(place);
            }
        }
        if heard.said_of > said_of {
            for (place, old) in self.take_unsaid(facts, &mut heard) {
                moved |= self.note(place, (Some(&old), None), news);
                places.push(place);
            }
        }
        if !places.is_empty() {
            news.rows.push((name.clone(), places));
        }
        if moved {
            heard.holdings = Holdings::default();
            for (place, said) in heard.row.iter().enumerate() {
                let peer = said.as_ref().and_then(|said| said.peer());
                if let Some((peer, key)) = peer.zip(self.keys.at(place)) {
                    self.read(&mut heard.holdings, place, key, &peer.allowed_ips);
                }
            }
        }
        if moved || begins {
            news.holdings.insert(name.clone());
        }
        self.heard.insert(name.clone(), heard);
    }

    /// Takes in what a peer of a device has.
    fn read(&mut self, into: &mut Holdings, place: usize, key: PublicKey, allowed_ips: &[String]) {
        self.reader
            .read(into, (place, key, allowed_ips), &self.keys);
    }

    /// Takes out what was said of keys of which nothing is said any more.
    fn take_unsaid(&self, facts: &Facts, heard: &mut Heard) -> Vec<(usize, Arc<OfPeer>)> {
        let is_said = |key: &PublicKey| facts.of_peer(key).is_some();
        let row = heard.row.iter_mut().zip(&mut heard.words);
        let row = row.zip(self.keys.iter()).enumerate();
        let unsaid = row.filter_map(|(place, ((here, word), key))| {
            let old = here.take_if(|_| !is_said(key))?;
            *word = Word::default();
            Some((place, old))
        });
        let unsaid: Vec<_> = unsaid.collect();
        heard.said_of -= unsaid.len();
        unsaid
    }

    /// Notes that a node says something else of a key; says whether its device gives that peer other addresses.
    fn note(
        &mut self,
        place: usize,
        (old, new): (Option<&OfPeer>, Option<&OfPeer>),
        news: &mut News,
    ) -> bool {
        let (old, new) = (old.and_then(OfPeer::peer), new.and_then(OfPeer::peer));
        if old.is_some() != new.is_some() {
            self.count(place, new.is_some());
        }
        let same = |(old, new): (&Peer, &Peer)| std::ptr::eq(old, new);
        if old.zip(new).is_some_and(same) {
            return false;
        }
        let heard = |peer: Option<&Peer>| heard_at(peer?);
        if heard(old) != heard(new) {
            news.dialled.insert(place);
        }
        old.map(|peer| &peer.allowed_ips) != new.map(|peer| &peer.allowed_ips)
    }

    fn unlist(&mut self, heard: &Heard) {
        for (place, said) in heard.row.iter().enumerate() {
            if said.as_ref().is_some_and(|said| said.peer().is_some()) {
                self.count(place, false);
            }
        }
    }

    fn count(&mut self, place: usize, more: bool) {
        if self.listed.len() <= place {
            self.listed.resize(place + 1, 0);
        }
        if let Some(by) = self.listed.get_mut(place) {
            *by = if more { *by + 1 } else { by.saturating_sub(1) };
        }
    }
}
