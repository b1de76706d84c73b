//! Threads that make handshakes, and let all others go first.
//!
//! A handshake is a millisecond of computing that anybody on the network can ask for. On the threads that serve, each one delays
//! the reports behind it; on threads with a small share of the processor it delays other handshakes.

use std::{io, thread};

use proto::transport::Lanes;
use tokio::{
    runtime::{Builder, Handle},
    sync::watch,
};
use tracing::{error, warn};

/// How far the thread stands back that makes handshakes of networks of which none was wrong of late (`nice`): beside one thread that
/// serves it gets a quarter of a processor. All agents come back at once after a restart.
const FIRST: i32 = 5;
/// The same for the others: a tenth. They may be good ones behind the NAT of a bad one, and must not time out.
const LAST: i32 = 10;

/// The threads. They end when this is dropped, and what they were about with them.
#[derive(Debug)]
pub(crate) struct Desks {
    pub(crate) lanes: Lanes,
    _stop: watch::Sender<()>,
}

impl Desks {
    /// Without threads of its own a collector makes handshakes on those that serve, and says so.
    pub(crate) fn start() -> Self {
        let (stop, stopped) = watch::channel(());
        let lane = |name, back| {
            desk(name, back, stopped.clone()).unwrap_or_else(|error| {
                error!(%error, "no thread for handshakes: they are made beside everything else");
                Handle::current()
            })
        };
        let lanes = Lanes {
            first: lane("handshakes", FIRST),
            last: lane("handshakes-last", LAST),
        };
        Self { lanes, _stop: stop }
    }
}

fn desk(name: &str, back: i32, mut stopped: watch::Receiver<()>) -> io::Result<Handle> {
    // Sockets are those of the runtime that serves, so that they need no thread of these when they are handed on.
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Of this thread alone, on Linux. Nobody needs a right to let others go first.
            if let Err(error) = rustix::process::nice(back) {
                warn!(%error, "handshakes are made at the same priority as everything else");
            }
            runtime.block_on(async { while stopped.changed().await.is_ok() {} });
        })?;
    Ok(handle)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Far more than it takes.
    const BOUND: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn handshakes_are_made_on_threads_that_let_others_go_first_and_end_with_the_collector() {
        let here = rustix::process::nice(0).unwrap();
        let desks = Desks::start();
        let back = async || rustix::process::nice(0).unwrap();
        let Lanes { first, last } = desks.lanes.clone();
        assert_eq!(first.spawn(back()).await.unwrap(), (here + FIRST).min(19));
        assert_eq!(last.spawn(back()).await.unwrap(), (here + LAST).min(19));
        assert_eq!(back().await, here);
        let endless = first.spawn(std::future::pending::<()>());
        drop(desks);
        let ended = timeout(BOUND, endless).await.unwrap();
        assert!(ended.unwrap_err().is_cancelled());
    }
}
