//! Datagrams arrive, yet nothing passes inside the tunnel: why, as far as handshakes tell.

use std::collections::BTreeSet;

use evidence::{
    Citation, Confidence, EchoSent, FactKey, Finding, Fix, Moment, NodeRef, Outcome, PublicKey,
    SourceId, Subject,
};

use super::{Draft, explained, fix, keys, named, place_text, subject};
use crate::{
    directions::Directions,
    journey::{Journey, LastSeen, journeys},
    localise::{Culprit, Pair, Place},
    mesh::{Member, Mesh},
    pair::{Direction, Spoken},
    text, timing,
};

const SILENT: &str = "tunnel-silent";

/// Codes that are themselves the effect, so that none is folded under them.
pub(super) fn is_effect_code(code: &str) -> bool {
    code == SILENT || code == "peer-never-connected"
}

/// What the handshakes since the loss began say about the hit directions.
#[derive(Default)]
struct Signs {
    completed: Vec<Citation>,
    unanswered: Vec<Citation>,
    not_taken: Vec<Citation>,
    /// Where datagrams arrived and went no further.
    at: BTreeSet<NodeRef>,
    /// Whose `WireGuard` answered a handshake: what answers is not cut off by its host.
    answered: BTreeSet<NodeRef>,
    never_connected: bool,
}

pub(super) fn finding(
    mesh: &Mesh<'_>,
    culprit: &Culprit,
    directions: &Directions<'_, '_>,
) -> Finding {
    let hit = explained(&culprit.explains, directions);
    let signs = signs(mesh, &hit);
    let proven = way_back_carries(mesh, &hit, directions);
    let mut draft = if !signs.completed.is_empty() {
        data_dropped(culprit, signs.completed)
    } else if let Some((evidence, certain)) = keys::preshared(mesh, &hit, directions) {
        preshared_keys_differ(culprit, evidence, certain)
    } else if let Some(node) = only(&signs.at)
        .filter(|_| proven || !signs.unanswered.is_empty())
        .filter(|node| !signs.answered.contains(node))
    {
        dropped_by_host(&node, proven, [signs.unanswered, signs.not_taken].concat())
    } else if signs.never_connected {
        never_connected(culprit)
    } else {
        silent(culprit)
    };
    let told: Vec<Spoken> = hit.iter().take(2).map(Direction::told).collect();
    let effects = told.iter().flat_map(|told| &told.tunnel.evidence);
    let underlay = told.iter().flat_map(|told| &told.underlay.evidence);
    draft.evidence.extend(underlay.chain(effects).cloned());
    draft.evidence.extend(missing_taps(mesh, &hit));
    draft.explains = named(mesh, &culprit.explains);
    draft
        .could_also_be
        .extend(culprit.ties.iter().map(place_text));
    draft.finish(None)
}

/// The taps whose absence leaves the way undecided.
fn missing_taps(mesh: &Mesh<'_>, hit: &[Direction<'_, '_>]) -> Vec<Citation> {
    let nodes: BTreeSet<&NodeRef> = hit
        .iter()
        .filter(|direction| direction.underlay.outcome == Outcome::Unknown)
        .flat_map(|direction| [direction.from, direction.to])
        .collect();
    let gap = |node| {
        let member = mesh.members.get(node)?;
        let source = member.source(SourceId::Tap)?;
        let text = format!("has no tap: {}", source.gap.as_ref()?.reason);
        Some(mesh.cite(member, FactKey::Source(SourceId::Tap), source.read_at, text))
    };
    nodes.into_iter().filter_map(gap).collect()
}

