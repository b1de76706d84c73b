//! Evidence in a file: what a collector judged, whole, so that anyone can judge it again.
//!
//! Pure. `gather` takes what a collector tells, `file` is the text, `redact` puts pseudonyms for names and addresses.

mod addresses;
mod file;
mod gather;
mod redact;

use diagnosis::{View, diagnose};
use evidence::{Moment, Verdict};

pub use file::{BUNDLE_BYTES, BundleError, FORMAT, parse};
pub use gather::{GatherError, Gathering};
pub use redact::{RedactError, redact};

/// The evidence of one judgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// What wrote the file.
    pub made_by: String,
    /// Version of the collector that judged.
    pub collector: String,
    /// Whether names and addresses are pseudonyms.
    pub redacted: bool,
    /// The moment of the judgement.
    pub at: Moment,
    /// What was judged.
    pub view: View,
}

impl Bundle {
    /// Judges it again: the same verdict, if the rules are the same.
    pub fn judge(&self) -> Verdict {
        diagnose(&self.view, self.at)
    }

    /// How many facts all nodes together told.
    pub fn facts(&self) -> usize {
        self.view.nodes.values().map(|node| node.facts.len()).sum()
    }

    /// What a reader of the verdict must know, if another version judged then than judges now.
    pub fn skew(&self) -> Option<String> {
        let here = env!("CARGO_PKG_VERSION");
        (self.collector != here).then(|| {
            format!(
                "the collector was version {}, this is {here}: rules may have changed, and the verdict with them",
                self.collector
            )
        })
    }
}
