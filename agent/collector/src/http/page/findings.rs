//! What is wrong: each root with what to do, what was seen, and what follows from it.

use evidence::{
    Citation, Finding, Fix, Folded, PairRef, Verdict,
    words::{count, human_ms},
};

use super::{
    html::Html,
    pair,
    table::{Table, plain},
    words::Mood,
};

/// Roots on one page.
const ROOTS: usize = 20;
/// Facts cited, effects and fixes listed, under one root.
const LINES: usize = 12;
/// Pairs linked to under one root.
const PAIRS: usize = 12;

pub(super) fn draw(html: &mut Html, verdict: &Verdict) {
    let Folded { roots, orphans } = verdict.folded();
    if roots.is_empty() && orphans.is_empty() {
        html.element("p", &[], |html| Mood::Good.write(html, "No finding."));
    }
    for (number, (root, effects)) in roots.iter().enumerate().take(ROOTS) {
        html.element("article", &[], |html| {
            problem(html, number + 1, root, effects);
        });
    }
    if !orphans.is_empty() {
        html.leaf("h3", &[], "Effects of what is not shown");
        items(html, &orphans, |html, finding| effect(html, finding));
    }
    let left_out = usize::try_from(verdict.findings_left_out).unwrap_or(usize::MAX);
    let more = roots.len().saturating_sub(ROOTS).saturating_add(left_out);
    if more > 0 {
        let more = format!("{} left out here.", count(more, "finding"));
        html.leaf("p", &[("class", "more")], &more);
    }
}

fn problem(html: &mut Html, number: usize, root: &Finding, effects: &[&Finding]) {
    html.element("h3", &[], |html| {
        Mood::Bad.write(html, &format!("{number}. {}", root.code));
        html.text(&format!(" at {}", root.subject_text));
    });
    let summary = format!("{} ({})", root.summary, root.confidence.as_str());
    html.leaf("p", &[("class", "summary")], &summary);
    titled(html, "What to do", &root.fixes, fix);
    seen(html, &root.evidence);
    titled(
        html,
        "What else it could be",
        &root.could_also_be,
        |html, text| {
            html.text(text);
        },
    );
    titled(
        html,
        "What would decide",
        root.decided_by.as_slice(),
        |html, text| {
            html.text(text);
        },
    );
    explained(html, root);
    let title = format!("What follows from it ({})", effects.len());
    titled(html, &title, effects, |html, finding| effect(html, finding));
    html.element("p", &[("class", "more")], |html| {
        html.text("The runbook: ");
        html.leaf("code", &[], &format!("mesh-probe explain {}", root.code));
    });
}

fn fix(html: &mut Html, fix: &Fix) {
    html.text(&format!("{}: {}", fix.who, fix.action));
    if let Some(command) = &fix.command {
        html.element("pre", &[], |html| {
            html.leaf("code", &[], command);
        });
    }
}

fn seen(html: &mut Html, citations: &[Citation]) {
    if citations.is_empty() {
        return;
    }
    html.leaf("h4", &[], "What was seen");
    let titles = ["By", "Ago", "What"];
    Table::draw(html, "What was seen, by whom", &titles, |table| {
        for citation in citations.iter().take(LINES) {
            table.row(&[
                &plain(&citation.reporter.to_string()),
                &plain(&human_ms(citation.age_ms)),
                &plain(&citation.text),
            ]);
        }
    });
    more(html, citations.len());
}

fn explained(html: &mut Html, root: &Finding) {
    if root.explains.is_empty() {
        return;
    }
    let more = usize::try_from(root.explains_more).unwrap_or(usize::MAX);
    let all = root.explains.len().saturating_add(more);
    html.leaf(
        "h4",
        &[],
        &format!("It explains {}", count(all, "direction")),
    );
    html.element("ul", &[("class", "row")], |html| {
        for PairRef { from, to } in root.explains.iter().take(PAIRS) {
            html.element("li", &[], |html| {
                let (from, to) = (from.to_string(), to.to_string());
                pair::link(html, &from, &to, &format!("{from} \u{2192} {to}"));
            });
        }
        if all > PAIRS {
            html.leaf("li", &[], &format!("and {} more", all - PAIRS));
        }
    });
}

fn effect(html: &mut Html, finding: &Finding) {
    let Finding {
        code,
        subject_text,
        summary,
        ..
    } = finding;
    html.text(&format!("{code} at {subject_text}: {summary}"));
}

/// A title and under it each item, if there is any.
fn titled<T>(html: &mut Html, title: &str, all: &[T], one: impl Fn(&mut Html, &T)) {
    if all.is_empty() {
        return;
    }
    html.leaf("h4", &[], title);
    items(html, all, one);
}

fn items<T>(html: &mut Html, all: &[T], one: impl Fn(&mut Html, &T)) {
    html.element("ul", &[], |html| {
        for item in all.iter().take(LINES) {
            html.element("li", &[], |html| one(html, item));
        }
    });
    more(html, all.len());
}

fn more(html: &mut Html, all: usize) {
    if all > LINES {
        let more = format!("and {} more", all - LINES);
        html.leaf("p", &[("class", "more")], &more);
    }
}
