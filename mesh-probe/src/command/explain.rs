//! `explain`: offline, because the one who asks may have no collector any more.

use diagnosis::Page;

use crate::{
    args::ExplainArgs,
    document::{CodesDocument, ExplainDocument},
    error::ProbeError,
    exit::Exit,
    output::Output,
    render,
};

pub(super) fn run(
    arguments: &ExplainArgs,
    pages: &'static [Page],
    output: Output,
) -> Result<Exit, ProbeError> {
    match &arguments.code {
        Some(code) => explain(code, pages, output),
        None => list(pages, output),
    }
}

fn explain(code: &str, pages: &'static [Page], output: Output) -> Result<Exit, ProbeError> {
    let page = pages
        .iter()
        .find(|page| page.code == code)
        .ok_or_else(|| unknown(code, pages))?;
    output.answer(&ExplainDocument::new(page), |style| {
        render::page(page, style)
    })?;
    Ok(Exit::Ready)
}

fn list(pages: &'static [Page], output: Output) -> Result<Exit, ProbeError> {
    output.answer(&CodesDocument::new(pages), |style| {
        render::codes(pages, style)
    })?;
    Ok(Exit::Ready)
}

fn unknown(code: &str, pages: &'static [Page]) -> ProbeError {
    let known: Vec<&'static str> = pages.iter().map(|page| page.code).collect();
    ProbeError::UnknownCode {
        code: code.to_owned(),
        nearest: nearest(code, &known),
        known,
    }
}

/// The known code that the fewest edits lead to, if they are few enough to be slips of the finger, or else the only one
/// that contains what was typed.
fn nearest(code: &str, known: &[&'static str]) -> Option<&'static str> {
    let slip = known
        .iter()
        .map(|candidate| (distance(code, candidate), *candidate))
        .min()
        .filter(|(edits, candidate)| *edits * 3 <= candidate.len());
    let mut holding = known
        .iter()
        .copied()
        .filter(|candidate| candidate.contains(code));
    let only = holding.next().filter(|_| holding.next().is_none());
    slip.map(|(_, candidate)| candidate).or(only)
}

/// Levenshtein's distance, over one row.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, right) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = [
        "agent-missing",
        "udp-51820-blocked-inbound",
        "udp-51820-blocked-outbound",
    ];

    #[test]
    fn a_slip_of_the_finger_finds_its_code() {
        assert_eq!(nearest("agent-mising", &KNOWN), Some("agent-missing"));
        assert_eq!(
            nearest("udp-51820-blocked-inbond", &KNOWN),
            Some("udp-51820-blocked-inbound")
        );
        assert_eq!(nearest("missing", &KNOWN), Some("agent-missing"));
    }

    #[test]
    fn what_resembles_nothing_gets_no_suggestion() {
        assert_eq!(nearest("blocked", &KNOWN), None);
        assert_eq!(nearest("weather", &KNOWN), None);
        assert_eq!(nearest("", &[]), None);
    }

    #[test]
    fn an_unknown_code_is_a_usage_error_that_lists_the_known_ones() {
        static PAGES: [Page; 1] = [Page {
            code: "agent-missing",
            title: "An agent is missing",
            text: "text",
        }];
        let error = unknown("agent-mssing", &PAGES);
        assert_eq!(error.exit(), Exit::Usage);
        assert_eq!(
            error.advice().unwrap(),
            "did you mean agent-missing? known codes: agent-missing"
        );
    }
}
