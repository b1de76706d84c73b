//! Threads with less of the processor than those that answer.
//!
//! A reader who asks whether a gate is open waits for the answer, and nobody else waits for anything: so all other work stands back behind the
//! threads that answer readers. Reports come first then, the judge next, and handshakes last: each is a millisecond of computing that
//! anybody on the network can ask for.

use std::{io, thread};

use proto::transport::Lanes;
use tokio::runtime::{Builder, Handle, Runtime};
use tracing::warn;

/// How far those stand back that serve agents (`nice`): beside one that answers, such a thread gets a third of a processor.
const REPORTS: i32 = 3;
/// The one that makes what takes long to make: whole verdicts, pages, metrics. Who asks for these must not hold up who asks for a gate, nor reports.
const DOCUMENTS: i32 = 4;
/// The one that judges: a quarter. When everything fails, what has been said is worth more than what was made of a part of it.
const JUDGE: i32 = 5;
/// The one that makes handshakes of networks of which none was wrong of late: a sixth. All agents come back at once after a restart.
const FIRST: i32 = 7;
/// The same for the others: a tenth. They may be good ones behind the NAT of a bad one, and must not time out.
const LAST: i32 = 10;

/// The threads. They end when this is dropped, and what they were about with them.
#[derive(Debug)]
pub(crate) struct Desks {
    reports: Desk,
    documents: Desk,
    judge: Desk,
    first: Desk,
    last: Desk,
}

impl Desks {
    /// Starts them all.
    pub(crate) fn start() -> io::Result<Self> {
        // As many as there are processors: a collapse is told by all agents at once.
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            reports: Desk::start("reports", REPORTS, processors)?,
            // However many ask, they have one processor between them.
            documents: Desk::start("documents", DOCUMENTS, 1)?,
            judge: Desk::start("judge", JUDGE, 1)?,
            first: Desk::start("handshakes", FIRST, 1)?,
            last: Desk::start("handshakes-last", LAST, 1)?,
        })
    }

    /// Where agents are served.
    pub(crate) fn reports(&self) -> Handle {
        self.reports.handle()
    }

    /// Where answers are made that take long.
    pub(crate) fn documents(&self) -> Handle {
        self.documents.handle()
    }

    /// Where the view is kept and judged; what it does there may take long.
    pub(crate) fn judge(&self) -> Handle {
        self.judge.handle()
    }

    /// Where handshakes are made.
    pub(crate) fn lanes(&self) -> Lanes {
        Lanes {
            first: self.first.handle(),
            last: self.last.handle(),
        }
    }
}

/// Threads of one kind; none only while it is dropped.
#[derive(Debug)]
struct Desk(Option<Runtime>);

impl Desk {
    fn start(name: &'static str, back: i32, threads: usize) -> io::Result<Self> {
        // A runtime that gets no thread panics. So one is tried before, and the reason is told.
        let tried = thread::Builder::new().spawn(|| ())?;
        drop(tried.join());
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name(name)
            .enable_all()
            .on_thread_start(move || {
                // Of this thread alone, on Linux. Nobody needs a right to let others go first.
                if let Err(error) = rustix::process::nice(back) {
                    warn!(%error, thread = name, "it does not stand back behind the threads that answer");
                }
            })
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> Handle {
        self.0
            .as_ref()
            .map_or_else(Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // Nobody may wait for threads on one that serves.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Far more than it takes.
    const BOUND: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn each_kind_of_work_stands_back_behind_what_answers_and_ends_with_the_collector() {
        let here = rustix::process::nice(0).unwrap();
        let desks = Desks::start().unwrap();
        const { assert!(REPORTS < DOCUMENTS && DOCUMENTS < JUDGE && JUDGE < FIRST && FIRST < LAST) };
        let back = async || rustix::process::nice(0).unwrap();
        let Lanes { first, last } = desks.lanes();
        for (desk, nice) in [
            (desks.reports(), REPORTS),
            (desks.documents(), DOCUMENTS),
            (desks.judge(), JUDGE),
            (first.clone(), FIRST),
            (last, LAST),
        ] {
            assert_eq!(desk.spawn(back()).await.unwrap(), (here + nice).min(19));
        }
        assert_eq!(back().await, here);
        let endless = first.spawn(std::future::pending::<()>());
        drop(desks);
        let ended = timeout(BOUND, endless).await.unwrap();
        assert!(ended.unwrap_err().is_cancelled());
    }
}
