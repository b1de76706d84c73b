//! The version ranges of an extension's manifest, in the syntax that Talos reads: comparisons with blanks between them must
//! all hold, `||` separates alternatives, a `v` before a number is ignored.
//!
//! Talos compares major, minor and patch only; a pre-release of a version counts as that version
//! (siderolabs/talos, pkg/machinery/extensions/validate.go).

use std::str::FromStr;

use semver::Version;
use thiserror::Error;

/// Versions of Talos that an extension fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    alternatives: Vec<Vec<Comparison>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Comparison {
    operator: Operator,
    version: Triple,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Less,
    LessOrEqual,
    Equal,
    NotEqual,
    GreaterOrEqual,
    Greater,
}

type Triple = (u64, u64, u64);

/// Longer ones first, so that `<=` is not read as `<`.
const OPERATORS: [(&str, Operator); 9] = [
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("=", Operator::Equal),
    ("!", Operator::NotEqual),
    ("", Operator::Equal),
];

/// Why a text is no range.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{range:?} is no version range: {part:?} is not a comparison with a version, as in \">= v1.10.0\""
)]
pub struct RangeError {
    range: String,
    part: String,
}

impl Range {
    /// Whether a version of Talos fits.
    pub fn contains(&self, version: &Version) -> bool {
        let version = triple(version);
        self.alternatives
            .iter()
            .any(|all| all.iter().all(|comparison| comparison.holds(version)))
    }
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let alternatives = text.split("||").map(|all| comparisons(text, all));
        Ok(Self {
            alternatives: alternatives.collect::<Result<_, _>>()?,
        })
    }
}

fn comparisons(range: &str, text: &str) -> Result<Vec<Comparison>, RangeError> {
    let failed = |part: &str| RangeError {
        range: range.to_owned(),
        part: part.to_owned(),
    };
    let mut found = Vec::new();
    let mut parts = text.split_whitespace();
    while let Some(part) = parts.next() {
        let (operator, rest) = split(part);
        // A blank between the two is allowed.
        let version = if rest.is_empty() {
            parts.next().ok_or_else(|| failed(part))?
        } else {
            rest
        };
        let version = version.strip_prefix('v').unwrap_or(version);
        let parsed = Version::parse(version).map_err(|_| failed(part))?;
        found.push(Comparison {
            operator,
            version: triple(&parsed),
        });
    }
    if found.is_empty() {
        return Err(failed(text.trim()));
    }
    Ok(found)
}

fn split(part: &str) -> (Operator, &str) {
    OPERATORS
        .into_iter()
        .find_map(|(text, operator)| Some((operator, part.strip_prefix(text)?)))
        .unwrap_or((Operator::Equal, part))
}

fn triple(version: &Version) -> Triple {
    (version.major, version.minor, version.patch)
}

impl Comparison {
    fn holds(self, version: Triple) -> bool {
        match self.operator {
            Operator::Less => version < self.version,
            Operator::LessOrEqual => version <= self.version,
            Operator::Equal => version == self.version,
            Operator::NotEqual => version != self.version,
            Operator::GreaterOrEqual => version >= self.version,
            Operator::Greater => version > self.version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(range: &str, version: &str) -> bool {
        let range: Range = range.parse().unwrap();
        range.contains(&Version::parse(version).unwrap())
    }

    #[test]
    fn ranges_are_read_as_talos_reads_them() {
        for (range, version, expected) in [
            (">= v1.5.0", "1.13.9", true),
            (">= 1.9.0-alpha.0", "1.9.0", true),
            (">= v1.10.0", "1.9.9", false),
            (">=1.10.0 <2.0.0", "1.14.0", true),
            (">=1.10.0 <2.0.0", "2.0.0", false),
            ("<1.2.0 || >=1.10.0", "1.11.0", true),
            ("<1.2.0 || >=1.10.0", "1.5.0", false),
            ("1.13.9", "1.13.9", true),
            ("!=1.13.9", "1.13.9", false),
            // A candidate of a release counts as the release.
            (">= v1.14.0", "1.14.0-rc.1", true),
        ] {
            assert_eq!(fits(range, version), expected, "{version} in {range}");
        }
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_part_that_is_not_understood() {
        for (range, part) in [
            ("", ""),
            (">= ", ">="),
            ("newest", "newest"),
            (">=1.10.0 && <2.0.0", "&&"),
            (">=1.10", ">=1.10"),
            (">=1.10.0 ||", ""),
        ] {
            let error = range.parse::<Range>().unwrap_err();
            assert_eq!(error.part, part, "{range:?}");
        }
    }
}