/// Whether data passes the other way of every hit direction, since the loss began: what passed before says nothing of what
/// came then. If so, both ends hold the right keys and a live session, and only what stands in the one way can be at fault.
///
/// It must be the session that the loss began in. What passes in a newer one shows that the two agree by now, and says nothing of
/// what was not taken before.
fn way_back_carries(
    mesh: &Mesh<'_>,
    hit: &[Direction<'_, '_>],
    directions: &Directions<'_, '_>,
) -> bool {
    let back = |direction: &Direction<'_, '_>| {
        let good = directions
            .back(direction)
            .is_some_and(|other| other.tunnel.outcome.is_good());
        let since = direction
            .loss_since()
            .unwrap_or(mesh.now)
            .plus(timing::SKEW);
        let carried = last_carried(direction.b, direction.a).is_some_and(|at| at >= since);
        good && carried && !shook_hands_since(direction.a, direction.b, since)
    };
    !hit.is_empty() && hit.iter().all(back)
}

/// Whether either end has completed a handshake since then.
fn shook_hands_since(a: &Member<'_>, b: &Member<'_>, since: Moment) -> bool {
    let last = |of: &Member<'_>, peer: &Member<'_>| of.peer(&peer.key?)?.last_handshake;
    let (there, back) = (last(a, b), last(b, a));
    there.max(back).is_some_and(|at| at >= since)
}

/// When data of A was last proved to arrive at B inside the tunnel, by either end.
fn last_carried(a: &Member<'_>, b: &Member<'_>) -> Option<Moment> {
    let (a_key, b_key) = (a.key?, b.key?);
    let answered = |echo: &EchoSent| echo.last_answered;
    let heard = b.echo_heard(&a_key).and_then(|heard| heard.last_heard);
    heard
        .max(a.echo_sent(&b_key).and_then(answered))
        .max(b.echo_sent(&a_key).and_then(answered))
}

/// The node, if there is just one.
fn only(nodes: &BTreeSet<NodeRef>) -> Option<NodeRef> {
    nodes.first().filter(|_| nodes.len() == 1).cloned()
}

fn signs(mesh: &Mesh<'_>, hit: &[Direction<'_, '_>]) -> Signs {
    let mut signs = Signs {
        never_connected: !hit.is_empty(),
        ..Signs::default()
    };
    for direction in hit {
        let (a, b) = (direction.a, direction.b);
        let (Some(a_key), Some(b_key)) = (a.key, b.key) else {
            continue;
        };
        let since = direction
            .loss_since()
            .unwrap_or(mesh.now)
            .plus(timing::SKEW);
        for journey in journeys(mesh, a, b, since) {
            signs.answered.extend(answered(&journey, b));
            note(&mut signs, mesh, (a, b), &b_key, &journey);
        }
        for journey in journeys(mesh, b, a, since) {
            signs.answered.extend(answered(&journey, a));
            note_back(&mut signs, mesh, (b, a), &a_key, &journey);
        }
        let known =
            |peer: Option<&evidence::Peer>| peer.is_some_and(|peer| peer.last_handshake.is_some());
        signs.never_connected &= !known(a.peer(&b_key)) && !known(b.peer(&a_key));
    }
    signs
}

/// The node that a handshake was for, if it answered.
fn answered(journey: &Journey<'_>, to: &Member<'_>) -> Option<NodeRef> {
    journey.arrival?.answered_at?;
    Some(to.node.clone())
}

type Ends<'m, 'a> = (&'m Member<'a>, &'m Member<'a>);

/// A handshake in the failing direction.
fn note(
    signs: &mut Signs,
    mesh: &Mesh<'_>,
    (a, b): Ends<'_, '_>,
    b_key: &PublicKey,
    journey: &Journey<'_>,
) {
    match (journey.last_seen, journey.arrival) {
        (LastSeen::Completed, _) => signs
            .completed
            .push(completed(mesh, (a, b), b_key, journey)),
        (LastSeen::ArrivedUnanswered, Some(arrival)) => {
            let for_key = match arrival.for_us {
                Some(false) => ", but it is made for another key than its own",
                Some(true) => ", made for its key",
                None => "",
            };
            let text = format!(
                "a handshake initiation of {} arrived{for_key}; it was not answered",
                a.node
            );
            signs.at.insert(b.node.clone());
            signs
                .unanswered
                .push(mesh.cite(b, FactKey::Arrivals, arrival.at, text));
        }
        _ => {}
    }
}

