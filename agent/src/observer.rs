//! Owns the pure machines and drives them.
//!
//! One turn: wait for one event, read the clock once, hand the event in, read the sockets empty, tick, drain, act,
//! publish. Nothing here judges.

mod once;
mod packets;
mod state;

use std::{
    collections::BTreeMap,
    mem,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use evidence::{Discovery, Moment, NodeName, PublicKey, SourceId};
use probe_core::{ProbeKey, Stamp, echo, inert, size::Seen};
use probe_io::{Delivered, EchoEvent, Sighted, clock};
use sources::links;
use tokio::{sync::watch, time::sleep};
use tracing::info;

use crate::{
    clock::{Look, OwnClock},
    data::DataWatch,
    health::OwnHealth,
    host::OwnHost,
    machines::Machines,
    ntp::Asked,
    peers::{Changes, Peers},
    readers::{DeviceReading, Reading, Readings, TapState},
    sockets::{self, Echo, Overlay, Raw},
    steering::SteeringReading,
    supervisor::Published,
    talos::TalosReading,
    vxlan::VxlanDevices,
};

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
pub(crate) struct ObserverConfig {
    pub(crate) node: NodeName,
    pub(crate) probe_key: ProbeKey,
    pub(crate) echo_budget: u32,
    pub(crate) boot_id: String,
    /// Added to the wall clock before it is told; a lab needs it.
    pub(crate) clock_offset_ms: i64,
}

/// The owner of all that is known on this node.
pub(crate) struct Observer {
    config: ObserverConfig,
    instance: u64,
    device: Option<Reading<DeviceReading>>,
    device_misses: u32,
    links: Option<Reading<links::Snapshot>>,
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
    echo: Echo,
    raw: Raw,
    overlay: Overlay,
    data: DataWatch,
    /// Whether each source is readable, and since when that is so.
    since: BTreeMap<SourceId, (bool, Moment)>,
}

impl Observer {
    pub(crate) fn new(config: ObserverConfig) -> Self {
        Self {
            config,
            instance: rand::random(),
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
            echo: Echo::closed(),
            raw: Raw::closed(),
            overlay: Overlay::closed(),
            data: DataWatch::default(),
            since: BTreeMap::new(),
        }
    }

    /// Observes for ever; dropped to stop.
    pub(crate) async fn run(mut self, mut readings: Readings, published: watch::Sender<Published>) {
        let mut publish_at = clock::moment();
        let mut wake_at = publish_at;
        loop {
            let until = wake_at.min(publish_at);
            let event = next(&mut self.echo, &mut self.overlay, &mut readings, until).await;
            let now = clock::stamp();
            self.health.woke(until, now.moment());
            self.handle(event, &mut readings, now);
            self.read_echo_empty(now);
            self.read_overlay_empty(now);
            wake_at = self.turn(now);
            if now.moment() >= publish_at || self.take_recovered() {
                self.clock.follow(self.look(), clock::kernel);
                self.reopen(now.moment());
                self.read_underlay_words(now.moment());
                self.aim(now.moment());
                self.look_for_data(now.moment());
                published.send_replace(Arc::new((now.moment(), self.facts(now.moment()))));
                publish_at = next_tick(now.moment());
            }
        }
    }

    fn handle(&mut self, event: Event, readings: &mut Readings, now: Stamp) {
        match event {
            Event::Time => {}
            Event::Echo(event) => self.on_echo(event, now),
            Event::Sighted(sighted) => self.on_sighted(&sighted, now),
            Event::Delivered(delivered) => {
                let way = (packets::layer_of(delivered.port), Seen::Delivered);
                self.on_size(&delivered.payload, way, delivered.packet, now.moment());
            }
            Event::Device => {
                let reading = readings.wireguard.borrow_and_update().clone();
                self.on_device(reading, now.moment());
            }
            Event::Links => {
                self.links.clone_from(&readings.links.borrow_and_update());
                let read = self.links.as_ref();
                let read = read.and_then(|reading| reading.value.as_ref().ok());
                self.vxlan.follow(read, now.moment());
                if let Some(links) = read {
                    self.host.follow_addresses(links, now.moment());
                }
                self.echo.retry_at = now.moment();
            }
            Event::Steering => self
                .steering
                .clone_from(&readings.steering.borrow_and_update()),
            Event::Talos => self.talos.clone_from(&readings.talos.borrow_and_update()),
            Event::TapState => {
                // What the tap saw before it says how far it has seen counts before that does.
                let state = readings.tap_state.borrow_and_update().clone();
                for _ in 0..readings.tap.len() {
                    if let Ok(sighted) = readings.tap.try_recv() {
                        self.on_sighted(&sighted, now);
                    }
                }
                self.tap = state;
                let read = self.tap.as_ref();
                let state = read.and_then(|reading| reading.value.as_ref().ok());
                self.health
                    .tap(state.map(|state| state.dropped), now.moment());
            }
            Event::Discovery => self
                .discovery
                .clone_from(&readings.discovery.borrow_and_update()),
            Event::Host => {
                let reading = readings.host.borrow_and_update();
                let links = self.links.as_ref();
                let links = links.and_then(|reading| reading.value.as_ref().ok());
                if let Some(reading) = &*reading {
                    self.host.follow(reading, links);
                }
            }
            Event::Ntp => self.ntp.clone_from(&readings.ntp.borrow_and_update()),
            Event::Pressure => {
                let read = *readings.pressure.borrow_and_update();
                self.health.pressure(read, now.moment());
            }
        }
    }

    fn on_device(&mut self, reading: Option<Reading<DeviceReading>>, now: Moment) {
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
        let mut machines = Machines::new(key, &self.config);
        let added = self.peers.facts().map(|(peer, _)| peer).collect();
        machines.change_peers(
            &Changes {
                added,
                removed: Vec::new(),
            },
            clock::moment(),
        );
        self.machines = Some(machines);
    }

    fn look(&self) -> Look {
        Look::now(self.config.clock_offset_ms)
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
                        self.echo
                            .send(&bytes, SocketAddr::new(address.into(), proto::limits::PORT));
                        machines.prober.passed(clock::stamp());
                        doubted |= machines.suspects.contains(&to);
                    }
                }
                echo::Output::Event(event) => machines.on_event(event),
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
                    inert::SourcePort::Tunnel if self.raw.send(to, &bytes) => {
                        machines.remember_inert(peer, to, now.moment());
                    }
                    inert::SourcePort::Fresh if sockets::send_unsolicited(to, &bytes) => {
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

    /// Opens what is not open and may be tried again.
    fn reopen(&mut self, now: Moment) {
        self.echo.follow(self.own_address(), now);
        self.raw.open(now);
        self.overlay.open(now);
    }

    fn look_for_data(&mut self, now: Moment) {
        let suspects = self.machines.iter().flat_map(|machines| &machines.suspects);
        let endpoint = |peer: &PublicKey| Some((*peer, self.peers.fact(peer)?.endpoint?));
        let doubtful = suspects.filter_map(endpoint).collect();
        self.data.follow(&doubtful, now);
    }
}

fn next_tick(now: Moment) -> Moment {
    echo::tick_from(now.plus(Duration::from_millis(1)))
}

/// What a turn is about.
enum Event {
    Time,
    Echo(EchoEvent),
    Sighted(Sighted),
    Delivered(Delivered),
    Device,
    Links,
    Steering,
    Talos,
    TapState,
    Pressure,
    Discovery,
    Ntp,
    Host,
}

/// Waits for one event, at most until `until`. Every branch is cancel-safe.
async fn next(
    echo: &mut Echo,
    overlay: &mut Overlay,
    readings: &mut Readings,
    until: Moment,
) -> Event {
    let pause = until.since(clock::moment());
    let heard = async {
        match &mut echo.socket {
            Some((_, socket)) => socket.next().await,
            None => std::future::pending().await,
        }
    };
    let delivered = async {
        match &mut overlay.listener {
            Some(listener) => listener.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        delivered = delivered => match delivered {
            Ok(delivered) => Event::Delivered(delivered),
            Err(error) => {
                overlay.fail(&error);
                Event::Time
            }
        },
        event = heard => match event {
            Ok(event) => Event::Echo(event),
            Err(error) => {
                echo.fail(&error, clock::moment());
                Event::Time
            }
        },
        Some(sighted) = readings.tap.recv() => Event::Sighted(sighted),
        Ok(()) = readings.wireguard.changed() => Event::Device,
        Ok(()) = readings.links.changed() => Event::Links,
        Ok(()) = readings.steering.changed() => Event::Steering,
        Ok(()) = readings.talos.changed() => Event::Talos,
        Ok(()) = readings.tap_state.changed() => Event::TapState,
        Ok(()) = readings.pressure.changed() => Event::Pressure,
        Ok(()) = readings.discovery.changed() => Event::Discovery,
        Ok(()) = readings.ntp.changed() => Event::Ntp,
        Ok(()) = readings.host.changed() => Event::Host,
        () = sleep(pause) => Event::Time,
    }
}
