//! Follows what Talos says on this node: watches the peers, asks for the rest now and then.
//!
//! A Talos that is not there, refuses, hangs, floods or dies costs its own facts and nothing else: every question has a time
//! limit, every list a bound, and after trouble there is a pause that grows.

mod node;
mod state;
mod ways;

use std::{convert::Infallible, path::PathBuf, time::Duration};

use evidence::{Fact, Facts};
use probe_io::clock;
use sources::{
    Gap,
    links::Snapshot,
    talos::{
        Affiliate, Carrier, Change, Kind, Member, PeerSpec, PeerStatus, Talos, TalosError, connect,
    },
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info};

use crate::readers::Reading;
use node::NodeAnswers;
use state::State;

pub(crate) use node::Registry;
pub(crate) use state::{TalosReading, Told};

/// Pace of asking for what is not watched.
const POLL_EVERY: Duration = Duration::from_secs(10);
/// Changes closer together than this are told as one.
const PUBLISH_EVERY: Duration = Duration::from_millis(500);
/// Pace of asking the kernel again how candidates would be reached.
const WAYS_EVERY: Duration = Duration::from_secs(15);
/// Pause before what could not be asked is asked again.
const WAYS_RETRY: Duration = Duration::from_secs(1);
/// First and longest pause before another connection.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Events of one watch in a second, beyond which it is given up: a cluster has at most 1024 peers.
const FLOOD: usize = 4096;
/// Updates that the reader has not yet taken in; whoever has more waits, and so does Talos.
const UPDATES: usize = 16;
/// Pause before a watch that fell behind begins anew.
const REWATCH: Duration = Duration::from_secs(1);
/// A watch that lived shorter than this was no good one, and so many of them in a row end the connection.
const SHORT_LIVED: (Duration, u32) = (Duration::from_secs(10), 3);

/// Where machined listens, and what may be asked of it.
#[derive(Clone, Debug)]
pub struct Machined {
    /// Its socket, if Talos is there at all.
    pub socket: PathBuf,
    /// Whether the one resource that says where the discovery service is may be asked for as `os:admin`: Talos keeps it from
    /// readers. Everything else is asked for as `os:reader` in any case.
    pub as_admin: bool,
}

/// What is new.
enum Update {
    Node(Box<NodeAnswers>),
    Specs(Step<PeerSpec>),
    Statuses(Step<PeerStatus>),
    Affiliates(Step<Affiliate>),
    Members(Step<Member>),
}

/// What is new of one type.
enum Step<R> {
    /// Everything is told again from the beginning.
    Begin,
    Changes(Vec<Change<R>>),
    /// This version of Talos has no such type.
    Unsupported,
}

