//! Reads an image: an OCI archive, the folder of an OCI layout, or a plain folder with `manifest.yaml` and `rootfs`.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use flate2::read::GzDecoder;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{
    architecture::Architecture,
    image::digest,
    oci::{Descriptor, INDEX, Index, LAYER, LAYER_GZIP, MANIFEST, Manifest},
    tree::{Entry, Kind, MOST_ENTRIES, Tree},
};

/// Most bytes of an image, as it is stored and unpacked.
pub const MOST_BYTES: u64 = 512 * 1024 * 1024;
/// How deep indexes may lead to indexes.
const DEPTH: usize = 4;
/// The names under which layers delete what is below them.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Why an image cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A file or folder.
    #[error("failed to read {path}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Too much of something.
    #[error("{what} is more than an extension may have: at most {limit} {unit}")]
    TooMuch {
        /// What.
        what: String,
        /// The limit.
        limit: u64,
        /// Of what.
        unit: &'static str,
    },
    /// A blob that the image names and does not have.
    #[error("the blob {digest} of the {role} is not in the image")]
    Missing {
        /// Its digest.
        digest: String,
        /// What it should be.
        role: &'static str,
    },
    /// A blob with other content than it should have.
    #[error("the blob {expected} of the {role} has the digest {found}: the image is damaged")]
    Digest {
        /// What the image says.
        expected: String,
        /// What it is.
        found: String,
        /// What it should be.
        role: &'static str,
    },
    /// A document that is none.
    #[error("the {role} is not a document of the OCI image specification: {reason}")]
    Document {
        /// Which.
        role: &'static str,
        /// Why.
        reason: String,
    },
    /// Something that is not read.
    #[error("the {role} has the media type {media_type:?}, which is not read: expected {expected}")]
    MediaType {
        /// Which.
        role: &'static str,
        /// What it has.
        media_type: String,
        /// What is read.
        expected: &'static str,
    },
    /// An archive that is damaged.
    #[error("failed to unpack {what}")]
    Archive {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A name that leads out of the image.
    #[error("the layer has a file named {0:?}, which leads out of it")]
    Outside(String),
    /// Nothing in it.
    #[error("the image has nothing for amd64 or arm64")]
    Nothing,
}

/// The trees of an image, by processor. A plain folder does not say for which it is: `plain` says it.
pub fn read(path: &Path, plain: Architecture) -> Result<BTreeMap<Architecture, Tree>, ReadError> {
    let kind = fs::metadata(path).map_err(|source| io_error(path, source))?;
    if !kind.is_dir() {
        return Blobs::of_archive(path)?.images();
    }
    if path.join("oci-layout").is_file() {
        return Blobs::of_folder(path)?.images();
    }
    let mut tree = Tree::default();
    let mut left = MOST_BYTES;
    walk(path, "", &mut tree, &mut left)?;
    Ok(BTreeMap::from([(plain, tree)]))
}

fn io_error(path: &Path, source: io::Error) -> ReadError {
    ReadError::Io {
        path: path.to_owned(),
        source,
    }
}

fn too_much(what: impl Into<String>, limit: u64, unit: &'static str) -> ReadError {
    ReadError::TooMuch {
        what: what.into(),
        limit,
        unit,
    }
}

/// The files of a layout, by path.
struct Blobs(BTreeMap<String, Vec<u8>>);

