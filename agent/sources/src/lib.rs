//! Reads one node: its `WireGuard` device, links, routes, rules, Talos' nftables chains, what
//! Talos itself says, and a few facts of the host.
//! [`dns`] asks the node's resolvers and [`ntp`] a time server, as any program on it would.
//!
//! Every reader only asks. Nothing here sends a `SET_DEVICE`, changes a link, a route or a rule, loads a kernel module
//! or keeps key material. A source that cannot be read gives a typed error, and [`Gap`] says it in words for a person.
//!
//! Start with [`wireguard::read()`], [`links::read()`], [`nftables::read()`], [`talos::connect()`] and [`host`]. From
//! a workstation, [`talosconfig`] and [`apid`] lead to what Talos says.
#![forbid(unsafe_code)]

pub mod apid;
pub mod decode;
pub mod discovery;
pub mod dns;
pub mod host;
pub mod links;
pub mod nftables;
pub mod ntp;
pub mod pressure;
pub mod talos;
pub mod talosconfig;
pub mod wireguard;

mod gap;
mod netlink;
mod refusal;
mod wiped;

pub use gap::Gap;

use std::time::Duration;

/// The longest time one reading may take: a stuck source must not delay the others.
pub const READ_TIMEOUT: Duration = Duration::from_secs(2);
