//! Owns the pure machines and drives them.
//!
//! One turn: wait for one event, read the clock once, hand the event in, read the sockets empty, tick, drain, act,
//! publish. Nothing here judges. Everything but the waiting (`run`) goes through [`Ways`], so that a simulator can drive it too.

mod nodes;
mod once;
mod packets;
mod run;
mod state;
mod ways;

use std::{
    collections::BTreeMap,
    mem,
    net::{Ipv6Addr, SocketAddr},
    time::Duration,
};

use evidence::{Discovery, Facts, Moment, NodeName, PublicKey, SourceId};
use probe_core::{ProbeKey, Stamp, data::DataLooks, echo, inert, size::Seen};
use probe_io::Delivered;
use sources::{
    links::{self, Snapshot},
    pressure::Pressure,
};
use tracing::info;

use crate::{
    clock::{Look, OwnClock},
    health::OwnHealth,
    host::OwnHost,
    machines::Machines,
    ntp::Asked,
    peers::{Changes, Peers},
    readers::{DeviceReading, Reading, TapState},
    sockets::Sockets,
    steering::SteeringReading,
    talos::TalosReading,
    vxlan::VxlanDevices,
};

pub use ways::{Looked, Ways};

/// Pace of putting facts together, at the ticks of the echo: one waking serves both. A quarter of a second is far below any
/// judgement's bound in time.
const PUBLISH_EVERY: Duration = echo::TICK;
/// A peer in doubt that answers again is not kept waiting for the next tick: most answer within this.
const EARLY_READ: Duration = Duration::from_millis(30);
/// The device may fail to be read so often in a row before its peers are given up.
const DEVICE_MISSES: u32 = 3;
/// Datagrams read from the echo socket in one turn, so that a flood cannot starve the rest.
const ECHO_BATCH: usize = 256;

/// What the observer is told at the start.
#[derive(Debug)]
pub struct ObserverConfig {
    pub(crate) node: NodeName,
    pub(crate) probe_key: ProbeKey,
    pub(crate) echo_budget: u32,
    pub(crate) boot_id: String,
    /// Added to the wall clock before it is told; a lab needs it.
    pub(crate) clock_offset_ms: i64,
}

impl ObserverConfig {
    /// For a node without time servers, with the budget and the clock as they are.
    pub fn new(node: NodeName, probe_key: ProbeKey, boot_id: String) -> Self {
        Self {
            node,
            probe_key,
            echo_budget: crate::ECHO_BUDGET,
            boot_id,
            clock_offset_ms: 0,
        }
    }
}

/// The owner of all that is known on this node.
///
/// Who drives it says [`Observer::woke`] first, hands in what has come, calls [`Observer::step`], and comes back at
/// [`Observer::until`] or when something comes.
#[derive(Debug)]
pub struct Observer<W = Sockets> {
    config: ObserverConfig,
    instance: u64,
    device: Option<Reading<DeviceReading>>,
    device_misses: u32,
    links: Option<Reading<Snapshot>>,
    vxlan: VxlanDevices,
    health: OwnHealth,
    clock: OwnClock,
    host: OwnHost,
    steering: Option<Reading<SteeringReading>>,
    talos: Option<Reading<TalosReading>>,
    tap: Option<Reading<TapState>>,
    discovery: Option<Reading<Discovery>>,
    ntp: Asked,
    peers: Peers,
    machines: Option<Machines>,
    ways: W,
    looks: DataLooks,
    wake_at: Moment,
    publish_at: Moment,
    /// Whether each source is readable, and since when that is so.
    since: BTreeMap<SourceId, (bool, Moment)>,
}

