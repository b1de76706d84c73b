//! Answers whoever asks the agent itself, and changes nothing by it.
//!
//! Three ways in, each with its bounds, none of which stops the others or the observing:
//!
//! - `socket`: a socket on this machine, for whoever may open it;
//! - `network`: TLS with the derived certificates, for readers and agents; off unless it is asked for;
//! - `health`: two words over HTTP, for everybody there; off unless it is asked for.

mod health;
mod network;
mod service;
mod socket;

use std::{error::Error, fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use evidence::{AgentStatus, Moment, NodeName};
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use probe_io::clock;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, watch},
    time::sleep,
};
use tracing::{info, warn};

use crate::{messages::knows_itself, readers::chain, supervisor::Published, uplinks::Uplinks};

pub(crate) use network::Credentials;
pub(crate) use service::Answers;

/// Pause before what could not be bound is tried again: an address may come, a folder be mounted.
const RETRY: Duration = Duration::from_secs(10);
/// Pause after a connection could not be accepted: out of descriptors, most likely.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Time between pings of a quiet connection, and for the answer.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Calls that one connection may have open at a time.
const STREAMS: u32 = 4;
/// Bytes of the head of one request.
const HEADER_LIST: u32 = 4 * 1024;
/// Facts are put together four times a second; an observer that has not done so for this long hangs.
const HUNG: Duration = Duration::from_secs(30);
/// Older facts than this are not ready to be told as the present.
const FRESH: Duration = Duration::from_secs(4);

/// Where an agent answers.
#[derive(Clone, Debug, Default)]
pub struct AnswersConfig {
    /// A socket on this machine.
    pub socket: Option<PathBuf>,
    /// Over TLS, for readers and agents.
    pub listen: Option<SocketAddr>,
    /// Whether it lives, over HTTP, for everybody.
    pub health: Option<SocketAddr>,
}

/// Why a way in cannot be opened, or kept open.
type Refused = dyn Error + Send + Sync;

/// What is known of the agent itself.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) node: NodeName,
    pub(crate) started: Moment,
    /// What it cannot begin without, and does not have yet.
    pub(crate) waits_for: watch::Receiver<Option<&'static str>>,
    pub(crate) facts: watch::Receiver<Published>,
    pub(crate) uplinks: Uplinks,
}

impl Own {
    fn status(&self) -> AgentStatus {
        AgentStatus {
            node: self.node.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: clock::moment(),
            started: self.started,
            waits_for: self.waits_for.borrow().map(str::to_owned),
            uplinks: self.uplinks.all(),
        }
    }

    /// Whether a new start could not help: it goes round, or waits for what it does not have yet.
    fn is_alive(&self, now: Moment) -> bool {
        let waits = self.waits_for.borrow().is_some();
        let since = self.started.max(self.facts.borrow().0);
        waits || now.since(since) < HUNG
    }

    /// Whether it knows who it is, and what it sees now.
    fn is_ready(&self, now: Moment) -> bool {
        let facts = self.facts.borrow();
        knows_itself(&facts) && now.since(facts.0) < FRESH
    }
}

/// Answers on all ways that are wanted; dropped to stop.
pub(crate) async fn serve(
    config: AnswersConfig,
    answers: Answers,
    credentials: watch::Receiver<Option<Credentials>>,
) {
    let AnswersConfig {
        socket,
        listen,
        health,
    } = config;
    let here = async {
        let Some(path) = socket else { return };
        let mut reasons = Reasons::default();
        loop {
            let error = socket::serve(&path, &answers).await;
            reasons.pause(&path.display(), &*error).await;
        }
    };
    let network = async {
        let Some(address) = listen else { return };
        let (mut reasons, mut credentials) = (Reasons::default(), credentials);
        loop {
            let error = network::serve(address, &answers, &mut credentials).await;
            reasons.pause(&address, &*error).await;
        }
    };
    let health = async {
        let Some(address) = health else { return };
        let mut reasons = Reasons::default();
        loop {
            let error = health::serve(address, answers.own()).await;
            reasons.pause(&address, &*error).await;
        }
    };
    tokio::join!(here, network, health);
}

/// Why a way in is shut, each reason told once.
#[derive(Default)]
struct Reasons(String);

impl Reasons {
    /// Until it is tried again.
    async fn pause(&mut self, place: &(dyn fmt::Display + Sync), error: &Refused) {
        let reason = chain(error);
        if reason != self.0 {
            warn!(%place, %reason, "nobody can ask there; trying on");
            self.0 = reason;
        }
        sleep(RETRY).await;
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Serves one connection, which has a place, until either side ends it. Its kind is hidden, or all of HTTP/2 would be in the
/// program twice.
fn spawn_connection(stream: Box<dyn Stream>, answers: Answers, place: OwnedSemaphorePermit) {
    tokio::spawn(async move {
        connection(stream, answers).await;
        drop(place);
    });
}

async fn connection(stream: Box<dyn Stream>, answers: Answers) {
    let served = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST)
        .serve_connection(
            TokioIo::new(stream),
            TowerToHyperService::new(answers.service()),
        )
        .await;
    // However it ended, it concerns whoever asked alone, and he knows it.
    drop(served);
}

fn bound(place: &impl fmt::Display, what: &str) {
    info!(%place, "{what}");
}

/// An error of I/O with what was tried.
fn failed(operation: &'static str, source: io::Error) -> Box<Refused> {
    Box::new(Failed { operation, source })
}

#[derive(Debug, thiserror::Error)]
#[error("failed to {operation}")]
struct Failed {
    operation: &'static str,
    source: io::Error,
}

#[cfg(test)]
mod tests;
