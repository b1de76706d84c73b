//! `manifest.yaml` of an extension (siderolabs/talos, pkg/machinery/extensions/metadata.go).

use std::collections::BTreeMap;

use semver::Version;
use serde::Deserialize;
use thiserror::Error;

use crate::range::{Range, RangeError};

/// The only version of the format that Talos takes.
const FORMAT: &str = "v1alpha1";

/// What an extension says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the format.
    pub version: String,
    /// The extension.
    pub metadata: Metadata,
}

/// The extension.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Shown by `talosctl get extensions`.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// Who made it.
    #[serde(default)]
    pub author: String,
    /// What it does.
    #[serde(default)]
    pub description: String,
    /// What it fits.
    #[serde(default)]
    pub compatibility: Compatibility,
    /// Anything else.
    #[serde(default)]
    pub extra_info: BTreeMap<String, String>,
}

/// What an extension fits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compatibility {
    /// Talos.
    #[serde(default)]
    pub talos: Constraint,
}

/// Versions that fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Constraint {
    /// A range; empty: all.
    #[serde(default)]
    pub version: String,
}

/// Why a manifest is none.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not the fields that Talos knows.
    #[error("not a manifest of an extension: {0}")]
    Form(String),
    /// Another version of the format.
    #[error("unsupported manifest version {0:?}: expected {FORMAT:?}")]
    Version(String),
    /// A field that must say something.
    #[error("metadata.{0} is empty")]
    Empty(&'static str),
    /// No range.
    #[error("compatibility.talos.version: {0}")]
    Range(#[from] RangeError),
}

impl Manifest {
    /// Reads and checks one.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = serde_saphyr::from_str(text)
            .map_err(|error| ManifestError::Form(first_line(&error.to_string())))?;
        if manifest.version != FORMAT {
            return Err(ManifestError::Version(manifest.version));
        }
        for (field, value) in [
            ("name", &manifest.metadata.name),
            ("version", &manifest.metadata.version),
        ] {
            if value.is_empty() {
                return Err(ManifestError::Empty(field));
            }
        }
        manifest.range()?;
        Ok(manifest)
    }

    /// Whether the extension may be built into that version of Talos.
    pub fn fits(&self, talos: &Version) -> bool {
        self.range()
            .is_ok_and(|range| range.is_none_or(|range| range.contains(talos)))
    }

    fn range(&self) -> Result<Option<Range>, RangeError> {
        let text = &self.metadata.compatibility.talos.version;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some)
    }
}

/// Parsers draw pictures of where an error is; the first line says it.
pub(crate) fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(version: &str, range: &str) -> String {
        format!(
            "version: {version}\nmetadata:\n  name: x\n  version: 0.1.0\n  compatibility:\n    talos:\n      version: \"{range}\"\n"
        )
    }

    #[test]
    fn a_manifest_says_which_talos_it_fits() {
        let manifest = Manifest::parse(&with("v1alpha1", ">= v1.10.0")).unwrap();
        assert!(manifest.fits(&Version::new(1, 13, 9)));
        assert!(!manifest.fits(&Version::new(1, 9, 0)));
        let any = Manifest::parse(&with("v1alpha1", "")).unwrap();
        assert!(any.fits(&Version::new(0, 1, 0)));
    }

    #[test]
    fn what_talos_refuses_is_refused_with_what_was_expected() {
        for (text, says) in [
            (String::new(), "not a manifest"),
            (with("v2", ""), "unsupported manifest version \"v2\""),
            (with("v1alpha1", "newest"), "is no version range"),
            (
                "version: v1alpha1\nmetadata: {name: '', version: 1}".into(),
                "metadata.name is empty",
            ),
            (
                "version: v1alpha1\nmetadata: {name: x, version: 1, colour: red}".into(),
                "colour",
            ),
        ] {
            let error = Manifest::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
