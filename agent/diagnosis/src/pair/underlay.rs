//! Do A's datagrams to B's 51820 arrive at B?

use evidence::{FactKey, Moment, Outcome, SourceId};

use super::{Answer, Words, inert, lost, undecided};
use crate::{
    journey::{Journey, LastSeen, journeys},
    mesh::{Member, Mesh},
    timing,
};

/// Do A's datagrams to B's 51820 arrive at B?
///
/// Only a run of lost echoes accuses the way. What proves it open must have come after that run began, and lately.
pub(super) fn underlay<'a, W: Words>(
    mesh: &Mesh<'a>,
    a: &Member<'a>,
    b: &Member<'a>,
    tunnel: &Answer<W>,
) -> Answer<W> {
    if tunnel.outcome.is_good() {
        let method = "implied: data arrives inside the tunnel";
        return Answer {
            outcome: Outcome::Pass,
            said: tunnel.said.renamed(method),
        };
    }
    if a.fresh().is_none() || b.fresh().is_none() {
        return undecided(a, b);
    }
    let Some(echo) = b.key.and_then(|key| a.echo_sent(&key)) else {
        return no_underlay_evidence(a, b);
    };
    // What is searched for in lists of moments is searched for anew each time.
    mesh.trace().never_holds();
    let lately = mesh.now.minus(timing::UNDERLAY_FRESH);
    // In a run of losses nothing proves the way open that came before one of the two was away or in trouble: what would speak
    // against it does not count from before, either.
    let open_since = echo.loss_since.map_or(lately, |since| {
        let steady = Mesh::both_steady_since(a, b).unwrap_or(since);
        lately.max(since.max(steady).plus(timing::SKEW))
    });
    let arrived = || {
        handshake_arrived(mesh, a, b, open_since).or_else(|| inert::arrived(mesh, a, b, open_since))
    };
    let Some(lost_since) = lost(a, b)
        .and_then(|echo| echo.loss_since)
        .zip(Mesh::both_steady_since(a, b))
        .map(|(lost, steady)| lost.max(steady))
    else {
        return arrived().unwrap_or_else(|| no_underlay_evidence(a, b));
    };
    inert::unheard(mesh, a, b, lost_since)
        .or_else(arrived)
        .or_else(|| handshake_never_arrived(mesh, a, b, lost_since))
        .unwrap_or_else(|| no_underlay_evidence(a, b))
}

/// A handshake datagram of A was seen at B: an initiation, or the response to B's own.
fn handshake_arrived<'a, W: Words>(
    mesh: &Mesh<'a>,
    a: &Member<'a>,
    b: &Member<'a>,
    since: Moment,
) -> Option<Answer<W>> {
    let (there, back) = (journeys(mesh, a, b, since), journeys(mesh, b, a, since));
    let method = "handshake datagrams seen by the taps of both nodes";
    let initiation = there.iter().rev().find_map(|journey| journey.arrival);
    if let Some(arrival) = initiation {
        return Some(Answer::new(Outcome::Pass, method, || {
            let text = format!(
                "its tap saw an initiation of {} arrive from {}",
                a.node, arrival.from
            );
            vec![mesh.cite(b, FactKey::Arrivals, arrival.at, text)]
        }));
    }
    let answered = back
        .iter()
        .rev()
        .find_map(|journey| journey.sent.response_at.zip(a.key));
    let (at, key) = answered?;
    Some(Answer::new(Outcome::Pass, method, || {
        let text = format!("its tap saw the response of {} arrive", a.node);
        vec![mesh.cite(b, FactKey::Initiated(key), at, text)]
    }))
}

/// Two handshake datagrams of A left for where it dials B now, and none was seen at B.
fn handshake_never_arrived<'a, W: Words>(
    mesh: &Mesh<'a>,
    a: &Member<'a>,
    b: &Member<'a>,
    since: Moment,
) -> Option<Answer<W>> {
    let (there, back) = (journeys(mesh, a, b, since), journeys(mesh, b, a, since));
    let (a_key, b_key) = (a.key?, b.key?);
    let tap = b.working(SourceId::Tap)?;
    // What went elsewhere says nothing of the way that is dialled now: the next initiation may be five seconds away.
    let dialled = a.peer(&b_key)?.endpoint;
    let never = |journey: &&Journey<'_>| {
        journey.last_seen == LastSeen::LeavingSender && Some(journey.sent.to) == dialled
    };
    let lost_answer = |journey: &&Journey<'_>| journey.last_seen == LastSeen::AnswerLost;
    let initiations: Vec<_> = there.iter().filter(never).collect();
    let responses: Vec<_> = back.iter().filter(lost_answer).collect();
    if initiations.len() + responses.len() < 2 {
        return None;
    }
    let method = "handshake datagrams followed by the taps of both nodes";
    Some(Answer::new(Outcome::Fail, method, || {
        let mut cited = Vec::new();
        if let Some(newest) = initiations.last() {
            let text = format!(
                "{} handshake initiations left for {} at {}",
                initiations.len(),
                b.node,
                newest.sent.to
            );
            cited.push(mesh.cite(a, FactKey::Initiated(b_key), newest.sent.sent_at, text));
        }
        if let Some(at) = responses
            .last()
            .and_then(|newest| newest.arrival?.answered_at)
        {
            let text = format!(
                "it answered {} initiations of {}; the answers left",
                responses.len(),
                b.node
            );
            cited.push(mesh.cite(a, FactKey::Arrivals, at, text));
        }
        let text = format!("its tap saw none of them ({}..)", a_key.short());
        cited.push(mesh.cite(b, FactKey::Source(SourceId::Tap), tap.read_at, text));
        cited
    }))
}

fn no_underlay_evidence<W: Words>(a: &Member<'_>, b: &Member<'_>) -> Answer<W> {
    let gap = [a, b]
        .into_iter()
        .find_map(|member| Some((member, member.source(SourceId::Tap)?.gap.as_ref()?)));
    if let Some((member, gap)) = gap {
        return Answer::undecided(|| format!("{} has no tap: {}", member.node, gap.reason));
    }
    let no_endpoint = b
        .key
        .and_then(|key| a.peer(&key))
        .is_some_and(|peer| peer.endpoint.is_none());
    if no_endpoint {
        return Answer::undecided(|| {
            format!(
                "{} has no endpoint for {}: {} has to dial",
                a.node, b.node, b.node
            )
        });
    }
    Answer::unknown("no datagram on the true five-tuple has decided it yet")
}
