//! A talosconfig: who a workstation is to the nodes of a cluster, and where they are.
//!
//! [`Lookup`] finds the file as talosctl does, [`Talosconfig::load`] reads one context of it. The key in it never shows itself.

mod context;
mod credentials;
mod endpoint;
mod error;
mod lookup;

pub use context::Talosconfig;
pub use credentials::Credentials;
pub use endpoint::{APID_PORT, Endpoint, EndpointError};
pub use error::TalosconfigError;
pub use lookup::Lookup;

/// Largest file that is read; a context has some 2 kB.
pub const MAX_FILE: u64 = 1024 * 1024;
/// Endpoints and nodes of a context.
pub const MAX_HOSTS: usize = 1024;
