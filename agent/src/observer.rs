//! Owns the pure machines and drives them.
//!
//! One turn: wait for one event, read the clock once, hand the event in, read the sockets empty, tick, drain, act,
//! publish. Nothing here judges.

mod packets;

use std::{
    collections::BTreeMap,
    mem,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use evidence::{
    Clock, Discovery, Fact, FactKey, Facts, Gap, Identity, Moment, NodeName, Ntp, PublicKey,
    SourceId, SourceState, TalosClock, limits,
};
use probe_core::{ProbeKey, Stamp, echo, inert, size::Seen};
use probe_io::{Delivered, EchoEvent, Sighted, clock};
use sources::links;
use tokio::{sync::watch, time::sleep};
use tracing::info;

use crate::{
    clock::{Look, OwnClock},
    data::DataWatch,
    facts,
    health::OwnHealth,
    host::OwnHost,
    machines::Machines,
    ntp,
    peers::{Changes, Peers},
    readers::{DeviceReading, Reading, Readings, TapState},
    sockets::{self, Echo, Overlay, Raw},
    steering::{SteeringReading, WAITS, chains_tried},
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
    pub(crate) ntp: ntp::Servers,
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

    /// Takes in what the sources say until each has been tried, at most for `patience`; sends nothing.
    pub(crate) async fn read_once(
        mut self,
        mut readings: Readings,
        patience: Duration,
    ) -> (Moment, Facts) {
        let until = clock::moment().plus(patience);
        while !self.has_tried_all() && clock::moment() < until {
            let event = next(&mut self.echo, &mut self.overlay, &mut readings, until).await;
            self.handle(event, &mut readings, clock::stamp());
        }
        self.clock.follow(self.look(), clock::kernel);
        let now = clock::moment();
        if self.steering.is_none() && now < until {
            self.steering = Some(Reading {
                at: now,
                value: Err(WAITS.to_owned()),
            });
        }
        let facts = self.facts(now);
        let own = facts.iter().filter(|fact| !of_probes(&fact.key()));
        (now, own.cloned().collect())
    }

    /// Steering is asked for the peers of a device: without one, or without links, there is nothing to wait for.
    fn has_tried_all(&self) -> bool {
        let (Some(device), Some(links)) = (&self.device, &self.links) else {
            return false;
        };
        let steering = self.steering.is_some() || device.value.is_err() || links.value.is_err();
        let servers = self.config.ntp.borrow().iter().all(Option::is_some);
        let asked = servers && self.talos.is_some() && self.discovery.is_some();
        steering && asked && self.host.tried().is_some()
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

    fn facts(&mut self, now: Moment) -> Facts {
        let mut facts: Facts = self.sources(now).into_iter().collect();
        facts.insert(Fact::Identity(self.identity()));
        let links = self
            .links
            .as_ref()
            .and_then(|reading| reading.value.as_ref().ok());
        if let Some(Ok(device)) = self.device.as_ref().map(|reading| &reading.value) {
            facts.insert(Fact::Device(facts::device(device, links)));
        }
        for (key, peer) in self.peers.facts() {
            facts.insert(Fact::Peer(key, peer.clone()));
        }
        if let Some(machines) = &self.machines {
            machines.facts(&self.peers, &mut facts);
        }
        if let Some(Ok(steering)) = self.steering.as_ref().map(|reading| &reading.value) {
            steering.facts(&self.peers, &mut facts);
        }
        if let Some(Ok(talos)) = self.talos.as_ref().map(|reading| &reading.value) {
            talos.facts(&mut facts);
        }
        let known = self.peers.facts().map(|(key, _)| key);
        self.data.facts(known, &mut facts);
        facts.insert(Fact::Health(self.health.fact()));
        if let Some(Ok(seen)) = self.discovery.as_ref().map(|reading| &reading.value) {
            facts.insert(Fact::Discovery(seen.clone()));
        }
        let servers: Vec<_> = self.config.ntp.borrow().iter().flatten().cloned().collect();
        if !servers.is_empty() {
            facts.insert(Fact::Ntp(Ntp { servers }));
        }
        if let Some(host) = self.host.fact() {
            facts.insert(Fact::Host(host.clone()));
        }
        if let Some(clock) = self.clock.fact() {
            let talos = talos_clock(&facts);
            facts.insert(Fact::Clock(Clock { talos, ..*clock }));
        }
        if let Some(devices) = self.vxlan.fact() {
            facts.insert(Fact::Vxlan(devices.clone()));
        }
        facts
    }

    fn identity(&self) -> Identity {
        let links = self
            .links
            .as_ref()
            .and_then(|reading| reading.value.as_ref().ok());
        let mut addresses = links.map(links::node_addresses).unwrap_or_default();
        addresses.truncate(limits::ADDRESSES);
        Identity {
            name: self.config.node.clone(),
            public_key: self.machines.as_ref().map(|machines| machines.key),
            kubespan_address: self.own_address(),
            addresses,
            boot_id: self.config.boot_id.clone(),
            instance: self.instance,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    fn sources(&mut self, now: Moment) -> Vec<Fact> {
        fn tried<T>(reading: Option<&Reading<T>>) -> Option<(Moment, Option<String>)> {
            reading.map(|reading| (reading.at, reading.value.as_ref().err().cloned()))
        }
        let states = [
            (SourceId::WireGuard, tried(self.device.as_ref())),
            (SourceId::Links, tried(self.links.as_ref())),
            (SourceId::Tap, tried(self.tap.as_ref())),
            (SourceId::Echo, Some((now, self.echo.gap.clone()))),
            (SourceId::Inert, Some((now, self.raw.gap.clone()))),
            (SourceId::Overlay, Some((now, self.overlay.gap.clone()))),
            (SourceId::Routes, tried(self.steering.as_ref())),
            (SourceId::Discovery, tried(self.discovery.as_ref())),
            (
                SourceId::Nftables,
                self.steering.as_ref().and_then(chains_tried),
            ),
            (SourceId::Talos, tried(self.talos.as_ref())),
            (SourceId::Clock, self.clock.tried()),
            (SourceId::Host, self.host.tried()),
            (SourceId::Ntp, ntp::tried(&self.config.ntp, now)),
        ];
        let known = states
            .into_iter()
            .filter_map(|(id, state)| Some((id, state?)));
        known
            .map(|(id, (read_at, gap))| self.source(id, read_at, gap))
            .collect()
    }

    /// A source's state, with the moment since which it is readable, or is not.
    fn source(&mut self, id: SourceId, read_at: Moment, gap: Option<String>) -> Fact {
        let (readable, since) = self
            .since
            .entry(id)
            .or_insert_with(|| (gap.is_none(), read_at));
        if *readable != gap.is_none() {
            (*readable, *since) = (gap.is_none(), read_at);
        }
        let gap = gap.map(|mut reason| {
            reason.truncate(reason.floor_char_boundary(limits::TEXT));
            Gap { reason }
        });
        Fact::Source(
            id,
            SourceState {
                read_at,
                since: *since,
                gap,
            },
        )
    }
}

/// What Talos says of the clock belongs beside what the clock shows.
fn talos_clock(facts: &Facts) -> Option<TalosClock> {
    let Some(Fact::Talos(talos)) = facts.get(&FactKey::Talos) else {
        return None;
    };
    talos.time.map(|time| TalosClock {
        synced: time.synced,
        sync_disabled: time.disabled,
    })
}

/// Whether a fact is about probes and what answers them, and not about what the node says of itself.
const fn of_probes(key: &FactKey) -> bool {
    use SourceId::{Echo, Inert, Overlay, Tap};
    matches!(
        key,
        FactKey::Source(Tap | Echo | Inert | Overlay)
            | FactKey::EchoSent(_)
            | FactKey::EchoHeard(_)
            | FactKey::Inert(_)
            | FactKey::Initiated(_)
            | FactKey::Arrivals
            | FactKey::DataSeen(_)
            | FactKey::Sizes(_)
            | FactKey::Health
    )
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
        Ok(()) = readings.host.changed() => Event::Host,
        () = sleep(pause) => Event::Time,
    }
}
