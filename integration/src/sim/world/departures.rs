//! What leaves a node: past the tunnel, into it, and out of its device.

use std::net::{IpAddr, SocketAddr};

use probe_core::sightings::Direction;
use probe_io::OVERLAY_PORT;
use rand::Rng as _;

use super::{ECHO_PORT, Event, World};
use crate::sim::{
    datagram::{Datagram, Inner, InnerKind},
    firewall::{Hook, Packet},
    network,
    node::{Node, TUNNEL_MTU, tunnel_end},
    plan::TUNNEL_PORT,
    ways::Sent,
    wireguard::Out,
};

impl World {
    pub(super) fn leave(&mut self, node: usize, sent: Sent) {
        let own = &self.plan.nodes[node];
        let inside = self.plan.tunnel_address(node).into();
        let udp = |port, bytes| InnerKind::Udp { port, bytes };
        let (port, to, bytes) = match sent {
            Sent::Echo(to, bytes) => {
                let inner = Inner {
                    from: inside,
                    to: to.ip(),
                    kind: udp(to.port(), bytes),
                };
                return self.enter(node, inner);
            }
            Sent::Overlay(to, bytes) => {
                if !self.nodes[node].steers.leads(to) {
                    let to = SocketAddr::new(to, OVERLAY_PORT);
                    return self.transmit(node, OVERLAY_PORT, to, &Datagram::Past { bytes });
                }
                let inner = Inner {
                    from: own.address.into(),
                    to,
                    kind: udp(OVERLAY_PORT, bytes),
                };
                return self.enter(node, inner);
            }
            Sent::Node(to, bytes) => {
                if !self.is_steered(node, to.ip()) {
                    return self.transmit(node, ECHO_PORT, to, &Datagram::Past { bytes });
                }
                let inner = Inner {
                    from: own.address.into(),
                    to: to.ip(),
                    kind: udp(to.port(), bytes),
                };
                return self.enter(node, inner);
            }
            Sent::Inert(to, bytes) | Sent::SizePast(to, bytes) => (TUNNEL_PORT, to, bytes),
            Sent::Unsolicited(to, bytes) => (self.random.random_range(32_768..60_999), to, bytes),
        };
        self.transmit(node, port, to, &Datagram::Past { bytes });
    }

    /// Whether an ordinary packet to this address enters the tunnel: what is of no peer is not marked.
    fn is_steered(&self, node: usize, to: IpAddr) -> bool {
        let Node { device, steers, .. } = &self.nodes[node];
        let mut peers = device.peers.iter();
        peers.any(|peer| peer.allowed.contains(&to)) && steers.leads(to)
    }

    /// Into the tunnel.
    pub(super) fn enter(&mut self, node: usize, inner: Inner) {
        if inner.length() > TUNNEL_MTU as usize || self.host_drops_inner(node, Hook::Output, &inner)
        {
            return;
        }
        let mut out = Out::default();
        self.nodes[node].device.send(inner, self.now, &mut out);
        self.carry(node, out);
    }

    /// What a device wants done.
    pub(super) fn carry(&mut self, node: usize, out: Out) {
        for (to, message) in out.sent {
            let datagram = Datagram::WireGuard(message);
            if !self.leaves(node, TUNNEL_PORT, to, &datagram) {
                continue;
            }
            if let Datagram::WireGuard(message) = &datagram {
                let from = tunnel_end(self.plan.nodes[node].address);
                self.tapped(node, Direction::Out, (from, to), message);
            }
            self.carried_on(node, TUNNEL_PORT, to, &datagram);
        }
        for inner in out.delivered {
            self.deliver(node, inner);
        }
        self.follow_device(node);
    }

    pub(super) fn follow_device(&mut self, node: usize) {
        let deadline = self.nodes[node].device.deadline();
        if deadline < self.nodes[node].device_at {
            self.nodes[node].device_at = deadline;
            self.push(deadline, Event::Device(node));
        }
    }

    /// Whether a node's firewall and link let something out. Nothing is cut up on its way.
    fn leaves(&mut self, node: usize, port: u16, to: SocketAddr, datagram: &Datagram) -> bool {
        let uplink = self.nodes[node].uplink;
        if !uplink.up || datagram.packet_length() > uplink.mtu as usize {
            return false;
        }
        let from = SocketAddr::from((self.plan.nodes[node].address, port));
        let packet = network::packet((from, to), datagram, None);
        !self.network.host_drops(node, Hook::Output, &packet)
    }

    pub(super) fn host_drops_inner(&mut self, node: usize, at: Hook, inner: &Inner) -> bool {
        let InnerKind::Udp { port, bytes } = &inner.kind else {
            return false;
        };
        let packet = Packet {
            from: SocketAddr::new(inner.from, *port),
            to: SocketAddr::new(inner.to, *port),
            length: inner.length(),
            first_byte: bytes.first().copied().unwrap_or_default(),
            heading: None,
        };
        self.network.host_drops(node, at, &packet)
    }

    fn transmit(&mut self, node: usize, port: u16, to: SocketAddr, datagram: &Datagram) {
        if self.leaves(node, port, to, datagram) {
            self.carried_on(node, port, to, datagram);
        }
    }

    fn carried_on(&mut self, node: usize, port: u16, to: SocketAddr, datagram: &Datagram) {
        self.datagrams += 1;
        for arrival in self.network.send((node, port), to, datagram, self.now) {
            self.push(arrival.at, Event::Arrive(arrival, datagram.clone()));
        }
    }
}
