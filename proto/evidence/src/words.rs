//! Words that all surfaces share: durations, counts, lists, and characters that must reach neither a terminal nor a page.

use std::{borrow::Cow, time::Duration};

/// A duration as people say it: `0.4 s`, `12 s`, `3 m 5 s`, `2 h 10 m`. Cut, never rounded up.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} m {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// The same of milliseconds.
pub fn human_ms(millis: u64) -> String {
    human(Duration::from_millis(millis))
}

/// A round-trip time: `0.4 ms`, `23 ms`, `1.2 s`.
pub fn human_us(micros: u32) -> String {
    match micros {
        0..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        _ => human(Duration::from_micros(micros.into())),
    }
}

/// `1 node`, `3 nodes`.
pub fn count(number: usize, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{s}")
}

/// Joins the first few; says how many more there are.
pub fn few<T: ToString>(items: impl ExactSizeIterator<Item = T>, most: usize) -> String {
    let more = items.len().saturating_sub(most);
    let shown: Vec<String> = items.take(most).map(|item| item.to_string()).collect();
    let shown = shown.join(", ");
    if more == 0 {
        return shown;
    }
    format!("{shown} and {more} more")
}

/// Whether a terminal would obey the character, or hide or reorder others by it, instead of showing it.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{61c}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// The text with unsafe characters spelled out.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        if is_unsafe(character) {
            cleaned.extend(character.escape_unicode());
        } else {
            cleaned.push(character);
        }
    }
    Cow::Owned(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let said = [
            0,
            449,
            9_999,
            12_345,
            59_999,
            185_000,
            7_800_000,
            180_000_000,
        ];
        let expected = [
            "0.0 s", "0.4 s", "9.9 s", "12 s", "59 s", "3 m 5 s", "2 h 10 m", "2 d 2 h",
        ];
        assert_eq!(said.map(human_ms), expected);
        assert_eq!(
            [449, 23_456, 1_234_567].map(human_us),
            ["0.4 ms", "23 ms", "1.2 s"]
        );
    }

    #[test]
    fn what_is_left_out_is_counted() {
        assert_eq!(few([1, 2].iter(), 3), "1, 2");
        assert_eq!(few([1, 2, 3, 4].iter(), 2), "1, 2 and 2 more");
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelled_out() {
        assert_eq!(clean("\u{1b}[2J a\nb"), "\\u{1b}[2J a\\u{a}b");
        assert_eq!(clean("\u{9b}31m\u{202e}"), "\\u{9b}31m\\u{202e}");
        assert!(matches!(clean("Köln -> 東京"), Cow::Borrowed(_)));
    }
}
