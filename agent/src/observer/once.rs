//! A look at the sources without an agent: each is read once.

use std::time::Duration;

use evidence::{FactKey, Facts, Moment, SourceId};
use probe_io::clock;

use super::{Observer, Ways as _, run::next};
use crate::{
    readers::{Reading, Readings},
    sockets::Sockets,
    steering::WAITS,
};

impl Observer<Sockets> {
    /// Takes in what the sources say until each has been tried, at most for `patience`; sends nothing.
    pub(crate) async fn read_once(
        mut self,
        mut readings: Readings,
        patience: Duration,
    ) -> (Moment, Facts) {
        let until = clock::moment().plus(patience);
        while !self.has_tried_all() && clock::moment() < until {
            let event = next(&mut self.ways, &mut readings, until).await;
            self.handle(event, &mut readings, clock::stamp());
        }
        let look = self.look();
        self.clock.follow(look, || self.ways.kernel_clock());
        let now = clock::moment();
        if self.steering.is_none() && now < until {
            self.steering = Some(Reading {
                at: now,
                value: Err(WAITS.to_owned()),
            });
        }
        let facts = self.facts(now);
        let own = facts.iter().filter(|fact| !of_probes(&fact.key()));
        (now, own.cloned().collect())
    }

    /// Steering is asked for the peers of a device: without one, or without links, there is nothing to wait for.
    fn has_tried_all(&self) -> bool {
        let (Some(device), Some(links)) = (&self.device, &self.links) else {
            return false;
        };
        let steering = self.steering.is_some() || device.value.is_err() || links.value.is_err();
        let asked = self.ntp.is_tried() && self.talos.is_some() && self.discovery.is_some();
        steering && asked && self.host.tried().is_some()
    }
}

/// Whether a fact is about probes and what answers them, and not about what the node says of itself.
const fn of_probes(key: &FactKey) -> bool {
    use SourceId::{Echo, Inert, NodeEcho, Overlay, Tap};
    matches!(
        key,
        FactKey::Source(Tap | Echo | Inert | Overlay | NodeEcho)
            | FactKey::EchoSent(_)
            | FactKey::EchoHeard(_)
            | FactKey::Inert(_)
            | FactKey::Initiated(_)
            | FactKey::Arrivals
            | FactKey::DataSeen(_)
            | FactKey::NodeEcho(_)
            | FactKey::Sizes(_)
            | FactKey::Health
    )
}
