//! What one node says of itself, a file per fact: from the noun to lines. Whoever prints them escapes them.

pub mod clock;
pub mod host;

use std::time::Duration;

use evidence::{Drops, Moment};

use super::text;

/// `12 s ago`.
fn ago(at: Moment, now: Moment) -> String {
    format!("{} ago", text::human(now.since(at)))
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
    let size = text::human(Duration::from_millis(millis.unsigned_abs()));
    let sign = if millis < 0 { "-" } else { "+" };
    format!("{sign}{size}")
}
