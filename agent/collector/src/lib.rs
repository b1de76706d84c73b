//! Joins the nodes' reports into one view, judges it, and answers whether the next layer may be started.
//!
//! Start with [`run()`] and [`Config`]. One task owns the view, so no lock guards it:
//!
//! ```text
//! agent --Report.Stream--> intake --changes, inbox--> judge (owns the view) --verdicts--> gates, mesh
//!                             ^---------------------peer list------------'
//! ```
//!
//! In reading order: `run`, `desks` (which work is done on which threads), `apart` (what takes long to answer), `intake` (one report stream), `inbox` (what waits to be taken in), `state` (who may change which part of the view), `judge`
//! (when it is judged), `store` (what survives a restart), `streams` (that without connections), `verdicts` (how readers see
//! that), `answer` (the one answer to all of them), `gates`, `mesh`, `pairs`, `witness`, `health`, `http` and `metrics` (what they
//! ask), `otlp` (what is pushed), `access` (who may ask), `certificates` (by what they are known).
#![forbid(unsafe_code)]

mod access;
mod answer;
mod apart;
mod certificates;
mod clock;
mod connections;
mod contract;
mod counters;
mod desks;
mod gates;
mod health;
mod http;
mod inbox;
mod intake;
mod judge;
mod mesh;
mod metrics;
mod otlp;
mod pairs;
mod rates;
mod reflection;
mod refusal;
mod run;
mod state;
mod store;
mod streams;
mod verdicts;
mod witness;

pub use certificates::{Proof, ProofError};
pub use counters::{Counter, Counters};
pub use http::{Http, Open};
pub use judge::Judge;
pub use otlp::{Otlp, SettingsError};
pub use run::{Config, RunError, run};
pub use store::StoreConfig;
pub use streams::{OpenStream, Streams};
