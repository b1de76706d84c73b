//! Whether a key belongs to a `WireGuard` device of this node. A handshake with such a key would move the node's sessions here.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use evidence::PublicKey;
use sources::{
    links::{self, LinksError},
    wireguard::{self, WireGuardError},
};
use thiserror::Error;

/// Where daemons have their sockets; the older folder is a link to the other on most systems.
const SOCKETS: [&str; 2] = ["/var/run/wireguard", "/run/wireguard"];
/// Devices that are looked at; a node has one or two.
const MAX_DEVICES: usize = 64;
const WIREGUARD: &str = "wireguard";

/// Why a key must not be used. Whoever cannot look must not assume that all is well.
#[derive(Debug, Error)]
pub enum OwnKeyError {
    #[error(
        "this is the private key of the WireGuard device {interface} of this node: a handshake with it would take over the node's sessions"
    )]
    OwnKey { interface: String },
    #[error("failed to list the links of this node")]
    Links(#[source] LinksError),
    #[error("failed to list the WireGuard sockets in {path}")]
    Sockets {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "failed to make sure that this is not the key of the WireGuard device {interface} of this node"
    )]
    Device {
        interface: String,
        #[source]
        source: WireGuardError,
    },
    #[error("this node has more than {MAX_DEVICES} WireGuard devices")]
    TooMany,
}

/// Fails unless it is sure that no `WireGuard` device of this network namespace has the key.
pub async fn refuse_own(key: PublicKey) -> Result<(), OwnKeyError> {
    let devices = devices().await?;
    if devices.len() > MAX_DEVICES {
        return Err(OwnKeyError::TooMany);
    }
    for interface in devices {
        match wireguard::read(&interface).await {
            Ok(device) if device.public_key == Some(key) => {
                return Err(OwnKeyError::OwnKey { interface });
            }
            // A socket that a dead daemon left behind has no key.
            Ok(_) | Err(WireGuardError::DaemonGone { .. }) => {}
            Err(source) => return Err(OwnKeyError::Device { interface, source }),
        }
    }
    Ok(())
}

async fn devices() -> Result<BTreeSet<String>, OwnKeyError> {
    let snapshot = links::read().await.map_err(OwnKeyError::Links)?;
    let in_kernel = snapshot
        .links
        .into_iter()
        .filter(|link| link.kind.as_deref() == Some(WIREGUARD))
        .map(|link| link.name);
    let mut devices: BTreeSet<String> = in_kernel.collect();
    for folder in SOCKETS {
        let path = Path::new(folder);
        let sockets = sockets(path).map_err(|source| OwnKeyError::Sockets {
            path: path.to_owned(),
            source,
        })?;
        devices.extend(sockets);
    }
    Ok(devices)
}

/// The devices of daemons: each has a socket with its name.
fn sockets(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries.take(MAX_DEVICES + 1) {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        names.extend(name.strip_suffix(".sock").map(str::to_owned));
    }
    Ok(names)
}
