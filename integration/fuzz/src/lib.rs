//! Every decoder of bytes that come from outside, and what must hold of it whatever the bytes are.
//!
//! A target is a function that takes bytes and panics if something is wrong: it decodes, and then checks more than that
//! nothing crashed. The same functions are driven by libFuzzer (`./dev fuzz`) and by the replay of the committed corpora
//! on a stable compiler (`integration/tests/corpora.rs`).
#![forbid(unsafe_code)]

mod script;
mod targets;

use targets::{
    affiliates, bundle, certificate, changes, echo, error_queue, gate_graph, handshake, inert,
    links, mesh_key, node_echo, ntp, packet, peer_list, report, scenario, secrets_yaml, size,
    steering, talos_resource, talosconfig, verdict, wireguard_dump, wireguard_reply,
};

/// Longest input that is tried: more than any datagram, and enough for some messages of a dump.
pub const MAX_INPUT: usize = 4096;

/// A decoder with what must hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name, which is that of its folder of inputs.
    pub name: &'static str,
    /// Decodes and checks; panics if something does not hold.
    pub run: fn(&[u8]),
    /// Well-formed inputs and known edge cases, made with the project's own encoders, so that they follow the formats.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets, in the order of their names.
pub const TARGETS: &[Target] = &[
    affiliates::ENDPOINT,
    affiliates::TARGET,
    bundle::TARGET,
    certificate::TARGET,
    changes::TARGET,
    echo::TARGET,
    error_queue::TARGET,
    gate_graph::TARGET,
    handshake::TARGET,
    inert::TARGET,
    links::TARGET,
    mesh_key::TARGET,
    node_echo::TARGET,
    ntp::TARGET,
    packet::TARGET,
    peer_list::TARGET,
    report::TARGET,
    scenario::TARGET,
    secrets_yaml::TARGET,
    size::TARGET,
    steering::TARGET,
    talos_resource::TARGET,
    talosconfig::TARGET,
    verdict::TARGET,
    wireguard_dump::TARGET,
    wireguard_reply::TARGET,
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The names of all targets.
pub fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).collect()
}