impl<W: Ways> Observer<W> {
    /// Knows nothing yet.
    pub fn new(config: ObserverConfig, mut ways: W) -> Self {
        let now = ways.now().moment();
        Self {
            config,
            instance: ways.random(),
            device: None,
            device_misses: 0,
            links: None,
            vxlan: VxlanDevices::default(),
            health: OwnHealth::default(),
            clock: OwnClock::default(),
            host: OwnHost::default(),
            steering: None,
            talos: None,
            tap: None,
            discovery: None,
            ntp: Asked::default(),
            peers: Peers::default(),
            machines: None,
            ways,
            looks: DataLooks::default(),
            wake_at: now,
            publish_at: now,
            since: BTreeMap::new(),
        }
    }

    /// What it sends with.
    pub const fn ways(&mut self) -> &mut W {
        &mut self.ways
    }

    /// When it wants to run, if nothing comes before.
    pub fn until(&self) -> Moment {
        self.wake_at.min(self.publish_at)
    }

    /// It runs `now`: to be told before anything else.
    pub fn woke(&mut self, now: Moment) {
        self.health.woke(self.until(), now);
    }

    /// Reads the sockets empty, ticks, sends what is to be sent; from time to time there are new facts.
    pub fn step(&mut self, now: Stamp) -> Option<Facts> {
        self.read_echo_empty(now);
        self.read_overlay_empty(now);
        // Before the echo of the tunnel, which takes all that is left of the budget in a large mesh.
        if now.moment() >= self.publish_at {
            self.ask_nodes(now);
        }
        self.wake_at = self.turn(now);
        let now = now.moment();
        if now < self.publish_at && !self.take_recovered() {
            return None;
        }
        let look = self.look();
        self.clock.follow(look, || self.ways.kernel_clock());
        self.ways.reopen(self.own_address(), now);
        self.read_underlay_words(now);
        self.aim(now);
        self.look_for_data(now);
        self.publish_at = next_tick(now);
        Some(self.facts(now))
    }

    /// The links were read.
    pub fn on_links(&mut self, reading: Option<Reading<Snapshot>>, now: Moment) {
        self.links = reading;
        let read = self.links.as_ref();
        let read = read.and_then(|reading| reading.value.as_ref().ok());
        self.vxlan.follow(read, now);
        if let Some(links) = read {
            self.host.follow_addresses(links, now);
        }
        self.ways.links_changed(now);
    }

    /// What steers was read.
    pub fn on_steering(&mut self, reading: Option<Reading<SteeringReading>>) {
        self.steering = reading;
    }

    /// The tap says how it does, and so that all it saw before has been handed in.
    pub fn on_tap_state(&mut self, reading: Option<Reading<TapState>>, now: Moment) {
        self.tap = reading;
        let read = self.tap.as_ref();
        let state = read.and_then(|reading| reading.value.as_ref().ok());
        self.health.tap(state.map(|state| state.dropped), now);
    }

    /// What the kernel had to drop was read.
    pub fn on_pressure(&mut self, read: Pressure, now: Moment) {
        self.health.pressure(read, now);
    }

    /// A probe of size was delivered behind the host's firewall.
    pub fn on_delivered(&mut self, delivered: &Delivered, now: Moment) {
        let way = (packets::layer_of(delivered.port), Seen::Delivered);
        self.on_size(&delivered.payload, way, delivered.packet, now);
    }

    /// The device was read.
    pub fn on_device(&mut self, reading: Option<Reading<DeviceReading>>, now: Moment) {
        let own = self.own_address();
        let read = reading
            .as_ref()
            .and_then(|reading| reading.value.as_ref().ok());
        let changes = if let Some(device) = read {
            self.device_misses = 0;
            self.adopt_key(device.device.public_key);
            self.peers.update(device, own, now)
        } else {
            self.device_misses += 1;
            self.changes_after_miss()
        };
        self.device = reading;
        if let Some(machines) = &mut self.machines {
            machines.change_peers(&changes, now);
            machines.aim_at_nodes(&self.peers, now);
        }
    }

    /// A device that cannot be read once or twice keeps its peers; one that is gone has none.
    fn changes_after_miss(&mut self) -> Changes {
        if self.device_misses < DEVICE_MISSES {
            return Changes::default();
        }
        self.peers.clear()
    }

