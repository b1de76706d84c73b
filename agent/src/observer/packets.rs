//! What comes from the sockets and goes to the machines, and full-size packets, which go the other way.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use evidence::{Layer, Moment, PublicKey};
use probe_core::{
    Stamp, echo, inert, packet,
    sightings::{Direction, Sighting},
    size::{self, Seen, SizeReject},
    wireguard::Handshake,
};
use probe_io::{Cause, EchoEvent, OVERLAY_PORT, Sighted};
use sources::links;

use super::{ECHO_BATCH, Observer, PUBLISH_EVERY, Ways};

/// Words about probes of size that are read in one turn.
const MAX_WORDS: usize = 64;

/// On which way a probe of size comes that is sent to this port of a node.
pub(super) const fn layer_of(port: u16) -> Layer {
    if port == OVERLAY_PORT {
        Layer::Overlay
    } else {
        Layer::Underlay
    }
}

impl<W: Ways> Observer<W> {
    /// Something came to the echo socket.
    pub fn on_echo(&mut self, event: EchoEvent, now: Stamp) {
        match event {
            EchoEvent::Datagram {
                from,
                bytes,
                length,
                received_at,
            } => {
                if bytes.starts_with(&size::MAGIC) {
                    let packet = length + packet::headers_length(from.ip());
                    let way = (Layer::Tunnel, Seen::Delivered);
                    self.on_size(&bytes, way, packet, now.moment());
                } else {
                    self.on_echo_datagram(from, &bytes, received_at, now);
                }
            }
            EchoEvent::TooBig { to, mtu, reporter } => {
                if let Some(peer) = self.peers.owner(to.ip()) {
                    self.on_too_big((peer, Layer::Tunnel), reporter, mtu, now.moment());
                }
            }
            EchoEvent::Refused { to, cause } => self.on_refused(to, &cause, now),
        }
    }

    pub(super) fn on_echo_datagram(
        &mut self,
        from: SocketAddr,
        bytes: &[u8],
        received_at: Stamp,
        now: Stamp,
    ) {
        let walls = self.look().answering(received_at);
        let Some(machines) = &mut self.machines else {
            return;
        };
        match machines.responder.handle(bytes, now.moment(), walls) {
            echo::Answer::Reply(reply) => self.ways.echo(from, &reply),
            echo::Answer::Reject(echo::Reject::NotARequest) => {
                let reply = echo::Input::Datagram { bytes, received_at };
                machines.prober.handle(reply, now);
            }
            // Counted by the responder.
            echo::Answer::Reject(_) => {}
        }
    }

    /// Only the far kernel's own word proves that the tunnel carries; this node's "no route" proves nothing.
    pub(super) fn on_refused(&mut self, to: SocketAddr, cause: &Cause, now: Stamp) {
        let refused =
            io::Error::from_raw_os_error(cause.errno).kind() == io::ErrorKind::ConnectionRefused;
        if refused
            && cause.reporter == Some(to.ip())
            && let Some(peer) = self.peers.owner(to.ip())
            && let Some(machines) = &mut self.machines
        {
            machines.prober.handle(echo::Input::Refused(peer), now);
        }
    }

    /// A size probe is answered through the tunnel, whatever way it came; a tally is for our own prober.
    pub(super) fn on_size(&mut self, bytes: &[u8], way: (Layer, Seen), packet: usize, now: Moment) {
        let Some(machines) = &mut self.machines else {
            return;
        };
        match machines.size_responder.handle(bytes, way, packet, now) {
            Ok((peer, tally)) => {
                if let Some(address) = self.peers.address(&peer) {
                    let to = SocketAddr::new(address.into(), proto::limits::PORT);
                    self.ways.echo(to, &tally);
                }
            }
            Err(SizeReject::NotAProbe) => machines.sizes.handle(size::Input::Datagram(bytes), now),
            // Counted by the responder.
            Err(_) => {}
        }
    }

    pub(super) fn on_too_big(
        &mut self,
        (peer, layer): (PublicKey, Layer),
        reporter: Option<IpAddr>,
        mtu: u32,
        now: Moment,
    ) {
        if let Some(machines) = &mut self.machines {
            let word = size::Input::TooBig {
                peer,
                layer,
                reporter,
                mtu,
            };
            machines.sizes.handle(word, now);
        }
    }