/// Follows for ever; every end of a connection is a gap, until the next one has told everything.
pub(crate) async fn follow(
    machined: &Machined,
    sender: watch::Sender<Option<Reading<TalosReading>>>,
    links: watch::Receiver<Option<Reading<Snapshot>>>,
) {
    let mut pause = BACKOFF.0;
    let mut told = String::new();
    while !sender.is_closed() {
        let begun = Instant::now();
        let Err(reason) = Box::pin(session(machined, &sender, &links)).await;
        // A connection that told everything and lived for a while was a good one: begin with short pauses again.
        let was_heard = matches!(&*sender.borrow(), Some(Reading { value: Ok(_), .. }));
        if was_heard && begun.elapsed() > SHORT_LIVED.0 {
            pause = BACKOFF.0;
        }
        if reason != told {
            info!(%reason, "Talos is not heard; trying on");
            told.clone_from(&reason);
        }
        sender.send_replace(Some(Reading {
            at: clock::moment(),
            value: Err(reason),
        }));
        sleep(pause).await;
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// One connection. The error is for a person.
async fn session(
    machined: &Machined,
    sender: &watch::Sender<Option<Reading<TalosReading>>>,
    links: &watch::Receiver<Option<Reading<Snapshot>>>,
) -> Result<Infallible, String> {
    let as_admin = machined.as_admin;
    let talos = connect(&machined.socket).await.map_err(told)?;
    // Who is not known yet is refused whatever he asks, and so is who asks for a type that is not known: one answer first.
    let first = node::ask(&talos, as_admin).await.map_err(told)?;
    let (updates, queue) = mpsc::channel(UPDATES);
    let asking = async {
        tokio::try_join!(
            poll(&talos, as_admin, first, &updates),
            keep_watching(&talos, &updates, Update::Specs),
            keep_watching(&talos, &updates, Update::Statuses),
            keep_watching(&talos, &updates, Update::Affiliates),
            keep_watching(&talos, &updates, Update::Members),
        )
    };
    tokio::select! {
        ended = asking => ended.map(|(never, ..)| never),
        never = publish(queue, sender, links) => match never {},
    }
}

fn told(error: TalosError) -> String {
    let gap = Gap::from(&error);
    drop(error);
    gap.reason
}

async fn poll<T: Carrier>(
    talos: &Talos<T>,
    as_admin: bool,
    first: NodeAnswers,
    updates: &mpsc::Sender<Update>,
) -> Result<Infallible, String> {
    let mut answers = first;
    loop {
        send(updates, Update::Node(Box::new(answers))).await;
        sleep(POLL_EVERY).await;
        answers = node::ask(talos, as_admin).await.map_err(told)?;
    }
}

/// The queue is read for as long as anybody writes into it.
async fn send(updates: &mpsc::Sender<Update>, update: Update) {
    drop(updates.send(update).await);
}

/// Watches one type; a watch that fell behind begins anew.
async fn keep_watching<T: Carrier, R: Kind>(
    talos: &Talos<T>,
    updates: &mpsc::Sender<Update>,
    wrap: fn(Step<R>) -> Update,
) -> Result<Infallible, String> {
    let mut short = 0;
    loop {
        let begun = Instant::now();
        let Err(ended) = watch_once(talos, updates, wrap).await;
        match ended {
            Ended::Talos(error) if error.is_unsupported() => {
                debug!(kind = R::TYPE, "not known to this version of Talos");
                send(updates, wrap(Step::Unsupported)).await;
                return std::future::pending().await;
            }
            Ended::Talos(error) if error.is_relist() => {
                short = if begun.elapsed() < SHORT_LIVED.0 {
                    short + 1
                } else {
                    0
                };
                if short >= SHORT_LIVED.1 {
                    return Err(told(error));
                }
            }
            Ended::Talos(error) => return Err(told(error)),
            Ended::Flood => {
                return Err(format!(
                    "watch {}: more than {FLOOD} changes in a second; it is tried again",
                    R::TYPE
                ));
            }
        }
        sleep(REWATCH).await;
    }
}

/// Why a watch ended.
enum Ended {
    Talos(TalosError),
    Flood,
}

async fn watch_once<T: Carrier, R: Kind>(
    talos: &Talos<T>,
    updates: &mpsc::Sender<Update>,
    wrap: fn(Step<R>) -> Update,
) -> Result<Infallible, Ended> {
    let mut watch = talos.watch::<R>().await.map_err(Ended::Talos)?;
    send(updates, wrap(Step::Begin)).await;
    let mut second = (Instant::now(), 0);
    loop {
        let changes = watch.next().await.map_err(Ended::Talos)?;
        if second.0.elapsed() > Duration::from_secs(1) {
            second = (Instant::now(), 0);
        }
        second.1 += changes.len().max(1);
        if second.1 > FLOOD {
            return Err(Ended::Flood);
        }
        send(updates, wrap(Step::Changes(changes))).await;
    }
}

/// Takes in what is new, and tells it once it is whole.
async fn publish(
    mut queue: mpsc::Receiver<Update>,
    sender: &watch::Sender<Option<Reading<TalosReading>>>,
    links: &watch::Receiver<Option<Reading<Snapshot>>>,
) -> Infallible {
    let mut state = State::default();
    let (mut publish_at, mut ways_at) = (Instant::now(), Instant::now());
    let mut news = false;
    loop {
        tokio::select! {
            Some(update) = queue.recv() => {
                state.apply(update);
                news = true;
            }
            () = sleep_until(ways_at), if state.is_whole() => {
                ways_at = Instant::now() + WAYS_EVERY;
                state.ask_again();
                news = true;
            }
            () = sleep_until(publish_at), if news && state.is_whole() => {
                tell(&mut state, sender, links).await;
                // What could not be asked is asked again soon: at the start the links are not known yet.
                news = !state.to_ask().is_empty();
                publish_at = Instant::now() + if news { WAYS_RETRY } else { PUBLISH_EVERY };
            }
        }
    }
}

async fn tell(
    state: &mut State,
    sender: &watch::Sender<Option<Reading<TalosReading>>>,
    links: &watch::Receiver<Option<Reading<Snapshot>>>,
) {
    let to_ask = state.to_ask();
    if !to_ask.is_empty() {
        let read = links.borrow().clone();
        let snapshot = read.and_then(|read| read.value.ok());
        state.answered(ways::ask(&to_ask, snapshot.as_ref()).await);
    }
    let now = clock::moment();
    let reading = state.reading(now, sources::host::clocks().wall);
    sender.send_replace(Some(Reading {
        at: now,
        value: Ok(reading),
    }));
}

impl TalosReading {
    /// The facts.
    pub(crate) fn facts(&self, facts: &mut Facts) {
        facts.insert(Fact::Talos(Box::new(self.node.clone())));
        for (key, peer) in &self.peers {
            facts.insert(Fact::TalosPeer(*key, Box::new(peer.clone())));
        }
    }
}
