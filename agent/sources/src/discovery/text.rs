//! Words of others, made fit for a report.

/// Bytes that are kept.
const LONGEST: usize = 200;

/// At most [`LONGEST`] bytes, and nothing that could move a cursor.
pub(super) fn tame(text: &str) -> String {
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST)
        .collect();
    let end = text.floor_char_boundary(LONGEST);
    text.get(..end).unwrap_or_default().trim().to_owned()
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    tame(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_short_and_have_no_control_characters() {
        assert_eq!(tame("a\u{1b}[2Jb\n"), "a [2Jb");
        assert_eq!(tame(&"\u{e9}".repeat(300)).len(), LONGEST);
    }
}
