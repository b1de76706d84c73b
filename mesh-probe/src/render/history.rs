//! What has changed, oldest first, as a log is read.

use std::time::{Duration, UNIX_EPOCH};

use evidence::{Earlier, Told};
use humantime::format_rfc3339_seconds;

use super::{
    Paint, Screen, Style,
    table::{Cell, Table},
};
use crate::collector::History;

/// The beginning of the year 9999.
const YEAR_9999: Duration = Duration::from_hours(70_380_768);

/// Transitions that are shown, unless every detail is wanted.
const SHOWN: usize = 40;

/// One line for each transition. Of earlier runs it is told which, and on request what the wall clock said.
pub fn history(history: &History, style: Style) -> String {
    let History {
        now,
        transitions,
        run,
    } = history;
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
    let shown = transitions.get(left_out..).unwrap_or_default();
    let runs = shown.iter().any(|one| one.earlier.is_some());
    let clock = runs && style.wide;
    if let Some(run) = run.filter(|_| runs) {
        let before = "what is of lower ones was judged before a restart";
        screen.line(&format!("run {run} of the collector; {before}"));
    }
    let optional = |there: bool, text| there.then_some(text);
    let header = [
        Some("AGO"),
        optional(runs, "RUN"),
        optional(clock, "WALL CLOCK"),
        Some("WHAT"),
        Some("CHANGE"),
        Some("WHY"),
    ];
    let mut table = Table::with_header(header.into_iter().flatten());
    for transition in shown {
        let Told {
            what,
            how,
            why,
            good,
        } = transition.change.told();
        let paint = match good {
            Some(true) => Paint::Good,
            Some(false) => Paint::Bad,
            None => Paint::Plain,
        };
        let earlier = transition.earlier.as_ref();
        let cells = [
            Some(Cell::plain(transition.ago(*now))),
            runs.then(|| Cell::maybe(of_run(earlier, *run))),
            clock.then(|| Cell::maybe(wall_clock(earlier))),
            Some(Cell::plain(what)),
            Some(Cell::new(paint, &how)),
            Some(Cell::plain(why)),
        ];
        table.row(cells.into_iter().flatten());
    }
    table.draw(&mut screen, 0);
    screen.finish()
}

fn of_run(earlier: Option<&Earlier>, present: Option<u64>) -> Option<String> {
    let run = earlier.map_or(present, |earlier| Some(earlier.run));
    run.map(|run| run.to_string())
}

/// What the wall clock of the collector said: no more than that.
fn wall_clock(earlier: Option<&Earlier>) -> Option<String> {
    let wall = u64::try_from(earlier?.wall_ms).ok()?;
    // Beyond it years have five digits, which the format does not know.
    let at = UNIX_EPOCH + Duration::from_millis(wall).min(YEAR_9999);
    Some(format_rfc3339_seconds(at).to_string())
}
