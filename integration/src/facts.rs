//! What implementations of `WireGuard` do differently, measured: `lab facts`.
//!
//! What may be concluded from counters, handshake times, keepalives and fragments depends on who implements the device. So each
//! measurement runs on a lab of two public nodes, once per stage, and states what it saw and how. `docs/kernel-vs-userspace.md`
//! puts both side by side.
//!
//! - [`tap`]: the outer packets of a host.
//! - [`pair`]: two nodes, their devices set back to nothing and read.
//! - [`handshake`], [`roaming`], [`path`], [`idle`]: the measurements.
//! - [`reader`]: the agent's reader against `wg`, on a device with a thousand peers.

pub mod handshake;
pub mod idle;
pub mod pair;
pub mod path;
pub mod reader;
pub mod roaming;
pub mod tap;

use std::{fmt, path::Path};

use serde::{Deserialize, Serialize};

use crate::lab::{LabError, stage_kind::StageKind};
use pair::Pair;

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    pub what: String,
    pub seen: String,
    pub how: String,
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Sizes, counters and times of handshakes.
    Handshake,
    /// Endpoints that follow the peer.
    Roaming,
    /// DF and packets that are too large for the path.
    Path,
    /// A tunnel without traffic.
    Idle,
    /// The agent's reader and `wg` on one device.
    Reader,
}

/// All facts of one subject on one stage.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub subject: Subject,
    pub stage: StageKind,
    pub facts: Vec<Fact>,
}

impl Subject {
    pub const ALL: [Self; 5] = [
        Self::Handshake,
        Self::Roaming,
        Self::Path,
        Self::Idle,
        Self::Reader,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Roaming => "roaming",
            Self::Path => "path",
            Self::Idle => "idle",
            Self::Reader => "reader",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.name() == name)
    }
}

/// Measures one subject in the sandbox of the calling process.
pub fn measure(subject: Subject, stage: StageKind, folder: &Path) -> Result<Facts, LabError> {
    let pair = Pair::up(stage, folder)?;
    let facts = match subject {
        Subject::Handshake => handshake::measure(&pair),
        Subject::Roaming => roaming::measure(&pair),
        Subject::Path => path::measure(&pair),
        Subject::Idle => idle::measure(&pair),
        Subject::Reader => reader::measure(&pair, stage),
    }?;
    Ok(Facts {
        subject,
        stage,
        facts,
    })
}

impl Fact {
    fn new(what: &str, seen: impl fmt::Display, how: &str) -> Self {
        Self {
            what: what.to_owned(),
            seen: seen.to_string(),
            how: how.to_owned(),
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.subject.name(), self.stage)?;
        self.facts
            .iter()
            .try_for_each(|fact| writeln!(f, "  {}: {}\n      {}", fact.what, fact.seen, fact.how))
    }
}
