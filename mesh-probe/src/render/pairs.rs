//! Every ordered pair: how far it works, and where it breaks.

use std::collections::BTreeSet;

use evidence::{Flapping, Ladder, NodeRef, Outcome, PairHealth, RungState, Verdict};

use super::{
    Style, WHOLE, matrix,
    screen::{Paint, Screen},
    table::{Cell, Table},
    text::{count, human_ms, human_us},
};

/// Pairs that are listed at most; a collapse of a large mesh has a million.
const LISTED: usize = 200;

/// The matrix and the table; of a large mesh only what is not good.
pub fn pairs(verdict: &Verdict, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    let nodes = nodes(verdict);
    if verdict.all_pairs().all() == 0 {
        screen.line("No pair is known: no agent has reported peers.");
        return screen.finish();
    }
    let whole = nodes.len() <= WHOLE;
    if whole {
        matrix::draw(&mut screen, verdict, &nodes);
    } else {
        let all = count(nodes.len(), "node");
        let tally = verdict.all_pairs();
        screen.line(&format!("{all}, {tally}. Only what is not good is listed."));
    }
    let listed: Vec<&Ladder> = verdict
        .pairs
        .iter()
        .filter(|ladder| whole || ladder.health() != PairHealth::Good)
        .collect();
    list(&mut screen, &listed, style);
    screen.finish()
}

/// The table alone, of pairs that were asked for.
pub fn some_pairs(verdict: &Verdict, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    if verdict.pairs.is_empty() {
        screen.line("No pair is as asked for.");
        return screen.finish();
    }
    let told: Vec<&Ladder> = verdict.pairs.iter().collect();
    list(&mut screen, &told, style);
    screen.finish()
}

/// All nodes, also those that only pairs speak of.
fn nodes(verdict: &Verdict) -> Vec<&NodeRef> {
    let own = verdict.nodes.iter().map(|node| &node.node);
    let named = verdict
        .pairs
        .iter()
        .flat_map(|ladder| [&ladder.from, &ladder.to]);
    let all: BTreeSet<&NodeRef> = own.chain(named).collect();
    all.into_iter().collect()
}

fn list(screen: &mut Screen, ladders: &[&Ladder], style: Style) {
    if ladders.is_empty() {
        return;
    }
    let shown = &ladders[..ladders.len().min(LISTED)];
    let mut table = Table::with_header([
        "FROM",
        "TO",
        "RUNG",
        "BROKEN-AT",
        "RTT",
        "LOSS",
        "HANDSHAKE",
        "ENDPOINT",
    ]);
    for ladder in shown {
        table.row(row(ladder));
    }
    screen.end();
    table.draw(screen, 0);
    if style.wide {
        for ladder in shown {
            rungs(screen, ladder);
        }
    }
    if ladders.len() > shown.len() {
        let more = count(ladders.len() - shown.len(), "more pair");
        screen.line(&format!("and {more}: -o json"));
    }
}

fn row(ladder: &Ladder) -> [Cell; 8] {
    let broken = match ladder.broken_at {
        Some(rung) => Cell::new(Paint::Bad, rung.as_str()),
        None => Cell::plain("-"),
    };
    let broken = match (ladder.broken_at, ladder.flapping) {
        (None, Some(flapping)) => Cell::new(Paint::Bad, &comes_and_goes(flapping)),
        _ => broken,
    };
    [
        Cell::plain(ladder.from.to_string()),
        Cell::plain(ladder.to.to_string()),
        Cell::maybe(ladder.highest.map(|rung| rung.to_string())),
        broken,
        Cell::maybe(ladder.rtt_us.map(human_us)),
        Cell::maybe(ladder.loss_percent.map(|percent| format!("{percent} %"))),
        Cell::maybe(
            ladder
                .handshake_age_ms
                .map(|age| format!("{} ago", human_ms(age))),
        ),
        Cell::maybe(ladder.endpoint.map(|endpoint| endpoint.to_string())),
    ]
}

/// `flapping, each 16 s`
fn comes_and_goes(flapping: Flapping) -> String {
    let period = flapping.period_ms.map(human_ms);
    period.map_or_else(
        || "flapping".to_owned(),
        |period| format!("flapping, each {period}"),
    )
}

fn rungs(screen: &mut Screen, ladder: &Ladder) {
    screen.heading(&format!("{} -> {}", ladder.from, ladder.to));
    let mut table = Table::new();
    for state in &ladder.rungs {
        table.row([
            Cell::plain(state.rung.as_str()),
            outcome(state),
            Cell::plain(&state.method),
        ]);
    }
    table.draw(screen, 2);
}

fn outcome(state: &RungState) -> Cell {
    let paint = match state.outcome {
        Outcome::Pass | Outcome::Warn => Paint::Good,
        Outcome::Fail | Outcome::Flapping => Paint::Bad,
        Outcome::Unknown | Outcome::NotApplicableYet => Paint::Plain,
    };
    Cell::new(paint, state.outcome.as_str())
}
