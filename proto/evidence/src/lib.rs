//! The nouns of the project: what was seen, by whom, when, and what follows from it.
//!
//! Pure: no clock, no I/O, no async. Start with [`Fact`] (one thing an agent saw), [`Facts`] (all present facts of a
//! node and their differences) and [`Verdict`] (what `diagnosis` makes of the facts of all nodes).
//!
//! In reading order: `identity`, `moment`, `size`, `steering`, `vxlan`, `talos`, `health`, `fact`, `snapshot`, `verdict`, `limits`.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

mod fact;
pub mod health;
mod identity;
pub mod limits;
mod moment;
mod size;
mod snapshot;
mod steering;
mod talos;
mod verdict;
mod vxlan;

pub use fact::{
    Arrival, Device, EchoHeard, EchoSent, Fact, FactKey, Gap, Identity, Inert, InertReplies,
    Initiated, Peer, Rtt, SourceId, SourceState,
};
pub use health::{Conntrack, Drops, Health, Lag};
pub use identity::{MAX_NODE_NAME, NodeName, NodeNameError, PublicKey, PublicKeyError};
pub use moment::Moment;
pub use size::{Bracket, Layer, Sizes, TooBig};
pub use snapshot::{Delta, Facts};
pub use steering::{EndpointWay, Steered, SteeredPrefix, Steering, SteeringChains, SteeringFamily};
pub use talos::{
    Candidate, CandidateWay, Condition, Stage, Talos, TalosNetwork, TalosPeer, TalosPeerState,
    TalosPeerStatus, TalosService, TalosTime, next_candidate,
};
pub use verdict::{
    Citation, Confidence, Finding, Fix, Gate, Ladder, NodeRef, NodeState, Outcome, PairRef, Phase,
    Reporter, Rung, RungState, Subject, Verdict,
};
pub use vxlan::{Vxlan, VxlanDevice};
