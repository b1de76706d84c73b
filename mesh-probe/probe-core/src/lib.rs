//! The pure half of probing: wire formats, pacing and bookkeeping, without a socket and without a clock.
//!
//! In reading order:
//!
//! - [`ProbeKey`] authenticates every probe, [`Stamp`] is a reading of the monotonic clock in microseconds;
//! - [`echo`] asks "does data pass inside the tunnel, and in which direction is it lost?";
//! - [`inert`] asks "does the true five-tuple of the tunnel carry datagrams?", with a payload `WireGuard` drops;
//! - [`node_echo`] asks "does traffic for a node's own address come out of the tunnel?";
//! - [`size`] asks "how long a packet passes inside the tunnel, and on the overlay's port?";
//! - [`wireguard`] reads the headers of handshake datagrams and checks whom an initiation is for;
//! - [`sightings`] remembers which handshake datagrams were seen leaving and arriving;
//! - [`data`] asks "do data messages of a peer in doubt pass the interfaces?";
//! - [`sweep`] asks "how large a packet passes?";
//! - [`packet`] takes IP and UDP headers off a captured packet and puts a UDP header on a raw one.
//!
//! State machines share one contract: hand in an input, then drain `poll()` until it returns `Wait`.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

pub mod data;
pub mod echo;
pub mod inert;
pub mod node_echo;
pub mod packet;
pub mod sightings;
pub mod size;
pub mod sweep;
pub mod wireguard;

mod budget;
mod cursor;
mod hearing;
mod key;
mod random;
mod sequences;
mod stamp;
mod wire;

pub use hearing::{HeardStats, LossWindow, MAX_RETIRED_SESSIONS, REPLAY_WINDOW, Refusal};
pub use key::{ProbeKey, TAG_LENGTH};
pub use stamp::{Stamp, Wall};
pub use wire::{WireCounters, WireError};

/// Most peers that any table of this crate holds; a mesh has at most 1,024 nodes.
pub const MAX_PEERS: usize = 1024;