impl Blobs {
    fn of_archive(path: &Path) -> Result<Self, ReadError> {
        let file = File::open(path).map_err(|source| io_error(path, source))?;
        let what = || path.display().to_string();
        let damaged = |source| ReadError::Archive {
            what: what(),
            source,
        };
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(file.take(MOST_BYTES));
        for (number, entry) in archive.entries().map_err(damaged)?.enumerate() {
            bounded(number, &what)?;
            let mut entry = entry.map_err(damaged)?;
            if entry.header().entry_type().is_file() {
                let name = clean(&entry.path().map_err(damaged)?.to_string_lossy())?;
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).map_err(damaged)?;
                files.insert(name, bytes);
            }
        }
        Ok(Self(files))
    }

    fn of_folder(path: &Path) -> Result<Self, ReadError> {
        let mut tree = Tree::default();
        let mut left = MOST_BYTES;
        walk(path, "", &mut tree, &mut left)?;
        let files = tree.iter().filter_map(|(path, entry)| match &entry.kind {
            Kind::File(bytes) => Some((path.clone(), bytes.clone())),
            _ => None,
        });
        Ok(Self(files.collect()))
    }

    fn images(&self) -> Result<BTreeMap<Architecture, Tree>, ReadError> {
        let bytes = self.0.get("index.json").ok_or_else(|| ReadError::Missing {
            digest: "index.json".to_owned(),
            role: "index",
        })?;
        let top: Index = document("index", bytes)?;
        let mut trees = BTreeMap::new();
        self.follow(&top.manifests, DEPTH, &mut trees)?;
        if trees.is_empty() {
            return Err(ReadError::Nothing);
        }
        Ok(trees)
    }

    fn follow(
        &self,
        descriptors: &[Descriptor],
        depth: usize,
        trees: &mut BTreeMap<Architecture, Tree>,
    ) -> Result<(), ReadError> {
        for descriptor in descriptors {
            match descriptor.media_type.as_str() {
                INDEX if depth > 0 => {
                    let index: Index = document("index", self.blob(descriptor, "index")?)?;
                    self.follow(&index.manifests, depth - 1, trees)?;
                }
                MANIFEST => {
                    let (architecture, tree) = self.image(descriptor)?;
                    if let Some(architecture) = architecture {
                        trees.insert(architecture, tree);
                    }
                }
                other => {
                    return Err(ReadError::MediaType {
                        role: "index entry",
                        media_type: other.to_owned(),
                        expected: MANIFEST,
                    });
                }
            }
        }
        Ok(())
    }

    fn image(&self, descriptor: &Descriptor) -> Result<(Option<Architecture>, Tree), ReadError> {
        let manifest: Manifest = document("manifest", self.blob(descriptor, "manifest")?)?;
        let config: crate::oci::Configuration = document(
            "configuration",
            self.blob(&manifest.config, "configuration")?,
        )?;
        let mut tree = Tree::default();
        let mut left = MOST_BYTES;
        for layer in &manifest.layers {
            let bytes = self.blob(layer, "layer")?;
            match layer.media_type.as_str() {
                LAYER => unpack(bytes, &mut tree, &mut left)?,
                LAYER_GZIP => unpack(GzDecoder::new(bytes), &mut tree, &mut left)?,
                other => {
                    return Err(ReadError::MediaType {
                        role: "layer",
                        media_type: other.to_owned(),
                        expected: LAYER_GZIP,
                    });
                }
            }
        }
        Ok((config.architecture.parse().ok(), tree))
    }

    fn blob(&self, descriptor: &Descriptor, role: &'static str) -> Result<&[u8], ReadError> {
        let path = format!("blobs/{}", descriptor.digest.replacen(':', "/", 1));
        let bytes = self.0.get(&path).ok_or_else(|| ReadError::Missing {
            digest: descriptor.digest.clone(),
            role,
        })?;
        let found = digest(bytes);
        if found != descriptor.digest {
            return Err(ReadError::Digest {
                expected: descriptor.digest.clone(),
                found,
                role,
            });
        }
        Ok(bytes)
    }
}

fn document<T: DeserializeOwned>(role: &'static str, bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(bytes).map_err(|error| ReadError::Document {
        role,
        reason: error.to_string(),
    })
}

