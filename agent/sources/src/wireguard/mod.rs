//! The `WireGuard` device of this node, read and never set.
//!
//! The kernel is asked first (generic netlink), then a userspace daemon (UAPI socket). Reading order: `device` (what a
//! reading is), `assembly` (how parts become one), `dump` and `uapi` (pure decoders), `kernel` and `daemon` (I/O),
//! `secrets` (what happens to key bytes on the way).

mod assembly;
mod daemon;
mod device;
mod dump;
mod error;
mod kernel;
mod secrets;
mod uapi;

pub use device::{
    AllowedIp, AllowedIpError, Backend, Device, Dropped, MAX_ALLOWED_IPS, MAX_PEERS, Peer,
};
pub use error::WireGuardError;

pub(crate) use kernel::decode as decode_dump;
pub(crate) use uapi::{device as decode_reply, preshared_key as decode_preshared_key};

use rustix::net::{AddressFamily, SocketType, netdevice};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::{READ_TIMEOUT, wiped::Wiped};

/// `IFNAMSIZ` without the closing zero.
const MAX_INTERFACE_NAME: usize = 15;

/// Reads the device `interface`: peers, endpoints, handshakes and counters, and no secret.
pub async fn read(interface: &str) -> Result<Device, WireGuardError> {
    bounded(interface, async {
        match kernel::device(interface).await {
            Err(error) if leaves_room_for_a_daemon(&error) => {
                let reply = daemon_reply(interface, error).await?;
                uapi::device(interface, &reply)
            }
            result => result,
        }
    })
    .await
}

/// The one preshared key that all peers of `interface` share. On a `KubeSpan` node this is the cluster's secret.
pub async fn preshared_key(interface: &str) -> Result<Zeroizing<[u8; 32]>, WireGuardError> {
    bounded(interface, async {
        match kernel::preshared_key(interface).await {
            Err(error) if leaves_room_for_a_daemon(&error) => {
                let reply = daemon_reply(interface, error).await?;
                uapi::preshared_key(interface, &reply)
            }
            result => result,
        }
    })
    .await
}

async fn bounded<T>(
    interface: &str,
    reading: impl Future<Output = Result<T, WireGuardError>>,
) -> Result<T, WireGuardError> {
    if !is_interface_name(interface) {
        let name = interface.to_owned();
        return Err(WireGuardError::BadInterfaceName { name });
    }
    timeout(READ_TIMEOUT, reading).await.unwrap_or_else(|_| {
        Err(WireGuardError::TimedOut {
            interface: interface.to_owned(),
            after: READ_TIMEOUT,
        })
    })
}

/// The name becomes part of a path, so this is more than politeness.
fn is_interface_name(name: &str) -> bool {
    let fits = (1..=MAX_INTERFACE_NAME).contains(&name.len());
    let clean = name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'/');
    fits && clean && name != "." && name != ".."
}

/// Whether the kernel's answer still allows that the device belongs to a daemon. Without the right to ask, the kernel
/// does not even say whether the device exists.
const fn leaves_room_for_a_daemon(error: &WireGuardError) -> bool {
    matches!(
        error,
        WireGuardError::NoFamilyNoSocket { .. }
            | WireGuardError::NoSuchInterface { .. }
            | WireGuardError::NotWireGuard { .. }
            | WireGuardError::NoPermission { .. }
    )
}

async fn daemon_reply(interface: &str, kernel: WireGuardError) -> Result<Wiped, WireGuardError> {
    match daemon::reply(interface).await? {
        Some(reply) => Ok(reply),
        None => Err(sharper(kernel)),
    }
}

/// Without the family the kernel could not say that the interface is missing; this looks.
fn sharper(kernel: WireGuardError) -> WireGuardError {
    match kernel {
        WireGuardError::NoFamilyNoSocket { interface } if !exists(&interface) => {
            WireGuardError::NoSuchInterface { interface }
        }
        other => other,
    }
}

fn exists(interface: &str) -> bool {
    rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)
        .and_then(|socket| netdevice::name_to_index(socket, interface))
        .is_ok()
}
