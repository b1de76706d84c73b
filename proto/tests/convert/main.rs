//! What the conversions take, what they refuse and by which name, and what they make of a version that is not ours.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod agent;
mod discovery;
mod fields;
mod host;
mod limits;
mod moves;
mod newer;
mod node_echo;
mod sample;
mod steering;
mod talos;
mod verdict;
mod vxlan;