/// A handshake against the failing direction: its answer travels in the failing one.
fn note_back(
    signs: &mut Signs,
    mesh: &Mesh<'_>,
    (b, a): Ends<'_, '_>,
    a_key: &PublicKey,
    journey: &Journey<'_>,
) {
    match (journey.last_seen, journey.sent.response_at) {
        (LastSeen::Completed, _) => signs
            .completed
            .push(completed(mesh, (b, a), a_key, journey)),
        (LastSeen::AnswerNotTaken, Some(at)) => {
            let text = format!(
                "the answer of {} to its initiation arrived; its WireGuard did not take it",
                a.node
            );
            signs.at.insert(b.node.clone());
            signs
                .not_taken
                .push(mesh.cite(b, FactKey::Initiated(*a_key), at, text));
        }
        _ => {}
    }
}

fn completed(
    mesh: &Mesh<'_>,
    (from, to): Ends<'_, '_>,
    to_key: &PublicKey,
    journey: &Journey<'_>,
) -> Citation {
    let at = journey.sent.response_at.unwrap_or(journey.sent.sent_at);
    let text = format!(
        "completed a handshake with {} while data was already lost",
        to.node
    );
    mesh.cite(from, FactKey::Initiated(*to_key), at, text)
}

fn data_dropped(culprit: &Culprit, evidence: Vec<Citation>) -> Draft {
    let summary = format!(
        "handshakes pass and data does not ({}): something drops WireGuard's data messages",
        place_text(&culprit.place)
    );
    let mut draft = Draft::new(
        "data-dropped-handshakes-pass",
        subject(&culprit.place),
        Confidence::Certain,
        summary,
    );
    draft.evidence = evidence;
    draft.could_also_be.push(
        "allowed IPs were taken from the peer at one end: compare `wg show kubespan allowed-ips`"
            .to_owned(),
    );
    draft.fixes.push(fix(
        "who runs the path",
        "look for a filter by content or size, or a rate limit on UDP 51820; handshakes are 148 and 92 bytes, data is \
         message type 4",
        Some("nft list ruleset | grep -n -e '@th' -e 'length' -e 'limit rate' -e 51820".to_owned()),
    ));
    draft
}

