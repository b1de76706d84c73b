//! Writes images as the OCI image specification has them: one layer, a configuration and a manifest per processor, and an
//! index over them. Nothing in them depends on when or where they are made.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use flate2::{Compression, GzBuilder};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::{
    architecture::Architecture,
    oci::{
        CONFIG, Configuration, Descriptor, INDEX, Index, LAYER_GZIP, LayoutVersion, MANIFEST,
        Manifest, Platform, REFERENCE, RootFs, Run,
    },
    tree::{Entry, Kind, Tree},
};

/// The date of everything: images of the same content are the same.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Why an image cannot be written.
#[derive(Debug, Error)]
pub enum ImageError {
    /// A tree that does not fit into an archive.
    #[error("failed to write {path} into the layer")]
    Layer {
        /// What.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Compression or the archive failed.
    #[error("failed to write the archive")]
    Archive(#[from] io::Error),
    /// A document could not be made.
    #[error("failed to describe the image")]
    Describe(#[from] serde_json::Error),
    /// Nothing to write.
    #[error("an image needs a tree for at least one processor")]
    Empty,
}

/// The files of an OCI layout, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    files: BTreeMap<String, Vec<u8>>,
}

/// An image for each processor that has a tree.
///
/// `run` stands in each configuration, and its labels, as annotations, in each manifest; `reference` names the image in the layout.
pub fn layout(
    trees: &BTreeMap<Architecture, Tree>,
    run: &Run,
    reference: &str,
) -> Result<Layout, ImageError> {
    let mut layout = Layout::default();
    let mut manifests = Vec::new();
    for (architecture, tree) in trees {
        manifests.push(layout.image(*architecture, tree, run)?);
    }
    // One image stands for itself; several are pulled by the index over them.
    let mut named = match manifests.pop() {
        None => return Err(ImageError::Empty),
        Some(only) if manifests.is_empty() => only,
        Some(last) => {
            manifests.push(last);
            let index = index(manifests, run.labels.clone());
            layout.blob(INDEX, serde_json::to_vec(&index)?)
        }
    };
    named
        .annotations
        .insert(REFERENCE.to_owned(), reference.to_owned());
    let top = index(vec![named], BTreeMap::new());
    layout.add("index.json", serde_json::to_vec(&top)?);
    let version = LayoutVersion {
        image_layout_version: "1.0.0".to_owned(),
    };
    layout.add("oci-layout", serde_json::to_vec(&version)?);
    Ok(layout)
}

fn index(manifests: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Index {
    Index {
        schema_version: 2,
        media_type: Some(INDEX.to_owned()),
        manifests,
        annotations,
    }
}

impl Layout {
    /// All files, by path.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// The layout as one archive: what `oci-archive:` means to other tools.
    pub fn archive(&self) -> Result<Vec<u8>, ImageError> {
        let mut archive = tar::Builder::new(Vec::new());
        for (path, bytes) in &self.files {
            let mut header = header(0o644, tar::EntryType::Regular, bytes.len());
            archive.append_data(&mut header, path, bytes.as_slice())?;
        }
        Ok(archive.into_inner()?)
    }

    fn image(
        &mut self,
        architecture: Architecture,
        tree: &Tree,
        run: &Run,
    ) -> Result<Descriptor, ImageError> {
        let layer = layer(tree)?;
        let platform = Platform {
            architecture: architecture.to_string(),
            os: "linux".to_owned(),
        };
        let configuration = Configuration {
            created: Some(EPOCH.to_owned()),
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            config: run.clone(),
            rootfs: RootFs {
                kind: "layers".to_owned(),
                diff_ids: vec![digest(&layer)],
            },
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: self.document(CONFIG, &configuration)?,
            layers: vec![self.blob(LAYER_GZIP, compressed(&layer)?)],
            annotations: run.labels.clone(),
        };
        let mut descriptor = self.document(MANIFEST, &manifest)?;
        descriptor.platform = Some(platform);
        Ok(descriptor)
    }

    fn document(
        &mut self,
        media_type: &str,
        document: &impl Serialize,
    ) -> Result<Descriptor, ImageError> {
        Ok(self.blob(media_type, serde_json::to_vec(document)?))
    }

    fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let digest = digest(&bytes);
        let descriptor = Descriptor {
            media_type: media_type.to_owned(),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            digest: digest.clone(),
            platform: None,
            annotations: BTreeMap::new(),
        };
        self.add(&format!("blobs/{}", digest.replace(':', "/")), bytes);
        descriptor
    }

    fn add(&mut self, path: &str, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), bytes);
    }
}

/// `sha256:` and the digest in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().fold("sha256:".to_owned(), |text, byte| {
        text + &format!("{byte:02x}")
    })
}

fn compressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut writer = GzBuilder::new()
        .mtime(0)
        .write(Vec::new(), Compression::best());
    writer.write_all(bytes)?;
    writer.finish()
}

/// The tree as an archive: sorted, all of it root's, and of no date.
fn layer(tree: &Tree) -> Result<Vec<u8>, ImageError> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, entry) in tree {
        append(&mut archive, path, entry).map_err(|source| ImageError::Layer {
            path: path.clone(),
            source,
        })?;
    }
    Ok(archive.into_inner()?)
}

fn append(archive: &mut tar::Builder<Vec<u8>>, path: &str, entry: &Entry) -> io::Result<()> {
    match &entry.kind {
        Kind::Folder => {
            let mut header = header(entry.mode, tar::EntryType::Directory, 0);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Kind::File(bytes) => {
            let mut header = header(entry.mode, tar::EntryType::Regular, bytes.len());
            archive.append_data(&mut header, path, bytes.as_slice())
        }
        Kind::Link(target) => {
            let mut header = header(entry.mode, tar::EntryType::Symlink, 0);
            archive.append_link(&mut header, path, target)
        }
        Kind::Other(name) => Err(io::Error::other(format!("a {name} cannot be written"))),
    }
}

fn header(mode: u32, kind: tar::EntryType, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(u64::try_from(size).unwrap_or(u64::MAX));
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}
