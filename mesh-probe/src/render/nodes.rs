//! The nodes: who reports, and what each cannot see.

use evidence::{NodeState, Verdict};

use super::{
    Style, WHOLE,
    screen::{Paint, Screen},
    table::{Cell, Table},
    text::{count, few, human_ms},
};

/// Gaps that are shown per node on a narrow screen.
const GAPS: usize = 1;

pub(super) fn draw(screen: &mut Screen, verdict: &Verdict, style: Style) {
    if verdict.nodes.is_empty() {
        return;
    }
    screen.heading("NODES");
    let whole = verdict.nodes.len() <= WHOLE;
    let shown = |node: &&NodeState| whole || !is_well(node);
    let mut table = Table::with_header(titles(style));
    let mut hidden = verdict.nodes.len();
    for node in verdict.nodes.iter().filter(shown) {
        table.row(row(node, style));
        hidden -= 1;
    }
    if hidden < verdict.nodes.len() {
        table.draw(screen, 2);
    }
    if hidden > 0 {
        let rest = count(hidden, "node");
        screen.line(&format!(
            "  {rest} without anything to say: reporting, no gaps"
        ));
    }
}

/// Whether there is nothing to say of a node.
pub(super) fn is_well(node: &NodeState) -> bool {
    node.reporting && node.gaps.is_empty()
}

fn titles(style: Style) -> Vec<&'static str> {
    let mut titles = vec!["NODE", "REPORTING", "LAST REPORT"];
    if style.wide {
        titles.extend(["VERSION", "KUBESPAN ADDRESS"]);
    }
    titles.push("CANNOT SEE");
    titles
}

fn row(node: &NodeState, style: Style) -> Vec<Cell> {
    let reporting = if node.reporting {
        Cell::new(Paint::Good, "yes")
    } else {
        Cell::new(Paint::Bad, "NO")
    };
    let age = node.report_age_ms.map_or_else(
        || "never".to_owned(),
        |age| format!("{} ago", human_ms(age)),
    );
    let mut row = vec![
        Cell::plain(node.node.to_string()),
        reporting,
        Cell::plain(age),
    ];
    if style.wide {
        row.push(Cell::maybe(node.version.clone()));
        row.push(Cell::maybe(node.kubespan_address.clone()));
    }
    row.push(gaps(node, style));
    row
}

fn gaps(node: &NodeState, style: Style) -> Cell {
    let most = if style.wide { usize::MAX } else { GAPS };
    let gaps = (!node.gaps.is_empty()).then(|| few(node.gaps.iter(), most));
    Cell::maybe(gaps)
}