fn preshared_keys_differ(culprit: &Culprit, evidence: Vec<Citation>, certain: bool) -> Draft {
    let summary = format!(
        "handshakes are answered and the answers are refused ({}): the preshared keys of the two ends differ",
        place_text(&culprit.place)
    );
    let confidence = if certain {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let code = "wireguard-psk-mismatch";
    let mut draft = Draft::new(code, subject(&culprit.place), confidence, summary);
    draft.evidence = evidence;
    if !certain {
        draft
            .could_also_be
            .push("a firewall of the host drops these answers behind the tap".to_owned());
        draft.decided_by = Some("a handshake that the other end begins".to_owned());
    }
    draft.fixes.push(fix(
        "who writes the machine configs",
        "give all nodes the same cluster secret: KubeSpan makes the preshared key of it",
        Some(
            "talosctl gen config --with-secrets secrets.yaml ...; talosctl get discoveryconfigs"
                .to_owned(),
        ),
    ));
    draft
}

fn dropped_by_host(node: &NodeRef, proven: bool, evidence: Vec<Citation>) -> Draft {
    let summary = format!(
        "UDP 51820 arrives at the interface of {node} and does not reach its WireGuard: a firewall on the host drops it"
    );
    let subject = Subject::Node { node: node.clone() };
    let code = "udp-51820-dropped-by-host";
    let mut draft = Draft::new(code, subject, Confidence::Certain, summary);
    draft.evidence = evidence;
    if !proven {
        draft.confidence = Confidence::Likely;
        draft.could_also_be.push(format!(
            "{node} does not know the callers' keys any more, or its clock has stepped back"
        ));
        draft.decided_by = Some(format!("the drop counters of the firewall on {node}"));
    }
    draft.fixes.push(allow_on_host(node));
    draft
}

fn allow_on_host(node: &NodeRef) -> Fix {
    fix(
        format!("who writes the machine config of {node}"),
        "allow UDP 51820 in Talos' ingress firewall",
        Some(
            "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: kubespan\nportSelector:\n  ports: [51820]\n  \
             protocol: udp\ningress:\n  - subnet: 0.0.0.0/0\n  - subnet: ::/0"
                .to_owned(),
        ),
    )
}

fn never_connected(culprit: &Culprit) -> Draft {
    let summary = format!(
        "a tunnel never came up ({}): no handshake was ever completed",
        place_text(&culprit.place)
    );
    let mut draft = Draft::new(
        "peer-never-connected",
        subject(&culprit.place),
        Confidence::Undecided,
        summary,
    );
    draft.could_also_be = vec![
        "UDP 51820 is blocked on the way".to_owned(),
        "the endpoint is wrong, or neither end has one".to_owned(),
        "the preshared keys differ".to_owned(),
    ];
    draft.decided_by =
        Some("datagrams on the true five-tuple, seen or not seen by the far side's tap".to_owned());
    draft.fixes.push(fix(
        "who runs the nodes",
        "compare the endpoints that each end uses with the addresses the other end has",
        Some(
            "talosctl get kubespanpeerstatuses; talosctl get kubespanpeerspecs -o yaml".to_owned(),
        ),
    ));
    draft
}

fn silent(culprit: &Culprit) -> Draft {
    let summary = format!(
        "nothing passes inside the tunnel ({}); what stops it is not decided yet",
        place_text(&culprit.place)
    );
    let mut draft = Draft::new(
        SILENT,
        subject(&culprit.place),
        Confidence::Undecided,
        summary,
    );
    draft.could_also_be = vec![
        "a firewall on the host drops UDP 51820 behind the tap".to_owned(),
        "something on the path drops WireGuard's data messages and lets handshakes pass".to_owned(),
        "UDP 51820 is blocked on the way, and no tap can see it".to_owned(),
    ];
    draft.decided_by =
        Some("the next handshake: WireGuard tries one 15 s after data went unanswered, and the taps follow it".to_owned());
    draft
}

/// A's device lacks B.
pub(super) fn peer_missing(direction: &Direction<'_, '_>) -> Finding {
    let (from, to) = (direction.from, direction.to);
    let mut draft = Draft::new(
        "peer-missing",
        Subject::Direction {
            from: from.clone(),
            to: to.clone(),
        },
        Confidence::Certain,
        format!("{from} does not have {to} as a WireGuard peer"),
    );
    draft
        .evidence
        .clone_from(&direction.told().discovered.evidence);
    draft.explains.insert((from.clone(), to.clone()));
    draft.fixes.push(fix(
        "who runs the cluster",
        "see whether the node's affiliate is known there: the discovery service, or an overlap of addresses",
        Some(format!("talosctl -n {from} get affiliates; talosctl -n {from} get kubespanpeerspecs")),
    ));
    draft.finish(None)
}

/// What a root does to one pair of nodes.
pub(super) fn effect(
    mesh: &Mesh<'_>,
    direction: &Direction<'_, '_>,
    pair: &Pair,
    root: &str,
) -> Finding {
    let since = direction.loss_since().map_or_else(String::new, |at| {
        format!(" since {}", text::age(mesh.now.since(at)))
    });
    let summary = format!(
        "no data from {} arrives at {}{since}",
        direction.from, direction.to
    );
    let subject = subject(&Place::Between(pair.0.clone(), pair.1.clone()));
    let mut draft = Draft::new(SILENT, subject, Confidence::Certain, summary);
    draft.evidence.clone_from(&direction.told().tunnel.evidence);
    draft
        .explains
        .insert((direction.from.clone(), direction.to.clone()));
    draft.finish(Some(root))
}
