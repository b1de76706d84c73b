//! HTML in the making, and the only place that writes any.
//!
//! Names of elements and attributes are the program's own. Every text and every value goes through [`escape`]: what nodes say
//! is shown and never obeyed, neither as markup nor as a character that hides or reorders others.

use std::fmt::Write as _;

use evidence::words::is_unsafe;

/// Characters of one text. What nodes say is shorter; a text of many pieces could be longer.
const TEXT: usize = 4096;

/// An attribute and its value.
pub(super) type Attribute<'a> = (&'static str, &'a str);

/// A piece of a page. All that is opened is closed, so pieces can be put together or left out.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// The piece as it is sent.
    pub(super) fn finish(self) -> String {
        self.0
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it says that there is nothing to say.
    pub(super) fn is_none(&self) -> bool {
        self.0 == super::table::NONE
    }

    /// Adds another piece.
    pub(super) fn add(&mut self, piece: &Self) -> &mut Self {
        self.0.push_str(&piece.0);
        self
    }

    /// A text.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        escape(&mut self.0, text);
        self
    }

    /// An element with content.
    pub(super) fn element(
        &mut self,
        name: &'static str,
        attributes: &[Attribute<'_>],
        content: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.tag(name, attributes);
        content(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// An element with a text.
    pub(super) fn leaf(
        &mut self,
        name: &'static str,
        attributes: &[Attribute<'_>],
        text: &str,
    ) -> &mut Self {
        self.element(name, attributes, |html| {
            html.text(text);
        })
    }

    /// An element that has no content, as `meta`.
    pub(super) fn tag(&mut self, name: &'static str, attributes: &[Attribute<'_>]) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        for (attribute, value) in attributes {
            self.0.push(' ');
            self.0.push_str(attribute);
            self.0.push_str("=\"");
            escape(&mut self.0, value);
            self.0.push('"');
        }
        self.0.push('>');
        self
    }

    /// What begins a document.
    pub(super) fn doctype(&mut self) -> &mut Self {
        self.0.push_str("<!doctype html>\n");
        self
    }

    /// The program's own style sheet: a browser takes it as it stands, so nothing in it may be escaped.
    pub(super) fn style(&mut self, sheet: &'static str) -> &mut Self {
        self.0.push_str("<style>");
        self.0.push_str(sheet);
        self.0.push_str("</style>");
        self
    }
}

/// A link to the page itself with a query; the values are encoded, so that they are values and nothing else.
pub(super) fn query(fields: &[(&str, &str)]) -> String {
    let mut link = String::new();
    for (place, (field, value)) in fields.iter().enumerate() {
        link.push(if place == 0 { '?' } else { '&' });
        link.push_str(field);
        link.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                link.push(char::from(byte));
            } else {
                // Writing to a String cannot fail.
                let _ = write!(link, "%{byte:02X}");
            }
        }
    }
    link
}

fn escape(out: &mut String, text: &str) {
    let mut characters = text.chars();
    for character in characters.by_ref().take(TEXT) {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Commands have lines.
            '\n' => out.push('\n'),
            odd if is_unsafe(odd) => out.extend(odd.escape_unicode()),
            other => out.push(other),
        }
    }
    let more = characters.count();
    if more > 0 {
        let _ = write!(out, " .. and {more} more characters");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        let mut html = Html::default();
        html.leaf("p", &[("title", text)], text);
        html.finish()
    }

    #[test]
    fn markup_in_a_text_is_text() {
        let escaped = "&lt;script&gt;&amp;&quot;&#39;";
        assert_eq!(
            shown("<script>&\"'"),
            format!("<p title=\"{escaped}\">{escaped}</p>")
        );
    }

    #[test]
    fn what_hides_or_reorders_others_is_spelled_out_and_lines_stay() {
        let mut html = Html::default();
        html.text("a\u{202e}b\0\u{7f}\nc");
        assert_eq!(html.finish(), "a\\u{202e}b\\u{0}\\u{7f}\nc");
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let mut html = Html::default();
        html.text(&"<".repeat(TEXT + 7));
        let text = html.finish();
        assert!(text.ends_with("&lt; .. and 7 more characters"));
    }

    #[test]
    fn a_value_in_a_link_is_a_value() {
        assert_eq!(
            query(&[("from", "a&to=b#\"c"), ("to", "d+e/f")]),
            "?from=a%26to%3Db%23%22c&to=d%2Be%2Ff"
        );
    }
}
