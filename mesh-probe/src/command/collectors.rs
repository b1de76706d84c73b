//! One question to several collectors: each judges alone, and all must say yes, or one.

use std::time::Duration;

use evidence::{Gate, Phase};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::waiting::Waiting;
use crate::{
    collector::{Collector, LevelQuestion, Waited},
    direct::Basis,
    document::Voice,
    error::ProbeError,
    output::Output,
};

/// Between two rounds: collectors that do not agree are not asked in a tight loop.
const PAUSE: Duration = Duration::from_millis(200);

/// What is asked of whom.
#[derive(Debug)]
pub(super) struct Round<'a> {
    pub(super) collectors: &'a [Collector],
    pub(super) question: &'a LevelQuestion,
    /// One yes is enough.
    pub(super) any: bool,
    pub(super) sit_out: bool,
    pub(super) output: Output,
}

/// The answer of those who were asked.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The state that decides.
    pub(super) gate: Gate,
    pub(super) timed_out: bool,
    pub(super) yes: bool,
    /// What each said, if there are several.
    pub(super) voices: Vec<Voice>,
    /// Set where agents were asked instead.
    pub(super) direct: Option<Basis>,
}

/// What one said; `None` while others decided before.
type Said = Option<Result<Waited, ProbeError>>;

impl Round<'_> {
    /// Asks everybody once.
    pub(super) async fn once(&self) -> Result<Outcome, ProbeError> {
        let mut asking = JoinSet::new();
        for (place, collector) in self.collectors.iter().cloned().enumerate() {
            let question = self.question.clone();
            asking.spawn(async move { (place, once(&collector, &question).await) });
        }
        self.outcome(self.gather(asking, |_| false).await)
    }

    /// Waits until they say yes at one time, until that cannot be, or until the time has passed.
    pub(super) async fn wait(&self, time: Duration) -> Result<Outcome, ProbeError> {
        let deadline = Instant::now() + time;
        loop {
            let mut asking = JoinSet::new();
            for (place, collector) in self.collectors.iter().cloned().enumerate() {
                let question = self.question.clone();
                let until = (time, deadline);
                let waiting = Waiting::new(collector, question, until, self.sit_out, self.output);
                asking.spawn(async move { (place, waiting.run().await) });
            }
            let decides = |said: &Result<Waited, ProbeError>| self.is_yes(said) == self.any;
            let mut outcome = self.outcome(self.gather(asking, decides).await)?;
            if !outcome.yes || self.any || self.collectors.len() == 1 {
                return Ok(outcome);
            }
            // Each has said yes, but not at one time.
            let together = self.once().await?;
            if together.yes {
                return Ok(together);
            }
            if deadline <= Instant::now() {
                outcome = together;
                outcome.timed_out = true;
                return Ok(outcome);
            }
            sleep(PAUSE).await;
        }
    }

    /// Collects what they say, until one `decides`; the others are not waited for.
    async fn gather(
        &self,
        mut asking: JoinSet<(usize, Result<Waited, ProbeError>)>,
        decides: impl Fn(&Result<Waited, ProbeError>) -> bool,
    ) -> Vec<Said> {
        let mut said: Vec<Said> = self.collectors.iter().map(|_| None).collect();
        while let Some(ended) = asking.join_next().await {
            let Ok((place, answer)) = ended else {
                continue;
            };
            let is_over = decides(&answer);
            if let Some(slot) = said.get_mut(place) {
                *slot = Some(answer);
            }
            if is_over {
                break;
            }
        }
        said
    }

    fn is_yes(&self, said: &Result<Waited, ProbeError>) -> bool {
        said.as_ref().is_ok_and(|waited| {
            self.question.asked().answer(&waited.gate) == Phase::Ready && !waited.timed_out
        })
    }

    /// Who decides: for yes a yes, for no the clearest no. What is judged goes before what nobody can tell.
    fn outcome(&self, said: Vec<Said>) -> Result<Outcome, ProbeError> {
        let yes = |said: &Said| said.as_ref().is_some_and(|said| self.is_yes(said));
        let all = if self.any {
            said.iter().any(yes)
        } else {
            said.iter().all(yes)
        };
        let voices = if self.collectors.len() == 1 {
            Vec::new()
        } else {
            let named = self.collectors.iter().zip(&said);
            named
                .map(|(collector, said)| self.voice(collector, said))
                .collect()
        };
        let rank = |said: &Said| match said {
            Some(Ok(waited)) if yes(said) => {
                if all {
                    0
                } else {
                    4
                }
            }
            Some(Ok(waited)) if self.question.asked().answer(&waited.gate) == Phase::NotReady => 1,
            // Ready, and not for as long as was asked.
            Some(Ok(waited)) if waited.timed_out => 1,
            // A mistake of ours is told before it is taken for trouble.
            Some(Err(error))
                if !error.may_pass() && error.exit() != crate::exit::Exit::CannotTell =>
            {
                if all {
                    3
                } else {
                    0
                }
            }
            Some(Ok(_)) => 2,
            Some(Err(_)) => 3,
            None => 5,
        };
        let mut said: Vec<(&Collector, Said)> = self.collectors.iter().zip(said).collect();
        said.sort_by_key(|(_, said)| rank(said));
        let Some((collector, decides)) = said.into_iter().next() else {
            return Err(ProbeError::NoCollector);
        };
        match decides {
            Some(Ok(Waited { gate, timed_out })) => Ok(Outcome {
                gate,
                timed_out,
                yes: all,
                voices,
                direct: None,
            }),
            Some(Err(error)) if voices.is_empty() => Err(error),
            Some(Err(error)) => Err(ProbeError::OfSeveral {
                error: Box::new(error),
                collector: collector.target().to_string(),
                voices,
            }),
            None => Err(ProbeError::NoCollector),
        }
    }

    fn voice(&self, collector: &Collector, said: &Said) -> Voice {
        let (answer, error) = match said {
            Some(Ok(waited)) => (Some(self.question.asked().answer(&waited.gate)), None),
            Some(Err(error)) => (None, Some(error.one_line())),
            None => (None, None),
        };
        Voice {
            collector: collector.target().to_string(),
            answer,
            error,
        }
    }
}

/// A wait of no time says whether the level has been ready for as long as is asked; a check does for all else.
async fn once(collector: &Collector, question: &LevelQuestion) -> Result<Waited, ProbeError> {
    let asking = collector.connect().await?;
    if question.stable.is_zero() {
        return Ok(Waited {
            gate: asking.check(question).await?,
            timed_out: false,
        });
    }
    let waited = asking.wait(question, Duration::ZERO, true).await?;
    let is_ready = question.asked().answer(&waited.gate) == Phase::Ready;
    Ok(Waited {
        timed_out: waited.timed_out && is_ready,
        ..waited
    })
}
