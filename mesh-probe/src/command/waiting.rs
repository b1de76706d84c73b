//! A wait that outlives a collector that is away: it may be started after us, or again.

use std::{future::Future, pin::pin, time::Duration};

use evidence::{Gate, Phase};
use proto::limits::MAX_WAIT;
use tokio::{
    select,
    time::{Instant, sleep},
};

use crate::{
    args::Format,
    collector::{Asking, Collector, Gates, LevelQuestion, Waited},
    document::GateDocument,
    error::ProbeError,
    output::Output,
    render::{Asked, brief},
};

/// Between two attempts to reach a collector.
const PAUSE: Duration = Duration::from_millis(500);

/// One wait.
///
/// The collector judges when it is over (`Gate.Wait`), so that all surfaces agree. `Gate.Watch` beside it tells what
/// happens meanwhile, and what the last state was if the collector goes away.
#[derive(Debug)]
pub(super) struct Waiting {
    collector: Collector,
    question: LevelQuestion,
    time: Duration,
    deadline: Instant,
    sit_out: bool,
    output: Output,
    /// The newest state, on one line.
    last: Option<String>,
    progress: Progress,
}

impl Waiting {
    pub(super) fn new(
        collector: Collector,
        question: LevelQuestion,
        (time, deadline): (Duration, Instant),
        sit_out: bool,
        output: Output,
    ) -> Self {
        Self {
            output,
            collector,
            question,
            time,
            deadline,
            sit_out,
            last: None,
            progress: Progress::default(),
        }
    }

    /// Waits until the collector has judged, or the time has passed.
    pub(super) async fn run(mut self) -> Result<Waited, ProbeError> {
        let mut before = None;
        loop {
            match self.attempt().await {
                Ok(Some(waited)) => return Ok(waited),
                Ok(None) => {}
                Err(error) if !error.may_pass() => return Err(error),
                Err(error) if self.remaining().is_zero() => {
                    return Err(self.unreachable(telling(before, error)));
                }
                Err(error) => {
                    self.progress.show(format!("{error}; trying again"));
                    before = Some(error);
                }
            }
            sleep(PAUSE.min(self.remaining())).await;
        }
    }

    /// One connection and one request; `None` if there is reason to ask again.
    async fn attempt(&mut self) -> Result<Option<Waited>, ProbeError> {
        let asking = self.collector.connect_within(self.remaining()).await?;
        let slice = self.remaining().min(MAX_WAIT);
        let question = self.question.clone();
        let answer = asking.wait(&question, slice, self.sit_out);
        let waited = self.accompany(&asking, answer).await?;
        // Ready, and not for as long as was asked, is told as timed out.
        let is_ready = self.asked().phase(&waited.gate) == Phase::Ready && !waited.timed_out;
        let is_hopeless = waited.gate.terminal && !self.sit_out && !waited.timed_out;
        let was_last = slice < MAX_WAIT && waited.timed_out;
        if is_ready || is_hopeless {
            return Ok(Some(Waited {
                timed_out: false,
                ..waited
            }));
        }
        let timed_out = was_last || self.remaining().is_zero();
        Ok(timed_out.then_some(Waited {
            timed_out,
            ..waited
        }))
    }

    /// Waits for the answer and shows each change until it comes.
    async fn accompany(
        &mut self,
        asking: &Asking,
        answer: impl Future<Output = Result<Waited, ProbeError>>,
    ) -> Result<Waited, ProbeError> {
        let mut answer = pin!(answer);
        let question = self.question.clone();
        let mut states = select! {
            answer = &mut answer => return answer,
            states = asking.watch(&question) => states.ok(),
        };
        loop {
            select! {
                answer = &mut answer => return answer,
                Some(gate) = next(&mut states) => self.note(&gate)?,
            }
        }
    }

    fn note(&mut self, gate: &Gate) -> Result<(), ProbeError> {
        let line = brief(gate, self.asked());
        self.last = Some(line.clone());
        self.progress.show(line);
        if self.output.format() != Format::Jsonl {
            return Ok(());
        }
        let document = GateDocument::new(gate, self.question.asked(), false);
        self.output.answer(&document, |_| String::new())
    }

    const fn asked(&self) -> Asked {
        Asked {
            may_start: self.question.may_start,
            timed_out: None,
            unstable: None,
            direct: false,
        }
    }

    fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    fn unreachable(self, source: ProbeError) -> ProbeError {
        ProbeError::Unreachable {
            level: self.question.level,
            waited: self.time,
            last: self
                .last
                .map_or_else(String::new, |last| format!("; its last word was {last:?}")),
            source: Box::new(source),
        }
    }
}

/// The last attempt may have had next to no time: then the one before it says why there is no collector.
fn telling(before: Option<ProbeError>, last: ProbeError) -> ProbeError {
    match (before, last) {
        (Some(before), ProbeError::NoAnswer { after, .. }) if after < PAUSE => before,
        (_, last) => last,
    }
}

/// Watching only accompanies the wait: that it cannot be had, or has ended, changes nothing.
async fn next(states: &mut Option<Gates>) -> Option<Gate> {
    states.as_mut()?.next().await
}

/// One line per change, for who watches; scripts get the answer only.
#[derive(Debug, Default)]
pub(super) struct Progress {
    shown: String,
}

impl Progress {
    pub(super) fn show(&mut self, line: String) {
        if self.is_news(line) && Output::is_watched() {
            Output::progress(&self.shown);
        }
    }

    fn is_news(&mut self, line: String) -> bool {
        let is_news = self.shown != line;
        self.shown = line;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_state_is_shown_once() {
        let mut progress = Progress::default();
        let news = ["a", "a", "b", "a"].map(|line| progress.is_news(line.to_owned()));
        assert_eq!(news, [true, false, true, true]);
    }
}
