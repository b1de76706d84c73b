//! The whole collector in-process on loopback: agents and readers with derived certificates, a judge that only
//! repeats what it sees.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod attack;
#[path = "../../../../proto/tests/support/authority.rs"]
mod authority;
mod fixture;
mod gates;
mod health;
mod http;
mod limits;
mod mesh;
mod moves;
mod otlp;
mod own;
mod page;
mod pinning;
mod program;
mod reports;
mod restarts;
mod store;
mod surfaces;
mod web;
