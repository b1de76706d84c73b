//! Echoes to node addresses. They leave and are read at ticks, so that no node wakes up for them.

use std::net::SocketAddr;

use evidence::{Moment, Via};
use probe_core::{
    Stamp,
    node_echo::{self, Reject},
};
use probe_io::NodeDatagram;
use sources::links::KUBESPAN;

use super::{Observer, Ways};

/// Datagrams that are read at one tick: a full mesh sends less, and the sockets are open to strangers.
const NODE_BATCH: usize = 64;

impl<W: Ways> Observer<W> {
    /// Reads what has come, gives up what has not, and asks whoever is due.
    pub(super) fn ask_nodes(&mut self, now: Stamp) {
        let moment = now.moment();
        for _ in 0..NODE_BATCH {
            match self.ways.next_node(moment) {
                Some(datagram) => self.on_node(&datagram, moment),
                None => break,
            }
        }
        let Some(machines) = &mut self.machines else {
            return;
        };
        machines.node_prober.handle(node_echo::Input::Tick, moment);
        while machines.node_prober.is_due(moment) && machines.prober.lend(now) {
            if let Some(request) = machines.node_prober.take(moment) {
                let to = SocketAddr::new(request.to, proto::limits::PORT);
                self.ways.node(None, to, &request.bytes);
            }
        }
    }

    fn on_node(&mut self, datagram: &NodeDatagram, now: Moment) {
        let via = self.via(datagram.interface);
        let Some(machines) = &mut self.machines else {
            return;
        };
        let NodeDatagram {
            from, at, bytes, ..
        } = datagram;
        match machines
            .node_responder
            .handle(bytes, (*at, via.clone()), now)
        {
            Ok(reply) => self.ways.node(Some(*at), *from, &reply),
            Err(Reject::NotARequest) => {
                let from = from.ip();
                let reply = node_echo::Input::Datagram { bytes, from, via };
                machines.node_prober.handle(reply, now);
            }
            // Counted by the responder.
            Err(_) => {}
        }
    }

    /// A link that came after the links were read has no name here yet, and could be the tunnel.
    fn via(&self, interface: u32) -> Option<Via> {
        let links = self.links.as_ref()?.value.as_ref().ok()?;
        let link = links.links.iter().find(|link| link.index == interface)?;
        Some(match link.name.as_str() {
            KUBESPAN => Via::Tunnel,
            name => Via::Link(name.to_owned()),
        })
    }
}
