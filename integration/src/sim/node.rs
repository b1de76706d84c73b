//! One simulated node: its device, and an agent with the readings it gets of it.

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use evidence::Facts;
use mesh_agent::{DeviceReading, Observer, ObserverConfig, Reading, SteeringReading, TapState};
use probe_core::{ProbeKey, Stamp, Wall};
use probe_io::{Delivered, OVERLAY_PORT, Sighted};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use sources::{
    links::{Address, Link, OperState, Scope, Snapshot, VxlanSettings},
    pressure::Pressure,
    wireguard::{self, AllowedIp, Backend, Dropped},
};

use super::{
    orders::VxlanChange,
    plan::{Plan, TUNNEL_PORT},
    steering::{self, Steers},
    time::{MILLI, Micros, SECOND, at, moment},
    uplink::Uplink,
    ways::{EPOCH, SimWays},
    wireguard::Device,
};

/// Names of the node's own link and of the tunnel.
pub(super) const UPLINK: &str = "eth0";
pub(super) const TUNNEL: &str = "kubespan";
/// MTU of the tunnel's device.
pub const TUNNEL_MTU: u32 = 1420;
/// Indices of the two.
pub(super) const UPLINK_INDEX: u32 = 2;
pub(super) const TUNNEL_INDEX: u32 = 7;
/// Index of the first device of an overlay.
const VXLAN_INDEX: u32 = 20;
/// MTU of a node's own link.
pub const UPLINK_MTU: u32 = 1500;
/// Paces of the agent's readers.
const DEVICE_EVERY: Micros = SECOND;
const STEERING_EVERY: Micros = 2 * SECOND;
const TAP_EVERY: Micros = 250 * MILLI;

/// What a node is.
#[derive(Debug)]
pub struct Node {
    pub number: usize,
    /// When it booted.
    pub boot: Micros,
    pub boots: u32,
    pub powered: bool,
    pub device: Device,
    /// When the device wants to be ticked, as far as that is planned.
    pub device_at: Micros,
    /// Its firewall drops what is for the tunnel's port, or for the overlay's.
    pub drops_tunnel: bool,
    pub drops_overlay: bool,
    pub uplink: UplinkLink,
    pub steers: Steers,
    /// Devices of an overlay.
    pub vxlan: Vec<Link>,
    /// Added to its wall clock.
    pub clock_offset: Micros,
    pub agent: Option<Agent>,
}

/// A node's own link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UplinkLink {
    pub up: bool,
    pub mtu: u32,
}

impl Default for UplinkLink {
    fn default() -> Self {
        Self {
            up: true,
            mtu: UPLINK_MTU,
        }
    }
}

/// An agent.
#[derive(Debug)]
pub struct Agent {
    pub observer: Observer<SimWays>,
    pub uplink: Uplink,
    /// It is not run before then.
    pub stalled_until: Micros,
    /// When it is to be run next, as far as that is planned.
    pub step_at: Micros,
    /// Which life of the node's agent this is.
    pub life: u64,
    pending: VecDeque<Input>,
    device_due: Micros,
    steering_due: Micros,
    tap_due: Micros,
    steering: Option<SteeringReading>,
}

/// What comes to an agent besides the datagrams in its echo socket.
#[derive(Debug)]
pub enum Input {
    Sighted(Sighted),
    Delivered(Delivered),
}

impl Node {
    pub fn stamp(&self, now: Micros) -> Stamp {
        let since_boot = now.saturating_sub(self.boot);
        Stamp::from_micros(u64::try_from(since_boot).unwrap_or(0))
    }

    pub fn start_agent(&mut self, plan: &Plan, life: u64, now: Micros, random: &mut StdRng) {
        let Some(own) = plan.nodes.get(self.number) else {
            return;
        };
        let config = ObserverConfig::new(
            own.name.clone(),
            ProbeKey::from_bytes([7; 32]),
            format!("{}-{}", own.name, self.boots),
        );
        let stamp = self.stamp(now);
        let ways = SimWays::new(stamp, StdRng::seed_from_u64(random.random()));
        let mut observer = Observer::new(config, ways);
        let reading = Reading {
            at: stamp.moment(),
            value: Ok(self.links(plan)),
        };
        observer.on_links(Some(reading), stamp.moment());
        let phase = random.random_range(0..200 * MILLI);
        self.agent = Some(Agent {
            observer,
            uplink: Uplink::default(),
            stalled_until: now,
            step_at: now + phase,
            life,
            pending: VecDeque::new(),
            device_due: now + phase,
            steering_due: now + phase,
            tap_due: now,
            steering: None,
        });
    }

    fn links(&self, plan: &Plan) -> Snapshot {
        let address = |ip: IpAddr, prefix_len| Address {
            ip,
            prefix_len,
            scope: Scope::Global,
            tentative: false,
        };
        let link = |index, name: &str, mtu, kind: Option<&str>, addresses| Link {
            index,
            name: name.to_owned(),
            mtu,
            up: true,
            oper_state: OperState::Up,
            kind: kind.map(ToOwned::to_owned),
            vxlan: None,
            hardware_address: None,
            addresses,
        };
        let own = plan.nodes.get(self.number);
        let own = own.map(|own| address(own.address.into(), 24));
        let own = own.into_iter().collect();
        let mut uplink = link(UPLINK_INDEX, UPLINK, self.uplink.mtu, None, own);
        if !self.uplink.up {
            (uplink.up, uplink.oper_state) = (false, OperState::Down);
        }
        let mut links = vec![uplink];
        if self.device.up {
            let inside = vec![address(plan.tunnel_address(self.number).into(), 64)];
            links.push(link(
                TUNNEL_INDEX,
                TUNNEL,
                TUNNEL_MTU,
                Some("wireguard"),
                inside,
            ));
        }
        links.extend(self.vxlan.iter().cloned());
        Snapshot { links, dropped: 0 }
    }

