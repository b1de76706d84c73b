//! The one answer behind all surfaces: what a level is, and when a wait for it is over.

use std::{sync::Arc, time::Duration};

use evidence::{Gate, Phase, document::Question};
use proto::limits::MAX_WAIT;
use tokio::{sync::Semaphore, time::timeout};
use tonic::Status;

use crate::{
    counters::Counters,
    verdicts::{Judged, Verdicts, unknown},
};

/// Waits at a time, over all surfaces: a script has one, and a bootstrap a few scripts.
pub(crate) const WAITS: usize = 1024;

/// What is asked of a level.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) level: String,
    pub(crate) question: Question,
    /// Wait on even if waiting cannot cure the cause.
    pub(crate) sit_out: bool,
    /// The answer must have been yes without a break for so long.
    pub(crate) stable: Duration,
}

/// How a wait ended.
#[derive(Clone, Debug)]
pub(crate) struct Waited {
    pub(crate) gate: Gate,
    pub(crate) timed_out: bool,
}

/// Where all surfaces get their answers.
#[derive(Clone, Debug)]
pub(crate) struct Answers {
    pub(crate) verdicts: Verdicts,
    waits: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl Answers {
    pub(crate) fn new(verdicts: Verdicts, counters: Arc<Counters>) -> Self {
        Self {
            verdicts,
            waits: Arc::new(Semaphore::new(WAITS)),
            counters,
        }
    }

    /// The present answer.
    pub(crate) fn check(&self, level: &str, question: Question) -> Result<Gate, Status> {
        answer(&*self.verdicts.current()?, level, question)
    }

    /// The answer when it is yes, when waiting cannot make it so, or when the time has passed.
    pub(crate) async fn wait(&self, asked: &Asked, limit: Duration) -> Result<Waited, Status> {
        let _place = self.place(limit)?;
        let mut verdicts = self.verdicts.clone();
        let settled = verdicts.first(|judged| {
            let gate = answer(judged, &asked.level, asked.question)?;
            Ok(is_settled(judged, &gate, asked).then_some(gate))
        });
        match timeout(limit.min(MAX_WAIT), settled).await {
            Ok(gate) => Ok(Waited {
                gate: gate?,
                timed_out: false,
            }),
            Err(_) => Ok(Waited {
                gate: self.check(&asked.level, asked.question)?,
                timed_out: true,
            }),
        }
    }

    fn place(&self, limit: Duration) -> Result<Option<tokio::sync::SemaphorePermit<'_>>, Status> {
        // Who does not wait takes nobody's place.
        if limit.is_zero() {
            return Ok(None);
        }
        self.waits.try_acquire().map(Some).map_err(|_| {
            self.counters.waits_refused.add();
            Status::resource_exhausted(format!("{WAITS} callers wait already: ask again later"))
        })
    }
}

/// The state of a level in a judgement, for whoever asked this of it.
pub(crate) fn answer(judged: &Judged, level: &str, question: Question) -> Result<Gate, Status> {
    let gate = judged.verdict.answer(level, question);
    gate.ok_or_else(|| unknown(judged, level))
}

fn is_settled(judged: &Judged, gate: &Gate, asked: &Asked) -> bool {
    if asked.question.answer(gate) != Phase::Ready {
        return gate.terminal && !asked.sit_out;
    }
    let may_start = asked.question == Question::MayStart;
    let since = judged.hold.since(&gate.level, may_start);
    asked.stable.is_zero() || since.is_some_and(|since| judged.at.since(since) >= asked.stable)
}

#[cfg(test)]
mod tests {
    use diagnosis::hold::Hold;
    use evidence::Verdict;
    use tokio::sync::watch;
    use tonic::Code;

    use super::*;
    use crate::clock;

    fn gate(level: &str, phase: Phase, below: &[&str], terminal: bool) -> Gate {
        Gate {
            level: level.to_owned(),
            phase,
            may_start: phase,
            depends_on: below.iter().map(|below| (*below).to_owned()).collect(),
            reasons: Vec::new(),
            terminal,
        }
    }

    fn judged(gates: Vec<Gate>) -> Judged {
        Judged {
            verdict: Verdict {
                gates,
                ..Verdict::default()
            },
            at: clock::now(),
            revision: 0,
            hold: Hold::new(Duration::ZERO),
        }
    }

    #[test]
    fn a_level_that_is_hopeless_itself_may_still_be_started() {
        let gates = vec![
            gate("mesh", Phase::Unknown, &[], false),
            gate("mtu", Phase::NotReady, &["mesh"], true),
            gate("api", Phase::Unknown, &["mtu"], true),
        ];
        let judged = judged(gates);
        let terminal = |level, question| answer(&judged, level, question).unwrap().terminal;
        assert!(terminal("mtu", Question::Ready));
        assert!(!terminal("mtu", Question::MayStart));
        assert!(terminal("api", Question::MayStart));
    }

    #[tokio::test]
    async fn a_wait_over_the_limit_is_refused_and_one_look_is_not() {
        let shut = judged(vec![gate("mesh", Phase::NotReady, &[], false)]);
        let (_sender, receiver) = watch::channel(Arc::new(shut));
        let counters = Arc::new(Counters::default());
        let answers = Answers::new(Verdicts::new(receiver), Arc::clone(&counters));
        let asked = Asked {
            level: "mesh".to_owned(),
            question: Question::Ready,
            sit_out: false,
            stable: Duration::ZERO,
        };
        let all = u32::try_from(WAITS).unwrap();
        let places = answers.waits.acquire_many(all).await.unwrap();
        let refused = answers
            .wait(&asked, Duration::from_secs(1))
            .await
            .unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(counters.waits_refused.get(), 1);
        assert!(
            answers
                .wait(&asked, Duration::ZERO)
                .await
                .unwrap()
                .timed_out
        );
        drop(places);
        let waited = answers
            .wait(&asked, Duration::from_millis(1))
            .await
            .unwrap();
        assert!(waited.timed_out);
    }
}
