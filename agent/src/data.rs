//! Looks for data messages of peers in doubt: a packet socket for two seconds, headers only.

use std::net::SocketAddr;

use probe_core::{
    data::{LOOK, Look, MAX_MESSAGES, Message},
    packet::headers_length,
    sightings::Direction,
};
use probe_io::{Sighted, Tap, TapError, clock};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::debug;

use crate::{
    observer::Looked,
    readers::{TUNNEL_PORT, chain},
};

/// The task of the present look. One that fails or hangs costs itself: the next one begins when it is over.
#[derive(Debug, Default)]
pub(crate) struct DataWatch {
    running: Option<(Look, oneshot::Receiver<Looked>)>,
}

impl DataWatch {
    pub(crate) fn begin(&mut self, look: Look) {
        let (sender, receiver) = oneshot::channel();
        tokio::spawn(run(look.clone(), sender));
        self.running = Some((look, receiver));
    }

    /// The look that is over.
    pub(crate) fn take(&mut self) -> Option<(Look, Option<Looked>)> {
        let (look, mut receiver) = self.running.take()?;
        match receiver.try_recv() {
            Ok(looked) => Some((look, Some(looked))),
            Err(oneshot::error::TryRecvError::Closed) => Some((look, None)),
            Err(oneshot::error::TryRecvError::Empty) => {
                self.running = Some((look, receiver));
                None
            }
        }
    }
}

/// A look that could not be made sends nothing: the dropped sender says so.
async fn run(wanted: Look, sender: oneshot::Sender<Looked>) {
    match look(&wanted).await {
        // Nobody waits for it any more.
        Ok(looked) => drop(sender.send(looked)),
        Err(error) => debug!(reason = chain(&error), "no look for data messages"),
    }
}

async fn look(wanted: &Look) -> Result<Looked, TapError> {
    let remotes: Vec<_> = wanted.peers.keys().map(SocketAddr::ip).collect();
    let mut tap = Tap::open_for_data(TUNNEL_PORT, &remotes)?;
    let end = Instant::now() + LOOK;
    let mut messages = Vec::new();
    while let Ok(sighted) = timeout_at(end, tap.next()).await {
        messages.extend(message(&sighted?));
        if messages.len() >= MAX_MESSAGES {
            break;
        }
    }
    let full = messages.last().filter(|_| messages.len() >= MAX_MESSAGES);
    let missed = tap.statistics()?.dropped;
    Ok(Looked {
        until: full.map_or_else(clock::moment, |last| last.at),
        missed: u32::try_from(missed).unwrap_or(u32::MAX),
        messages,
    })
}

fn message(sighted: &Sighted) -> Option<Message> {
    let datagram = sighted.datagram().ok()?;
    let remote = match sighted.direction {
        Direction::In => datagram.source,
        Direction::Out => datagram.destination,
    };
    let headers = headers_length(remote.ip());
    Some(Message {
        direction: sighted.direction,
        interface: sighted.interface,
        remote,
        length: datagram.packet_length.saturating_sub(headers),
        at: sighted.seen_at.moment(),
    })
}