    /// New machines for a new key, with the peers that are known.
    fn adopt_key(&mut self, key: Option<PublicKey>) {
        let Some(key) =
            key.filter(|key| self.machines.as_ref().map(|machines| machines.key) != Some(*key))
        else {
            return;
        };
        info!(key = %key.short(), "the kubespan device has a key");
        let mut machines = Machines::new(key, &self.config, || self.ways.random());
        let added = self.peers.facts().map(|(peer, _)| peer).collect();
        machines.change_peers(
            &Changes {
                added,
                removed: Vec::new(),
            },
            self.ways.now().moment(),
        );
        self.machines = Some(machines);
    }

    fn look(&self) -> Look {
        let now = self.ways.now();
        Look::of(now, self.ways.wall(), self.config.clock_offset_ms)
    }

    fn own_address(&self) -> Option<Ipv6Addr> {
        let links = self.links.as_ref()?.value.as_ref().ok()?;
        links::kubespan_address(links)
    }

    /// Ticks the machines, does what they want, and says when they want to be ticked again.
    fn turn(&mut self, now: Stamp) -> Moment {
        let Some(machines) = &mut self.machines else {
            return now.moment().plus(PUBLISH_EVERY);
        };
        machines.prober.handle(echo::Input::Tick, now);
        let mut doubted = false;
        let echo_until = loop {
            match machines.prober.poll() {
                echo::Output::Transmit { to, bytes } => {
                    if let Some(address) = self.peers.address(&to) {
                        let port = proto::limits::PORT;
                        self.ways
                            .echo(SocketAddr::new(address.into(), port), &bytes);
                        machines.prober.passed(self.ways.now());
                        doubted |= machines.suspects.contains(&to);
                    }
                }
                echo::Output::Event(event) => machines.on_event(event, now.moment()),
                echo::Output::Wait { until, .. } => break until,
            }
        };
        machines.suspect(&self.peers, now.moment());
        machines.inert.handle(inert::Input::Tick, now);
        let inert_until = loop {
            match machines.inert.poll() {
                inert::Output::Transmit {
                    peer,
                    to,
                    from,
                    bytes,
                } => match from {
                    inert::SourcePort::Tunnel if self.ways.inert(to, &bytes) => {
                        machines.remember_inert(peer, to, now.moment());
                    }
                    inert::SourcePort::Fresh if self.ways.unsolicited(to, &bytes) => {
                        machines.unsolicited.insert(peer, now.moment());
                    }
                    _ => {}
                },
                inert::Output::Wait { until, .. } => break until,
            }
        };
        // Full-size packets are in no hurry: they leave when the node is awake anyway.
        let sizes_until = echo::tick_from(self.send_sizes(now.moment()));
        let until = echo_until.min(inert_until).min(sizes_until);
        if doubted {
            return until.min(now.moment().plus(EARLY_READ));
        }
        until
    }

    fn take_recovered(&mut self) -> bool {
        let machines = self.machines.as_mut();
        machines.is_some_and(|machines| mem::take(&mut machines.recovered))
    }

    fn look_for_data(&mut self, now: Moment) {
        let suspects = self.machines.iter().flat_map(|machines| &machines.suspects);
        let endpoint = |peer: &PublicKey| Some((*peer, self.peers.fact(peer)?.endpoint?));
        let doubtful = suspects.filter_map(endpoint).collect();
        if let Some((look, looked)) = self.ways.data_looked() {
            let seen = looked.as_ref();
            let seen = seen.map(|seen| (seen.messages.as_slice(), seen.until, seen.missed));
            self.looks.looked(&look, seen);
        }
        if let Some(look) = self.looks.follow(&doubtful, now) {
            self.ways.look_for_data(look);
        }
    }
}

fn next_tick(now: Moment) -> Moment {
    echo::tick_from(now.plus(Duration::from_millis(1)))
}
