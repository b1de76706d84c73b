//! Looks for data messages of peers in doubt: a packet socket for two seconds, headers only.

use std::{collections::BTreeMap, net::SocketAddr};

use evidence::{Fact, Facts, Moment, PublicKey};
use probe_core::{
    data::{DataLooks, LOOK, Look, MAX_MESSAGES, Message},
    packet::headers_length,
    sightings::Direction,
};
use probe_io::{Sighted, Tap, TapError, clock};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};
use tracing::debug;

use crate::readers::{TUNNEL_PORT, chain};

/// The looks, and the task of the present one. A look that fails or hangs costs itself: the next one begins when it is over.
#[derive(Default)]
pub(crate) struct DataWatch {
    looks: DataLooks,
    running: Option<(Look, oneshot::Receiver<Looked>)>,
}

struct Looked {
    messages: Vec<Message>,
    until: Moment,
    missed: u32,
}

impl DataWatch {
    /// Takes in a look that is over, and begins the next.
    pub(crate) fn follow(&mut self, doubtful: &BTreeMap<PublicKey, SocketAddr>, now: Moment) {
        self.take_in();
        if let Some(look) = self.looks.follow(doubtful, now) {
            let (sender, receiver) = oneshot::channel();
            tokio::spawn(run(look.clone(), sender));
            self.running = Some((look, receiver));
        }
    }

    pub(crate) fn facts(&self, peers: impl Iterator<Item = PublicKey>, facts: &mut Facts) {
        for peer in peers {
            if let Some(seen) = self.looks.seen(&peer) {
                facts.insert(Fact::DataSeen(peer, seen));
            }
        }
    }

    fn take_in(&mut self) {
        let Some((look, mut receiver)) = self.running.take() else {
            return;
        };
        match receiver.try_recv() {
            Ok(Looked {
                messages,
                until,
                missed,
            }) => self.looks.looked(&look, Some((&messages, until, missed))),
            Err(oneshot::error::TryRecvError::Closed) => self.looks.looked(&look, None),
            Err(oneshot::error::TryRecvError::Empty) => self.running = Some((look, receiver)),
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
