//! What is known, as facts, and which sources gave it.

use evidence::{Fact, Facts, Gap, Identity, Moment, Ntp, SourceId, SourceState, limits};
use sources::links;

use super::{Observer, Ways};
use crate::{facts, readers::Reading, steering::chains_tried};

impl<W: Ways> Observer<W> {
    pub(super) fn facts(&mut self, now: Moment) -> Facts {
        let mut facts: Facts = self.sources(now).into_iter().collect();
        facts.insert(Fact::Identity(self.identity()));
        let links = self
            .links
            .as_ref()
            .and_then(|reading| reading.value.as_ref().ok());
        if let Some(Ok(device)) = self.device.as_ref().map(|reading| &reading.value) {
            facts.insert(Fact::Device(facts::device(device, links)));
        }
        for (key, peer) in self.peers.facts() {
            facts.insert(Fact::Peer(key, peer.clone()));
        }
        if let Some(machines) = &self.machines {
            machines.facts(&self.peers, &mut facts);
        }
        if let Some(Ok(steering)) = self.steering.as_ref().map(|reading| &reading.value) {
            steering.facts(&self.peers, &mut facts);
        }
        if let Some(Ok(talos)) = self.talos.as_ref().map(|reading| &reading.value) {
            talos.facts(&mut facts);
        }
        let known = self.peers.facts().map(|(key, _)| key);
        let seen = known.filter_map(|peer| Some(Fact::DataSeen(peer, self.looks.seen(&peer)?)));
        for fact in seen {
            facts.insert(fact);
        }
        facts.insert(Fact::Health(self.health.fact()));
        if let Some(Ok(seen)) = self.discovery.as_ref().map(|reading| &reading.value) {
            facts.insert(Fact::Discovery(seen.clone()));
        }
        let servers: Vec<_> = self.ntp.servers().cloned().collect();
        if !servers.is_empty() {
            facts.insert(Fact::Ntp(Ntp { servers }));
        }
        if let Some(host) = self.host.fact() {
            facts.insert(Fact::Host(Box::new(host.clone())));
        }
        if let Some(clock) = self.clock.fact() {
            facts.insert(Fact::Clock(*clock));
        }
        if let Some(devices) = self.vxlan.fact() {
            facts.insert(Fact::Vxlan(devices.clone()));
        }
        facts
    }

    fn identity(&self) -> Identity {
        let links = self
            .links
            .as_ref()
            .and_then(|reading| reading.value.as_ref().ok());
        let mut addresses = links.map(links::node_addresses).unwrap_or_default();
        addresses.truncate(limits::ADDRESSES);
        Identity {
            name: self.config.node.clone(),
            public_key: self.machines.as_ref().map(|machines| machines.key),
            kubespan_address: self.own_address(),
            addresses,
            boot_id: self.config.boot_id.clone(),
            instance: self.instance,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn sources(&mut self, now: Moment) -> Vec<Fact> {
        fn tried<T>(reading: Option<&Reading<T>>) -> Option<(Moment, Option<String>)> {
            reading.map(|reading| (reading.at, reading.value.as_ref().err().cloned()))
        }
        let states = [
            (SourceId::WireGuard, tried(self.device.as_ref())),
            (SourceId::Links, tried(self.links.as_ref())),
            (SourceId::Tap, tried(self.tap.as_ref())),
            (SourceId::Echo, Some((now, self.ways.gap(SourceId::Echo)))),
            (SourceId::Inert, Some((now, self.ways.gap(SourceId::Inert)))),
            (
                SourceId::Overlay,
                Some((now, self.ways.gap(SourceId::Overlay))),
            ),
            (
                SourceId::NodeEcho,
                Some((now, self.ways.gap(SourceId::NodeEcho))),
            ),
            (SourceId::Routes, tried(self.steering.as_ref())),
            (SourceId::Discovery, tried(self.discovery.as_ref())),
            (
                SourceId::Nftables,
                self.steering.as_ref().and_then(chains_tried),
            ),
            (SourceId::Talos, tried(self.talos.as_ref())),
            (SourceId::Clock, self.clock.tried()),
            (SourceId::Host, self.host.tried()),
            (SourceId::Ntp, self.ntp.tried(now)),
        ];
        let known = states
            .into_iter()
            .filter_map(|(id, state)| Some((id, state?)));
        known
            .map(|(id, (read_at, gap))| self.source(id, read_at, gap))
            .collect()
    }

    /// A source's state, with the moment since which it is readable, or is not.
    fn source(&mut self, id: SourceId, read_at: Moment, gap: Option<String>) -> Fact {
        let (readable, since) = self
            .since
            .entry(id)
            .or_insert_with(|| (gap.is_none(), read_at));
        if *readable != gap.is_none() {
            (*readable, *since) = (gap.is_none(), read_at);
        }
        let gap = gap.map(|mut reason| {
            reason.truncate(reason.floor_char_boundary(limits::TEXT));
            Gap { reason }
        });
        Fact::Source(
            id,
            SourceState {
                read_at,
                since: *since,
                gap,
            },
        )
    }
}
