//! `gate` and `wait`

use std::time::Duration;

use super::waiting::Waiting;
use crate::{
    args::LevelArgs,
    collector::{Collector, LevelQuestion, Waited},
    document::GateDocument,
    error::ProbeError,
    exit::Exit,
    output::Output,
    render::{self, Asked},
};

pub(super) async fn run(
    collector: &Collector,
    level: &LevelArgs,
    time: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let question = LevelQuestion {
        level: level.level.clone(),
        may_start: level.may_start,
    };
    let Waited { gate, timed_out } = if time.is_zero() {
        once(collector, &question).await?
    } else {
        Waiting::new(collector, question, time, level.no_fail_fast)
            .run()
            .await?
    };
    let asked = Asked {
        may_start: level.may_start,
        timed_out: timed_out.then_some(time),
    };
    output.answer(&GateDocument::new(&gate, timed_out), |style| {
        render::gate(&gate, asked, style)
    })?;
    if timed_out {
        return Ok(Exit::TimedOut);
    }
    Ok(Exit::of_phase(asked.phase(&gate)))
}

async fn once(collector: &Collector, question: &LevelQuestion) -> Result<Waited, ProbeError> {
    let gate = collector.connect().await?.check(question).await?;
    Ok(Waited {
        gate,
        timed_out: false,
    })
}
