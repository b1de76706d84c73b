//! One screen: is it well, who reports, what may start, what is wrong and what to do.

use evidence::{NodeState, Phase, Verdict};

use super::{
    Style, findings, gates,
    health::{self, sentence},
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
    let mut doubts = doubts(verdict);
    let unknown = levels(verdict, Phase::Unknown);
    let (paint, title) = match (problems, doubts.as_slice(), unknown.as_slice()) {
        (1.., _, _) => (Paint::Bad, count(problems, "problem")),
        (0, [], []) => (Paint::Good, "All is well".to_owned()),
        (0, [], _) => (Paint::Good, "All that is measured is well".to_owned()),
        (0, _, _) => (
            Paint::Bold,
            "No problem found, but not all is proved".to_owned(),
        ),
    };
    screen
        .put(paint, &title)
        .line(&format!(": {}", tally(verdict)));
    if problems == 0 {
        say(&mut doubts, "gates unknown", &unknown);
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
        sentence(health::tally(verdict)),
        ready.count(),
        count(verdict.gates.len(), "gate"),
    )
}

/// What keeps an absence of findings from being good news. Levels that are unknown are told apart: on a mesh where all
/// else is proved they are only not measured.
fn doubts(verdict: &Verdict) -> Vec<String> {
    let name = |node: &NodeState| node.node.to_string();
    let nodes = || verdict.nodes.iter();
    let silent = nodes().filter(|node| !node.reporting);
    let blind = nodes().filter(|node| node.reporting && !node.gaps.is_empty());
    let tally = health::tally(verdict);
    let mut doubts = Vec::new();
    let silent: Vec<String> = silent.map(name).collect();
    let blind: Vec<String> = blind.map(name).collect();
    say(&mut doubts, "not reporting", &silent);
    say(&mut doubts, "cannot see everything", &blind);
    say(
        &mut doubts,
        "gates not ready",
        &levels(verdict, Phase::NotReady),
    );
    if tally.good < tally.all() {
        doubts.push(format!("pairs: {}", sentence(tally)));
    }
    if tally.all() == 0 {
        doubts.push("pairs: none is known".to_owned());
    }
    if verdict.gates.is_empty() {
        doubts.push("gates: none is known".to_owned());
    }
    if !verdict.findings.is_empty() {
        let effects = count(verdict.findings.len(), "effect");
        doubts.push(format!("findings: {effects} of what is not shown"));
    }
    doubts
}

fn levels(verdict: &Verdict, phase: Phase) -> Vec<String> {
    let gates = verdict.gates.iter().filter(|gate| gate.phase == phase);
    gates.map(|gate| gate.level.clone()).collect()
}

fn say(doubts: &mut Vec<String>, what: &str, names: &[String]) {
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
