//! Where the mesh key comes from. In order: a file, Talos' `secrets.yaml`, the environment (what was typed goes before what
//! was inherited); an agent can also take the `KubeSpan` preshared key that the kernel already holds.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::MeshKey;

/// Environment variable with the key in base64.
pub const MESH_KEY_VARIABLE: &str = "MESH_KEY";
/// Largest file that is read as a key source.
const MAX_FILE: u64 = 1024 * 1024;

/// Where to look for the mesh key.
#[derive(Clone, Debug, Default)]
pub struct KeySource {
    /// A file with the key in base64.
    pub file: Option<PathBuf>,
    /// Talos' `secrets.yaml`; its `cluster.secret` is the key.
    pub secrets: Option<PathBuf>,
}

/// Why no mesh key could be had. Never shows what was read.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Nothing was given.
    #[error(
        "no mesh key: give --mesh-key-file FILE (base64 of 32 bytes), or {MESH_KEY_VARIABLE}, or --secrets secrets.yaml"
    )]
    Missing,
    /// More keys than a change of keys needs.
    #[error("at most {0} other mesh keys can be accepted beside the own one")]
    TooMany(usize),
    /// A file cannot be read.
    #[error("failed to read the mesh key from {path}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is too large to be a key.
    #[error("{path} has {size} bytes, a key source has at most {MAX_FILE}")]
    Size {
        /// Which file.
        path: PathBuf,
        /// Its size.
        size: u64,
    },
    /// Not base64 of 32 bytes.
    #[error("{origin} does not hold a mesh key: expected base64 of 32 bytes")]
    Form {
        /// Where it was found.
        origin: String,
    },
    /// Not a `secrets.yaml`.
    #[error("{path} is not a Talos secrets.yaml: expected cluster.secret")]
    Secrets {
        /// Which file.
        path: PathBuf,
    },
}

impl KeySource {
    /// Reads the key: file, then `secrets.yaml`, then environment.
    pub fn load(&self) -> Result<MeshKey, KeyError> {
        if let Some(path) = &self.file {
            return MeshKey::from_base64(&read(path)?, &path.display().to_string());
        }
        if let Some(path) = &self.secrets {
            return MeshKey::from_secrets_yaml(&read(path)?, path);
        }
        let text = env::var(MESH_KEY_VARIABLE).map_err(|_| KeyError::Missing)?;
        MeshKey::from_base64(&Zeroizing::new(text), MESH_KEY_VARIABLE)
    }
}

impl MeshKey {
    /// Reads base64 of 32 bytes, with white space around it. `origin` is for messages.
    pub fn from_base64(text: &str, origin: &str) -> Result<Self, KeyError> {
        let form = || KeyError::Form {
            origin: origin.to_owned(),
        };
        let decoded = Zeroizing::new(STANDARD.decode(text.trim()).map_err(|_| form())?);
        let bytes: [u8; 32] = decoded.as_slice().try_into().map_err(|_| form())?;
        Ok(Self::from_bytes(Zeroizing::new(bytes)))
    }

    /// Reads the text of Talos' `secrets.yaml`. `path` is for messages.
    pub fn from_secrets_yaml(text: &str, path: &Path) -> Result<Self, KeyError> {
        // The parser's own message may quote the line, which can be a secret: it is dropped on purpose.
        let mut secrets: Secrets = serde_saphyr::from_str(text).map_err(|_| KeyError::Secrets {
            path: path.to_owned(),
        })?;
        let key = Self::from_base64(&secrets.cluster.secret, &path.display().to_string());
        secrets.cluster.secret.zeroize();
        key
    }
}

fn read(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    let wrap = |source| KeyError::Read {
        path: path.to_owned(),
        source,
    };
    let size = fs::metadata(path).map_err(wrap)?.len();
    if size > MAX_FILE {
        return Err(KeyError::Size {
            path: path.to_owned(),
            size,
        });
    }
    fs::read_to_string(path).map(Zeroizing::new).map_err(wrap)
}

/// The one field that is needed; the rest of the file stays unread.
#[derive(Deserialize)]
struct Secrets {
    cluster: Cluster,
}

#[derive(Deserialize)]
struct Cluster {
    secret: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn a_file_and_a_secrets_yaml_give_the_same_key() {
        let plain = file(&format!("{KEY}\n"));
        let yaml = file(&format!(
            "cluster:\n  id: x\n  secret: {KEY}\nsecrets:\n  bootstraptoken: abc\n"
        ));
        let one = KeySource {
            file: Some(plain.path().into()),
            secrets: None,
        }
        .load()
        .unwrap();
        let two = KeySource {
            file: None,
            secrets: Some(yaml.path().into()),
        }
        .load()
        .unwrap();
        assert_eq!(*one.probe_key(), *two.probe_key());
    }

    #[test]
    fn a_bad_key_is_refused_without_being_shown() {
        let bad = file("c2VjcmV0IHRleHQ=");
        let error = KeySource {
            file: Some(bad.path().into()),
            secrets: None,
        }
        .load()
        .unwrap_err();
        let text = error.to_string();
        assert!(
            text.ends_with("does not hold a mesh key: expected base64 of 32 bytes"),
            "{text}"
        );
        assert!(!text.contains("c2Vj"), "{text}");
    }

    #[test]
    fn a_yaml_without_the_secret_says_what_was_expected() {
        let yaml = file("cluster:\n  id: x\n");
        let error = KeySource {
            file: None,
            secrets: Some(yaml.path().into()),
        }
        .load()
        .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("is not a Talos secrets.yaml: expected cluster.secret"),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let source = KeySource {
            file: Some("/nonexistent/key".into()),
            secrets: None,
        };
        assert_eq!(
            source.load().unwrap_err().to_string(),
            "failed to read the mesh key from /nonexistent/key"
        );
    }
}
