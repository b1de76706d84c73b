//! What comes to a node: from outside, to its tap, and out of its tunnel.

use std::net::{IpAddr, SocketAddr};

use probe_core::{data, echo, sightings::Direction};
use probe_io::{Cause, Delivered, EchoEvent, NodeDatagram, Sighted};

use super::{ECHO_PORT, ECONNREFUSED, World};
use crate::sim::{
    datagram::{Datagram, Inner, InnerKind, Message, captured},
    firewall::Hook,
    network::{self, Arrival},
    node::{Input, TUNNEL_INDEX, UPLINK_INDEX, here},
    plan::TUNNEL_PORT,
    wireguard::Out,
};

/// Nodes of a cluster whose handshakes are in the log: those of a larger one would be all of it.
const DETAILED: usize = 32;
/// Bytes of a VLAN tag.
const TAG: usize = 4;

impl World {
    pub(super) fn arrive(&mut self, arrival: &Arrival, datagram: Datagram) {
        let node = arrival.node;
        if !self.nodes[node].powered || self.network.is_cut_off(node) {
            return;
        }
        let ends = (arrival.from, arrival.to);
        // As a link of Ethernet does it, which leaves room for a tag.
        let room = self.nodes[node].uplink.mtu as usize + TAG;
        if !self.nodes[node].uplink.up || datagram.packet_length() > room {
            return;
        }
        let packet = network::packet(ends, &datagram, None);
        let to_tunnel = arrival.to.port() == TUNNEL_PORT;
        let dropped = (to_tunnel && self.nodes[node].drops_tunnel)
            || self.network.host_drops(node, Hook::Input, &packet);
        match datagram {
            Datagram::WireGuard(message) => {
                if !to_tunnel {
                    return;
                }
                self.tapped(node, Direction::In, ends, &message);
                if !dropped {
                    let mut out = Out::default();
                    self.nodes[node]
                        .device
                        .receive(arrival.from, message, self.now, &mut out);
                    self.carry(node, out);
                }
            }
            Datagram::Past { bytes } if arrival.to.port() == ECHO_PORT => {
                if !dropped {
                    self.node_asked(node, ends, UPLINK_INDEX, bytes);
                }
            }
            Datagram::Past { bytes } => {
                self.sighted(node, Direction::In, ends, &bytes);
                let packet = bytes.len() + 28;
                if !dropped && bytes.starts_with(&probe_core::size::MAGIC) {
                    self.delivered(node, arrival.to.port(), bytes, packet);
                }
            }
        }
    }

    pub(super) fn tapped(
        &mut self,
        node: usize,
        direction: Direction,
        ends: (SocketAddr, SocketAddr),
        message: &Message,
    ) {
        let remote = match direction {
            Direction::In => ends.0,
            Direction::Out => ends.1,
        };
        if let Some(bytes) = message.handshake() {
            if self.nodes.len() <= DETAILED {
                self.note(|| format!("{node} {direction:?} {remote} {message:?}"));
            }
            self.sighted(node, direction, ends, &bytes);
            return;
        }
        let at = here(&self.nodes[node], self.now);
        if let Some(agent) = &mut self.nodes[node].agent {
            agent.observer.ways().saw(data::Message {
                direction,
                interface: UPLINK_INDEX,
                remote,
                length: message.length(),
                at,
            });
        }
    }

    fn sighted(
        &mut self,
        node: usize,
        direction: Direction,
        (from, to): (SocketAddr, SocketAddr),
        bytes: &[u8],
    ) {
        let seen_at = self.nodes[node].stamp(self.now);
        let Some(agent) = &mut self.nodes[node].agent else {
            return;
        };
        agent.take(Input::Sighted(Sighted {
            direction,
            interface: UPLINK_INDEX,
            seen_at,
            packet: captured(from, to, bytes),
        }));
        self.wake(node);
    }

    /// Left in its socket until there is time for it.
    fn node_asked(
        &mut self,
        node: usize,
        (from, at): (SocketAddr, SocketAddr),
        interface: u32,
        bytes: Vec<u8>,
    ) {
        if let Some(agent) = &mut self.nodes[node].agent {
            agent.observer.ways().nodes.push_back(NodeDatagram {
                from,
                at: at.ip(),
                interface,
                bytes,
            });
        }
    }

    fn delivered(&mut self, node: usize, port: u16, payload: Vec<u8>, packet: usize) {
        let Some(agent) = &mut self.nodes[node].agent else {
            return;
        };
        agent.take(Input::Delivered(Delivered {
            payload,
            packet,
            port,
        }));
        self.wake(node);
    }

    /// Out of the tunnel.
    pub(super) fn deliver(&mut self, node: usize, inner: Inner) {
        let length = inner.length();
        let dropped = self.host_drops_inner(node, Hook::Input, &inner);
        match inner.kind {
            InnerKind::Udp {
                port: ECHO_PORT, ..
            } if dropped => {}
            InnerKind::Udp {
                port: ECHO_PORT,
                bytes,
            } if inner.to != IpAddr::V6(self.plan.tunnel_address(node)) => {
                let end = |ip| SocketAddr::new(ip, ECHO_PORT);
                let ends = (end(inner.from), end(inner.to));
                self.node_asked(node, ends, TUNNEL_INDEX, bytes);
            }
            InnerKind::Udp {
                port: ECHO_PORT,
                bytes,
            } => {
                let received_at = self.nodes[node].stamp(self.now);
                let to = SocketAddr::new(inner.to, ECHO_PORT);
                let Some(agent) = &mut self.nodes[node].agent else {
                    let refused = Inner {
                        from: inner.to,
                        to: inner.from,
                        kind: InnerKind::Refused { to },
                    };
                    return self.enter(node, refused);
                };
                let reply = bytes.starts_with(&echo::MAGIC)
                    && bytes.get(echo::KIND_AT) == Some(&echo::KIND_OF_REPLY);
                agent.observer.ways().inbox.push_back(EchoEvent::Datagram {
                    from: SocketAddr::new(inner.from, ECHO_PORT),
                    length: bytes.len(),
                    bytes,
                    received_at,
                });
                // Replies are left in their socket until there is time for them.
                if !reply {
                    self.wake(node);
                }
            }
            InnerKind::Udp { port, bytes } => {
                let ends = (
                    SocketAddr::new(inner.from, port),
                    SocketAddr::new(inner.to, port),
                );
                self.sighted(node, Direction::In, ends, &bytes);
                if !dropped && !self.nodes[node].drops_overlay {
                    self.delivered(node, port, bytes, length);
                }
            }
            InnerKind::Refused { to } => {
                let Some(agent) = &mut self.nodes[node].agent else {
                    return;
                };
                agent.observer.ways().inbox.push_back(EchoEvent::Refused {
                    to,
                    cause: Cause {
                        errno: ECONNREFUSED,
                        icmp: Some((1, 4)),
                        reporter: Some(inner.from),
                        mtu: 0,
                    },
                });
                self.wake(node);
            }
        }
    }
}
