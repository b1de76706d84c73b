//! Which changes merely go on from what was said before: counters that grow, and moments that move on.

use crate::{
    Arrival, Clock, EchoHeard, EchoSent, Fact, Health, Inert, Initiated, Moment, NodeAsked,
    NodeEcho, NodeHeard, Peer, Sizes, SourceState,
};

impl Fact {
    /// Whether this says nothing else than `older` did, but for counters and moments that go on as they do where all is as
    /// before. What it adds may be told a moment later: no judgement would be another for it, but for the age of what it
    /// rests on.
    ///
    /// In doubt it does not: a fact of a kind that is not named here never goes on.
    pub fn goes_on_from(&self, older: &Self) -> bool {
        match (self, older) {
            (Self::Source(id, new), Self::Source(before, old)) => {
                id == before && goes_on_source(new, old)
            }
            (Self::Peer(key, new), Self::Peer(before, old)) => {
                key == before && goes_on_peer(new, old)
            }
            (Self::EchoSent(key, new), Self::EchoSent(before, old)) => {
                key == before && goes_on_sent(new, old)
            }
            (Self::EchoHeard(key, new), Self::EchoHeard(before, old)) => {
                key == before && goes_on_heard(new, old)
            }
            (Self::Inert(key, new), Self::Inert(before, old)) => {
                key == before && goes_on_inert(new, old)
            }
            (Self::NodeEcho(key, new), Self::NodeEcho(before, old)) => {
                key == before && goes_on_node_echo(new, old)
            }
            (Self::Initiated(key, new), Self::Initiated(before, old)) => {
                key == before && goes_on_initiated(new, old)
            }
            (Self::Sizes(key, new), Self::Sizes(before, old)) => {
                let mut layers = new.iter().zip(old);
                key == before
                    && new.len() == old.len()
                    && layers.all(|(new, old)| goes_on_sizes(new, old))
            }
            (Self::Arrivals(new), Self::Arrivals(old)) => goes_on_arrivals(new, old),
            (Self::Health(new), Self::Health(old)) => goes_on_health(new, old),
            (Self::Clock(new), Self::Clock(old)) => goes_on_clock(new, old),
            _ => false,
        }
    }
}

fn goes_on_source(new: &SourceState, old: &SourceState) -> bool {
    new.since == old.since && new.gap == old.gap
}

fn goes_on_peer(new: &Peer, old: &Peer) -> bool {
    // Its first handshake and its first data are news, later ones are expected.
    let told = |peer: &Peer| {
        (
            peer.endpoint,
            peer.last_handshake.is_some(),
            peer.rx_moved.is_some(),
            peer.since,
            peer.keepalive,
        )
    };
    told(new) == told(old)
        && new.allowed_ips == old.allowed_ips
        && new.endpoint_changes == old.endpoint_changes
}

fn goes_on_sent(new: &EchoSent, old: &EchoSent) -> bool {
    let told = |echo: &EchoSent| {
        (
            echo.consecutive_lost,
            echo.loss_since,
            echo.refused,
            echo.last_answered.is_some(),
        )
    };
    told(new) == told(old)
}

fn goes_on_heard(new: &EchoHeard, old: &EchoHeard) -> bool {
    let told = |echo: &EchoHeard| echo.last_heard.is_some();
    told(new) == told(old)
}

fn goes_on_inert(new: &Inert, old: &Inert) -> bool {
    let told = |inert: &Inert| {
        (
            inert.to,
            inert.heard_from,
            inert.replies.map(|replies| replies.mapped),
            inert.last_heard.is_some(),
            inert.unsolicited_heard.is_some(),
        )
    };
    told(new) == told(old)
}

fn goes_on_node_echo(new: &NodeEcho, old: &NodeEcho) -> bool {
    let asked = |(new, old): (&NodeAsked, &NodeAsked)| {
        let told = |asked: &NodeAsked| NodeAsked {
            answered: 0,
            last_answered: asked.last_answered.map(|_| Moment::ZERO),
            ..asked.clone()
        };
        told(new) == told(old)
    };
    let heard = |(new, old): (&NodeHeard, &NodeHeard)| {
        let told = |heard: &NodeHeard| NodeHeard {
            heard: 0,
            last: Moment::ZERO,
            ..heard.clone()
        };
        told(new) == told(old)
    };
    let as_many = (new.asked.len(), new.heard.len()) == (old.asked.len(), old.heard.len());
    as_many
        && new.asked.iter().zip(&old.asked).all(asked)
        && new.heard.iter().zip(&old.heard).all(heard)
}

/// A session is renewed each two minutes: one initiation is on its way at a time, and those before it were answered.
fn goes_on_initiated(new: &[Initiated], old: &[Initiated]) -> bool {
    let answered = |one: &Initiated| one.response_at.is_some();
    let before = new.split_last().map_or(&[][..], |(_, before)| before);
    old.iter().chain(before).all(answered)
}

fn goes_on_arrivals(new: &[Arrival], old: &[Arrival]) -> bool {
    let answered = |one: &Arrival| one.for_us == Some(true) && one.answered_at.is_some();
    let before = new.split_last().map_or(&[][..], |(_, before)| before);
    old.iter().chain(before).all(answered)
}

fn goes_on_sizes(new: &Sizes, old: &Sizes) -> bool {
    let told = |sizes: &Sizes| Sizes {
        full_arrived: None,
        seen_arriving: None,
        in_fragments: None,
        ..*sizes
    };
    let seen = |sizes: &Sizes| {
        [sizes.full_arrived, sizes.seen_arriving, sizes.in_fragments].map(|at| at.is_some())
    };
    told(new) == told(old) && seen(new) == seen(old)
}

fn goes_on_health(new: &Health, old: &Health) -> bool {
    // Whether an observer is in trouble is judged of counts that grew: those are told at once.
    let told = |health: &Health| {
        (
            health.stalled,
            [health.tap, health.echo, health.backlog, health.squeezed],
        )
    };
    told(new) == told(old)
}

fn goes_on_clock(new: &Clock, old: &Clock) -> bool {
    let told = |clock: &Clock| {
        (
            clock.booted,
            clock.stepped,
            clock.kernel.map(|kernel| kernel.synchronized),
        )
    };
    told(new) == told(old)
}
