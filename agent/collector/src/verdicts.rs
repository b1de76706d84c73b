//! How readers see the judgements: the newest one, never a queue of old ones.

use std::{sync::Arc, time::Duration};

use diagnosis::hold::Hold;
use evidence::{Moment, Verdict};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::clock;

/// A judgement older than this answers nobody: a judge that hangs must not leave a gate open. It is made twice a second.
const STALE: Duration = Duration::from_secs(10);
/// Messages that wait for a slow reader; what is newer waits in the `watch` channel, where it replaces the older.
const AHEAD: usize = 1;
/// Characters of an unknown level that are repeated to the caller.
const ECHOED: usize = 64;

/// One judgement.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Verdict,
    pub(crate) at: Moment,
    /// Grows when the verdict changes in more than ages.
    pub(crate) revision: u64,
    /// Since when each level is as it is.
    pub(crate) hold: Hold,
}

/// A reader's side of the judgements.
#[derive(Clone, Debug)]
pub(crate) struct Verdicts(watch::Receiver<Arc<Judged>>);

impl Verdicts {
    pub(crate) fn new(judgements: watch::Receiver<Arc<Judged>>) -> Self {
        Self(judgements)
    }

    /// The present judgement.
    pub(crate) fn current(&self) -> Result<Arc<Judged>, Status> {
        fresh(Arc::clone(&self.0.borrow()))
    }

    /// Whether the judge is alive: it may be slow, but not for so long.
    pub(crate) fn is_judged_within(&self, bound: Duration) -> bool {
        clock::now().since(self.0.borrow().at) <= bound
    }

    /// Calls `pick` on the present and each later judgement until it gives a value.
    pub(crate) async fn first<T>(
        &mut self,
        mut pick: impl FnMut(&Judged) -> Result<Option<T>, Status>,
    ) -> Result<T, Status> {
        loop {
            let judged = fresh(Arc::clone(&self.0.borrow_and_update()))?;
            if let Some(value) = pick(&judged)? {
                return Ok(value);
            }
            self.0
                .changed()
                .await
                .map_err(|_| Status::unavailable("the collector is stopping"))?;
        }
    }

    /// A stream of what `pick` gives on the present and each later judgement. A slow reader skips judgements.
    pub(crate) fn watch<T: Send + 'static>(
        mut self,
        mut pick: impl FnMut(&Judged) -> Result<Option<T>, Status> + Send + 'static,
    ) -> ReceiverStream<Result<T, Status>> {
        let (sender, receiver) = mpsc::channel(AHEAD);
        tokio::spawn(async move {
            loop {
                let value = tokio::select! {
                    () = sender.closed() => return,
                    value = self.first(&mut pick) => value,
                };
                let last = value.is_err();
                if sender.send(value).await.is_err() || last {
                    return;
                }
            }
        });
        ReceiverStream::new(receiver)
    }
}

/// What is said of a level that there is not.
pub(crate) fn unknown(judged: &Judged, level: &str) -> Status {
    let echoed: String = level.chars().take(ECHOED).collect();
    let gates = judged.verdict.gates.iter();
    let known: Vec<&str> = gates.map(|gate| gate.level.as_str()).collect();
    Status::not_found(format!(
        "no level {echoed:?}; known levels: {}",
        known.join(", ")
    ))
}

fn fresh(judged: Arc<Judged>) -> Result<Arc<Judged>, Status> {
    let age = clock::now().since(judged.at);
    if age > STALE {
        return Err(Status::unavailable(format!(
            "the last judgement is {} s old",
            age.as_secs()
        )));
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn judged(at: Moment) -> Arc<Judged> {
        Arc::new(Judged {
            verdict: Verdict::default(),
            at,
            revision: 0,
            hold: Hold::new(Duration::ZERO),
        })
    }

    #[tokio::test]
    async fn a_stale_judgement_answers_nobody() {
        let old = clock::now().minus(STALE + Duration::from_secs(1));
        let (_sender, receiver) = watch::channel(judged(old));
        let mut verdicts = Verdicts::new(receiver);
        assert_eq!(verdicts.current().unwrap_err().code(), Code::Unavailable);
        let first = verdicts.first(|_| Ok(Some(()))).await;
        assert_eq!(first.unwrap_err().code(), Code::Unavailable);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_told_when_the_judge_ends() {
        let (sender, receiver) = watch::channel(judged(clock::now()));
        let mut verdicts = Verdicts::new(receiver);
        drop(sender);
        let ended = verdicts.first(|_| Ok(None::<()>)).await.unwrap_err();
        assert_eq!(ended.message(), "the collector is stopping");
    }
}
