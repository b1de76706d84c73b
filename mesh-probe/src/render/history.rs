//! What has changed, oldest first, as a log is read.

use evidence::{Change, Moment, Phase, Transition};

use super::{
    Paint, Screen, Style,
    table::{Cell, Table},
    text::human,
};

/// Transitions that are shown, unless every detail is wanted.
const SHOWN: usize = 40;

/// One line for each transition.
pub fn history(now: Moment, transitions: &[Transition], style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    if transitions.is_empty() {
        screen.line("Nothing has changed since the collector was started.");
        return screen.finish();
    }
    let most = if style.wide { usize::MAX } else { SHOWN };
    let left_out = transitions.len().saturating_sub(most);
    if left_out > 0 {
        screen.line(&format!("{left_out} older ones: -o wide"));
    }
    let mut table = Table::with_header(["AGO", "WHAT", "CHANGE", "WHY"]);
    for Transition { at, change } in transitions.iter().skip(left_out) {
        let (what, paint, how, why) = words(change);
        table.row([
            Cell::plain(human(now.since(*at))),
            Cell::plain(what),
            Cell::new(paint, &how),
            Cell::plain(why),
        ]);
    }
    table.draw(&mut screen, 0);
    screen.finish()
}

fn words(change: &Change) -> (String, Paint, String, String) {
    match change {
        Change::Gate {
            level,
            ready,
            may_start,
            reason,
        } => (
            format!("gate {level}"),
            phase(ready.1),
            gate(*ready, *may_start),
            reason.clone().unwrap_or_default(),
        ),
        Change::Opened {
            code,
            subject,
            summary,
        } => (
            format!("{code} at {subject}"),
            Paint::Bad,
            "found".to_owned(),
            summary.clone(),
        ),
        Change::Closed { code, subject } => (
            format!("{code} at {subject}"),
            Paint::Good,
            "gone".to_owned(),
            String::new(),
        ),
        Change::Pair {
            from,
            to,
            good,
            rung,
        } => {
            let (paint, how) = if *good {
                (Paint::Good, "good again")
            } else {
                (Paint::Bad, "failed")
            };
            let why = format!("at {rung}");
            (format!("{from} -> {to}"), paint, how.to_owned(), why)
        }
    }
}

const fn phase(phase: Phase) -> Paint {
    match phase {
        Phase::Ready => Paint::Good,
        Phase::NotReady => Paint::Bad,
        Phase::Unknown => Paint::Plain,
    }
}

fn gate(ready: (Phase, Phase), may_start: (Phase, Phase)) -> String {
    let arrow = |(before, now): (Phase, Phase)| format!("{} -> {}", before.as_str(), now.as_str());
    if ready.0 == ready.1 {
        return format!("may start: {}", arrow(may_start));
    }
    arrow(ready)
}
