//! What one node says of each key, in a row.

use evidence::{
    DataSeen, EchoHeard, EchoSent, Fact, Facts, Inert, Initiated, Peer, PublicKey, Sizes, Steered,
    TalosPeer,
};

use super::places::Places;

/// What a node says of one key.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said<'a> {
    pub(super) peer: Option<&'a Peer>,
    pub(super) echo_sent: Option<&'a EchoSent>,
    pub(super) echo_heard: Option<&'a EchoHeard>,
    pub(super) inert: Option<&'a Inert>,
    pub(super) initiated: Option<&'a Vec<Initiated>>,
    pub(super) sizes: Option<&'a Vec<Sizes>>,
    pub(super) steered: Option<&'a Steered>,
    pub(super) talos_peer: Option<&'a TalosPeer>,
    pub(super) data_seen: Option<&'a DataSeen>,
}

impl<'a> Said<'a> {
    pub(super) fn put(&mut self, fact: &'a Fact) {
        match fact {
            Fact::Peer(_, peer) => self.peer = Some(peer),
            Fact::EchoSent(_, echo) => self.echo_sent = Some(echo),
            Fact::EchoHeard(_, echo) => self.echo_heard = Some(echo),
            Fact::Inert(_, inert) => self.inert = Some(inert),
            Fact::Initiated(_, list) => self.initiated = Some(list),
            Fact::Sizes(_, layers) => self.sizes = Some(layers),
            Fact::Steered(_, steered) => self.steered = Some(steered),
            Fact::TalosPeer(_, peer) => self.talos_peer = Some(peer),
            Fact::DataSeen(_, seen) => self.data_seen = Some(seen),
            _ => {}
        }
    }
}

/// The row of a node, by the places of the keys.
pub(super) fn row<'a>(facts: &'a Facts, keys: &Places<PublicKey>) -> Vec<Said<'a>> {
    let mut row = vec![Said::default(); keys.len()];
    // Facts of a kind come in the order of keys, as the places are given: mostly the next one is meant.
    let mut next = 0;
    for fact in facts.iter() {
        let Some(key) = about(fact) else {
            continue;
        };
        let place = if keys.at(next) == Some(key) {
            Some(next)
        } else {
            keys.of(&key)
        };
        let Some(said) = place.and_then(|place| row.get_mut(place)) else {
            continue;
        };
        said.put(fact);
        next = place.map_or(0, |place| place + 1);
    }
    row
}

fn about(fact: &Fact) -> Option<PublicKey> {
    match fact {
        Fact::Peer(key, _)
        | Fact::EchoSent(key, _)
        | Fact::EchoHeard(key, _)
        | Fact::Inert(key, _)
        | Fact::Initiated(key, _)
        | Fact::Sizes(key, _)
        | Fact::Steered(key, _)
        | Fact::TalosPeer(key, _)
        | Fact::DataSeen(key, _) => Some(*key),
        _ => None,
    }
}
