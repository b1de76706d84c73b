//! Export to OpenTelemetry, for who asks for it: the metrics of `/metrics`, and changes of gates and findings as log records, pushed
//! over OTLP's gRPC.
//!
//! Nothing waits for a receiver. Metrics are made anew for each attempt, so that none are queued; records wait in a queue of a
//! fixed length, and those that find no room are counted. Pure: `settings` (what was asked for), `messages` (what is said),
//! `answers` (what an answer means), `pace` (when to try again). The rest waits and connects: `dial`, `push`.

mod answers;
mod dial;
mod messages;
mod pace;
mod push;
mod queue;
mod settings;

#[cfg(test)]
mod tests;

pub(crate) use push::{Source, push};
pub(crate) use queue::Queue;
pub use settings::{Otlp, SettingsError};
