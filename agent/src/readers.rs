//! One task per source. Each publishes its newest reading with the time it was tried; none waits for another.

use std::time::Duration;

use evidence::{Discovery, Moment};
use probe_io::{Sighted, Tap, TapError, clock};
use sources::{
    Gap,
    links::{self, Change, Snapshot},
    pressure::{self, Pressure},
    wireguard::{self, Device},
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};

use crate::{host::HostReading, ntp::Servers, steering::SteeringReading, talos::TalosReading};

/// `KubeSpan`'s port; not configurable in Talos.
pub(crate) const TUNNEL_PORT: u16 = 51_820;
/// Pace of reading the device: handshakes and counters move in seconds.
const WIREGUARD_EVERY: Duration = Duration::from_secs(1);
/// Links are read on notification, and at least this often.
const LINKS_EVERY: Duration = Duration::from_secs(30);
/// Changes come in bursts: one reading for all that come within this time.
const SETTLE: Duration = Duration::from_millis(200);
/// Pace of asking what the kernel dropped.
const PRESSURE_EVERY: Duration = Duration::from_secs(1);
/// Pause before a tap that could not be opened is tried again.
const TAP_RETRY: Duration = Duration::from_secs(10);

/// A reading, or why there is none, and when it was tried.
#[derive(Clone, Debug)]
pub struct Reading<T> {
    /// When it was tried.
    pub at: Moment,
    /// What was read, or why nothing was.
    pub value: Result<T, String>,
}

/// The newest of each source; `None` before the first try.
pub(crate) struct Readings {
    pub(crate) wireguard: watch::Receiver<Option<Reading<DeviceReading>>>,
    pub(crate) links: watch::Receiver<Option<Reading<Snapshot>>>,
    /// Bursts of changes of routes and rules.
    pub(crate) route_changes: watch::Receiver<u64>,
    pub(crate) steering: watch::Receiver<Option<Reading<SteeringReading>>>,
    pub(crate) tap: mpsc::Receiver<Sighted>,
    pub(crate) tap_state: watch::Receiver<Option<Reading<TapState>>>,
    pub(crate) pressure: watch::Receiver<Pressure>,
    pub(crate) talos: watch::Receiver<Option<Reading<TalosReading>>>,
    pub(crate) discovery: watch::Receiver<Option<Reading<Discovery>>>,
    pub(crate) ntp: Servers,
    pub(crate) host: watch::Receiver<Option<HostReading>>,
}

/// The device, and the wall clock when it was read: handshake times are wall-clock times of the kernel.
#[derive(Clone, Debug)]
pub struct DeviceReading {
    /// What it says.
    pub device: Device,
    /// The wall clock, as the time since 1970.
    pub wall: Duration,
}

/// How the tap does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapState {
    /// Datagrams that the kernel or our queue dropped since the tap was opened.
    pub dropped: u64,
}

/// Reads the `kubespan` device every second.
pub(crate) async fn wireguard(sender: watch::Sender<Option<Reading<DeviceReading>>>) {
    while !sender.is_closed() {
        let read = wireguard::read(links::KUBESPAN).await;
        let reading = Reading {
            at: clock::moment(),
            value: match read {
                Ok(device) => Ok(DeviceReading {
                    device,
                    wall: sources::host::clocks().wall,
                }),
                Err(error) => Err(Gap::from(&error).reason),
            },
        };
        sender.send_replace(Some(reading));
        sleep(WIREGUARD_EVERY).await;
    }
}

/// Reads links and addresses when the kernel says that something changed.
pub(crate) async fn links(
    sender: watch::Sender<Option<Reading<Snapshot>>>,
    route_changes: watch::Sender<u64>,
) {
    let mut watch = links::watch().ok();
    while !sender.is_closed() {
        let read = links::read().await;
        let value = read.map_err(|error| Gap::from(&error).reason);
        sender.send_replace(Some(Reading {
            at: clock::moment(),
            value,
        }));
        let changed = async {
            match &mut watch {
                Some(watch) => {
                    let change = watch.changed().await;
                    if matches!(
                        change,
                        Ok(Change::Route | Change::Rule | Change::Everything)
                    ) {
                        route_changes.send_modify(|count| *count += 1);
                    }
                    change.is_ok()
                }
                None => std::future::pending().await,
            }
        };
        // A notification socket that failed is opened anew; until then the slow pace serves.
        if timeout(LINKS_EVERY, changed)
            .await
            .is_ok_and(|alive| !alive)
            || watch.is_none()
        {
            watch = links::watch().ok();
        }
        sleep(SETTLE).await;
    }
}

/// Asks every second what the kernel had to drop.
pub(crate) async fn pressure(sender: watch::Sender<Pressure>) {
    while !sender.is_closed() {
        sender.send_replace(pressure::read(proto::limits::PORT));
        sleep(PRESSURE_EVERY).await;
    }
}

/// Sees handshake and inert datagrams on the tunnel's port.
pub(crate) async fn tap(
    sender: mpsc::Sender<Sighted>,
    state: watch::Sender<Option<Reading<TapState>>>,
) {
    while !sender.is_closed() {
        let reason = match Tap::open(TUNNEL_PORT) {
            Ok(tap) => follow(tap, &sender, &state).await,
            Err(error) => chain(&error),
        };
        state.send_replace(Some(Reading {
            at: clock::moment(),
            value: Err(reason),
        }));
        sleep(TAP_RETRY).await;
    }
}

/// Hands on what the tap sees until it fails; says why.
async fn follow(
    mut tap: Tap,
    sender: &mpsc::Sender<Sighted>,
    state: &watch::Sender<Option<Reading<TapState>>>,
) -> String {
    /// The tap says how far it has seen at least this often.
    const ALIVE: Duration = Duration::from_millis(250);
    // A flood must not grow memory: what does not fit is dropped, and counted as seen by nobody.
    let mut no_room: u64 = 0;
    let mut say = clock::moment();
    loop {
        let at = clock::moment();
        if at >= say {
            // All that passed before `at` is handed on before the tap claims to have seen up to then.
            let empty = match read_empty(&mut tap, sender, &mut no_room) {
                Ok(empty) => empty,
                Err(error) => return chain(&error),
            };
            let in_kernel = tap.statistics().map_or(0, |statistics| statistics.dropped);
            let dropped = in_kernel + no_room;
            if empty {
                let value = Ok(TapState { dropped });
                state.send_replace(Some(Reading { at, value }));
            }
            say = at.plus(ALIVE);
        }
        match timeout(ALIVE, tap.next()).await {
            Err(_) => {}
            Ok(Ok(sighted)) => no_room += u64::from(sender.try_send(sighted).is_err()),
            Ok(Err(error)) => return chain(&error),
        }
    }
}

/// Hands on what waits at the tap; whether that was all. In a flood it is not, and the tap claims nothing.
fn read_empty(
    tap: &mut Tap,
    sender: &mpsc::Sender<Sighted>,
    no_room: &mut u64,
) -> Result<bool, TapError> {
    /// Packets handed on in one go.
    const BATCH: usize = 1024;
    for _ in 0..BATCH {
        match tap.try_next()? {
            Some(sighted) => *no_room += u64::from(sender.try_send(sighted).is_err()),
            None => return Ok(true),
        }
    }
    Ok(false)
}

/// An error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
