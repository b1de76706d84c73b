//! Facts about data messages: whether a peer's tunnel carries any, as the interfaces of this node show it.

use serde::{Deserialize, Serialize};

use crate::Moment;

/// Data messages of one peer's tunnel that passed this node's interfaces while they were looked for. Only their headers are
/// looked at, and only for a few seconds while the peer is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSeen {
    /// When the look began.
    pub since: Moment,
    /// Up to when it has seen everything: what passed later, it was not there to see.
    pub until: Moment,
    /// What came from the peer's endpoint, before any firewall of this host.
    pub from_peer: DataMessages,
    /// What left towards it.
    pub to_peer: DataMessages,
    /// Messages of any peer that the look was not quick enough for: with some of them, the counts are least values.
    pub missed: u32,
}

/// Data messages in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataMessages {
    /// Those with something in them.
    pub data: u32,
    /// Empty ones: keepalives.
    pub keepalives: u32,
    /// When the last one with something in it was seen.
    pub last: Option<Moment>,
}

impl DataSeen {
    /// The same on a timeline whose origin lies `offset` milliseconds earlier.
    #[must_use]
    pub fn shifted(self, offset: i64) -> Self {
        let messages = |messages: DataMessages| DataMessages {
            last: messages.last.map(|at| at.shifted(offset)),
            ..messages
        };
        Self {
            since: self.since.shifted(offset),
            until: self.until.shifted(offset),
            from_peer: messages(self.from_peer),
            to_peer: messages(self.to_peer),
            missed: self.missed,
        }
    }
}
