//! The text format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::fmt::Write as _;

/// What kind of number a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
}

/// The exposition in the making.
#[derive(Debug, Default)]
pub(super) struct Text {
    out: String,
    family: String,
}

impl Text {
    /// Begins a family; all its values come before the next one.
    pub(super) fn family(&mut self, name: &str, kind: Kind, about: &str) -> &mut Self {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        name.clone_into(&mut self.family);
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "# HELP {name} {about}\n# TYPE {name} {kind}");
        self
    }

    pub(super) fn value(&mut self, labels: &[(&str, &str)], value: impl TryInto<u64>) -> &mut Self {
        let value = value.try_into().unwrap_or(u64::MAX);
        self.sample(labels, &value.to_string())
    }

    /// Microseconds, as seconds.
    pub(super) fn seconds(&mut self, labels: &[(&str, &str)], micros: u64) -> &mut Self {
        let value = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
        self.sample(labels, &value)
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: &str) -> &mut Self {
        self.out.push_str(&self.family);
        for (place, (label, text)) in labels.iter().enumerate() {
            self.out.push(if place == 0 { '{' } else { ',' });
            self.out.push_str(label);
            self.out.push_str("=\"");
            for character in text.chars() {
                match character {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    other => self.out.push(other),
                }
            }
            self.out.push('"');
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        self.out.push(' ');
        self.out.push_str(value);
        self.out.push('\n');
        self
    }

    pub(super) fn finish(self) -> String {
        self.out
    }
}
