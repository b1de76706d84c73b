//! What has changed, oldest first, as a log is read.

use std::time::{Duration, UNIX_EPOCH};

use evidence::{Change, Dated, Earlier, Moment, Phase, Transition};
use humantime::format_rfc3339_seconds;

use super::{
    Paint, Screen, Style,
    table::{Cell, Table},
    text::human,
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
        let (what, paint, how, why) = words(&transition.change);
        let earlier = transition.earlier.as_ref();
        let cells = [
            Some(Cell::plain(ago(*now, transition))),
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

fn ago(now: Moment, transition: &Transition) -> String {
    let age = human(now.since(transition.at));
    match transition.earlier.map(|earlier| earlier.dated) {
        None | Some(Dated::Exactly) => age,
        Some(Dated::ByWallClock) => format!("about {age}"),
        Some(Dated::Unknown) => "unknown".to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(at: i64, earlier: Option<(u64, i64, Dated)>) -> Transition {
        Transition {
            at: Moment::from_millis(at),
            change: Change::Closed {
                code: "path-broken".to_owned(),
                subject: "vps-1".to_owned(),
            },
            earlier: earlier.map(|(run, wall_ms, dated)| Earlier {
                run,
                wall_ms,
                dated,
            }),
        }
    }

    fn drawn(transitions: Vec<Transition>, run: Option<u64>, wide: bool) -> Vec<String> {
        let drawn = history(
            &History {
                now: Moment::from_millis(100_000),
                transitions,
                run,
            },
            Style {
                colour: false,
                wide,
            },
        );
        drawn.lines().map(str::to_owned).collect()
    }

    #[test]
    fn what_is_of_an_earlier_run_says_so_and_how_well_its_age_is_known() {
        let wall = 1_795_000_000_000;
        let all = || {
            vec![
                gone(-3_600_000, Some((1, i64::MAX, Dated::Unknown))),
                gone(-3_600_000, Some((1, wall, Dated::ByWallClock))),
                gone(40_000, Some((2, wall, Dated::Exactly))),
                gone(99_000, None),
            ]
        };
        let lines = drawn(all(), Some(3), false);
        assert!(
            lines[0].starts_with("run 3 of the collector;"),
            "{lines:#?}"
        );
        let fields = |line: &str| {
            let fields = line.split("  ").map(str::trim);
            let fields = fields.filter(|field| !field.is_empty()).take(2);
            fields.map(str::to_owned).collect::<Vec<_>>()
        };
        let told: Vec<Vec<String>> = lines[1..].iter().map(|line| fields(line)).collect();
        let expected = [
            ["AGO", "RUN"],
            ["unknown", "1"],
            ["about 1 h 1 m", "1"],
            ["1 m 0 s", "2"],
            ["1.0 s", "3"],
        ];
        assert_eq!(told, expected, "{lines:#?}");
        let wide = drawn(all(), Some(3), true);
        assert!(wide[2].contains("9999-01-01T00:00:00Z"), "{wide:#?}");
        assert!(wide[3].contains("2026-11-18T"), "{wide:#?}");
        assert!(wide[5].contains("  -  "), "{wide:#?}");
    }

    #[test]
    fn without_an_earlier_run_nothing_is_said_of_runs() {
        for run in [None, Some(1)] {
            let lines = drawn(vec![gone(99_000, None)], run, true);
            assert_eq!(lines.len(), 2);
            assert!(!lines[0].contains("RUN"), "{lines:#?}");
        }
    }
}
