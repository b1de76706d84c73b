//! Does data from A arrive at B inside the tunnel?

use evidence::{FactKey, Moment, Outcome, Peer, PublicKey, SourceId};

use super::{Answer, Words, data, is_lossy, is_lost, loss, lost, undecided};
use crate::{
    mesh::{Member, Mesh},
    text, timing,
};

/// Does data from A arrive at B inside the tunnel?
pub(super) fn tunnel<W: Words>(mesh: &Mesh<'_>, a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    let (Some(a_key), Some(b_key)) = (a.key, b.key) else {
        return Answer::unknown("the WireGuard key of one end is not known");
    };
    answered(mesh, a, b, &b_key)
        .or_else(|| heard(mesh, a, b, (&a_key, &b_key)))
        .or_else(|| reply_arrived(mesh, a, b, (&a_key, &b_key)))
        .or_else(|| broken(mesh, a, b, (&a_key, &b_key)))
        .unwrap_or_else(|| undecided(a, b))
}

/// A's own echo came back, or B's kernel refused it through the tunnel.
fn answered<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    b_key: &PublicKey,
) -> Option<Answer<W>> {
    let echo = a.echo_sent(b_key)?;
    let fresh = |at: &Moment| mesh.recent(*at, mesh.echo_fresh);
    let fact = FactKey::EchoSent(*b_key);
    if let Some(at) = echo.last_answered.filter(fresh)
        && !is_lost(echo)
    {
        let answer = Answer::new(Outcome::Pass, "in-tunnel echo answered", || {
            let text = format!("{} answered its echo{}", b.node, text::rtt(echo.rtt));
            vec![mesh.cite(a, fact, at, text)]
        });
        return Some(lossy(mesh, b, a, answer));
    }
    let refused = echo
        .refused
        .filter(fresh)
        .filter(|at| echo.last_answered.is_none_or(|answered| *at > answered))
        .filter(|at| echo.loss_since.is_none_or(|since| *at >= since))?;
    let method = "port unreachable through the tunnel";
    Some(Answer::new(Outcome::Pass, method, || {
        let text = format!(
            "the kernel of {} refused the echo through the tunnel: it carries, but no agent listens",
            b.node
        );
        vec![mesh.cite(a, fact, refused, text)]
    }))
}

/// B heard A's echo, though A may not know.
fn heard<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    keys: (&PublicKey, &PublicKey),
) -> Option<Answer<W>> {
    let at = b.echo_heard(keys.0)?.last_heard?;
    (after_loss(a, keys.1, at) && mesh.recent(at, mesh.echo_fresh)).then(|| {
        let method = "in-tunnel echo heard by the far side";
        let answer = Answer::new(Outcome::Pass, method, || {
            let text = format!("heard the echo of {}", a.node);
            vec![mesh.cite(b, FactKey::EchoHeard(*keys.0), at, text)]
        });
        lossy(mesh, b, a, answer)
    })
}

/// Whether what came from A at `at` is not outdated by a run of losses of A's echo to B; one or two lost outdate nothing.
/// An A that speaks and tells nothing of its echo leaves that open: what is missing must not speak for it.
fn after_loss(a: &Member<'_>, b_key: &PublicKey, at: Moment) -> bool {
    match a.echo_sent(b_key) {
        Some(echo) => echo
            .loss_since
            .filter(|_| is_lost(echo))
            .is_none_or(|since| at >= since.plus(timing::SKEW)),
        None => a.fresh().is_none(),
    }
}

/// A's reply to B's echo arrived at B.
fn reply_arrived<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    keys: (&PublicKey, &PublicKey),
) -> Option<Answer<W>> {
    let echo = b.echo_sent(keys.0)?;
    let at = echo
        .last_answered
        .filter(|at| mesh.recent(*at, mesh.echo_fresh))?;
    (after_loss(a, keys.1, at) && !is_lost(echo)).then(|| {
        Answer::new(Outcome::Pass, "reply to the far side's echo", || {
            let text = format!("{} answered its echo", a.node);
            vec![mesh.cite(b, FactKey::EchoSent(*keys.0), at, text)]
        })
    })
}

