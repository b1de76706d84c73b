//! What was read of the nodes' facts, kept from one judgement to the next: only what is new in them is read again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use evidence::{Edition, Facts, Moment, NodeName, NodeRef, OfPeer, PublicKey};

use crate::{
    View,
    prefix::{Holdings, Reader},
};

use super::{Places, gather};

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
#[derive(Debug)]
pub(super) struct Heard {
    edition: Edition,
    /// By the places of the keys.
    pub(super) row: Vec<Option<Arc<OfPeer>>>,
    pub(super) holdings: Holdings,
}

/// What is new since the last time.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// What is said of a key, by the node and the place of the key.
    pub(crate) rows: Vec<(NodeName, usize)>,
    /// Whose device gives addresses to other peers than before.
    pub(crate) holdings: BTreeSet<NodeName>,
    /// Places of keys that somebody dials elsewhere than before.
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
        let knows_all = !self.learn(view, now);
        for (name, node) in &view.nodes {
            if gather::is_fresh(node, now) && !(knows_all && self.has_heard(name, &node.facts)) {
                self.hear(name, &node.facts, &mut news);
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

    /// All keys of which that is so.
    pub(super) fn listed(&self) -> impl Iterator<Item = PublicKey> {
        let keys = self.keys.iter().zip(&self.listed);
        keys.filter(|(_, by)| **by > 0).map(|(key, _)| *key)
    }

    fn is_stale(&self) -> bool {
        let used = self.listed.iter().filter(|by| **by > 0).count() + self.heard.len();
        let least = STALE_LEAST.max(used * STALE_FACTOR);
        self.keys.len() > least || self.reader.len() > least.saturating_mul(Holdings::ADDRESSES)
    }

    /// Gives a place to each key that somebody has or lists; says whether one is new.
    fn learn(&mut self, view: &View, now: Moment) -> bool {
        let mut new = BTreeSet::new();
        for (name, node) in &view.nodes {
            let claimed = gather::identity(node).and_then(|identity| identity.public_key);
            new.extend(claimed.filter(|key| self.keys.of(key).is_none()));
            if !gather::is_fresh(node, now) || self.has_heard(name, &node.facts) {
                continue;
            }
            let mut next = 0;
            for (key, said) in node.facts.of_peers() {
                match self.place_near(key, next) {
                    Some(place) => next = place + 1,
                    None if said.peer().is_some() => drop(new.insert(*key)),
                    None => {}
                }
            }
        }
        let is_any = !new.is_empty();
        for key in new {
            self.keys.give(key);
        }
        is_any
    }

    /// The place of a key that is mostly the next one, as both come in the order of keys.
    fn place_near(&self, key: &PublicKey, next: usize) -> Option<usize> {
        let is_it = |place: &usize| self.keys.at(*place).as_ref() == Some(key);
        let near = (next..next + 2).find(is_it);
        near.or_else(|| self.keys.of(key))
    }

    fn has_heard(&self, name: &NodeName, facts: &Facts) -> bool {
        let heard = self.heard.get(name);
        heard.is_some_and(|heard| heard.edition.is(facts.edition()))
    }

    fn hear(&mut self, name: &NodeName, facts: &Facts, news: &mut News) {
        let mut heard = self.heard.remove(name).unwrap_or_else(|| {
            news.speakers.insert(name.clone());
            Heard {
                edition: facts.edition().clone(),
                row: Vec::new(),
                holdings: Holdings::default(),
            }
        });
        heard.edition = facts.edition().clone();
        let row = self.row(facts);
        let mut moved = false;
        let before = std::mem::take(&mut heard.row);
        for place in 0..row.len().max(before.len()) {
            let (old, new) = (at(&before, place), at(&row, place));
            if same(old, new) {
                continue;
            }
            news.rows.push((name.clone(), place));
            let (old, new) = (
                old.and_then(|said| said.peer()),
                new.and_then(|said| said.peer()),
            );
            if old.is_some() != new.is_some() {
                self.count(place, new.is_some());
            }
            let endpoint = |peer: Option<&evidence::Peer>| -> Option<SocketAddr> { peer?.endpoint };
            if endpoint(old).map(|to| to.ip()) != endpoint(new).map(|to| to.ip()) {
                news.dialled.insert(place);
            }
            moved |= old.map(|peer| &peer.allowed_ips) != new.map(|peer| &peer.allowed_ips);
        }
        if moved {
            let peers = row.iter().enumerate().filter_map(|(place, said)| {
                Some((
                    place,
                    self.keys.at(place)?,
                    &said.as_ref()?.peer()?.allowed_ips[..],
                ))
            });
            heard.holdings = self.reader.read(peers);
            news.holdings.insert(name.clone());
        }
        heard.row = row;
        self.heard.insert(name.clone(), heard);
    }

    /// What a node says of each key that has a place.
    fn row(&self, facts: &Facts) -> Vec<Option<Arc<OfPeer>>> {
        let mut row = vec![None; self.keys.len()];
        let mut next = 0;
        for (key, said) in facts.of_peers() {
            let Some(place) = self.place_near(key, next) else {
                continue;
            };
            if let Some(here) = row.get_mut(place) {
                *here = Some(Arc::clone(said));
            }
            next = place + 1;
        }
        row
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

fn at(row: &[Option<Arc<OfPeer>>], place: usize) -> Option<&Arc<OfPeer>> {
    row.get(place)?.as_ref()
}

fn same(a: Option<&Arc<OfPeer>>, b: Option<&Arc<OfPeer>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}
