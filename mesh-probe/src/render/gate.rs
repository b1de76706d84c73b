//! One level: the answer, and why.

use std::{collections::BTreeMap, time::Duration};

use evidence::{Gate, Phase};

use super::{
    Style, lines,
    screen::{Paint, Screen},
    text::human,
};
use crate::{collector::LevelQuestion, document::Voice, exit::Nagios};

/// What was asked of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether the level may start, instead of whether it is ready.
    pub may_start: bool,
    /// The time that passed in vain.
    pub timed_out: Option<Duration>,
    /// The time without a break that was asked for and is not over, if that alone is missing.
    pub unstable: Option<Duration>,
    /// Whether agents were asked, and no collector.
    pub direct: bool,
}

impl Asked {
    /// The phase that answers the question.
    pub const fn phase(self, gate: &Gate) -> Phase {
        if self.may_start {
            gate.may_start
        } else {
            gate.phase
        }
    }

    const fn words(self, phase: Phase) -> &'static str {
        match (self.may_start, phase) {
            (false, Phase::Ready) => "ready",
            (false, Phase::NotReady) => "NOT READY",
            (false, Phase::Unknown) => "cannot tell whether it is ready",
            (true, Phase::Ready) => "may start",
            (true, Phase::NotReady) => "MAY NOT START",
            (true, Phase::Unknown) => "cannot tell whether it may start",
        }
    }
}

/// The answer, and all reasons.
pub fn gate(gate: &Gate, asked: Asked, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    let phase = asked.phase(gate);
    let paint = match phase {
        Phase::Ready => Paint::Good,
        Phase::NotReady => Paint::Bad,
        Phase::Unknown => Paint::Bold,
    };
    screen
        .put(Paint::Bold, &gate.level)
        .put(Paint::Plain, ": ")
        .put(paint, asked.words(phase));
    if let Some(stable) = asked.unstable {
        let stable = human(stable);
        screen.put(
            Paint::Plain,
            &format!(", but not yet for {stable} without a break"),
        );
    }
    if let Some(waited) = asked.timed_out {
        let waited = human(waited);
        screen.put(
            Paint::Plain,
            &format!(" (timed out after {waited}; this is the last state)"),
        );
    }
    screen.end();
    if phase != Phase::Ready || style.wide {
        details(&mut screen, gate, asked);
    }
    if phase != Phase::Ready {
        let whom = if asked.direct { " --direct .." } else { "" };
        screen.line(&format!("  what to do: mesh-probe status{whom}"));
    }
    screen.finish()
}

/// What each of several collectors said; nothing of a single one.
pub fn voices(voices: &[Voice], style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    for voice in voices {
        let said = match (voice.answer, &voice.error) {
            (Some(phase), _) => phase.as_str(),
            (None, Some(error)) => error,
            (None, None) => "was not waited for",
        };
        screen.line(&format!("  {} says: {said}", voice.collector));
    }
    screen.finish()
}

/// The line of a Nagios plugin, with its performance data. The bar has a meaning there.
pub fn nagios(state: Nagios, said: &str, answer: Option<&Gate>) -> String {
    let number = |phase: Phase| u8::from(phase == Phase::Ready);
    let data = answer.map_or_else(String::new, |gate| {
        let (ready, may_start) = (number(gate.phase), number(gate.may_start));
        format!(" | ready={ready};;;0;1 may_start={may_start};;;0;1")
    });
    let said = said.replace('|', "/");
    lines([format!("MESH {} - {said}{data}", state.as_str())])
}

/// A flat map of texts, as Terraform's `external` takes it.
pub fn terraform(
    question: &LevelQuestion,
    answer: Option<(&Gate, bool)>,
    said: &str,
    yes: bool,
) -> BTreeMap<&'static str, String> {
    let phase = |gate: &Gate| {
        if question.may_start {
            gate.may_start
        } else {
            gate.phase
        }
    };
    let state = answer.map_or(Phase::Unknown, |(gate, _)| phase(gate));
    BTreeMap::from([
        ("ready", yes.to_string()),
        ("level", question.level.clone()),
        (
            "question",
            if question.may_start {
                "may-start"
            } else {
                "ready"
            }
            .to_owned(),
        ),
        ("state", state.as_str().to_owned()),
        ("reason", if yes { String::new() } else { said.to_owned() }),
        (
            "terminal",
            answer.is_some_and(|(gate, _)| gate.terminal).to_string(),
        ),
        (
            "timed_out",
            answer.is_some_and(|(_, timed_out)| timed_out).to_string(),
        ),
    ])
}

/// The state on one line, for who watches a wait.
pub fn one_line(gate: &Gate, asked: Asked) -> String {
    let words = asked.words(asked.phase(gate));
    let reason = gate
        .reasons
        .first()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}: {words}{reason}", gate.level)
}

fn details(screen: &mut Screen, gate: &Gate, asked: Asked) {
    for reason in &gate.reasons {
        screen.line(&format!("  because: {reason}"));
    }
    if gate.terminal {
        screen.line("  waiting cannot cure this");
    }
    let other = Asked {
        may_start: !asked.may_start,
        ..asked
    };
    screen.line(&format!("  also: {}", other.words(other.phase(gate))));
    if !gate.depends_on.is_empty() {
        screen.line(&format!("  builds on: {}", gate.depends_on.join(", ")));
    }
}
