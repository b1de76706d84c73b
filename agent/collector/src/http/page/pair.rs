//! One direction: its ladder, rung by rung.

use evidence::{
    Citation, Ladder,
    words::{human_ms, human_us},
};

use super::{
    html::{Html, query},
    table::{Table, list, plain},
    words::{self, Mood},
};

/// Facts cited for one rung.
const CITED: usize = 6;

/// A link to the ladder of a direction.
pub(super) fn link(html: &mut Html, from: &str, to: &str, text: &str) {
    let href = query(&[("from", from), ("to", to)]);
    html.leaf("a", &[("href", href.as_str())], text);
}

/// The same of a cell of the matrix: a sign, and a word that stands alone only where there is room.
pub(super) fn cell(html: &mut Html, from: &str, to: &str, mood: Mood, word: &str) {
    let href = query(&[("from", from), ("to", to)]);
    let title = format!("{from} \u{2192} {to}: {word}");
    let attributes = [("href", href.as_str()), ("title", title.as_str())];
    html.element("a", &attributes, |html| {
        html.leaf("span", &[("aria-hidden", "true")], mood.sign())
            .text(" ")
            .leaf("span", &[("class", "word")], word);
    });
}

pub(super) fn draw(html: &mut Html, ladder: &Ladder) {
    let (from, to) = (ladder.from.to_string(), ladder.to.to_string());
    let (mood, word) = words::direction(ladder);
    html.element("p", &[], |html| {
        mood.write(html, &state(mood, word));
        html.text(". ");
        link(html, &to, &from, "The other direction");
        html.text(", ");
        html.leaf("a", &[("href", "?")], "all directions");
        html.text(".");
    });
    html.element("dl", &[], |html| {
        for (name, value) in figures(ladder) {
            html.element("div", &[], |html| {
                html.leaf("dt", &[], name).leaf("dd", &[], &value);
            });
        }
    });
    let titles = ["Rung", "Is", "How that is known", "By whom"];
    Table::draw(html, "The ladder, from the bottom up", &titles, |table| {
        for state in &ladder.rungs {
            let (mood, word) = words::outcome(state.outcome);
            table.row(&[
                &plain(state.rung.as_str()),
                &|html| mood.write(html, word),
                &plain(&state.method),
                &list(&cited(&state.evidence)),
            ]);
        }
    });
}

fn state(mood: Mood, word: &str) -> String {
    match mood {
        Mood::Bad if word != "flapping" => format!("broken at {word}"),
        Mood::Warn => "good, with a warning".to_owned(),
        _ => word.to_owned(),
    }
}

fn figures(ladder: &Ladder) -> Vec<(&'static str, String)> {
    let flapping = ladder.flapping.map(|flapping| {
        let over = human_ms(flapping.over_ms);
        let period = flapping.period_ms.map(human_ms);
        let each = period.map_or_else(String::new, |period| format!(", each {period}"));
        format!("{} changes in {over}{each}", flapping.changes)
    });
    let figures = [
        ("Round trip", ladder.rtt_us.map(human_us)),
        (
            "Loss",
            ladder.loss_percent.map(|percent| format!("{percent} %")),
        ),
        (
            "Handshake",
            ladder
                .handshake_age_ms
                .map(|age| format!("{} ago", human_ms(age))),
        ),
        (
            "Endpoint",
            ladder.endpoint.map(|endpoint| endpoint.to_string()),
        ),
        ("Comes and goes", flapping),
    ];
    let known = figures
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    known.collect()
}

fn cited(evidence: &[Citation]) -> Vec<String> {
    let one = |citation: &Citation| {
        let Citation {
            reporter,
            age_ms,
            text,
            ..
        } = citation;
        format!("{reporter}, {} ago: {text}", human_ms(*age_ms))
    };
    let mut lines: Vec<String> = evidence.iter().take(CITED).map(one).collect();
    if evidence.len() > CITED {
        lines.push(format!("and {} more", evidence.len() - CITED));
    }
    lines
}
