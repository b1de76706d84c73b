//! How often one client may ask, and an agent report. Who asks more often waits for his turn; who would wait too long is told when to ask again.
//!
//! Clients are told apart by their network, agents by their certificate.

mod http;
mod turns;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use proto::{
    limits::{self, Rate},
    transport::network,
};
use tokio::time::sleep;
use tonic::Status;

use crate::counters::Counters;

pub(crate) use http::{From, Paced, path};
pub(crate) use turns::{Turn, Turns};

/// A kind of question, with the turns of those who ask it. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Desk<K> {
    turns: Arc<Mutex<Turns<K>>>,
    rate: Rate,
    /// What is asked for, in the plural.
    what: &'static str,
    counters: Arc<Counters>,
}

/// All kinds.
#[derive(Clone, Debug)]
pub(crate) struct Rates {
    /// Gates and health.
    pub(crate) questions: Desk<IpAddr>,
    /// What takes long to make.
    pub(crate) documents: Desk<IpAddr>,
    /// Report streams that begin, by agents.
    pub(crate) streams: Desk<[u8; 32]>,
}

/// Somebody asks far too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOften {
    what: &'static str,
    rate: Rate,
    /// From now on until he might be answered.
    pub(crate) after: Duration,
}

impl fmt::Display for TooOften {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, rate, after } = self;
        let after = after.as_secs() + 1;
        let a_second = 1.0 / rate.every.as_secs_f64();
        write!(
            f,
            "too many {what}: expected at most {a_second} a second from one client; ask again in {after} s"
        )
    }
}

impl std::convert::From<TooOften> for Status {
    fn from(often: TooOften) -> Self {
        Self::resource_exhausted(often.to_string())
    }
}

impl Rates {
    pub(crate) fn new(counters: &Arc<Counters>) -> Self {
        Self {
            questions: Desk::new("questions about gates", limits::QUESTIONS, counters),
            documents: Desk::new("verdicts, pages and metrics", limits::DOCUMENTS, counters),
            streams: Desk::new("report streams", limits::STREAMS, counters),
        }
    }
}

impl<K: Copy + Ord> Desk<K> {
    fn new(what: &'static str, rate: Rate, counters: &Arc<Counters>) -> Self {
        Self {
            turns: Arc::new(Mutex::new(Turns::new(rate))),
            rate,
            what,
            counters: Arc::clone(counters),
        }
    }

    /// Ready when it is the turn of this one.
    pub(crate) async fn turn(&self, of: K) -> Result<(), TooOften> {
        let now = Instant::now();
        let at = self.turns().take(of, now, limits::TURN);
        match at {
            Ok(at) if at <= now => Ok(()),
            Ok(at) => {
                self.counters.turns_waited.add();
                sleep(at - now).await;
                Ok(())
            }
            Err(at) => {
                self.counters.turns_refused.add();
                Err(TooOften {
                    what: self.what,
                    rate: self.rate,
                    after: at - now,
                })
            }
        }
    }

    fn turns(&self) -> MutexGuard<'_, Turns<K>> {
        // Nobody who holds it can panic half way.
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk<IpAddr> {
    /// The same for whoever is at this address; where that is not known, nobody waits.
    pub(crate) async fn turn_of(&self, address: Option<SocketAddr>) -> Result<(), TooOften> {
        match address {
            Some(address) => self.turn(network(address.ip())).await,
            None => Ok(()),
        }
    }
}