    /// The tap saw a datagram.
    pub fn on_sighted(&mut self, sighted: &Sighted, now: Stamp) {
        let (Some(machines), Ok(datagram)) = (&mut self.machines, sighted.datagram()) else {
            return;
        };
        let at = sighted.seen_at.moment();
        if datagram.payload.starts_with(&size::MAGIC) {
            if sighted.direction == Direction::In {
                let layer = layer_of(datagram.destination.port());
                let (payload, packet) = (datagram.payload.to_vec(), datagram.packet_length);
                self.on_size(&payload, (layer, Seen::AtInterface), packet, at);
            }
            return;
        }
        if datagram.payload.starts_with(&inert::MAGIC) {
            if sighted.direction == Direction::In {
                self.on_inert(&datagram, sighted.seen_at, now);
            }
            return;
        }
        let Ok(handshake) = Handshake::parse(datagram.payload) else {
            return;
        };
        let remote = match sighted.direction {
            Direction::In => datagram.source,
            Direction::Out => datagram.destination,
        };
        machines.sightings.handle(
            &Sighting {
                direction: sighted.direction,
                remote,
                handshake,
            },
            at,
        );
    }

    /// A probe is answered the way it came, past the tunnel: the NATs on its way know that five-tuple.
    fn on_inert(&mut self, datagram: &packet::Datagram<'_>, seen_at: Stamp, now: Stamp) {
        let Some(machines) = &mut self.machines else {
            return;
        };
        let arrived = inert::Arrived {
            payload: datagram.payload,
            from: datagram.source,
            hop_limit: datagram.hop_limit,
            at: seen_at,
        };
        match machines.tracker.handle(&arrived, now) {
            Ok(counted) => {
                if let Some(reply) = counted.reply {
                    self.ways.inert(datagram.source, &reply);
                }
            }
            Err(inert::InertReject::NotAProbe) => {
                let reply = inert::Input::Reply {
                    bytes: datagram.payload,
                    hop_limit: datagram.hop_limit,
                    received: seen_at,
                };
                machines.inert.handle(reply, now);
            }
            // Counted by the tracker.
            Err(_) => {}
        }
    }

    /// Replies that have come must be known before anything is given up for lost.
    pub(super) fn read_echo_empty(&mut self, now: Stamp) {
        for _ in 0..ECHO_BATCH {
            match self.ways.next_echo(now.moment()) {
                Some(event) => self.on_echo(event, now),
                None => return,
            }
        }
    }

    pub(super) fn read_overlay_empty(&mut self, now: Stamp) {
        for _ in 0..ECHO_BATCH {
            match self.ways.next_overlay() {
                Some(EchoEvent::TooBig { to, mtu, reporter }) => {
                    if let Some(peer) = self.peers.node_owner(to.ip()) {
                        self.on_too_big((peer, Layer::Overlay), reporter, mtu, now.moment());
                    }
                }
                // "Port unreachable" is what a node without an overlay says.
                Some(_) => {}
                None => return,
            }
        }
    }

    /// Who objected to what was sent past the tunnel. Of several peers behind one address the port tells which, if it is known.
    pub(super) fn read_underlay_words(&mut self, now: Moment) {
        for _ in 0..MAX_WORDS {
            let Some(word) = self.ways.next_word() else {
                return;
            };
            let is_for = |to: SocketAddr| {
                to.ip().to_canonical() == word.to && word.port.is_none_or(|port| port == to.port())
            };
            let facts = self.peers.facts();
            let dialled = facts.filter(|(_, fact)| fact.endpoint.is_some_and(is_for));
            let peers: Vec<PublicKey> = dialled.map(|(key, _)| key).collect();
            for peer in peers {
                self.on_too_big((peer, Layer::Underlay), word.reporter, word.mtu, now);
            }
        }
    }

    /// Sends what the size prober wants sent, and says when it wants to be ticked again.
    pub(super) fn send_sizes(&mut self, now: Moment) -> Moment {
        let Some(machines) = &mut self.machines else {
            return now.plus(PUBLISH_EVERY);
        };
        machines.sizes.handle(size::Input::Tick, now);
        loop {
            match machines.sizes.poll() {
                size::Output::Transmit {
                    layer: Layer::Tunnel,
                    to,
                    payload,
                    ..
                } => self
                    .ways
                    .echo(SocketAddr::new(to, proto::limits::PORT), &payload),
                size::Output::Transmit {
                    layer: Layer::Overlay,
                    to,
                    payload,
                    ..
                } => self.ways.overlay(to, &payload),
                size::Output::Transmit {
                    peer,
                    payload,
                    may_fragment,
                    ..
                } => {
                    if let Some(to) = self.peers.fact(&peer).and_then(|fact| fact.endpoint) {
                        self.ways.size_past(to, &payload, may_fragment);
                    }
                }
                size::Output::Wait(until) => return until,
            }
        }
    }

    /// Keeps the ways of full-size packets in step with what was read last.
    pub(super) fn aim(&mut self, now: Moment) {
        let full = self.full_size();
        if let Some(machines) = &mut self.machines {
            machines.aim(&self.peers, full, now);
        }
    }

    /// The longest packet that may enter the tunnel.
    pub(super) fn full_size(&self) -> Option<u16> {
        let links = self.links.as_ref()?.value.as_ref().ok()?;
        u16::try_from(links.link(links::KUBESPAN)?.mtu).ok()
    }
}
