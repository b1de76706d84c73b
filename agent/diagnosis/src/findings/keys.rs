//! Handshakes that arrive and are refused for their keys.

use evidence::{
    Arrival, Citation, Confidence, FactKey, Finding, Initiated, Moment, NodeRef, Subject,
};

use super::{Draft, fix};
use crate::{
    directions::Directions,
    journey::{LastSeen, journeys},
    mesh::{Member, Mesh},
    pair::Direction,
    timing,
};

/// Nodes that dial another with a key that is not its own: the findings, and the keys that nobody has.
pub(super) fn wrong(mesh: &Mesh<'_>) -> Vec<(Finding, NodeRef)> {
    let mut found = Vec::new();
    for nobody in mesh.members.values().filter(|member| unclaimed(member)) {
        for from in mesh.members.values() {
            let dialled = dialled(mesh, from, nobody);
            if dialled.is_empty() {
                continue;
            }
            for to in mesh.members.values().filter(|to| to.node != from.node) {
                if let Some((sent, arrival)) = refused(&dialled, to) {
                    let finding = wrong_key(mesh, (from, to, nobody), sent, arrival);
                    found.push((finding, nobody.node.clone()));
                }
            }
        }
    }
    found
}

fn unclaimed(member: &Member<'_>) -> bool {
    matches!(member.node, NodeRef::Unnamed { .. })
}

/// The initiations that `from` sent lately to a peer.
fn dialled<'a>(mesh: &Mesh<'_>, from: &Member<'a>, peer: &Member<'_>) -> Vec<&'a Initiated> {
    let sent = peer
        .key
        .filter(|key| from.peer(key).is_some())
        .map_or(&[][..], |key| from.initiated(&key));
    sent.iter()
        .filter(|sent| mesh.recent(sent.sent_at, timing::KEYS_FRESH))
        .collect()
}

/// The first of them that arrived at a node which it was not made for. The random sender index names the very datagram.
fn refused<'a>(dialled: &[&'a Initiated], to: &Member<'a>) -> Option<(&'a Initiated, &'a Arrival)> {
    let arrivals = to
        .arrivals()
        .iter()
        .filter(|arrival| arrival.for_us == Some(false));
    arrivals.rev().find_map(|arrival| {
        let same = |sent: &&&Initiated| sent.sender_index == arrival.sender_index;
        Some((*dialled.iter().find(same)?, arrival))
    })
}

fn wrong_key(
    mesh: &Mesh<'_>,
    (from, to, nobody): (&Member<'_>, &Member<'_>, &Member<'_>),
    sent: &Initiated,
    arrival: &Arrival,
) -> Finding {
    let (a, b) = (&from.node, &to.node);
    let subject = Subject::Direction {
        from: a.clone(),
        to: b.clone(),
    };
    let summary = format!(
        "{a} dials {b} at {} with the key of {}, which is not its key: {b} refuses the handshake",
        sent.to, nobody.node
    );
    // That the key is not of the node is proved; whose it is nobody knows, and one that is dialled by mistake looks the same.
    let mut draft = Draft::new("wireguard-wrong-key", subject, Confidence::Likely, summary);
    let left = format!(
        "sent a handshake initiation for {} to {}",
        nobody.node, sent.to
    );
    let came = format!(
        "its tap saw that very initiation arrive from {}; its mac1 is made for another key than its own",
        arrival.from
    );
    if let Some(key) = nobody.key {
        draft
            .evidence
            .push(mesh.cite(from, FactKey::Initiated(key), sent.sent_at, left));
    }
    draft
        .evidence
        .push(mesh.cite(to, FactKey::Arrivals, arrival.at, came));
    draft.explains.insert((a.clone(), b.clone()));
    draft.could_also_be.push(format!(
        "{} is a node without an agent, and its endpoint leads to {b} instead",
        nobody.node
    ));
    draft.decided_by = Some(format!(
        "the list of affiliates: whose key is that of {}",
        nobody.node
    ));
    draft.fixes.push(fix(
        "who runs the cluster",
        format!(
            "let {a} forget the old key of {b}: a node that was reinstalled has a new one, and discovery keeps the old for up to \
             30 minutes"
        ),
        Some(format!(
            "talosctl -n {a} get affiliates -o yaml; talosctl -n {a} get kubespanpeerspecs; talosctl -n {b} get kubespanidentities"
        )),
    ));
    draft.finish(None)
}

/// Whether in all of these directions the answers to handshakes arrive and are not taken, by nodes whose `WireGuard` does
/// hear: then it is the preshared key, which only the answer is made with. The citations, and whether it is past doubt.
pub(super) fn preshared(
    mesh: &Mesh<'_>,
    hit: &[Direction<'_, '_>],
    directions: &Directions<'_, '_>,
) -> Option<(Vec<Citation>, bool)> {
    let mut cited = Vec::new();
    let mut certain = true;
    for direction in hit {
        let (a, b) = (direction.a, direction.b);
        let since = direction.loss_since()?.plus(timing::SKEW);
        let (there, back) = (
            not_taken(mesh, (a, b), since),
            not_taken(mesh, (b, a), since),
        );
        let heard = |of: &Member<'_>| {
            let mut others = directions.into(of);
            others.any(|other| other.tunnel.outcome.is_good())
        };
        if carries_back(direction, directions) || ignored(mesh, (a, b), since) {
            return None;
        }
        let both = !there.is_empty() && !back.is_empty();
        let one = (there.len() >= 2 && heard(a)) || (back.len() >= 2 && heard(b));
        if !both && !one {
            return None;
        }
        certain &= both;
        cited.extend(there.into_iter().next_back());
        cited.extend(back.into_iter().next_back());
    }
    (!cited.is_empty()).then_some((cited, certain))
}

/// Whether data passes the other way: with two preshared keys it could not, once a handshake has failed.
fn carries_back(direction: &Direction<'_, '_>, directions: &Directions<'_, '_>) -> bool {
    let back = directions.back(direction);
    back.is_some_and(|back| back.tunnel.outcome.is_good())
}

/// Whether a handshake arrived at either end and was not answered: the preshared key is not needed to answer.
fn ignored(mesh: &Mesh<'_>, (a, b): (&Member<'_>, &Member<'_>), since: Moment) -> bool {
    [(a, b), (b, a)]
        .into_iter()
        .flat_map(|(from, to)| journeys(mesh, from, to, since))
        .any(|journey| journey.last_seen == LastSeen::ArrivedUnanswered)
}

/// The answers to handshakes of A that arrived at its interface and were not taken.
fn not_taken(mesh: &Mesh<'_>, (a, b): (&Member<'_>, &Member<'_>), since: Moment) -> Vec<Citation> {
    let Some(key) = b.key else {
        return Vec::new();
    };
    let cite = |at| {
        let text = format!(
            "the answer of {} to its handshake arrived; its WireGuard did not take it",
            b.node
        );
        mesh.cite(a, FactKey::Initiated(key), at, text)
    };
    journeys(mesh, a, b, since)
        .iter()
        .filter(|journey| journey.last_seen == LastSeen::AnswerNotTaken)
        .filter_map(|journey| journey.sent.response_at)
        .map(cite)
        .collect()
}
