//! One screen: is it well, who reports, what may start, what is wrong and what to do.

use std::slice;

use evidence::{Headline, Verdict};

use super::{
    Style, findings, gates, nodes,
    screen::{Paint, Screen},
    text::human_ms,
};

/// The whole status.
pub fn status(verdict: &Verdict, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    headline(&mut screen, verdict);
    nodes::draw(&mut screen, verdict, style);
    gates::draw(&mut screen, verdict, style);
    findings::draw(&mut screen, verdict, style);
    screen.finish()
}

fn headline(screen: &mut Screen, verdict: &Verdict) {
    let headline = verdict.headline();
    let (paint, doubts) = match &headline {
        Headline::Nothing => return nobody(screen),
        Headline::Problems(_) => (Paint::Bad, [].as_slice()),
        Headline::Doubts(doubts) => (Paint::Bold, doubts.as_slice()),
        Headline::Measured(unknown) => (Paint::Good, slice::from_ref(unknown)),
        Headline::Well => (Paint::Good, [].as_slice()),
    };
    screen
        .put(paint, &headline.title())
        .line(&format!(": {}", verdict.summary()));
    for doubt in doubts {
        screen.line(&format!("  {doubt}"));
    }
    ages(screen, verdict);
}

fn nobody(screen: &mut Screen) {
    screen
        .put(Paint::Bold, &format!("{}: ", Headline::Nothing.title()))
        .line("no agent has reported to this collector.")
        .line("  Is mesh-agent running on the nodes, with this collector's address and this mesh key?")
        .line("  A collector that has just started knows more within seconds.");
}

/// How fresh all this is: a verdict without its age could be yesterday's.
fn ages(screen: &mut Screen, verdict: &Verdict) {
    let reporting = verdict.nodes.iter().filter(|node| node.reporting);
    let report = reporting.filter_map(|node| node.report_age_ms).max();
    let rungs = verdict.pairs.iter().flat_map(|ladder| &ladder.rungs);
    let good = rungs.filter(|state| state.outcome.is_good());
    let evidence = good
        .flat_map(|state| &state.evidence)
        .map(|citation| citation.age_ms)
        .max();
    let said: Vec<String> = [
        report.map(|age| format!("oldest report {}", human_ms(age))),
        evidence.map(|age| format!("oldest evidence of a good direction {}", human_ms(age))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !said.is_empty() {
        screen.line(&format!("Age: {}.", said.join(", ")));
    }
}
