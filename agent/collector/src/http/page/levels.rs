//! The levels, in the order of the graph.

use evidence::{Gate, Verdict};

use super::{
    html::Html,
    table::{NONE, Table, list, plain},
    words,
};

/// `gates` are those of the verdict, with as many reasons as may be told.
pub(super) fn draw(html: &mut Html, verdict: &Verdict, gates: &[Gate]) {
    let titles = ["Level", "Ready", "May start", "Builds on", "Why not"];
    Table::draw(
        html,
        "Levels, from the lowest to the highest",
        &titles,
        |table| {
            for gate in gates {
                let (ready, may_start) =
                    (words::ready(gate.phase), words::may_start(gate.may_start));
                let below = if gate.depends_on.is_empty() {
                    NONE.to_owned()
                } else {
                    gate.depends_on.join(", ")
                };
                let mut reasons = gate.reasons.clone();
                let blockers = verdict.blockers(gate);
                if !blockers.is_empty() {
                    let names: Vec<&str> = blockers.iter().map(|gate| &*gate.level).collect();
                    reasons.push(format!("waits for {}", names.join(", ")));
                }
                if gate.terminal {
                    reasons.push("waiting cannot cure this".to_owned());
                }
                table.row(&[
                    &plain(&gate.level),
                    &|html| ready.0.write(html, ready.1),
                    &|html| may_start.0.write(html, may_start.1),
                    &plain(&below),
                    &list(&reasons),
                ]);
            }
        },
    );
}
