//! How far a handshake initiation came.
//!
//! The sender index in an initiation is random and in clear, and the response repeats it. So the taps of both nodes
//! can name the same datagram, whatever NATs do to its addresses:
//!
//! ```text
//! A sent it -> B's tap saw it arrive -> B answered -> A's tap saw the answer -> A's kernel took it
//! ```

use evidence::{Arrival, Initiated, Moment, SourceId, limits};

use crate::{
    mesh::{Member, Mesh},
    timing,
};

/// Where an initiation was last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LastSeen {
    /// It left A; B's tap never saw it.
    LeavingSender,
    /// It arrived at B's interface; B did not answer.
    ArrivedUnanswered,
    /// B answered; the answer never arrived at A's interface.
    AnswerLost,
    /// The answer arrived at A's interface; A's kernel did not take it.
    AnswerNotTaken,
    /// The handshake completed.
    Completed,
}

/// One initiation of A towards B, followed as far as it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Journey<'a> {
    pub(crate) sent: &'a Initiated,
    pub(crate) arrival: Option<&'a Arrival>,
    pub(crate) last_seen: LastSeen,
}

/// The journeys of A's initiations to B that left at or after `since`, oldest first. Only decided ones: both nodes have
/// reported long enough after each step, both taps work, and B's was there when it left.
pub(crate) fn journeys<'a>(
    mesh: &Mesh<'a>,
    a: &Member<'a>,
    b: &Member<'a>,
    since: Moment,
) -> Vec<Journey<'a>> {
    let Some(b_key) = b.key else {
        return Vec::new();
    };
    if a.working(SourceId::Tap).is_none() || b.working(SourceId::Tap).is_none() {
        return Vec::new();
    }
    let taken = a.peer(&b_key).and_then(|peer| peer.last_handshake);
    a.initiated(&b_key)
        .iter()
        .filter(|sent| sent.sent_at >= since && decided(mesh, a, b, sent))
        .map(|sent| follow(sent, b, taken))
        .collect()
}

/// Whether both ends have had the time to see and report what became of it, and B's tap was there to see it.
fn decided(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>, sent: &Initiated) -> bool {
    let by = sent.sent_at.plus(timing::ARRIVES_WITHIN);
    let reported = |member: &Member<'_>| member.tap_read_at().is_some_and(|at| at >= by);
    let watched = b
        .watching_since(SourceId::Tap)
        .is_some_and(|at| sent.sent_at >= at);
    mesh.reached(by) && reported(a) && reported(b) && watched && !forgotten(b, sent.sent_at)
}

/// Whether B's list of arrivals is full and begins later: what came before has been pushed out of it.
fn forgotten(b: &Member<'_>, sent_at: Moment) -> bool {
    let arrivals = b.arrivals();
    arrivals.len() >= limits::ARRIVALS
        && arrivals
            .first()
            .is_some_and(|oldest| sent_at < oldest.at.plus(timing::SKEW))
}

fn follow<'a>(sent: &'a Initiated, b: &Member<'a>, taken: Option<Moment>) -> Journey<'a> {
    let arrival = b
        .arrivals()
        .iter()
        .find(|arrival| arrival.sender_index == sent.sender_index);
    let last_seen = match (arrival, sent.response_at) {
        // The handshake time is a wall clock second of the kernel: allow for its coarseness.
        (_, Some(_)) if taken.is_some_and(|at| at.plus(timing::ARRIVES_WITHIN) >= sent.sent_at) => {
            LastSeen::Completed
        }
        (_, Some(_)) => LastSeen::AnswerNotTaken,
        (
            Some(Arrival {
                answered_at: Some(_),
                ..
            }),
            None,
        ) => LastSeen::AnswerLost,
        (Some(_), None) => LastSeen::ArrivedUnanswered,
        (None, None) => LastSeen::LeavingSender,
    };
    Journey {
        sent,
        arrival,
        last_seen,
    }
}
