//! What the programs are built from, as an SPDX 2.3 document, from what `cargo metadata` resolved.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Why there is no list.
#[derive(Debug, Error)]
pub enum SbomError {
    /// Not what `cargo metadata --format-version 1` prints.
    #[error("not the output of cargo metadata --format-version 1: {0}")]
    Metadata(String),
    /// A program that is none of the workspace's.
    #[error("cargo metadata does not know the package {0:?}")]
    Unknown(String),
    /// The list could not be written.
    #[error("failed to write the list")]
    Write(#[source] serde_json::Error),
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    #[serde(default)]
    license: Option<String>,
    #[serde(default)]
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    /// `null`: it is linked into the program.
    kind: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(rename = "SPDXID")]
    id: &'static str,
    spdx_version: &'static str,
    creation_info: Creation,
    name: String,
    data_license: &'static str,
    #[serde(rename = "documentNamespace")]
    namespace: String,
    packages: Vec<Listed>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct Creation {
    created: &'static str,
    creators: [&'static str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(rename = "SPDXID")]
    id: String,
    name: String,
    version_info: String,
    download_location: String,
    license_declared: String,
    license_concluded: &'static str,
    copyright_text: &'static str,
    files_analyzed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Relationship {
    spdx_element_id: &'static str,
    #[serde(rename = "relationshipType")]
    kind: &'static str,
    related_spdx_element: String,
}

/// The document for these packages of the workspace and all that is linked into them.
pub fn spdx(metadata: &str, programs: &[&str]) -> Result<String, SbomError> {
    let metadata: Metadata =
        serde_json::from_str(metadata).map_err(|error| SbomError::Metadata(error.to_string()))?;
    let packages: BTreeMap<&str, &Package> = metadata
        .packages
        .iter()
        .map(|package| (package.id.as_str(), package))
        .collect();
    let mut open = Vec::new();
    for program in programs {
        let own = metadata
            .packages
            .iter()
            .find(|package| package.name == *program && package.source.is_none());
        open.push(
            own.ok_or_else(|| SbomError::Unknown((*program).to_owned()))?
                .id
                .as_str(),
        );
    }
    let linked = linked(&metadata.resolve, open);
    let mut listed: Vec<Listed> = linked
        .iter()
        .filter_map(|id| packages.get(id))
        .map(|package| entry(package))
        .collect();
    listed.sort_by(|one, other| one.id.cmp(&other.id));
    let relationships = listed
        .iter()
        .map(|package| Relationship {
            spdx_element_id: "SPDXRef-DOCUMENT",
            kind: "DESCRIBES",
            related_spdx_element: package.id.clone(),
        })
        .collect();
    let name = programs.join("-");
    let document = Document {
        id: "SPDXRef-DOCUMENT",
        spdx_version: "SPDX-2.3",
        creation_info: Creation {
            created: "1970-01-01T00:00:00Z",
            creators: ["Tool: talos-ext"],
        },
        namespace: format!("urn:talos-mesh:spdx:{}", fingerprint(&listed)),
        name,
        data_license: "CC0-1.0",
        packages: listed,
        relationships,
    };
    let mut text = serde_json::to_string_pretty(&document).map_err(SbomError::Write)?;
    text.push('\n');
    Ok(text)
}

fn linked<'a>(resolve: &'a Resolve, mut open: Vec<&'a str>) -> BTreeSet<&'a str> {
    let nodes: BTreeMap<&str, &Node> = resolve
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node))
        .collect();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id) {
            continue;
        }
        let edges = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let normal = edges.filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()));
        open.extend(normal.map(|edge| edge.pkg.as_str()));
    }
    found
}

fn entry(package: &Package) -> Listed {
    let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let id: String = format!("{}-{}", package.name, package.version)
        .chars()
        .map(legal)
        .collect();
    Listed {
        id: format!("SPDXRef-{id}"),
        name: package.name.clone(),
        version_info: package.version.clone(),
        download_location: match &package.source {
            Some(_) => format!("pkg:cargo/{}@{}", package.name, package.version),
            None => "NOASSERTION".to_owned(),
        },
        license_declared: package
            .license
            .clone()
            .unwrap_or_else(|| "NOASSERTION".to_owned()),
        license_concluded: "NOASSERTION",
        copyright_text: "NOASSERTION",
        files_analyzed: false,
    }
}

/// The same list, the same name; another list, another one.
fn fingerprint(listed: &[Listed]) -> String {
    let hash = listed.iter().fold(Sha256::new(), |hash, package| {
        hash.chain_update(&package.id)
    });
    hash.finalize()
        .iter()
        .take(8)
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
      "packages": [
        {"id": "a", "name": "mesh-agent", "version": "0.1.0", "license": "MIT", "source": null},
        {"id": "b", "name": "tokio", "version": "1.54.0", "license": "MIT", "source": "registry+x"},
        {"id": "c", "name": "proptest", "version": "1.0.0", "license": "MIT", "source": "registry+x"}
      ],
      "resolve": {"nodes": [
        {"id": "a", "deps": [
          {"pkg": "b", "dep_kinds": [{"kind": null, "target": null}]},
          {"pkg": "c", "dep_kinds": [{"kind": "dev", "target": null}]}
        ]},
        {"id": "b", "deps": []}, {"id": "c", "deps": []}
      ]}
    }"#;

    #[test]
    fn what_is_linked_is_listed_and_what_only_tests_use_is_not() {
        let text = spdx(METADATA, &["mesh-agent"]).unwrap();
        assert!(text.contains("\"SPDXRef-tokio-1-54-0\""), "{text}");
        assert!(text.contains("SPDX-2.3"), "{text}");
        assert!(!text.contains("proptest"), "{text}");
        assert_eq!(text, spdx(METADATA, &["mesh-agent"]).unwrap());
    }

    #[test]
    fn a_program_that_is_not_ours_is_named() {
        let error = spdx(METADATA, &["tokio"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cargo metadata does not know the package \"tokio\""
        );
        assert!(spdx("[]", &[]).is_err());
    }
}