/// A lost several in a row, and B, whose ears work, heard none of them.
fn broken<W: Words>(
    mesh: &Mesh<'_>,
    a: &Member<'_>,
    b: &Member<'_>,
    keys: (&PublicKey, &PublicKey),
) -> Option<Answer<W>> {
    let echo = lost(a, b)?;
    let since = echo.loss_since?;
    let steady = Mesh::both_steady_since(a, b)?;
    let known = b.peer(keys.0).map(|peer| peer.since);
    let ears = b
        .working(SourceId::Echo)
        .filter(|ears| {
            listened(
                mesh,
                b,
                known.map_or(ears.since, |at| at.max(ears.since)),
                since,
            )
        })
        .filter(|_| reported_after(b, steady.plus(timing::LISTENED)))
        .filter(|_| !coming_up(mesh, (a, b), keys))?;
    let last_heard = b.echo_heard(keys.0).and_then(|heard| heard.last_heard);
    if last_heard.is_some_and(|at| at >= since.plus(timing::SKEW)) {
        return None;
    }
    let method = "in-tunnel echo: sent by one side, not heard by the other";
    Some(Answer::new(Outcome::Fail, method, || {
        let sent = format!(
            "{} echo requests in a row to {} went unanswered",
            echo.consecutive_lost, b.node
        );
        let listened = match last_heard {
            Some(at) => format!(
                "heard none of them; the last echo of {} came {} ago",
                a.node,
                text::age(mesh.now.since(at))
            ),
            None => format!("heard none of them, and never any echo of {}", a.node),
        };
        [
            vec![
                mesh.cite(a, FactKey::EchoSent(*keys.1), since, sent),
                mesh.cite(b, FactKey::Source(SourceId::Echo), ears.read_at, listened),
            ],
            data::at_the_interfaces(mesh, (a, b), keys, since),
        ]
        .concat()
    }))
}

/// Whether B has listened long enough into a loss to have heard what was not lost. Ears that opened during the loss
/// heard nothing before: they get the time of a whole round.
fn listened(mesh: &Mesh<'_>, b: &Member<'_>, ears_since: Moment, loss_since: Moment) -> bool {
    let from = if ears_since <= loss_since {
        loss_since.plus(timing::LISTENED)
    } else {
        ears_since.plus(mesh.echo_fresh)
    };
    reported_after(b, from)
}

fn reported_after(member: &Member<'_>, from: Moment) -> bool {
    member.last_report().is_some_and(|at| at >= from)
}

/// Whether one of the two has just come, or come back from a restart of its node, and not met the other yet: discovery and the
/// first handshake take their time, and nobody is to blame for it.
fn coming_up(
    mesh: &Mesh<'_>,
    (a, b): (&Member<'_>, &Member<'_>),
    keys: (&PublicKey, &PublicKey),
) -> bool {
    let met = |peer: Option<&Peer>| peer.is_some_and(|peer| peer.last_handshake.is_some());
    let comes =
        |end: &Member<'_>, other: &PublicKey| mesh.has_just_come(end) && !met(end.peer(other));
    comes(a, keys.1) || comes(b, keys.0)
}

/// Lowers a pass to a warning if the far side misses many of the recent requests.
fn lossy<W: Words>(
    mesh: &Mesh<'_>,
    b: &Member<'_>,
    a: &Member<'_>,
    mut answer: Answer<W>,
) -> Answer<W> {
    let Some((percent, key)) = loss(a, b).zip(a.key) else {
        return answer;
    };
    if is_lossy(percent) {
        answer.outcome = Outcome::Warn;
        answer.said.add(|| {
            let at = b.last_report().unwrap_or(mesh.now);
            let text = format!(
                "misses {percent} % of the recent echo requests of {}",
                a.node
            );
            mesh.cite(b, FactKey::EchoHeard(key), at, text)
        });
    }
    answer
}
