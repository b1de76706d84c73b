//! The sockets that the observer owns: opened when they can be, and a stated gap while they cannot.

use std::{
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use evidence::Moment;
use probe_io::{EchoSocket, InertSender};
use tracing::{debug, info, warn};

use crate::readers::{TUNNEL_PORT, chain};

/// Pause before a socket that could not be opened is tried again.
const REOPEN: Duration = Duration::from_secs(5);
const NO_ADDRESS: &str = "no KubeSpan address on this node yet";

/// The echo socket on the node's `KubeSpan` address.
pub(crate) struct Echo {
    pub(crate) socket: Option<(Ipv6Addr, EchoSocket)>,
    pub(crate) gap: Option<String>,
    pub(crate) retry_at: Moment,
}

/// The raw sender of inert datagrams.
pub(crate) struct Raw {
    pub(crate) sender: Option<InertSender>,
    pub(crate) gap: Option<String>,
    pub(crate) retry_at: Moment,
}

impl Echo {
    pub(crate) fn closed() -> Self {
        Self {
            socket: None,
            gap: Some(NO_ADDRESS.to_owned()),
            retry_at: Moment::ZERO,
        }
    }

    /// Listens on the node's present `KubeSpan` address.
    pub(crate) fn follow(&mut self, own: Option<Ipv6Addr>, now: Moment) {
        let bound = self.socket.as_ref().map(|(address, _)| *address);
        if bound == own && (own.is_some() || self.gap.is_some()) {
            return;
        }
        let Some(address) = own else {
            self.socket = None;
            self.gap = Some(NO_ADDRESS.to_owned());
            return;
        };
        if now < self.retry_at {
            return;
        }
        self.socket = None;
        match EchoSocket::bind(SocketAddr::new(address.into(), proto::limits::PORT)) {
            Ok(socket) => {
                info!(%address, port = proto::limits::PORT, "the echo listens");
                self.socket = Some((address, socket));
                self.gap = None;
            }
            Err(error) => self.fail(&error, now),
        }
    }

    pub(crate) fn fail(&mut self, error: &dyn std::error::Error, now: Moment) {
        let reason = chain(error);
        if self.gap.as_ref() != Some(&reason) {
            warn!(%reason, "the echo socket does not work");
        }
        self.socket = None;
        self.gap = Some(reason);
        self.retry_at = now.plus(REOPEN);
    }

    /// A request that cannot be sent is a lost one: the prober counts it when no reply comes.
    pub(crate) fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        if let Some((_, socket)) = &mut self.socket
            && let Err(error) = socket.send_to(bytes, to)
        {
            debug!(%to, reason = chain(&error), "an echo could not be sent");
        }
    }
}

impl Raw {
    pub(crate) const fn closed() -> Self {
        Self {
            sender: None,
            gap: None,
            retry_at: Moment::ZERO,
        }
    }

    pub(crate) fn open(&mut self, now: Moment) {
        if self.sender.is_some() || now < self.retry_at {
            return;
        }
        match InertSender::open(TUNNEL_PORT) {
            Ok(sender) => {
                self.sender = Some(sender);
                self.gap = None;
            }
            Err(error) => {
                let reason = chain(&error);
                if self.gap.as_ref() != Some(&reason) {
                    warn!(%reason, "no inert probes on the true five-tuple");
                }
                self.gap = Some(reason);
                self.retry_at = now.plus(REOPEN);
            }
        }
    }

    /// Whether it left.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) -> bool {
        let Some(sender) = &self.sender else {
            return false;
        };
        match sender.send(to, bytes) {
            Ok(()) => true,
            Err(error) => {
                debug!(%to, reason = chain(&error), "an inert datagram could not be sent");
                false
            }
        }
    }
}
