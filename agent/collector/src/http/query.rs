//! The query of `/gate/LEVEL`.

use std::{collections::BTreeMap, time::Duration};

use super::limits;

/// What may stand behind the `?`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) wait: Duration,
    pub(super) stable: Duration,
    pub(super) fail_fast: bool,
}

impl Query {
    /// Reads the fields; anything else is told, so that a typing mistake does not ask another question.
    pub(super) fn parse(fields: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut query = Self {
            wait: Duration::ZERO,
            stable: Duration::ZERO,
            fail_fast: true,
        };
        for (key, value) in fields {
            match key.as_str() {
                "wait" => query.wait = time(key, value)?,
                "stable" => query.stable = time(key, value)?,
                "fail_fast" => {
                    let parsed = value.parse();
                    query.fail_fast = parsed.map_err(|_| wrong(key, "true or false", value))?;
                }
                _ => {
                    return Err(format!(
                        "no field {key:?}; known fields: wait, stable, fail_fast"
                    ));
                }
            }
        }
        Ok(query)
    }
}

fn time(key: &str, value: &str) -> Result<Duration, String> {
    if value == "0" {
        return Ok(Duration::ZERO);
    }
    let most = limits::WAIT;
    let parsed = humantime::parse_duration(value).ok();
    parsed.filter(|time| *time <= most).ok_or_else(|| {
        let most = humantime::format_duration(most);
        wrong(key, &format!("a time up to {most}, as 30s"), value)
    })
}

fn wrong(key: &str, expected: &str, got: &str) -> String {
    let got: String = got.chars().take(64).collect();
    format!("field {key}: expected {expected}, got {got:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(fields: &[(&str, &str)]) -> Result<Query, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Query::parse(&fields.iter().map(owned).collect())
    }

    #[test]
    fn a_query_says_how_long_to_wait_and_for_what() {
        let query = parse(&[("wait", "30s"), ("stable", "1m"), ("fail_fast", "false")]).unwrap();
        assert_eq!(query.wait, Duration::from_secs(30));
        assert_eq!(query.stable, Duration::from_mins(1));
        assert!(!query.fail_fast);
        assert_eq!(parse(&[("wait", "0")]), parse(&[]));
    }

    #[test]
    fn what_is_no_query_is_told_with_what_was_expected() {
        for (field, value, wanted) in [
            (
                "wiat",
                "30s",
                "no field \"wiat\"; known fields: wait, stable, fail_fast",
            ),
            (
                "wait",
                "30",
                "field wait: expected a time up to 10m, as 30s, got \"30\"",
            ),
            (
                "wait",
                "11m",
                "field wait: expected a time up to 10m, as 30s, got \"11m\"",
            ),
            (
                "fail_fast",
                "no",
                "field fail_fast: expected true or false, got \"no\"",
            ),
        ] {
            assert_eq!(parse(&[(field, value)]), Err(wanted.to_owned()));
        }
    }
}
