//! `key`: the credentials of a reader, so that whoever may only ask need not have the mesh key.

use std::{
    fs::OpenOptions,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use crate::{
    args::{Connection, KeyArgs},
    error::ProbeError,
    exit::Exit,
};

pub(super) fn run(arguments: &KeyArgs, connection: &Connection) -> Result<Exit, ProbeError> {
    let key = connection.key_source().load().map_err(ProbeError::Key)?;
    let text = key.reader_credentials().map_err(ProbeError::Trust)?;
    match &arguments.to {
        Some(path) => {
            write(path, text.as_bytes()).map_err(|source| ProbeError::WriteCredentials {
                path: path.clone(),
                source,
            })?;
        }
        None => io::stdout()
            .write_all(text.as_bytes())
            .map_err(ProbeError::Print)?,
    }
    Ok(Exit::Ready)
}

/// A new file alone: whatever was there keeps what it has, and its own rights.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text)?;
    file.sync_all()
}
