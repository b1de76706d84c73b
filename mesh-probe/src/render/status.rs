//! One screen: is it well, who reports, what may start, what is wrong and what to do.

use evidence::{Phase, Verdict};

use super::{
    Style, findings, gates,
    health::Tally,
    list::few,
    nodes,
    screen::{Paint, Screen},
    text::{count, human_ms},
};

/// Names in a sentence of the headline.
const NAMES: usize = 6;

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
    if verdict.nodes.is_empty() && verdict.findings.is_empty() {
        return nobody(screen);
    }
    let problems = verdict.roots().count();
    let doubts = doubts(verdict);
    if problems > 0 {
        let text = format!("{}: ", count(problems, "problem"));
        screen.put(Paint::Bad, &text).line(&tally(verdict));
    } else if doubts.is_empty() {
        screen
            .put(Paint::Good, "All is well: ")
            .line(&tally(verdict));
    } else {
        screen
            .put(Paint::Bold, "No problem found, but not all is proved: ")
            .line(&tally(verdict));
        for doubt in doubts {
            screen.line(&format!("  {doubt}"));
        }
    }
    ages(screen, verdict);
}

fn nobody(screen: &mut Screen) {
    screen
        .put(Paint::Bold, "Nothing is known: ")
        .line("no agent has reported to this collector.")
        .line("  Is mesh-agent running on the nodes, with this collector's address and this mesh key?")
        .line("  A collector that has just started knows more within seconds.");
}

fn tally(verdict: &Verdict) -> String {
    let reporting = verdict.nodes.iter().filter(|node| node.reporting).count();
    let ready = verdict
        .gates
        .iter()
        .filter(|gate| gate.phase == Phase::Ready);
    format!(
        "{reporting} of {} report, {}, {} of {} ready.",
        count(verdict.nodes.len(), "node"),
        Tally::of(verdict).sentence(),
        ready.count(),
        count(verdict.gates.len(), "gate"),
    )
}

/// What keeps an absence of findings from being good news.
fn doubts(verdict: &Verdict) -> Vec<String> {
    let mut doubts = Vec::new();
    let silent = verdict.nodes.iter().filter(|node| !node.reporting);
    let blind = verdict
        .nodes
        .iter()
        .filter(|node| node.reporting && !nodes::is_well(node));
    let shut = verdict
        .gates
        .iter()
        .filter(|gate| gate.phase != Phase::Ready);
    say(
        &mut doubts,
        "not reporting",
        silent.map(|node| node.node.to_string()),
    );
    say(
        &mut doubts,
        "cannot see everything",
        blind.map(|node| node.node.to_string()),
    );
    say(
        &mut doubts,
        "gates not proved ready",
        shut.map(|gate| gate.level.clone()),
    );
    let tally = Tally::of(verdict);
    if tally.good < tally.all() {
        doubts.push(format!("pairs: {}", tally.sentence()));
    }
    if !verdict.findings.is_empty() {
        let effects = count(verdict.findings.len(), "effect");
        doubts.push(format!("findings: {effects} of what is not shown"));
    }
    if tally.all() == 0 {
        doubts.push("pairs: none is known".to_owned());
    }
    doubts
}

fn say(doubts: &mut Vec<String>, what: &str, names: impl Iterator<Item = String>) {
    let names: Vec<String> = names.collect();
    if !names.is_empty() {
        doubts.push(format!("{what}: {}", few(names.iter(), NAMES)));
    }
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
