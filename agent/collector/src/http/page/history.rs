//! What has changed of late, newest first: whoever opens the page wants to know what happened just now.

use std::time::Duration;

use evidence::{Moment, Told, Transition, words::count};

use super::{
    html::Html,
    table::{NONE, Table, plain},
    words::Mood,
};

/// How far back the page looks.
const LOOKS_BACK: Duration = Duration::from_hours(24);
/// Changes on one page.
pub(super) const LISTED: usize = 100;

/// `transitions` are the oldest first.
pub(super) fn draw(html: &mut Html, transitions: &[Transition], now: Moment) {
    let recent = transitions.iter().rev();
    let recent = recent.take_while(|one| now.since(one.at) <= LOOKS_BACK);
    let recent: Vec<&Transition> = recent.collect();
    if recent.is_empty() {
        let text =
            "Nothing has changed in the last 24 hours, as far back as this collector remembers.";
        html.leaf("p", &[], text);
        return;
    }
    let titles = ["Ago", "What", "Change", "Why"];
    Table::draw(html, "Changes, newest first", &titles, |table| {
        for one in recent.iter().take(LISTED) {
            let Told {
                what,
                how,
                why,
                good,
            } = one.change.told();
            let mood = match good {
                Some(true) => Mood::Good,
                Some(false) => Mood::Bad,
                None => Mood::Unknown,
            };
            table.row(&[
                &plain(&age(one, now)),
                &plain(&what),
                &|html| mood.write(html, &how),
                &plain(if why.is_empty() { NONE } else { &why }),
            ]);
        }
    });
    let more = recent.len().saturating_sub(LISTED);
    if more > 0 {
        let text = format!(
            "{} left out here: mesh-probe history -o wide",
            count(more, "older change")
        );
        html.leaf("p", &[("class", "more")], &text);
    }
}

fn age(one: &Transition, now: Moment) -> String {
    let ago = one.ago(now);
    match one.earlier {
        Some(earlier) => format!("{ago}, in run {} of the collector", earlier.run),
        None => ago,
    }
}
