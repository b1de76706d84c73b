//! Facts about time: a node's own clock, and what it read of the clocks of others.
//!
//! No moment is ever made of a wall clock. A wall clock that was read is told beside the moment of the reading on the
//! reader's own timeline, which never steps; so two readings of one reader can be compared whatever his own clock does.

use std::{fmt, net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::Moment;

/// Somebody's wall clock, read at a moment of the reader's timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WallReading {
    /// When it was read.
    pub at: Moment,
    /// What it showed then: milliseconds since the Unix epoch, right or wrong.
    pub wall_ms: i64,
    /// How far the reading may be off, in microseconds: half of the round trip, and what the clock itself does not know.
    pub error_us: u32,
}

/// How far one clock is ahead of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offset {
    /// Milliseconds; negative if it is behind.
    pub ahead_ms: i64,
    /// How far this may be off, either way, in milliseconds.
    pub error_ms: u64,
}

/// A node's own clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// What it shows.
    pub reading: WallReading,
    /// When the node was booted.
    pub booted: Moment,
    /// What the kernel says of it; `None` if it does not tell.
    pub kernel: Option<KernelClock>,
    /// When it was last seen to be set, since the agent started.
    pub stepped: Option<Step>,
}

/// The kernel's word on its clock (`adjtimex`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelClock {
    /// Whether a time service disciplines it.
    pub synchronized: bool,
    /// The most that it may be off, in microseconds.
    pub max_error_us: u32,
    /// How much it is believed to be off, in microseconds.
    pub estimated_error_us: u32,
}

/// A clock that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// When that was seen.
    pub at: Moment,
    /// By how many milliseconds; negative if it was set back.
    pub by_ms: i64,
}

/// The time servers that a node is configured with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ntp {
    /// The first of them, at most [`crate::limits::NTP_SERVERS`].
    pub servers: Vec<NtpServer>,
}

/// One time server, as the newest question found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NtpServer {
    /// Its name or address, as configured.
    pub name: String,
    /// When it was last asked, or its name was looked up in vain.
    pub asked: Moment,
    /// Which of its addresses was asked.
    pub address: Option<IpAddr>,
    /// How far the question came.
    pub stage: NtpStage,
    /// What there is to say beside: a response code, a kiss code, an error of the system.
    pub detail: Option<String>,
    /// Questions in a row that did not bring the time.
    pub failed_in_a_row: u32,
    /// The newest time that it told.
    pub told: Option<WallReading>,
    /// How many servers stand between it and a clock of reference, by its own word.
    pub stratum: Option<u8>,
}

/// How far a question to a time server came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NtpStage {
    /// A resolver says that there is no such name, or that it has no address.
    NoSuchName,
    /// No resolver told whether there is such a name.
    NameUnanswered,
    /// This node has no way to the address.
    NoRoute,
    /// The far host says that the port is closed.
    PortClosed,
    /// Nothing came back.
    Silent,
    /// What came back is no answer to the question.
    Malformed,
    /// It told this node to go away (a kiss-o'-death of RFC 5905).
    Refused,
    /// It answers, and says that it does not know the time.
    Unsynchronized,
    /// It told the time.
    Answered,
}

impl NtpStage {
    /// All stages, in the order of a question's way.
    pub const ALL: [Self; 9] = [
        Self::NoSuchName,
        Self::NameUnanswered,
        Self::NoRoute,
        Self::PortClosed,
        Self::Silent,
        Self::Malformed,
        Self::Refused,
        Self::Unsynchronized,
        Self::Answered,
    ];

    /// The name a user reads.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchName => "no such name",
            Self::NameUnanswered => "name not resolved",
            Self::NoRoute => "no route",
            Self::PortClosed => "port closed",
            Self::Silent => "silent",
            Self::Malformed => "malformed answer",
            Self::Refused => "kiss-o'-death",
            Self::Unsynchronized => "not synchronized itself",
            Self::Answered => "answered",
        }
    }
}

impl fmt::Display for NtpStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl WallReading {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub const fn shifted(mut self, offset: i64) -> Self {
        self.at = self.at.shifted(offset);
        self
    }

