//! One level: the answer, and why.

use std::time::Duration;

use evidence::{Gate, Phase};

use super::{
    Style,
    screen::{Paint, Screen},
    text::human,
};

/// What was asked of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whether the level may start, instead of whether it is ready.
    pub may_start: bool,
    /// The time that passed in vain.
    pub timed_out: Option<Duration>,
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
        screen.line("  what to do: mesh-probe status");
    }
    screen.finish()
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
