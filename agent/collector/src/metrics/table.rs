//! What is exported, before it is written: one table for all ways out, so that they cannot differ.
//!
//! [`Table::text`] is the text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::{self, Write as _};

/// What kind of number a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It only grows, from the start of the collector on.
    Counter,
    Gauge,
}

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// So many of something.
    Count(u64),
    /// A time in microseconds; it is told in seconds.
    Micros(u64),
}

/// One series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) labels: Vec<(&'static str, String)>,
    pub(crate) number: Number,
}

/// The series of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) about: &'static str,
    pub(crate) samples: Vec<Sample>,
}

/// All families, in the order in which they are told.
#[derive(Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<Family>);

impl Table {
    /// Begins a family.
    pub(super) fn family(
        &mut self,
        name: impl Into<String>,
        kind: Kind,
        about: &'static str,
    ) -> Open<'_> {
        self.0.push(Family {
            name: name.into(),
            kind,
            about,
            samples: Vec::new(),
        });
        Open(self.0.last_mut())
    }

    /// The classic text format of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for family in &self.0 {
            let Family {
                name,
                kind,
                about,
                samples,
            } = family;
            let kind = match kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {about}\n# TYPE {name} {kind}");
            for sample in samples {
                out.push_str(name);
                labels(&mut out, &sample.labels);
                let _ = writeln!(out, " {}", sample.number);
            }
        }
        out
    }
}

/// The family that is being filled.
#[derive(Debug)]
pub(super) struct Open<'t>(Option<&'t mut Family>);

impl Open<'_> {
    pub(super) fn value(
        &mut self,
        labels: &[(&'static str, &str)],
        value: impl TryInto<u64>,
    ) -> &mut Self {
        let value = value.try_into().unwrap_or(u64::MAX);
        self.sample(labels, Number::Count(value))
    }

    pub(super) fn seconds(&mut self, labels: &[(&'static str, &str)], micros: u64) -> &mut Self {
        self.sample(labels, Number::Micros(micros))
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], number: Number) -> &mut Self {
        if let Some(family) = &mut self.0 {
            let labels = labels.iter().map(|(label, text)| (*label, (*text).into()));
            family.samples.push(Sample {
                labels: labels.collect(),
                number,
            });
        }
        self
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Micros(micros) => write!(f, "{}.{:06}", micros / 1_000_000, micros % 1_000_000),
        }
    }
}

fn labels(out: &mut String, labels: &[(&'static str, String)]) {
    for (place, (label, text)) in labels.iter().enumerate() {
        out.push(if place == 0 { '{' } else { ',' });
        out.push_str(label);
        out.push_str("=\"");
        for character in text.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    if !labels.is_empty() {
        out.push('}');
    }
}
