//! `gate` and `wait`

use std::time::Duration;

use evidence::Phase;

use super::{
    collectors::{Outcome, Round},
    direct,
};
use crate::{
    args::{Cli, Format, LevelArgs},
    collector::{Collector, LevelQuestion},
    document::{GateAnswer, GateDocument, to_json},
    error::ProbeError,
    exit::{Exit, Nagios},
    output::Output,
    render::{self, Asked},
};

pub(super) async fn run(
    cli: &Cli,
    level: &LevelArgs,
    time: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let question = LevelQuestion {
        level: level.level.clone().unwrap_or_default(),
        may_start: level.may_start,
        stable: level.stable_for,
    };
    let answered = answer(cli, level, &question, time, output).await;
    let terraform = output.format() == Format::TerraformExternal;
    match answered {
        Ok(outcome) if level.nagios => as_nagios(&question, &outcome),
        Err(error) if level.nagios => {
            output.error(&error);
            Ok(nagios_failure(&error.one_line()))
        }
        Ok(outcome) if terraform => as_terraform(&question, &outcome, level.require, time),
        // A plan must not fail because nobody can tell yet; a mistake of whoever wrote it is another matter.
        Err(error) if terraform && !level.require && error.exit() == Exit::CannotTell => {
            print_map(&render::terraform(
                &question,
                None,
                &error.one_line(),
                false,
            ))?;
            Ok(Exit::Ready)
        }
        Ok(outcome) => as_usual(&question, &outcome, time, output),
        Err(error) => Err(error),
    }
}

async fn answer(
    cli: &Cli,
    level: &LevelArgs,
    question: &LevelQuestion,
    time: Duration,
    output: Output,
) -> Result<Outcome, ProbeError> {
    if cli.direct.is_asked() {
        return direct::gate(cli, level, question, time, output).await;
    }
    let collectors = Collector::all(&cli.connection)?;
    let round = Round {
        collectors: &collectors,
        question,
        any: level.any,
        sit_out: level.no_fail_fast,
        output,
    };
    if time.is_zero() {
        round.once().await
    } else {
        round.wait(time).await
    }
}

fn as_usual(
    question: &LevelQuestion,
    outcome: &Outcome,
    time: Duration,
    output: Output,
) -> Result<Exit, ProbeError> {
    let asked = asked(question, outcome, time);
    let Outcome {
        gate,
        timed_out,
        yes,
        voices,
        direct,
    } = outcome;
    if output.format() == Format::Name {
        if *yes {
            Output::text(&render::lines([format!("gate/{}", gate.level)]))?;
        }
    } else {
        let document = GateDocument::new(gate, question.asked(), *timed_out);
        let basis = direct.as_ref();
        let codes = render::named_codes(&gate.reasons);
        output.answer(&GateAnswer::new(document, codes, voices, basis), |style| {
            let said = render::gate(gate, asked, style) + &render::voices(voices, style);
            said + &basis.map_or_else(String::new, |basis| render::basis(basis, style))
        })?;
    }
    Ok(exit(question, outcome, time))
}

fn asked(question: &LevelQuestion, outcome: &Outcome, time: Duration) -> Asked {
    let unstable = outcome.timed_out && question.asked().answer(&outcome.gate) == Phase::Ready;
    Asked {
        may_start: question.may_start,
        timed_out: (outcome.timed_out && !time.is_zero()).then_some(time),
        unstable: unstable
            .then_some(question.stable)
            .filter(|stable| !stable.is_zero()),
        direct: outcome.direct.is_some(),
    }
}

fn exit(question: &LevelQuestion, outcome: &Outcome, time: Duration) -> Exit {
    let phase = question.asked().answer(&outcome.gate);
    match (outcome.yes, phase) {
        (true, _) => Exit::Ready,
        (false, _) if outcome.timed_out && !time.is_zero() => Exit::TimedOut,
        // Ready, and not for as long as was asked, or not everywhere.
        (false, Phase::Ready) => Exit::NotReady,
        (false, phase) => Exit::of_phase(phase),
    }
}

/// For who reads one line.
fn line(question: &LevelQuestion, outcome: &Outcome) -> String {
    let asked = asked(question, outcome, Duration::ZERO);
    render::one_line(&outcome.gate, asked, &outcome.voices)
}

fn as_nagios(question: &LevelQuestion, outcome: &Outcome) -> Result<Exit, ProbeError> {
    let phase = question.asked().answer(&outcome.gate);
    let split = outcome
        .voices
        .iter()
        .any(|voice| voice.answer != Some(Phase::Ready));
    let state = match (outcome.yes, phase) {
        (true, _) if split => Nagios::Warning,
        (true, _) => Nagios::Ok,
        (false, Phase::Unknown) => Nagios::Unknown,
        (false, _) => Nagios::Critical,
    };
    let line = line(question, outcome);
    Output::text(&render::nagios(state, &line, Some(&outcome.gate)))?;
    Ok(Exit::Nagios(state))
}

/// What a Nagios plugin says when it has no answer: the line is on stdout, and nothing else may be.
pub fn nagios_failure(message: &str) -> Exit {
    let line = message.lines().next().unwrap_or_default();
    // Nobody is left to be told that stdout is gone; the exit code still tells.
    drop(Output::text(&render::nagios(Nagios::Unknown, line, None)));
    Exit::Nagios(Nagios::Unknown)
}

fn as_terraform(
    question: &LevelQuestion,
    outcome: &Outcome,
    require: bool,
    time: Duration,
) -> Result<Exit, ProbeError> {
    let line = line(question, outcome);
    if require && !outcome.yes {
        // Terraform shows what is on stderr.
        Output::progress(&line);
        return Ok(exit(question, outcome, time));
    }
    let answer = (&outcome.gate, outcome.timed_out);
    print_map(&render::terraform(
        question,
        Some(answer),
        &line,
        outcome.yes,
    ))?;
    Ok(Exit::Ready)
}

fn print_map<M: serde::Serialize>(map: &M) -> Result<(), ProbeError> {
    Output::text(&to_json(map).map_err(ProbeError::Json)?)
}
