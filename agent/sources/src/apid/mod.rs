//! apid, from a workstation: one node dialled directly, by mutual TLS.
//!
//! Directly, because a question that one node passes on to another takes the tunnel, which is what is asked about.

mod dial;
mod error;

pub use dial::dial;
pub use error::{ApidError, Refusal, Stage};

use std::time::Duration;

/// Addresses of one name that are tried.
pub const MAX_ADDRESSES: usize = 8;
/// How long a server may take to speak first. One that refuses our certificate says so in this time; one that is slow has
/// refused nothing.
const FIRST_BYTES: Duration = Duration::from_millis(500);
