//! One level: the answer, and why.

use std::{collections::BTreeMap, time::Duration};

use evidence::{Gate, Phase};

use super::{
    Style, lines,
    screen::{Paint, Screen},
    text::human,
};
use crate::{collector::LevelQuestion, document::Voice, exit::Nagios};

/// Most reasons on one line; Nagios cuts what is too long.
const REASONS: usize = 16;

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

    /// The same without emphasis, in the midst of a sentence.
    const fn plain(self, phase: Phase) -> &'static str {
        match (self.may_start, phase) {
            (false, Phase::NotReady) => "not ready",
            (true, Phase::NotReady) => "may not start",
            (_, phase) => self.words(phase),
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
    screen.put(Paint::Plain, &unstable(asked));
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
        screen.line(&format!("  {}", said_by(voice)));
    }
    screen.finish()
}

/// What one of several said; who gave no answer says nothing.
pub fn said_by(voice: &Voice) -> String {
    let who = &voice.collector;
    match (voice.answer, &voice.error) {
        (Some(phase), _) => format!("{who} says: {}", phase.as_str()),
        (None, Some(error)) => format!("{who}: {error}"),
        (None, None) => format!("{who} was not waited for"),
    }
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
            "codes",
            answer.map_or_else(String::new, |(gate, _)| {
                named_codes(&gate.reasons).join(",")
            }),
        ),
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

/// The state on one line, with the reason that tells most: for who watches a wait.
pub fn brief(gate: &Gate, asked: Asked) -> String {
    said(gate, asked, &telling(&gate.reasons, 1))
}

/// The state with all reasons on one line, and who of several did not say yes.
pub fn one_line(gate: &Gate, asked: Asked, voices: &[Voice]) -> String {
    let is_yes = |voice: &&Voice| voice.answer == Some(Phase::Ready);
    let (all, yes) = (voices.len(), voices.iter().filter(is_yes).count());
    let told = said(gate, asked, &telling(&gate.reasons, REASONS));
    if yes == all {
        return told;
    }
    let others = voices.iter().filter(|voice| !is_yes(voice));
    let others: Vec<String> = others
        .map(|voice| format!("; {}: {}", voice.collector, heard(voice, asked)))
        .collect();
    let count = format!(
        "{} at {yes} of {all}{}",
        asked.plain(Phase::Ready),
        others.concat()
    );
    if asked.phase(gate) == Phase::Ready && asked.unstable.is_none() {
        return format!("{}: {count}", gate.level);
    }
    format!("{told}; {count}")
}

/// What one of several said, in a few words.
fn heard(voice: &Voice, asked: Asked) -> &str {
    match (voice.answer, &voice.error) {
        (Some(phase), _) => asked.plain(phase),
        (None, Some(error)) => error,
        (None, None) => "was not waited for",
    }
}

fn said(gate: &Gate, asked: Asked, why: &str) -> String {
    let words = asked.words(asked.phase(gate));
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(": {why}")
    };
    format!("{}: {words}{}{why}", gate.level, unstable(asked))
}

/// That a yes is too young.
fn unstable(asked: Asked) -> String {
    asked.unstable.map_or_else(String::new, |stable| {
        format!(", but not yet for {} without a break", human(stable))
    })
}

/// At most so many reasons: those that name a finding first, as they say why and the others how much.
fn telling(reasons: &[String], most: usize) -> String {
    let (named, others): (Vec<&String>, Vec<&String>) =
        reasons.iter().partition(|reason| code(reason).is_some());
    let mut told: Vec<&str> = named
        .into_iter()
        .chain(others)
        .map(String::as_str)
        .collect();
    let more = told.len().saturating_sub(most);
    told.truncate(most);
    let told = told.join("; ");
    if more > 0 && most > 1 {
        return format!("{told}; and {more} more");
    }
    told
}

/// The codes of the findings that reasons name, each once. One that a later collector knows and we do not is left out.
pub fn named_codes(reasons: &[String]) -> Vec<&'static str> {
    let mut codes: Vec<&str> = Vec::new();
    for code in reasons.iter().filter_map(|reason| code(reason)) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

/// The finding that a reason names: its code stands before its subject, perhaps behind the name of a level.
fn code(reason: &str) -> Option<&'static str> {
    let known = |part: &str| diagnosis::explain(part).map(|page| page.code);
    reason.split(": ").find_map(known)
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

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked {
        may_start: false,
        timed_out: None,
        unstable: None,
        direct: false,
    };

    fn gate_of(phase: Phase, reasons: &[&str]) -> Gate {
        Gate {
            level: "mesh".to_owned(),
            phase,
            may_start: Phase::Ready,
            depends_on: Vec::new(),
            reasons: reasons.iter().map(|&reason| reason.to_owned()).collect(),
            terminal: false,
        }
    }

    #[test]
    fn codes_are_those_of_findings_each_once_wherever_they_stand() {
        let gate = gate_of(
            Phase::NotReady,
            &[
                "1 of 2 directions fails at or below steering",
                "tunnel-silent: a <-> b",
                "mesh: path-broken: a <-> c",
                "tunnel-silent: b <-> c",
                "vps-1 is in trouble: its clock stands",
            ],
        );
        assert_eq!(named_codes(&gate.reasons), ["tunnel-silent", "path-broken"]);
        assert_eq!(
            brief(&gate, ASKED),
            "mesh: NOT READY: tunnel-silent: a <-> b"
        );
    }

    #[test]
    fn a_yes_that_is_too_young_says_so_on_one_line_too() {
        let asked = Asked {
            unstable: Some(Duration::from_secs(30)),
            ..ASKED
        };
        assert_eq!(
            one_line(&gate_of(Phase::Ready, &[]), asked, &[]),
            "mesh: ready, but not yet for 30 s without a break"
        );
    }
}
