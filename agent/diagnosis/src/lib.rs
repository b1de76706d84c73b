//! From evidence to verdict: `diagnose(view, now)`.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

mod view;

pub use view::{Conflict, Expectation, NodeView, Stream, View};

use evidence::{Moment, Verdict};

/// Judges a view. Pure, deterministic, cannot fail.
pub fn diagnose(view: &View, now: Moment) -> Verdict {
    let _ = (view, now);
    Verdict::default()
}

/// The runbook page of a finding code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Stable code.
    pub code: &'static str,
    /// One line.
    pub title: &'static str,
    /// Markdown.
    pub text: &'static str,
}

/// All pages, by code.
pub fn pages() -> &'static [Page] {
    &[]
}

/// The page of a code.
pub fn explain(code: &str) -> Option<&'static Page> {
    pages().iter().find(|page| page.code == code)
}
