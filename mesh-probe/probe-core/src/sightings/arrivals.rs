//! Initiations that came, whoever sent them.

use std::{collections::VecDeque, net::SocketAddr};

use evidence::Moment;

use super::departures::SEEN_TWICE;

/// Arrivals remembered: beyond it the oldest is forgotten, so a flood can only hide, not fill memory.
pub const MAX_ARRIVALS: usize = 128;

/// An initiation that came to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The index that tells it from others; the sender's initiation carries the same.
    pub sender_index: u32,
    /// When it came.
    pub at: Moment,
    /// Where from, as it looks from here.
    pub from: SocketAddr,
    /// Whether its `mac1` is made for our key; `None` if our key was not known.
    pub for_us: Option<bool>,
    /// When a response to it left.
    pub answered_at: Option<Moment>,
    /// When a cookie reply to it left: this node was under load.
    pub cookie_at: Option<Moment>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals(VecDeque<Arrival>);

impl Arrivals {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arrival> {
        self.0.iter()
    }

    pub(super) fn holds(&self, index: u32, from: SocketAddr, now: Moment) -> bool {
        let same = |seen: &Arrival| {
            seen.sender_index == index && seen.from == from && now.since(seen.at) <= SEEN_TWICE
        };
        self.0.iter().any(same)
    }

    pub(super) fn record(
        &mut self,
        sender_index: u32,
        from: SocketAddr,
        for_us: Option<bool>,
        now: Moment,
    ) {
        if self.0.len() == MAX_ARRIVALS {
            self.0.pop_front();
        }
        self.0.push_back(Arrival {
            sender_index,
            at: now,
            from,
            for_us,
            answered_at: None,
            cookie_at: None,
        });
    }

    pub(super) fn answered(&mut self, index: u32, to: SocketAddr, now: Moment) -> bool {
        self.latest(index, to)
            .map(|seen| seen.answered_at.get_or_insert(now))
            .is_some()
    }

    pub(super) fn refused_with_cookie(&mut self, index: u32, to: SocketAddr, now: Moment) -> bool {
        self.latest(index, to)
            .map(|seen| seen.cookie_at.get_or_insert(now))
            .is_some()
    }

    /// Two senders may choose the same index; the answer goes to the one it is for.
    fn latest(&mut self, index: u32, to: SocketAddr) -> Option<&mut Arrival> {
        self.0
            .iter_mut()
            .rev()
            .find(|seen| seen.sender_index == index && seen.from == to)
    }
}