    /// `Err` says what is not there, or is there already.
    pub fn change_vxlan(&mut self, name: &str, change: VxlanChange) -> Result<(), String> {
        let known = self.vxlan.iter().position(|link| link.name == name);
        let missing = || format!("there is no device {name}");
        match (change, known) {
            (VxlanChange::Add(_), Some(_)) => return Err(format!("{name} is there already")),
            (VxlanChange::Add(local), None) => {
                let index = VXLAN_INDEX + u32::try_from(self.vxlan.len()).unwrap_or(0);
                let settings = VxlanSettings {
                    id: u32::from(local.is_some()),
                    port: OVERLAY_PORT,
                    external: local.is_none(),
                    local: local.map(IpAddr::from),
                    remote: None,
                };
                self.vxlan.push(Link {
                    index,
                    name: name.to_owned(),
                    mtu: UPLINK_MTU,
                    up: false,
                    oper_state: OperState::Down,
                    kind: Some("vxlan".to_owned()),
                    vxlan: Some(settings),
                    hardware_address: None,
                    addresses: Vec::new(),
                });
            }
            (VxlanChange::Up { mtu }, known) => {
                let device = &mut self.vxlan[known.ok_or_else(missing)?];
                (device.mtu, device.up, device.oper_state) = (mtu, true, OperState::Unknown);
            }
            (VxlanChange::Delete, known) => drop(self.vxlan.remove(known.ok_or_else(missing)?)),
        }
        Ok(())
    }

    /// The links changed.
    pub fn reread_links(&mut self, plan: &Plan, now: Micros) {
        let at = self.stamp(now).moment();
        let value = Ok(self.links(plan));
        if let Some(agent) = &mut self.agent {
            agent.observer.on_links(Some(Reading { at, value }), at);
        }
    }

    /// Runs the agent: what came, what is to be read, one step. Gives new facts, if there are.
    pub fn step(&mut self, plan: &Plan, now: Micros) -> Option<Facts> {
        let stamp = self.stamp(now);
        let here = stamp.moment();
        let (boot, number) = (self.boot, self.number);
        let agent = self.agent.as_mut()?;
        let ways = agent.observer.ways();
        ways.now = stamp;
        ways.wall = Wall::from_micros(EPOCH + now + self.clock_offset);
        agent.observer.woke(here);
        if now >= agent.device_due {
            agent.device_due = now + DEVICE_EVERY;
            let value = reading(&self.device, now);
            agent
                .observer
                .on_device(Some(Reading { at: here, value }), here);
        }
        if now >= agent.steering_due {
            agent.steering_due = now + STEERING_EVERY;
            let value = if self.device.up {
                let own = plan.nodes.get(number).map(|own| own.address);
                let last = agent.steering.as_ref();
                let state = (&self.steers, &self.device, self.uplink);
                Ok(steering::read(state, own, last, here))
            } else {
                Err(steering::WAITS.to_owned())
            };
            if let Ok(reading) = &value {
                agent.steering = Some(reading.clone());
            }
            agent
                .observer
                .on_steering(Some(Reading { at: here, value }));
        }
        for input in std::mem::take(&mut agent.pending) {
            match input {
                Input::Sighted(sighted) => agent.observer.on_sighted(&sighted, stamp),
                Input::Delivered(delivered) => agent.observer.on_delivered(&delivered, here),
            }
        }
        if now >= agent.tap_due {
            agent.tap_due = now + TAP_EVERY;
            let value = Ok(TapState { dropped: 0 });
            agent
                .observer
                .on_tap_state(Some(Reading { at: here, value }), here);
            agent.observer.on_pressure(quiet(), here);
        }
        let facts = agent.observer.step(stamp);
        let until = at(agent.observer.until(), boot);
        agent.step_at = until.min(agent.device_due).max(now + 1);
        facts
    }
}

impl Agent {
    pub fn take(&mut self, input: Input) {
        self.pending.push_back(input);
    }
}

/// Nothing was dropped.
fn quiet() -> Pressure {
    Pressure {
        socket_drops: Some(0),
        backlog_drops: Some(0),
        squeezed: Some(0),
        conntrack: None,
    }
}

fn reading(device: &Device, now: Micros) -> Result<DeviceReading, String> {
    if !device.up {
        return Err("no such device".to_owned());
    }
    let wall = |at: Micros| Duration::from_micros(u64::try_from(EPOCH + at).unwrap_or(0));
    let peers = device.peers.iter().map(|peer| {
        let whole = |ip: &IpAddr| AllowedIp::new(*ip, if ip.is_ipv4() { 32 } else { 128 });
        wireguard::Peer {
            endpoint: peer.endpoint,
            allowed_ips: peer.allowed.iter().filter_map(whole).collect(),
            last_handshake: peer.last_handshake.map(wall),
            rx_bytes: peer.rx,
            tx_bytes: peer.tx,
            keepalive: Some(25),
            ..wireguard::Peer::new(peer.key)
        }
    });
    Ok(DeviceReading {
        device: wireguard::Device {
            public_key: Some(device.key),
            listen_port: TUNNEL_PORT,
            fwmark: 0x20,
            peers: peers.collect(),
            source: Backend::Kernel,
            dropped: Dropped::default(),
        },
        wall: wall(now),
    })
}

/// The far end of what passes on the tunnel's own port.
pub fn tunnel_end(address: impl Into<IpAddr>) -> SocketAddr {
    SocketAddr::new(address.into(), TUNNEL_PORT)
}

/// The moment of a node.
pub fn here(node: &Node, now: Micros) -> evidence::Moment {
    moment(now, node.boot)
}
