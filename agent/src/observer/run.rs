//! Drives an observer on a node: waits for one event at a time.

use std::{sync::Arc, time::Duration};

use evidence::Moment;
use probe_core::Stamp;
use probe_io::{Delivered, EchoEvent, Sighted, clock};
use tokio::{sync::watch, time::sleep};

use super::Observer;
use crate::{readers::Readings, sockets::Sockets, supervisor::Published};

impl Observer<Sockets> {
    /// Observes for ever; dropped to stop.
    pub(crate) async fn run(mut self, mut readings: Readings, published: watch::Sender<Published>) {
        loop {
            let until = self.until();
            let event = next(&mut self.ways, &mut readings, until).await;
            let now = clock::stamp();
            self.woke(now.moment());
            self.handle(event, &mut readings, now);
            if let Some(facts) = self.step(now) {
                published.send_replace(Arc::new((now.moment(), facts)));
            }
        }
    }

    pub(super) fn handle(&mut self, event: Event, readings: &mut Readings, now: Stamp) {
        match event {
            Event::Time => {}
            Event::Echo(event) => self.on_echo(event, now),
            Event::Sighted(sighted) => self.on_sighted(&sighted, now),
            Event::Delivered(delivered) => self.on_delivered(&delivered, now.moment()),
            Event::Device => {
                let reading = readings.wireguard.borrow_and_update().clone();
                self.on_device(reading, now.moment());
            }
            Event::Links => {
                let reading = readings.links.borrow_and_update().clone();
                self.on_links(reading, now.moment());
            }
            Event::Steering => {
                let reading = readings.steering.borrow_and_update().clone();
                self.on_steering(reading);
            }
            Event::Talos => self.talos.clone_from(&readings.talos.borrow_and_update()),
            Event::TapState => {
                // What the tap saw before it says how far it has seen counts before that does.
                let state = readings.tap_state.borrow_and_update().clone();
                for _ in 0..readings.tap.len() {
                    if let Ok(sighted) = readings.tap.try_recv() {
                        self.on_sighted(&sighted, now);
                    }
                }
                self.on_tap_state(state, now.moment());
            }
            Event::Discovery => self
                .discovery
                .clone_from(&readings.discovery.borrow_and_update()),
            Event::Host => {
                let reading = readings.host.borrow_and_update();
                let links = self.links.as_ref();
                let links = links.and_then(|reading| reading.value.as_ref().ok());
                if let Some(reading) = &*reading {
                    let route_changes = *readings.route_changes.borrow();
                    self.host.follow(reading, links, route_changes);
                }
            }
            Event::Ntp => self.ntp.clone_from(&readings.ntp.borrow_and_update()),
            Event::Pressure => {
                let read = *readings.pressure.borrow_and_update();
                self.on_pressure(read, now.moment());
            }
        }
    }
}

/// What a turn is about.
pub(super) enum Event {
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
pub(super) async fn next(sockets: &mut Sockets, readings: &mut Readings, until: Moment) -> Event {
    let Sockets { echo, overlay, .. } = sockets;
    let pause: Duration = until.since(clock::moment());
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
