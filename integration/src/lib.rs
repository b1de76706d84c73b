//! The lab: a whole `KubeSpan` cluster in network namespaces, its faults, and the scenarios that are staged in it.
//!
//! Start at [`lab::Lab::up`] for the network, [`lab::scenario::Scenario`] for the files under `scenarios/`, and
//! `src/bin/lab.rs` for the program.

pub mod facts;
pub mod fakes;
pub mod lab;
pub mod machined;
pub mod sim;
pub mod vagrant;
pub mod vm;
