//! What inert datagrams say of the way from A to B: they take the five-tuple of the tunnel itself.

use std::net::SocketAddr;

use evidence::{FactKey, InertReplies, Moment, Outcome, PublicKey, SourceId};

use super::{Answer, Words};
use crate::{
    mesh::{Member, Mesh},
    text, timing,
};

const METHOD: &str = "inert datagrams on the true five-tuple";

/// At least two inert datagrams left A, and B's tap saw none of them, nor did anything prove since that they arrive.
pub(super) fn unheard<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    since: Moment,
) -> Option<Answer<W>> {
    let (a_key, b_key) = (a.key?, b.key?);
    let (sent, tap) = (a.inert(&b_key)?, b.working(SourceId::Tap)?);
    let (to, seen_up_to) = (sent.to?, b.tap_read_at()?);
    // What went elsewhere says nothing of where A dials B now.
    (a.peer(&b_key)?.endpoint == Some(to)).then_some(())?;
    let last_heard = b.inert(&a_key).and_then(|heard| heard.last_heard);
    let last_proved = last_heard.max(last_answered(a, b, a_key, b_key));
    let since = since.max(b.counting_since(SourceId::Tap, a)?);
    let unheard: Vec<&Moment> = sent
        .sent_times
        .iter()
        .filter(|at| **at >= since && seen_up_to >= at.plus(timing::ARRIVES_WITHIN))
        .filter(|at| last_proved.is_none_or(|proved| proved.plus(timing::SKEW) < **at))
        .collect();
    let newest = **unheard.last()?;
    let cited = || {
        let left = format!(
            "sent {} inert datagrams from 51820 to {to}, the endpoint of {}: they left its interface{}",
            unheard.len(),
            b.node,
            seen_as(mesh, a, b).map_or_else(String::new, |clause| format!("; {clause}"))
        );
        let missed = format!(
            "its tap, which sees datagrams before any firewall of the host, saw none of them{}{}",
            {
                last_heard.map_or_else(String::new, |at| {
                    format!("; the last one came {} ago", text::age(mesh.now.since(at)))
                })
            },
            unsolicited(a, b, since).unwrap_or_default()
        );
        vec![
            mesh.cite(a, FactKey::Inert(b_key), newest, left),
            mesh.cite(b, FactKey::Source(SourceId::Tap), tap.read_at, missed),
        ]
    };
    (unheard.len() >= 2).then(|| Answer::new(Outcome::Fail, METHOD, cited))
}

/// One of A's datagrams arrived at B, after `since` and lately: B's tap saw it, or a reply proves it.
pub(super) fn arrived<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    since: Moment,
) -> Option<Answer<W>> {
    heard(mesh, a, b, since)
        .or_else(|| answered_by_b(mesh, a, b, since))
        .or_else(|| answered_by_a(mesh, a, b, since))
}

fn heard<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    since: Moment,
) -> Option<Answer<W>> {
    let key = a.key?;
    let inert = b.inert(&key)?;
    let at = inert.last_heard.filter(|at| lately(mesh, *at, since))?;
    Some(Answer::new(Outcome::Pass, METHOD, || {
        let from = inert
            .heard_from
            .map_or_else(String::new, |from| format!(" from {from}"));
        let text = format!("its tap saw an inert datagram of {} arrive{from}", a.node);
        vec![mesh.cite(b, FactKey::Inert(key), at, text)]
    }))
}

/// B answered, so what A sent had arrived.
fn answered_by_b<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    since: Moment,
) -> Option<Answer<W>> {
    let key = b.key?;
    let replies = a.inert(&key)?.replies?;
    lately(mesh, replies.sent_at, since).then_some(())?;
    Some(Answer::new(Outcome::Pass, METHOD, || {
        let text = format!(
            "{} answered its inert datagram in {} and sees it as {}; probing refreshes the mapping",
            b.node,
            text::millis(replies.rtt_us),
            replies.mapped
        );
        vec![mesh.cite(a, FactKey::Inert(key), replies.last, text)]
    }))
}

/// A answered, and its answer came back to B.
fn answered_by_a<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    since: Moment,
) -> Option<Answer<W>> {
    let (a_key, b_key) = (a.key?, b.key?);
    let replies = replies_where_dialled(a, b, &a_key, &b_key)?;
    lately(mesh, replies.sent_at, since).then_some(())?;
    Some(Answer::new(Outcome::Pass, METHOD, || {
        let text = format!(
            "the answer of {} to its inert datagram came back to {}, where {} dials it; probing refreshes the mapping",
            a.node, replies.mapped, a.node
        );
        vec![mesh.cite(b, FactKey::Inert(a_key), replies.last, text)]
    }))
}

/// What A answered to B. A reply goes to where the datagram came from, the tunnel's data to the endpoint: if a NAT has
/// moved B since, the one proves nothing for the other.
fn replies_where_dialled(
    a: &Member<'_>,
    b: &Member<'_>,
    a_key: &PublicKey,
    b_key: &PublicKey,
) -> Option<InertReplies> {
    let replies = b.inert(a_key)?.replies?;
    (a.peer(b_key)?.endpoint == Some(replies.mapped)).then_some(replies)
}

/// When the newest datagram was sent whose reply proves the way from A to B.
fn last_answered(
    a: &Member<'_>,
    b: &Member<'_>,
    a_key: PublicKey,
    b_key: PublicKey,
) -> Option<Moment> {
    let by_b = a.inert(&b_key).and_then(|inert| inert.replies);
    let by_a = replies_where_dialled(a, b, &a_key, &b_key);
    let sent = |replies: Option<InertReplies>| replies.map(|replies| replies.sent_at);
    sent(by_b).max(sent(by_a))
}

/// Where B's datagrams come from as A sees them: behind a NAT, the mapping that A has to dial.
fn seen_as(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Option<String> {
    let (a_key, b_key) = (a.key?, b.key?);
    let by_tap = a
        .inert(&b_key)
        .and_then(|inert| Some((inert.last_heard?, inert.heard_from?)));
    let by_reply = b
        .inert(&a_key)
        .and_then(|inert| inert.replies)
        .map(|replies| (replies.last, replies.mapped));
    let (at, from): (Moment, SocketAddr) = by_tap.max(by_reply)?;
    mesh.recent(at, timing::UNDERLAY_FRESH).then(|| {
        format!(
            "it sees {} as {from}; probing refreshes the mapping",
            b.node
        )
    })
}

/// What became of A's datagram from a port that nobody knows. It is told, and accuses nobody: a NAT that forwards no port
/// has to drop it.
fn unsolicited(a: &Member<'_>, b: &Member<'_>, since: Moment) -> Option<String> {
    let (a_key, b_key) = (a.key?, b.key?);
    let sent = a.inert(&b_key)?.unsolicited_sent?;
    if sent < since || b.last_report()? < sent.plus(timing::ARRIVES_WITHIN) {
        return None;
    }
    let heard = b
        .inert(&a_key)
        .and_then(|inert| inert.unsolicited_heard)
        .is_some_and(|heard| heard.plus(timing::SKEW) >= sent);
    let clause = match (heard, b.site) {
        (true, _) => {
            "; one from another port did arrive: the port is open, this five-tuple is what is dropped"
        }
        (false, Some(_)) => {
            "; nor did one from another port arrive, as it must be where the NAT forwards no port"
        }
        (false, None) => "; nor did one from another port arrive",
    };
    Some(clause.to_owned())
}

fn lately(mesh: &Mesh<'_>, at: Moment, since: Moment) -> bool {
    at >= since && mesh.recent(at, timing::UNDERLAY_FRESH)
}
