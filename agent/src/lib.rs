//! The node agent.
//!
//! ```text
//! readers (wireguard, links, steering, tap, talos) --channels--> observer --watch--> uplink, one per collector
//!                                                            |
//!                                                       echo socket, raw sender
//! ```
//!
//! - `supervisor`: starts the tasks, says who owns what and what restarts what;
//! - `readers`: one task per source, so a slow source never delays another;
//! - `steering`: reads by what traffic for node addresses enters the tunnel;
//! - `talos`: follows what Talos says over machined's socket;
//! - `discovery`: looks at the discovery service;
//! - `observer`: owns the pure machines of `probe-core`, drives them, turns what they know into facts; by [`Ways`] it also runs
//!   without a node, in virtual time;
//! - `machines`: the machines of one `WireGuard` key; `peers`: whom they ask; `sockets`: what they send with;
//! - `clock`: the wall clock, as something to be told; `ntp`: asks the time servers; `host`: what the host says;
//! - `facts`: the translation into [`evidence::Facts`];
//! - `messages`: snapshot and deltas; `uplink`: reports to one collector by them, reconnects; `uplinks`: how each does; `collectors`:
//!   which, where none were given;
//! - `answers`: tells the same to whoever asks the agent itself.
//!
//! What it never does: write to the host's network state, bind 51820, use the node's private key, send or log a key.

mod answers;
mod clock;
mod collectors;
mod data;
mod discovery;
mod facts;
mod health;
mod host;
mod machines;
mod messages;
mod ntp;
mod observer;
mod peers;
pub mod privileges;
mod readers;
mod sockets;
mod steering;
mod supervisor;
mod talos;
mod uplink;
mod uplinks;
mod vxlan;

pub use answers::AnswersConfig;
pub use discovery::DiscoveryConfig;
pub use ntp::server_name;
pub use observer::{Looked, Observer, ObserverConfig, Ways};
pub use readers::{DeviceReading, Reading, TapState};
pub use steering::SteeringReading;
pub use supervisor::{Config, ECHO_BUDGET, SourcesConfig, look, run};
pub use talos::Machined;
