//! The program as its users meet it: screens, documents, exit codes.
#![cfg(test)]

mod adhoc;
mod apid;
#[path = "../../../proto/tests/support/authority.rs"]
mod authority;
mod documents;
mod exit_codes;
mod fixture;
mod formats;
mod graph;
mod handshake;
mod install;
mod key;
mod namespace;
mod node;
mod own;
mod ports;
mod program;
mod screens;
mod server;
mod several;
mod steering;
mod surfaces;
mod talos;
mod talos_view;
mod tap;
mod waits;
