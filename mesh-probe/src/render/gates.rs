//! All gates, as a table.

use evidence::{Gate, Phase, Verdict};

use super::{
    Style,
    screen::{Paint, Screen},
    table::{Cell, Table},
};

pub(super) fn draw(screen: &mut Screen, verdict: &Verdict, style: Style) {
    if verdict.gates.is_empty() {
        return;
    }
    screen.heading("GATES");
    let mut table = Table::with_header(["LEVEL", "READY", "MAY START", "WHY NOT"]);
    for gate in &verdict.gates {
        table.row([
            Cell::plain(&gate.level),
            phase(gate.phase),
            may_start(gate.may_start),
            Cell::plain(why(verdict, gate)),
        ]);
        if style.wide {
            for reason in gate.reasons.iter().skip(1) {
                table.row([
                    Cell::plain(""),
                    Cell::plain(""),
                    Cell::plain(""),
                    Cell::plain(reason),
                ]);
            }
        }
    }
    table.draw(screen, 2);
}

/// The answer to "is it ready?".
pub(super) fn phase(phase: Phase) -> Cell {
    match phase {
        Phase::Ready => Cell::new(Paint::Good, "ready"),
        Phase::NotReady => Cell::new(Paint::Bad, "NOT READY"),
        Phase::Unknown => Cell::plain("unknown"),
    }
}

/// The answer to "may it be started?".
fn may_start(phase: Phase) -> Cell {
    match phase {
        Phase::Ready => Cell::new(Paint::Good, "yes"),
        Phase::NotReady => Cell::new(Paint::Bad, "NO"),
        Phase::Unknown => Cell::plain("unknown"),
    }
}

fn why(verdict: &Verdict, gate: &Gate) -> String {
    let mut why: Vec<String> = gate.reasons.first().cloned().into_iter().collect();
    let blockers = verdict.blockers(gate);
    if !blockers.is_empty() {
        let names: Vec<&str> = blockers.iter().map(|gate| &*gate.level).collect();
        why.push(format!("waits for {}", names.join(", ")));
    }
    let cure = if gate.terminal {
        " (waiting cannot cure it)"
    } else {
        ""
    };
    format!("{}{cure}", why.join("; "))
}
