//! The sockets of the echo to node addresses.

use std::net::{IpAddr, SocketAddr};

use evidence::Moment;
use probe_io::{NodeDatagram, NodeSockets};
use tracing::{debug, warn};

use super::{REOPEN, chain};

#[derive(Debug)]
pub(super) struct Nodes {
    sockets: Option<NodeSockets>,
    /// Why there are none.
    pub(super) gap: Option<String>,
    retry_at: Moment,
}

impl Nodes {
    pub(super) fn closed() -> Self {
        Self {
            sockets: None,
            gap: Some("not open yet".to_owned()),
            retry_at: Moment::ZERO,
        }
    }

    /// Opens what is missing. A node without IPv6 has one socket only.
    pub(super) fn open(&mut self, now: Moment) {
        let complete = self.sockets.as_ref().is_some_and(NodeSockets::has_v6);
        if complete || now < self.retry_at {
            return;
        }
        self.retry_at = now.plus(REOPEN);
        if self.sockets.is_none() {
            match NodeSockets::bind(proto::limits::PORT) {
                Ok(sockets) => (self.sockets, self.gap) = (Some(sockets), None),
                Err(error) => self.fail(&error),
            }
        }
        if let Some(sockets) = &mut self.sockets
            && let Err(error) = sockets.bind_v6()
        {
            debug!(reason = chain(&error), "no echo to node addresses of IPv6");
        }
    }

    /// The port of one address of IPv6 is about to be taken alone: that of all addresses is opened again after it.
    pub(super) fn step_aside(&mut self, now: Moment) {
        if let Some(sockets) = &mut self.sockets {
            sockets.close_v6();
        }
        self.retry_at = self.retry_at.min(now);
    }

    pub(super) fn send(&self, from: Option<IpAddr>, to: SocketAddr, bytes: &[u8]) {
        if let Some(sockets) = &self.sockets
            && let Err(error) = sockets.send(from, to, bytes)
        {
            debug!(reason = chain(&error), "an echo to a node address is lost");
        }
    }

    pub(super) fn try_next(&mut self) -> Option<NodeDatagram> {
        let read = self.sockets.as_ref()?.try_next();
        read.unwrap_or_else(|error| {
            self.fail(&error);
            None
        })
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        let reason = chain(error);
        if self.gap.as_ref() != Some(&reason) {
            warn!(%reason, "no echo to node addresses");
        }
        (self.sockets, self.gap) = (None, Some(reason));
    }
}
