//! `talos`: the matrix as rows, who could not be asked, and what follows.

use super::{
    Style, WHOLE,
    screen::{Paint, Screen},
    table::{Cell, Table},
    text::human,
};
use crate::{
    adhoc::{
        Facts as _,
        talos::{Pair, PairState, TalosMesh},
    },
    exit::Exit,
};

/// Pairs that are listed at most; programs get all of them.
const LISTED: usize = 200;

/// The screen.
pub fn talos(mesh: &TalosMesh, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    screen.put(Paint::Bold, &mesh.title()).end();
    let mut facts = Table::new();
    for (name, value) in mesh.lines() {
        facts.row([Cell::plain(&name), Cell::plain(value)]);
    }
    facts.draw(&mut screen, 2);
    pairs(&mut screen, mesh, style);
    silent(&mut screen, mesh);
    for conclusion in mesh.conclusions() {
        let paint = match mesh.exit() {
            Exit::Ready => Paint::Good,
            Exit::NotReady => Paint::Bad,
            _ => Paint::Bold,
        };
        screen.put(paint, "conclusion: ").line(&conclusion);
    }
    screen.put(Paint::Plain, "method: ").line(&mesh.method());
    screen.finish()
}

/// All of them in a small cluster; in a large one what is said and not up.
fn pairs(screen: &mut Screen, mesh: &TalosMesh, style: Style) {
    let known = mesh.nodes.iter().filter(|node| node.is_identified());
    let whole = known.count() <= WHOLE || style.wide;
    let is_well = |pair: &Pair| matches!(pair.state, PairState::Up | PairState::NotAsked);
    let wanted = |pair: &&Pair| whole || !is_well(pair);
    let listed: Vec<&Pair> = mesh.pairs.iter().filter(wanted).collect();
    if listed.is_empty() {
        return;
    }
    let titles = [
        "FROM",
        "TO",
        "STATE",
        "ENDPOINT",
        "HANDSHAKE",
        "RX",
        "TX",
        "",
    ];
    let mut table = Table::with_header(titles);
    for pair in listed.iter().take(LISTED) {
        table.row(row(pair));
    }
    table.draw(screen, 0);
    let more = listed.len().saturating_sub(LISTED);
    if more > 0 {
        screen.line(&format!("and {more} more directions: -o json has all"));
    }
    if !whole {
        screen.line("Only what is said and not up is listed: -o wide lists all.");
    }
}

fn row(pair: &Pair) -> [Cell; 8] {
    let paint = match pair.state {
        PairState::Up => Paint::Good,
        PairState::Down | PairState::NotAPeer => Paint::Bad,
        PairState::Unknown | PairState::NotAsked => Paint::Plain,
    };
    let never = pair.received.map(|_| "never".to_owned());
    let age = pair
        .handshake_age_s
        .map(|age| human(std::time::Duration::from_secs(age)));
    [
        Cell::plain(&pair.from),
        Cell::plain(&pair.to),
        Cell::new(paint, pair.state.as_str()),
        Cell::maybe(pair.endpoint.map(|endpoint| endpoint.to_string())),
        Cell::maybe(age.or(never)),
        Cell::maybe(pair.received.map(bytes)),
        Cell::maybe(pair.sent.map(bytes)),
        Cell::plain(pair.note.as_deref().unwrap_or_default()),
    ]
}

/// `812 B`, `4.1 kB`, `3.2 GB`: cut, never rounded up.
fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if number < 1000 {
        return format!("{number} B");
    }
    let mut tenths = number / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

fn silent(screen: &mut Screen, mesh: &TalosMesh) {
    for (node, silence) in mesh.silent() {
        let asked = node.asked.as_deref().unwrap_or_default();
        let name = if node.name == asked {
            asked.to_owned()
        } else {
            format!("{} ({asked})", node.name)
        };
        screen.put(Paint::Bad, "not asked: ");
        screen.line(&format!("{name}: {}: {}", silence.stage, silence.why));
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn bytes_are_said_in_the_largest_unit_that_leaves_a_whole() {
        let said = [0, 999, 1000, 4_199, 999_999, 1_000_000, 3_210_000_000].map(bytes);
        let expected = [
            "0 B", "999 B", "1.0 kB", "4.1 kB", "999.9 kB", "1.0 MB", "3.2 GB",
        ];
        assert_eq!(said, expected);
    }
}
