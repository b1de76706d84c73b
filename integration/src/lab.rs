//! One lab from the outside in; read the modules in this order.
//!
//! 1. [`sandbox`]: the processes and namespaces that make sure that nothing outlives a lab.
//! 2. [`topology`]: which hosts there are and how they are wired, as data.
//! 3. [`host`], [`underlay`]: namespaces of one host, and the links, routes and NAT between hosts.
//! 4. [`address`], [`kubespan`]: what Talos makes of it: keys, addresses, peers, steering; [`boringtun`] as a device.
//! 5. [`cluster`]: all of that put together as [`Lab`]; [`state`], [`enter`]: reaching it from other processes.
//! 6. [`programs`], [`stage`], [`stage_kind`]: the programs under test in it, and who carries their tunnels.
//! 7. [`faults`], [`scenario`], [`verdict`], [`runner`]: breaking it, and judging what is said of it.
//!    [`record`]: all of that, of all scenarios.
//! 8. [`fake`]: servers that a scenario starts, and that do not do what they should; [`services`]: what is outside of the cluster.
//! 9. [`demo`]: the story for a newcomer.

pub mod address;
pub mod boringtun;
pub mod carried;
pub mod cluster;
pub mod demo;
pub mod enter;
mod error;
pub mod fake;
pub mod faults;
pub mod host;
pub mod kubespan;
pub mod plan;
pub mod programs;
pub mod record;
pub mod requirements;
pub mod runner;
pub mod sandbox;
pub mod scenario;
pub mod services;
pub mod stage;
pub mod stage_kind;
pub mod state;
pub mod topology;
pub mod underlay;
pub mod verdict;

pub use cluster::Lab;
pub use error::LabError;
