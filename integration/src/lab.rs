//! One lab from the outside in; read the modules in this order.
//!
//! 1. [`sandbox`]: the processes and namespaces that make sure that nothing outlives a lab.
//! 2. [`topology`]: which hosts there are and how they are wired, as data.
//! 3. [`host`], [`underlay`]: namespaces of one host, and the links, routes and NAT between hosts.
//! 4. [`address`], [`kubespan`]: what Talos makes of it: keys, addresses, peers, steering.
//! 5. [`cluster`]: all of that put together as [`Lab`].

pub mod address;
pub mod cluster;
pub mod enter;
mod error;
pub mod host;
pub mod kubespan;
pub mod plan;
pub mod requirements;
pub mod sandbox;
pub mod state;
pub mod topology;
pub mod underlay;

pub use cluster::Lab;
pub use error::LabError;
