//! What is wrong: each root with its evidence, what to do, and what follows from it.

use evidence::{Citation, Finding, Fix, Folded, PairRef, Verdict};

use super::{
    Style,
    screen::{Paint, Screen},
    table::{Cell, Table},
    text::{count, few, human_ms},
};

/// Roots on one screen.
const ROOTS: usize = 20;
/// Pairs in one sentence.
const PAIRS: usize = 6;
/// Effects listed under one root, and facts cited, on a narrow screen.
const LINES: usize = 8;

pub(super) fn draw(screen: &mut Screen, verdict: &Verdict, style: Style) {
    let Folded { roots, orphans } = verdict.folded();
    for (number, (root, effects)) in roots.iter().enumerate().take(ROOTS) {
        problem(screen, number + 1, root, effects, style);
    }
    if roots.len() > ROOTS {
        let more = count(roots.len() - ROOTS, "more problem");
        screen
            .end()
            .line(&format!("{more}: mesh-probe status -o json"));
    }
    if !orphans.is_empty() {
        screen.heading("EFFECTS OF WHAT IS NOT SHOWN");
        lines(screen, "", style, &orphans, |finding| effect(finding));
    }
}

fn problem(screen: &mut Screen, number: usize, root: &Finding, effects: &[&Finding], style: Style) {
    screen
        .end()
        .put(Paint::Bad, &format!("PROBLEM {number}: {}", root.code))
        .line(&format!(
            " at {} ({})",
            root.subject,
            root.confidence.as_str()
        ))
        .put(Paint::Bold, &format!("  {}", root.summary))
        .end();
    lines(screen, "what to do", style, &root.fixes, fix);
    evidence(screen, &root.evidence, style);
    texts(screen, "what else it could be", style, &root.could_also_be);
    texts(
        screen,
        "what would decide",
        style,
        root.decided_by.as_slice(),
    );
    explained(screen, root, style);
    let follows = format!("what follows from it ({})", effects.len());
    lines(screen, &follows, style, effects, |finding| effect(finding));
    screen.line(&format!("  more: mesh-probe explain {}", root.code));
}

fn evidence(screen: &mut Screen, citations: &[Citation], style: Style) {
    if citations.is_empty() {
        return;
    }
    screen.line("  what was seen:");
    let most = if style.wide { usize::MAX } else { LINES };
    let mut table = Table::new();
    for citation in citations.iter().take(most) {
        let age = format!("{} ago", human_ms(citation.age_ms));
        let mut row = vec![
            Cell::plain(citation.reporter.to_string()),
            Cell::plain(age),
            Cell::plain(&citation.text),
        ];
        if style.wide {
            row.push(Cell::plain(format!("[{}]", citation.fact)));
        }
        table.row(row);
    }
    table.draw(screen, 4);
    more(screen, citations.len(), most);
}

fn explained(screen: &mut Screen, root: &Finding, style: Style) {
    if root.explains.is_empty() {
        return;
    }
    let most = if style.wide { usize::MAX } else { PAIRS };
    let arrow = |pair: &PairRef| format!("{} -> {}", pair.from, pair.to);
    let more = usize::try_from(root.explains_more).unwrap_or(usize::MAX);
    let directions = count(root.explains.len().saturating_add(more), "direction");
    let pairs = few(root.explains.iter().map(arrow), most);
    let cut = if more > 0 && style.wide { ", .." } else { "" };
    screen.line(&format!("  it explains {directions}: {pairs}{cut}"));
}

fn texts(screen: &mut Screen, title: &str, style: Style, texts: &[String]) {
    lines(screen, title, style, texts, |text| vec![text.clone()]);
}

/// A title and under it the lines of each item, bounded.
fn lines<T>(
    screen: &mut Screen,
    title: &str,
    style: Style,
    items: &[T],
    text: impl Fn(&T) -> Vec<String>,
) {
    if items.is_empty() {
        return;
    }
    if !title.is_empty() {
        screen.line(&format!("  {title}:"));
    }
    let most = if style.wide { usize::MAX } else { LINES };
    for line in items.iter().take(most).flat_map(text) {
        screen.line(&format!("    {line}"));
    }
    more(screen, items.len(), most);
}

fn more(screen: &mut Screen, all: usize, most: usize) {
    if all > most {
        screen.line(&format!("    and {} more: -o wide", all - most));
    }
}

/// The command is on lines of its own, ready to copy.
fn fix(fix: &Fix) -> Vec<String> {
    let mut lines = vec![format!("{}: {}", fix.who, fix.action)];
    let command = fix.command.as_deref().unwrap_or_default();
    lines.extend(command.lines().map(|line| format!("    {line}")));
    lines
}

fn effect(finding: &Finding) -> Vec<String> {
    vec![format!(
        "{} at {}: {}",
        finding.code, finding.subject, finding.summary
    )]
}
