//! All directions at a glance: rows from, columns to.

use std::collections::BTreeMap;

use evidence::{Ladder, NodeRef, Outcome, PairHealth, Rung, Verdict};

use super::{
    screen::{Paint, Screen},
    table::{Cell, Table},
};

/// Columns have the numbers of their rows: names are too long for them.
pub(super) fn draw(screen: &mut Screen, verdict: &Verdict, nodes: &[&NodeRef]) {
    let ladders: BTreeMap<(&NodeRef, &NodeRef), &Ladder> = verdict
        .pairs
        .iter()
        .map(|ladder| ((&ladder.from, &ladder.to), ladder))
        .collect();
    let numbers = (1..=nodes.len()).map(|number| number.to_string());
    let mut table = Table::with_header(std::iter::once("FROM \\ TO".to_owned()).chain(numbers));
    for (index, from) in nodes.iter().enumerate() {
        let name = Cell::plain(format!("{} {from}", index + 1));
        let cells = nodes.iter().map(|to| {
            if from == to {
                return Cell::plain(".");
            }
            cell(ladders.get(&(*from, *to)).copied())
        });
        table.row(std::iter::once(name).chain(cells));
    }
    table.draw(screen, 0);
    screen.line(
        "highest proved rung; X: broken, ~: flapping, ?: not proved, !: with a warning, .: the node itself",
    );
}

fn cell(ladder: Option<&Ladder>) -> Cell {
    let Some(ladder) = ladder else {
        return Cell::plain("?");
    };
    match ladder.health() {
        PairHealth::Broken => Cell::new(Paint::Bad, "X"),
        PairHealth::Good => Cell::new(Paint::Good, &good(ladder)),
        PairHealth::Unproved if ladder.flapping.is_some() => Cell::new(Paint::Bad, "~"),
        PairHealth::Unproved => Cell::plain(format!("{}?", ladder.highest.map_or("", short))),
    }
}

fn good(ladder: &Ladder) -> String {
    let warns = ladder
        .rungs
        .iter()
        .any(|state| state.outcome == Outcome::Warn);
    let mark = if warns { "!" } else { "" };
    format!("{}{mark}", short(ladder.highest.unwrap_or(Rung::Tunnel)))
}

const fn short(rung: Rung) -> &'static str {
    match rung {
        Rung::Discovered => "disc",
        Rung::Underlay => "under",
        Rung::Handshake => "shake",
        Rung::Tunnel => "tunnel",
        Rung::Steering => "steer",
        Rung::TunnelMtu => "t-mtu",
        Rung::OverlayPort => "o-port",
        Rung::OverlayMtu => "o-mtu",
        Rung::Overlay => "over",
    }
}