    /// How far this clock is ahead of another that the same reader read.
    pub fn ahead_of(&self, other: &Self) -> Offset {
        /// What a clock may gain or lose between two readings: the most that the kernel slews, in parts per million.
        const SLEW_PPM: u64 = 500;
        /// Both readings are rounded to milliseconds, and so are their moments.
        const ROUNDING_MS: u64 = 2;
        let own = self.wall_ms.saturating_sub(self.at.as_millis());
        let theirs = other.wall_ms.saturating_sub(other.at.as_millis());
        let apart = self.at.since(other.at).max(other.at.since(self.at));
        let slewed = millis(apart).saturating_mul(SLEW_PPM) / 1_000_000;
        let errors = u64::from(self.error_us).saturating_add(other.error_us.into());
        Offset {
            ahead_ms: own.saturating_sub(theirs),
            error_ms: (errors.div_ceil(1000) + ROUNDING_MS).saturating_add(slewed),
        }
    }
}

impl Offset {
    /// How far the two clocks are apart at least.
    pub fn at_least(&self) -> Duration {
        Duration::from_millis(self.ahead_ms.unsigned_abs().saturating_sub(self.error_ms))
    }

    /// The same seen from the other clock.
    #[must_use]
    pub const fn reversed(&self) -> Self {
        Self {
            ahead_ms: self.ahead_ms.saturating_neg(),
            error_ms: self.error_ms,
        }
    }
}

impl Clock {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(self, offset: i64) -> Self {
        Self {
            reading: self.reading.shifted(offset),
            booted: self.booted.shifted(offset),
            stepped: self.stepped.map(|step| Step {
                at: step.at.shifted(offset),
                ..step
            }),
            ..self
        }
    }
}

impl Ntp {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(mut self, offset: i64) -> Self {
        for server in &mut self.servers {
            server.asked = server.asked.shifted(offset);
            server.told = server.told.map(|told| told.shifted(offset));
        }
        self
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(at: i64, wall_ms: i64, error_us: u32) -> WallReading {
        WallReading {
            at: Moment::from_millis(at),
            wall_ms,
            error_us,
        }
    }

    #[test]
    fn two_clocks_that_go_alike_are_not_apart_whenever_they_are_read() {
        let own = reading(1_000, 500_000, 0);
        let peer = reading(61_000, 560_000, 2_500);
        let offset = peer.ahead_of(&own);
        assert_eq!(offset.ahead_ms, 0);
        // Two and a half milliseconds are three, two for rounding, and a minute of slewing is thirty.
        assert_eq!(offset.error_ms, 35);
        assert_eq!(offset.at_least(), Duration::ZERO);
    }

    #[test]
    fn the_error_bar_is_taken_off_both_ways() {
        let own = reading(0, 500_000, 0);
        let ahead = reading(0, 510_000, 3_000_000).ahead_of(&own);
        assert_eq!((ahead.ahead_ms, ahead.error_ms), (10_000, 3_002));
        assert_eq!(ahead.at_least(), Duration::from_millis(6_998));
        let behind = reading(0, 490_000, 3_000_000).ahead_of(&own);
        assert_eq!(behind.at_least(), Duration::from_millis(6_998));
        assert_eq!(behind.reversed(), ahead);
    }

    #[test]
    fn shifting_moves_the_moment_of_a_reading_and_not_what_was_read() {
        let own = reading(5, 500_000, 0);
        let peer = reading(9, 777_000, 7);
        assert_eq!(
            peer.shifted(1_000).ahead_of(&own.shifted(1_000)),
            peer.ahead_of(&own)
        );
        assert_eq!(peer.shifted(1).wall_ms, 777_000);
    }

    #[test]
    fn absurd_clocks_saturate() {
        let least = reading(i64::MAX, i64::MIN, u32::MAX);
        let most = reading(i64::MIN, i64::MAX, u32::MAX);
        assert_eq!(most.ahead_of(&least).ahead_ms, i64::MAX);
        assert_eq!(least.ahead_of(&most).reversed().ahead_ms, i64::MAX);
    }
}
