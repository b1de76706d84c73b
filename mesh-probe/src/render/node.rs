//! All that a node says of itself. Below: one file per source that turns its nouns into lines.

pub mod clock;
pub mod discovery;
pub mod host;
pub mod talos;

use std::time::Duration;

use evidence::{Drops, Moment};

use super::{
    Style,
    screen::{Paint, Screen},
    table::{Cell, Table},
    text::{human, human_ms},
};
use crate::adhoc::{Facts as _, Group, NodeView};

/// The screen of `node`: groups, then what is not known.
pub fn node(view: &NodeView, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    screen.put(Paint::Bold, &view.title()).end();
    groups(&mut screen, view);
    screen.end();
    for conclusion in view.conclusions() {
        screen.put(Paint::Bold, "conclusion: ").line(&conclusion);
    }
    screen.put(Paint::Plain, "method: ").line(&view.method());
    screen.finish()
}

/// All groups, one below the other.
pub(super) fn groups(screen: &mut Screen, view: &NodeView) {
    for group in &view.groups {
        draw(screen, group);
    }
}

fn draw(screen: &mut Screen, group: &Group) {
    screen.end();
    screen.put(Paint::Bold, group.name);
    screen.put(Paint::Plain, &sources(group)).end();
    let mut table = Table::new();
    for said in &group.facts {
        table.row([Cell::plain(&said.name), Cell::plain(&said.value)]);
    }
    table.draw(screen, 2);
    for text in &group.lines {
        screen.put(Paint::Plain, "  ").line(text);
    }
}

/// ` (wireguard read 0.1 s ago; nftables not readable)`: why not is said once, below.
fn sources(group: &Group) -> String {
    let said: Vec<_> = group
        .sources
        .iter()
        .map(|source| match (&source.gap, source.tried_ms_ago) {
            (Some(_), _) => format!("{} not readable", source.name),
            (None, None) => format!("{} gave no answer", source.name),
            (None, Some(age)) => format!("{} read {} ago", source.name, human_ms(age)),
        })
        .collect();
    format!(" ({})", said.join("; "))
}

/// `12 s ago`.
fn ago(at: Moment, now: Moment) -> String {
    format!("{} ago", human(now.since(at)))
}

/// `0`, `69 (last 3 s ago)`, `not known`.
fn drops(drops: Option<Drops>, now: Moment) -> String {
    match drops {
        None => "not known".to_owned(),
        Some(Drops { count, last: None }) => count.to_string(),
        Some(Drops {
            count,
            last: Some(last),
        }) => format!("{count} (last {})", ago(last, now)),
    }
}

/// Milliseconds with a sign, as people say them: `-5.0 s`.
fn signed(millis: i64) -> String {
    let size = human(Duration::from_millis(millis.unsigned_abs()));
    let sign = if millis < 0 { "-" } else { "+" };
    format!("{sign}{size}")
}
