//! What has changed, oldest first, as a log is read.

use evidence::{Moment, Told, Transition};

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
        let Told {
            what,
            how,
            why,
            good,
        } = change.told();
        let paint = match good {
            Some(true) => Paint::Good,
            Some(false) => Paint::Bad,
            None => Paint::Plain,
        };
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
