//! Keys from files, as `wg genkey` and `wg genpsk` write them.

use std::{
    fmt, fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proto::trust::{Credentials, CredentialsError, TrustError};
use rustls::ClientConfig;
use thiserror::Error;
use zeroize::Zeroizing;

/// Bytes of a file that are read at most: base64 of 32 bytes has 44, and some write blanks around it.
const MAX_FILE: u64 = 256;
/// The same of credentials: a few certificates and a key.
const MAX_CREDENTIALS: u64 = 64 * 1024;

/// 32 secret bytes. They never show themselves, and are wiped when they go.
pub struct SecretKey(Zeroizing<[u8; 32]>);

/// Why there is no key. Never shows what was read.
#[derive(Debug, Error)]
pub enum SecretError {
    #[error("failed to read the key file {path}")]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} does not hold a key: expected base64 of 32 bytes, as wg genkey writes it")]
    Form { path: PathBuf },
}

/// Why a file of credentials cannot be used. Never shows what was read.
#[derive(Debug, Error)]
pub enum ReaderError {
    #[error("failed to read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Form(CredentialsError),
    #[error("{} cannot be used", path.display())]
    Tls {
        path: PathBuf,
        #[source]
        source: TrustError,
    },
}

/// TLS towards collectors with a reader's credentials, as `mesh-probe key` prints them.
pub fn reader_config(path: &Path) -> Result<ClientConfig, ReaderError> {
    configured(path, Credentials::client_config)
}

/// The same towards agents.
pub fn reader_of_agents_config(path: &Path) -> Result<ClientConfig, ReaderError> {
    configured(path, Credentials::agents_config)
}

fn configured(
    path: &Path,
    config: impl FnOnce(Credentials) -> Result<ClientConfig, TrustError>,
) -> Result<ClientConfig, ReaderError> {
    let text = read(path, MAX_CREDENTIALS).map_err(|source| ReaderError::Read {
        path: path.to_owned(),
        source,
    })?;
    // What is not text is no PEM, and is said to be none.
    let text = str::from_utf8(&text).unwrap_or_default();
    let read = Credentials::parse(text, &path.display().to_string());
    config(read.map_err(ReaderError::Form)?).map_err(|source| ReaderError::Tls {
        path: path.to_owned(),
        source,
    })
}

impl SecretKey {
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let text = read(path, MAX_FILE).map_err(|source| SecretError::Read {
            path: path.to_owned(),
            source,
        })?;
        let form = || SecretError::Form {
            path: path.to_owned(),
        };
        let text = text.trim_ascii();
        let decoded = Zeroizing::new(STANDARD.decode(text).map_err(|_| form())?);
        let bytes = decoded.as_slice().try_into().map_err(|_| form())?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(crate) fn expose(&self) -> [u8; 32] {
        *self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn read(path: &Path, most: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    // With its room made beforehand it is never moved, which would leave a copy behind.
    let room = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .saturating_mul(2);
    let mut text = Zeroizing::new(Vec::with_capacity(room));
    let mut file = fs::File::open(path)?.take(most);
    file.read_to_end(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_key_is_read_and_does_not_show_itself() {
        let key =
            SecretKey::load(written(b"QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=\n").path())
                .unwrap();
        assert_eq!(key.expose(), [0x42; 32]);
        assert_eq!(format!("{key:?}"), "SecretKey(..)");
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        let long = [b'A'; 4000];
        for text in [&b""[..], b"secret", b"QkJC", &long, b"\xff\xfe"] {
            let error = SecretKey::load(written(text).path()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
    }
}
