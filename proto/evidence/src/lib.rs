//! The nouns of the project: what was seen, by whom, when, and what follows from it.
//!
//! Pure: no clock, no I/O, no async. Start with [`Fact`] (one thing an agent saw), [`Facts`] (all present facts of a
//! node and their differences) and [`Verdict`] (what `diagnosis` makes of the facts of all nodes).
//!
//! In reading order: `identity`, `moment`, `size`, `steering`, `vxlan`, `talos`, `discovery`, `clock`, `host`, `health`, `data`,
//! `source`, `fact`, `of_peer`, `routine`, `moved`, `snapshot`, `agent`, `subject`, `verdict`, `tally`, `folded`, `headline`, `history`, `graph`,
//! `words`, `limits`.
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::as_conversions)]

mod agent;
mod answer;
mod clock;
mod data;
pub mod discovery;
pub mod document;
mod fact;
mod folded;
mod graph;
mod headline;
pub mod health;
mod history;
mod host;
mod identity;
pub mod limits;
mod moment;
mod moved;
mod node_echo;
mod of_peer;
mod routine;
mod size;
mod snapshot;
mod source;
mod steering;
mod subject;
mod tally;
mod talos;
mod verdict;
mod vxlan;
pub mod words;

pub use agent::{AgentStatus, Uplink, UplinkState, UplinkWay};
pub use clock::{Clock, KernelClock, Ntp, NtpServer, NtpStage, Offset, Step, WallReading};
pub use data::{DataMessages, DataSeen};
pub use discovery::Discovery;
pub use fact::{
    Arrival, Device, EchoHeard, EchoSent, EndpointChange, Fact, FactKey, Identity, Inert,
    InertReplies, Initiated, Peer, Rtt,
};
pub use folded::Folded;
pub use graph::{GateDependency, GateLevel};
pub use headline::Headline;
pub use health::{Conntrack, Drops, Health, Lag};
pub use history::{Change, Dated, Earlier, PairPast, Told, Transition};
pub use host::{
    Complaint, ComplaintKind, Fingerprint, HardwareAddress, HardwareAddressError, Host, HostLink,
    Offload, Ports, ReversePath, Udp,
};
pub use identity::{MAX_NODE_NAME, NodeName, NodeNameError, PublicKey, PublicKeyError};
pub use moment::Moment;
pub use moved::{CannotMove, Moved, MovedFact, MovedKind, ShortKey};
pub use node_echo::{NodeAsked, NodeEcho, NodeHeard, Via};
pub use of_peer::OfPeer;
pub use size::{Bracket, Layer, Sizes, TooBig};
pub use snapshot::{Delta, Edition, Facts};
pub use source::{Gap, SourceId, SourceState};
pub use steering::{EndpointWay, Steered, SteeredPrefix, Steering, SteeringChains, SteeringFamily};
pub use subject::{End, NodeRef, Subject};
pub use tally::{PairHealth, Tally};
pub use talos::{
    Candidate, CandidateWay, Condition, Stage, Talos, TalosNetwork, TalosPeer, TalosPeerState,
    TalosPeerStatus, TalosService, TalosTime, next_candidate,
};
pub use verdict::{
    Citation, Confidence, Finding, Fix, Flapping, Gate, Ladder, NodeState, Outcome, PairRef, Phase,
    Reporter, Rung, RungState, Verdict,
};
pub use vxlan::{Vxlan, VxlanDevice};
