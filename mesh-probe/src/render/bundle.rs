//! What was written into a bundle, and what one says when it is judged again.

use evidence::Verdict;

use super::{Paint, Screen, Style, pairs, status, text::count};
use crate::bundle::Bundle;

/// What was written, and what to know before it is given away.
pub fn bundle(bundle: &Bundle, file: &str, bytes: usize, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    let nodes = count(bundle.view.nodes.len(), "node");
    let facts = count(bundle.facts(), "fact");
    screen.line(&format!("{file}: {nodes}, {facts}, {bytes} bytes."));
    screen.line(if bundle.redacted {
        "Names and addresses are pseudonyms. Public keys, versions and what services said are in it as they are."
    } else {
        "It holds names, addresses and public keys of the nodes, and no secret; --redact puts pseudonyms."
    });
    screen.finish()
}

/// The verdict, under a line that says where it is from.
pub fn replay(bundle: &Bundle, verdict: &Verdict, all_pairs: bool, style: Style) -> String {
    let mut screen = Screen::new(style.colour);
    let redacted = if bundle.redacted { ", redacted" } else { "" };
    screen.put(Paint::Bold, "Replayed").line(&format!(
        " from a bundle of {}{redacted}; all ages are of the moment it was made.",
        bundle.made_by
    ));
    if let Some(skew) = bundle.skew() {
        screen.put(Paint::Bad, "Note: ").line(&format!("{skew}."));
    }
    screen.end();
    let text = if all_pairs {
        pairs(verdict, style)
    } else {
        status(verdict, style)
    };
    screen.finish() + &text
}