/// Puts a layer over what is there.
fn unpack(layer: impl io::Read, tree: &mut Tree, left: &mut u64) -> Result<(), ReadError> {
    let damaged = |source| ReadError::Archive {
        what: "a layer".to_owned(),
        source,
    };
    let mut archive = tar::Archive::new(layer);
    for (number, entry) in archive.entries().map_err(damaged)?.enumerate() {
        bounded(number, &|| "a layer".to_owned())?;
        let entry = entry.map_err(damaged)?;
        let path = clean(&entry.path().map_err(damaged)?.to_string_lossy())?;
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == OPAQUE {
            tree.remove(folder);
        } else if let Some(gone) = name.strip_prefix(WHITEOUT) {
            tree.remove(join(folder, gone).as_str());
        } else if !path.is_empty() {
            let entry = taken(entry, left).map_err(damaged)?;
            let entry = entry.ok_or_else(|| too_much("the unpacked layer", MOST_BYTES, "bytes"))?;
            tree.insert(&path, entry);
        }
    }
    Ok(())
}

/// `None` if it is longer than what is left.
fn taken(mut entry: tar::Entry<'_, impl io::Read>, left: &mut u64) -> io::Result<Option<Entry>> {
    let header = entry.header();
    let mode = header.mode()? & 0o7777;
    let kind = match header.entry_type() {
        tar::EntryType::Directory => Kind::Folder,
        tar::EntryType::Symlink => {
            let target = entry.link_name()?.unwrap_or_default();
            Kind::Link(target.to_string_lossy().into_owned())
        }
        tar::EntryType::Regular | tar::EntryType::Continuous | tar::EntryType::GNUSparse => {
            let Some(rest) = left.checked_sub(entry.size()) else {
                return Ok(None);
            };
            *left = rest;
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            Kind::File(bytes)
        }
        tar::EntryType::Link => Kind::Other("hard link"),
        tar::EntryType::Fifo => Kind::Other("named pipe"),
        tar::EntryType::Char | tar::EntryType::Block => Kind::Other("device"),
        _ => Kind::Other("special file"),
    };
    Ok(Some(Entry { mode, kind }))
}

fn bounded(number: usize, what: &dyn Fn() -> String) -> Result<(), ReadError> {
    if number < MOST_ENTRIES {
        return Ok(());
    }
    let limit = u64::try_from(MOST_ENTRIES).unwrap_or(u64::MAX);
    Err(too_much(what(), limit, "entries"))
}

/// A path without `./` before it and `/` behind it, which stays inside.
fn clean(path: &str) -> Result<String, ReadError> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(ReadError::Outside(path.to_owned()));
    }
    Ok(parts.join("/"))
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

fn walk(folder: &Path, below: &str, tree: &mut Tree, left: &mut u64) -> Result<(), ReadError> {
    let failed = |source| io_error(folder, source);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = join(below, &entry.file_name().to_string_lossy());
        bounded(tree.len(), &|| folder.display().to_string())?;
        let file = entry.path();
        let failed = |source| io_error(&file, source);
        let metadata = fs::symlink_metadata(&file).map_err(failed)?;
        let kind = metadata.file_type();
        let kind = if kind.is_dir() {
            Kind::Folder
        } else if kind.is_symlink() {
            let target = fs::read_link(&file).map_err(failed)?;
            Kind::Link(target.to_string_lossy().into_owned())
        } else if kind.is_file() {
            *left = left
                .checked_sub(metadata.len())
                .ok_or_else(|| too_much(folder.display().to_string(), MOST_BYTES, "bytes"))?;
            Kind::File(fs::read(&file).map_err(failed)?)
        } else if kind.is_fifo() {
            Kind::Other("named pipe")
        } else if kind.is_socket() {
            Kind::Other("socket")
        } else {
            Kind::Other("device")
        };
        let is_folder = kind == Kind::Folder;
        let mode = metadata.permissions().mode() & 0o7777;
        tree.insert(&path, Entry { mode, kind });
        if is_folder {
            walk(&file, &path, tree, left)?;
        }
    }
    Ok(())
}
