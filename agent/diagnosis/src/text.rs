//! How figures are put into sentences.

use std::time::Duration;

use evidence::{Rtt, words::count};

/// A duration for a person: `0.4 s`, `12 s`, `3 m 5 s`.
pub(crate) fn age(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 10 {
        let tenths = duration.subsec_millis() / 100;
        return format!("{seconds}.{tenths} s");
    }
    if seconds < 60 {
        return format!("{seconds} s");
    }
    format!("{} m {} s", seconds / 60, seconds % 60)
}

/// A round-trip time as a clause, empty if there is none.
pub(crate) fn rtt(rtt: Option<Rtt>) -> String {
    rtt.map_or_else(String::new, |rtt| format!(" in {}", millis(rtt.last_us)))
}

/// Microseconds as a person reads them: `0.85 ms`.
pub(crate) fn millis(micros: u32) -> String {
    format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10)
}

/// A list of names: `a, b and 3 more`.
pub(crate) fn list<T: ToString>(items: &[T]) -> String {
    const SHOWN: usize = 4;
    let names: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    match items.len().checked_sub(SHOWN) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// The verb of so many: of one, or of none and several.
pub(crate) const fn verb(number: usize, one: &'static str, others: &'static str) -> &'static str {
    if number == 1 { one } else { others }
}

/// `1 node reports, at least 2 are expected`.
pub(crate) fn too_few(fresh: usize, least: usize) -> String {
    format!(
        "{} {}, at least {least} {} expected",
        count(fresh, "node"),
        verb(fresh, "reports", "report"),
        verb(least, "is", "are")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_like_speech() {
        assert_eq!(age(Duration::from_millis(450)), "0.4 s");
        assert_eq!(age(Duration::from_secs(12)), "12 s");
        assert_eq!(age(Duration::from_secs(185)), "3 m 5 s");
    }

    #[test]
    fn verbs_go_by_the_number() {
        assert_eq!(too_few(1, 2), "1 node reports, at least 2 are expected");
        assert_eq!(too_few(0, 1), "0 nodes report, at least 1 is expected");
        assert_eq!(verb(1, "fails", "fail"), "fails");
        assert_eq!(
            [0, 2].map(|number| verb(number, "fails", "fail")),
            ["fail"; 2]
        );
    }

    #[test]
    fn long_lists_are_cut_and_say_so() {
        assert_eq!(list(&["a", "b"]), "a, b");
        assert_eq!(list(&[1, 2, 3, 4, 5, 6]), "1, 2, 3, 4 and 2 more");
    }
}
