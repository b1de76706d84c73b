//! Facts about the observer itself: how well it could look.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Moment;

/// A wake-up later than this is a stall. Requests are a second apart, so a shorter one delays answers and loses none.
pub const STALL: Duration = Duration::from_millis(500);

/// How the agent itself has fared. What could not be read is `None`, never a zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// How late its loop woke over the last ten seconds.
    pub lag: Option<Lag>,
    /// When it last woke from a stall: later than [`STALL`].
    pub stalled: Option<Moment>,
    /// Packets that the tap was not quick enough for.
    pub tap: Option<Drops>,
    /// Datagrams that the socket of the echo had no room for.
    pub echo: Option<Drops>,
    /// Packets of any kind that the kernel dropped before it looked at them.
    pub backlog: Option<Drops>,
    /// Times that the kernel left packets waiting, because it had worked on others for long enough.
    pub squeezed: Option<Drops>,
    /// How full the table of tracked connections is.
    pub conntrack: Option<Conntrack>,
}

/// How late a loop woke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// The mean, in microseconds.
    pub mean_us: u32,
    /// The greatest, in microseconds.
    pub max_us: u32,
}

/// What was lost since the agent started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// How many.
    pub count: u64,
    /// When the count was last seen to grow.
    pub last: Option<Moment>,
}

impl Drops {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(self, offset: i64) -> Self {
        Self {
            last: self.last.map(|at| at.shifted(offset)),
            ..self
        }
    }
}

/// The table of tracked connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conntrack {
    /// When it was read.
    pub at: Moment,
    /// Its entries.
    pub count: u32,
    /// How many it holds.
    pub max: u32,
}

impl Health {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(self, offset: i64) -> Self {
        let drops = |drops: Option<Drops>| drops.map(|drops| drops.shifted(offset));
        Self {
            lag: self.lag,
            stalled: self.stalled.map(|at| at.shifted(offset)),
            tap: drops(self.tap),
            echo: drops(self.echo),
            backlog: drops(self.backlog),
            squeezed: drops(self.squeezed),
            conntrack: self.conntrack.map(|table| Conntrack {
                at: table.at.shifted(offset),
                ..table
            }),
        }
    }
}
