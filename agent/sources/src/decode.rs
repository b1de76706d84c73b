//! The decoders without their sockets: what the kernel or a daemon said, handed in as bytes.
//!
//! The readers of this crate use the same code. A netlink buffer holds whole messages, one behind the other.

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::{
    links::{self, Change, FamilySteering, LinksError, Snapshot},
    talos::{self, Kind, Malformed},
    wireguard::{self, Device, WireGuardError},
};

/// The name that errors carry.
const INTERFACE: &str = "kubespan";

/// Reads the kernel's dump of a `WireGuard` device. The private and preshared keys in `messages` are overwritten.
pub fn wireguard_dump(messages: &mut [u8]) -> Result<Device, WireGuardError> {
    wireguard::decode_dump(INTERFACE, messages)
}

/// Reads a userspace daemon's reply to `get=1`.
pub fn wireguard_reply(reply: &[u8]) -> Result<Device, WireGuardError> {
    wireguard::decode_reply(INTERFACE, reply)
}

/// The preshared key that all peers in a userspace daemon's reply share.
pub fn preshared_key_in_reply(reply: &[u8]) -> Result<Zeroizing<[u8; 32]>, WireGuardError> {
    wireguard::decode_preshared_key(INTERFACE, reply)
}

/// Reads the dumps of links and of addresses.
pub fn links_dump(links: &mut [u8], addresses: &mut [u8]) -> Result<Snapshot, LinksError> {
    links::decode_links(links, addresses)
}

/// Judges one family's dumps of rules and of table 180; `kubespan` is the index of that link.
pub fn steering_dump(
    rules: &mut [u8],
    routes: &mut [u8],
    kubespan: Option<u32>,
) -> Result<FamilySteering, LinksError> {
    links::decode_steering(rules, routes, kubespan)
}

/// Reads a resource of COSI's state API as one of a type.
pub fn talos_resource<R: Kind>(resource: &[u8]) -> Result<talos::Resource<R>, Malformed> {
    talos::decode_resource(resource)
}

/// What the notifications in one datagram say has changed.
pub fn changes(datagram: &[u8]) -> BTreeSet<Change> {
    links::decode_changes(datagram)
}
