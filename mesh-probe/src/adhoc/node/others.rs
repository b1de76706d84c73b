//! What is said by more than the kernel: Talos, the discovery service, clocks, the host.

use diagnosis::candidates::Standpoint;
use evidence::{Clock, Fact, FactKey, Facts, Moment};

use super::own::MAX_LISTED;
use crate::render::node;

/// The machine, then each peer with its endpoint candidates as they look from here.
pub(super) fn talos(facts: &Facts, now: Moment) -> Vec<String> {
    let Some(Fact::Talos(talos)) = facts.get(&FactKey::Talos) else {
        return Vec::new();
    };
    let own = match facts.get(&FactKey::Identity) {
        Some(Fact::Identity(identity)) => identity.addresses.as_slice(),
        _ => &[],
    };
    let from = Standpoint {
        own,
        public: &talos.discovered,
    };
    let mut lines = node::talos::node(talos);
    let peers: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::TalosPeer(_, peer) => Some(peer),
            _ => None,
        })
        .collect();
    let listed = peers.iter().take(MAX_LISTED);
    lines.extend(listed.flat_map(|peer| node::talos::peer(peer, from, now)));
    let rest = peers.len().saturating_sub(MAX_LISTED);
    if rest > 0 {
        lines.push(format!("and {rest} more peers"));
    }
    lines
}

pub(super) fn discovery(facts: &Facts, now: Moment) -> Vec<String> {
    match facts.get(&FactKey::Discovery) {
        Some(Fact::Discovery(seen)) => node::discovery::lines(seen, now),
        _ => Vec::new(),
    }
}

/// The node's own clock, then its time servers beside it.
pub(super) fn time(facts: &Facts, now: Moment) -> Vec<String> {
    let own: Option<&Clock> = match facts.get(&FactKey::Clock) {
        Some(Fact::Clock(clock)) => Some(clock),
        _ => None,
    };
    let mut lines = own.map_or_else(Vec::new, |clock| node::clock::clock(clock, now));
    if let Some(Fact::Ntp(ntp)) = facts.get(&FactKey::Ntp) {
        lines.extend(node::clock::ntp(ntp, own, now));
    }
    lines
}

pub(super) fn host(facts: &Facts, now: Moment) -> Vec<String> {
    match facts.get(&FactKey::Host) {
        Some(Fact::Host(host)) => node::host::host(host, now),
        _ => Vec::new(),
    }
}
